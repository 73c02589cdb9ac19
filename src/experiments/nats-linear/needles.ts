/** Pairs of keys and values of which those of a few chunks, the needles, are asked for at the end. */
import type { Runtime } from '../../runtime/runtime';
import { uniformGenerator } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { DIMENSION, LOG_DECAY } from '../recall';
import { rowOf, unitRows } from '../vectors';

export const CHUNK = 16;
/** One chunk in this many holds needles. */
export const SPARSITY = 8;

export type Needles = ReturnType<typeof drawNeedles>;

export function drawNeedles(sequences: number, pairs: number, seed: number) {
  const chunks = pairs / CHUNK;
  const chosen = Math.max(1, chunks / SPARSITY);
  const random = uniformGenerator(seed);
  const isNeedle = Array.from({ length: sequences }, () => {
    const order = Array.from({ length: chunks }, (_, chunk) => ({ chunk, by: random() })).sort((a, b) => a.by - b.by);
    const first = new Set(order.slice(0, chosen).map(({ chunk }) => chunk));
    return Array.from({ length: chunks }, (_, chunk) => first.has(chunk));
  });
  const asked = isNeedle.map((holds) =>
    Array.from({ length: pairs }, (_, pair) => pair).filter((pair) => holds[Math.floor(pair / CHUNK)]),
  );
  const questions = chosen * CHUNK;
  return {
    sequences,
    // In a sequence: pairs, chunks of pairs, chunks that hold needles, tokens that ask, and all tokens.
    pairs,
    chunks,
    chosen,
    questions,
    tokens: pairs + questions,
    /** Sequence by sequence, whether each chunk of pairs holds needles, and the pair that each question asks for. */
    isNeedle,
    asked,
    keys: unitRows(sequences * pairs, DIMENSION, 2 * seed + 1),
    values: unitRows(sequences * pairs, DIMENSION, 2 * seed + 2),
  };
}

/** The inputs of the layer, without a route: pairs are written as they are, questions write nothing. */
export function inputsOf(runtime: Runtime, needles: Needles): Record<'q' | 'k' | 'v' | 'g' | 'beta' | 'mix', Tensor> {
  const { sequences, pairs, tokens, asked, keys, values } = needles;
  const size = sequences * tokens;
  const rows = () => new Float32Array(size * DIMENSION);
  const [q, k, v] = [rows(), rows(), rows()];
  const beta = new Float32Array(size);
  for (let sequence = 0; sequence < sequences; sequence++) {
    for (let pair = 0; pair < pairs; pair++) {
      const at = sequence * tokens + pair;
      k.set(rowOf(keys, sequence * pairs + pair, DIMENSION), at * DIMENSION);
      v.set(rowOf(values, sequence * pairs + pair, DIMENSION), at * DIMENSION);
      beta[at] = 1;
    }
    asked[sequence]?.forEach((pair, question) => {
      q.set(rowOf(keys, sequence * pairs + pair, DIMENSION), (sequence * tokens + pairs + question) * DIMENSION);
    });
  }
  const gates = [sequences, tokens, 1];
  const wide = [...gates, DIMENSION];
  return {
    q: runtime.tensor(q, wide),
    k: runtime.tensor(k, wide),
    v: runtime.tensor(v, wide),
    g: runtime.tensor(new Float32Array(size).fill(LOG_DECAY), gates),
    beta: runtime.tensor(beta, gates),
    mix: runtime.tensor(new Float32Array(2 * size), [...gates, 2]),
  };
}

/** Logits [sequences, chunks, 1, 2] that send the chunks of pairs for which `toSoftmax` holds to softmax attention. */
export function routeOf(
  runtime: Runtime,
  { sequences, chunks, chosen }: Needles,
  toSoftmax: (sequence: number, chunk: number) => boolean,
): Tensor {
  const all = chunks + chosen;
  const logits = new Float32Array(2 * sequences * all);
  for (let at = 0; at < sequences * all; at++) {
    const chunk = at % all;
    const chosenHere = chunk < chunks && toSoftmax(Math.floor(at / all), chunk);
    logits[2 * at + (chosenHere ? 0 : 1)] = 1;
  }
  return runtime.tensor(logits, [sequences, all, 1, 2]);
}

/** The gradient with respect to out of minus the sum of the answers' products with the right values. */
export function gradientOf(runtime: Runtime, needles: Needles): Tensor {
  const { sequences, pairs, tokens, asked, values } = needles;
  const grad = new Float32Array(sequences * tokens * DIMENSION);
  for (let sequence = 0; sequence < sequences; sequence++) {
    asked[sequence]?.forEach((pair, question) => {
      const value = rowOf(values, sequence * pairs + pair, DIMENSION).map((x) => -x);
      grad.set(value, (sequence * tokens + pairs + question) * DIMENSION);
    });
  }
  return runtime.tensor(grad, [sequences, tokens, 1, DIMENSION]);
}
