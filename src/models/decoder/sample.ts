/** Samples texts from a decoder, token by token. */

import type { Parameters } from '../../nn';
import type { Runtime } from '../../runtime/runtime';
import { uniformGenerator } from '../../tensor/random';
import type { Decoder } from '.';
import { insertLandmarks, withLandmarks } from './landmarks';

export interface SampleOptions {
  /** Tokens to add. */
  readonly count: number;
  /** Tokens that the decoder sees at once: earlier ones are forgotten. */
  readonly length: number;
  /** The divisor of the logits before sampling. */
  readonly temperature: number;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tokens that follow `prompt`, drawn one after the other. Each is a whole forward pass of `length` tokens, so that any method will
 * do: what comes behind the last token does not count, as all are causal.
 */
export async function sampleTokens(
  decoder: Decoder,
  runtime: Runtime,
  parameters: Parameters,
  prompt: ArrayLike<number>,
  { count, length, temperature, seed, signal }: SampleOptions,
): Promise<number[]> {
  const tokens = Array.from(prompt);
  const uniform = uniformGenerator(seed);
  const { landmarks } = decoder;
  for (let added = 0; added < count; added++) {
    signal?.throwIfAborted();
    const seen = tokens.slice(-length);
    const at = seen.length - 1;
    using logits = runtime.scope(() => {
      const text = Array.from({ length }, (_, at) => seen[at] ?? 0);
      const all = landmarks ? insertLandmarks(text, landmarks) : text;
      const place = landmarks ? withLandmarks(at, landmarks) : at;
      const row = runtime.tensor(all, [1, all.length], 'i32');
      return decoder.forward(parameters, row, { signal }).slice(1, place, place + 1);
    });
    const read = await logits.read();
    if (landmarks) read[landmarks.token] = Number.NEGATIVE_INFINITY;
    tokens.push(drawn(read, temperature, uniform()));
  }
  return tokens.slice(-count);
}

function drawn(logits: Float32Array, temperature: number, uniform: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const weights = Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  let rest = uniform * weights.reduce((sum, weight) => sum + weight, 0);
  const found = weights.findIndex((weight) => {
    rest -= weight;
    return rest < 0;
  });
  return found < 0 ? weights.length - 1 : found;
}
