/** Every model of the library. */
import { decoderModel } from './decoder-model';
import type { Model } from './define';
import { universalSentenceEncoder } from './universal-sentence-encoder/model';
import { bevanet } from './vision/bevanet';
import { biformer } from './vision/biformer';
import { deit } from './vision/deit';
import { l2vit } from './vision/l2vit';
import { resnet } from './vision/resnet';
import { unireplknet } from './vision/unireplknet';
import { van } from './vision/van';

export const models: readonly Model[] = [
  decoderModel,
  universalSentenceEncoder,
  bevanet,
  biformer,
  deit,
  l2vit,
  resnet,
  unireplknet,
  van,
];
