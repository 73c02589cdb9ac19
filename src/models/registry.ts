/** Every model of the library. */
import { decoderModel } from './decoder-model';
import type { Model } from './define';
import { universalSentenceEncoder } from './universal-sentence-encoder/model';

export const models: readonly Model[] = [decoderModel, universalSentenceEncoder];
