/** Language models from files: weights, configuration, tokenizer and chat template as they lie in a folder or a GGUF file. */
import { checkBoolean, checkOptions, isRecord, show } from '../../check';
import { ParameterError, ParseError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { Runtime } from '../../runtime/runtime';
import { ggufTokenizer } from '../../weights/gguf/tokenizer';
import { openWeights, type WeightsLike } from '../../weights/open';
import { Weights } from '../../weights/weights';
import { createDecoder, type DecoderConfig, type DecoderOptions } from '../decoder';
import type { LoadOptions } from '../load';
import { withCalibrations } from './calibration';
import { filesOfGguf } from './gguf-tokenizer';
import { Grammars } from './grammar';
import { LANGUAGE_MODEL, LanguageModel, type LanguageModelOptions } from './language-model';
import { type LanguageTokenizer, languageTokenizer } from './tokenizer';

export interface LoadDecoderOptions extends Omit<LanguageModelOptions, 'tokenizer'>, DecoderOptions, Control {
  readonly runtime: Runtime;
  /** Default `stored`: matrices as the file has them. */
  readonly types?: LoadOptions['types'];
  /** Default: that which lies beside the weights, if one does. */
  readonly tokenizer?: LanguageTokenizer | undefined;
  /** Default: `config.json` beside the weights, or what a GGUF file says. */
  readonly config?: DecoderConfig | undefined;
  /** Whether answers will have a `format`: a worker prepares it while weights load. Default false: with the first that has one. */
  readonly formats?: boolean | undefined;
}

export const LOAD_DECODER = [
  'runtime',
  'attention',
  'types',
  'config',
  'formats',
  ...LANGUAGE_MODEL,
  'signal',
  'onProgress',
];

/**
 * A language model from a folder as Hugging Face's libraries write it, the weights in one, or a GGUF file: anything that
 * `openWeights` opens, or what it has opened, which stays open. Thresholds of methods that were calibrated for it are read from
 * beside it where `attention` leaves them out.
 *
 * @throws {ParameterError | ParseError | ShapeError} a configuration or a tokenizer that is missing or unknown, weights that do not
 * fit it, more than the heap holds
 */
export async function loadDecoder(from: WeightsLike | Weights, options: LoadDecoderOptions): Promise<LanguageModel> {
  checkOptions('loadDecoder', options, LOAD_DECODER);
  const { runtime, attention, types = 'stored', config: given, formats, signal, onProgress, ...others } = options;
  checkBoolean('formats', formats);
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  const isOpen = from instanceof Weights;
  const weights = isOpen ? from : await openWeights(from, { signal });
  try {
    const config = given !== undefined ? given : (weights.config ?? (await jsonBeside(weights, 'config.json', signal)));
    if (!config)
      throw new ParameterError(`${weights.name} has no config.json beside it: pass the configuration as config`);
    const decoder = createDecoder(config, { attention: await withCalibrations(weights, attention, config, signal) });
    const tokenizer = others.tokenizer !== undefined ? others.tokenizer : await tokenizerBeside(weights, signal);
    const generation = await jsonBeside(weights, 'generation_config.json', signal);
    const ends =
      others.ends !== undefined ? others.ends : endsOf([generation?.eos_token_id, config.eos_token_id], tokenizer);
    const grammars = formats && tokenizer ? new Grammars(tokenizer, decoder.vocabulary, ends) : undefined;
    grammars?.prepare();
    const parameters = await decoder.load(runtime, weights, { types, signal, onProgress });
    try {
      return new LanguageModel(runtime, decoder, parameters, { ...others, tokenizer, ends }, grammars);
    } catch (error) {
      for (const tensor of Object.values(parameters)) tensor.dispose();
      throw error;
    }
  } finally {
    if (!isOpen) await weights.close();
  }
}

async function tokenizerBeside(
  weights: Weights,
  signal: AbortSignal | undefined,
): Promise<LanguageTokenizer | undefined> {
  const tokenizer = await jsonBeside(weights, 'tokenizer.json', signal);
  const inside = weights.format === 'gguf' && !tokenizer ? ggufTokenizer(weights.metadata) : undefined;
  if (inside) return languageTokenizer(filesOfGguf(inside));
  if (!tokenizer) return undefined;
  const config = await jsonBeside(weights, 'tokenizer_config.json', signal);
  const template = await weights.readBeside('chat_template.jinja', { signal });
  return languageTokenizer({ tokenizer, config, template: template && new TextDecoder().decode(template) });
}

async function jsonBeside(weights: Weights, file: string, signal: AbortSignal | undefined) {
  const bytes = await weights.readBeside(file, { signal });
  if (!bytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ParseError(`${file} of ${weights.name} is not JSON: ${(error as Error).message}`);
  }
  if (!isRecord(value)) throw new ParseError(`${file} of ${weights.name} must hold an object, got ${show(value)}`);
  return value;
}

/** The tokens that end answers: a token or several, by the first that says so, and those of the tokenizer. */
function endsOf(said: readonly unknown[], tokenizer: LanguageTokenizer | undefined): number[] {
  const found = said.find((ends) => ends !== undefined && ends !== null);
  return [...new Set([...([found ?? []].flat() as number[]), ...(tokenizer?.ends ?? [])])];
}
