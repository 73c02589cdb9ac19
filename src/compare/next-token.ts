/** How well a language model predicts the next token when a method takes the place of its own attention. */
import { ParameterError } from '../errors';
import { insertTargets, NO_TARGET } from '../models/decoder/landmarks';
import type { LanguageModel } from '../models/language-model';
import { contiguous } from '../ops/copy';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';
import type { NextTokenLoss } from './comparison';
import type { Qkv } from './contenders';

/** An attention of [b, n, h, d] queries, that sees no later tokens, in a layer. */
export type Attend = (inputs: Qkv, layer: number) => Tensor;

/** The losses with an attention in one layer and in all of them; of the model as it is, without one. */
export type NextTokenLosses = (attend: Attend | undefined, control: Control) => Promise<NextTokenLoss>;

export interface NextTokenOptions {
  /** The layer whose attention is replaced alone. */
  readonly layer: number;
  /** Whether every layer is, each alone. */
  readonly each: boolean;
}

/** @throws {ParameterError} fewer than two tokens */
export function nextTokenLosses(
  model: LanguageModel,
  tokens: readonly number[],
  { layer, each }: NextTokenOptions,
): NextTokenLosses {
  const n = tokens.length - 1;
  if (n < 1) throw new ParameterError('the text must have two tokens at least, for one to be predicted');
  const { runtime, decoder, parameters } = model;
  const { layers } = decoder;
  const lossOf = async (attend: Attend | undefined, isReplaced: (layer: number) => boolean, { signal }: Control) => {
    signal?.throwIfAborted();
    const part = insertTargets(tokens.slice(0, n), tokens.slice(1), decoder.landmarks);
    const row = (of: readonly number[]) => runtime.tensor(of, [1, of.length], 'i32');
    using loss = runtime.scope(() =>
      decoder.loss(parameters, row(part.tokens), row(part.targets), {
        ignore: NO_TARGET,
        signal,
        ...(attend && {
          attend: (inputs: Readonly<Record<string, Tensor>>, at: number) => {
            const { q, k, v } = inputs as unknown as Qkv;
            return isReplaced(at) ? attend({ q: contiguous(q), k: contiguous(k), v: contiguous(v) }, at) : undefined;
          },
        }),
      }),
    );
    return (await loss.read())[0] as number;
  };
  return async (attend, control) => {
    if (!attend) {
      const loss = await lossOf(undefined, () => false, control);
      return { layer: loss, all: loss };
    }
    const all = await lossOf(attend, () => true, control);
    const own = new Map<number, number>();
    for (let at = 0; at < layers; at++)
      if (each || at === layer)
        own.set(at, layers === 1 ? all : await lossOf(attend, (found) => found === at, control));
    return { layer: own.get(layer) as number, all, ...(each && { layers: [...own.values()] }) };
  };
}
