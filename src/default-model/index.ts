/** The default model: README.md is its card. */
import { checkOptions } from '../check';
import type { LanguageModel } from '../models';
import { LOAD_DECODER, type LoadDecoderOptions, loadDecoder } from '../models/language-model/load';
import { defaultModelFiles } from './files';

export interface LoadDefaultModelOptions extends Omit<LoadDecoderOptions, 'tokenizer' | 'config'> {}

const OPTIONS = LOAD_DECODER.filter((name) => name !== 'tokenizer' && name !== 'config');

/**
 * The library's own language model: of 2.4 million parameters, trained on Moby Dick, the King James Bible and speeches of
 * presidents. It continues texts in their style and knows nothing else. A page fetches its 3 MB when this is called.
 *
 * @throws {ParameterError} as `loadDecoder`; files that cannot be had
 */
export async function loadDefaultModel(options: LoadDefaultModelOptions): Promise<LanguageModel> {
  checkOptions('loadDefaultModel', options, OPTIONS);
  return loadDecoder(await defaultModelFiles(options), options);
}
