/** Every model of the library, by its name. */
import { show } from '../check';
import { ParameterError } from '../errors';
import { decoderModel } from './decoder/model';
import type { Model } from './define';
import { universalSentenceEncoder } from './universal-sentence-encoder/model';

export const models: readonly Model[] = [decoderModel, universalSentenceEncoder];

/** @throws {ParameterError} another name; it lists the known ones */
export function findModel(name: string): Model {
  const found = models.find((model) => model.name === name);
  if (!found)
    throw new ParameterError(`model must be one of ${models.map((each) => each.name).join(', ')}, got ${show(name)}`);
  return found;
}
