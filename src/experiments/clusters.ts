/** Tokens in clusters, and how attention among them spreads: what experiments without training look at. */
import { normal, uniformGenerator } from '../tensor/random';
import { byLabel, type MeasureContext } from './experiment';
import { mean } from './vectors';

export const TOKENS = 256;
export const DIMENSION = 32;
export const CLUSTERS = 8;
/** The standard deviation of tokens around their cluster's centre, whose coordinates have standard deviation 1. */
const NOISE = 0.5;

/** Tokens [256, 32], each near one of eight random centres. */
function clusteredTokens(seed: number): Float64Array {
  const centres = normal(CLUSTERS * DIMENSION, 2 * seed + 1);
  const noise = normal(TOKENS * DIMENSION, 2 * seed + 2);
  const pick = uniformGenerator(seed);
  const clusters = Array.from({ length: TOKENS }, () => Math.floor(CLUSTERS * pick()));
  return Float64Array.from(noise, (value, at) => {
    const cluster = clusters[Math.floor(at / DIMENSION)]!;
    return centres[cluster * DIMENSION + (at % DIMENSION)]! + NOISE * value;
  });
}

/** The mean over the queries of the entropy of their weights over log n: 1 for uniform weights, 0 for one key. */
function rowEntropy(weight: (query: number, key: number) => number, tokens = TOKENS): number {
  let [mean, rows] = [0, 0];
  for (let i = 0; i < tokens; i++) {
    const weights = Array.from({ length: tokens }, (_, j) => weight(i, j));
    const total = weights.reduce((sum, value) => sum + value, 0);
    // A query that meets no key has no attention to spread.
    if (total === 0) continue;
    rows++;
    for (const value of weights) {
      if (value > 0) mean -= ((value / total) * Math.log(value / total)) / Math.log(tokens);
    }
  }
  return mean / rows;
}

/** The product of features of two tokens. */
export function productOf(queries: Float64Array, keys: Float64Array, i: number, j: number, d = DIMENSION): number {
  let sum = 0;
  for (let c = 0; c < d; c++) sum += queries[i * d + c]! * keys[j * d + c]!;
  return sum;
}

/** The mean entropies of several attentions' weights over draws of tokens, by name. */
export async function meanEntropies<Name extends string>(
  context: MeasureContext,
  draws: number,
  weightsOf: (tokens: Float64Array) => Readonly<Record<Name, (query: number, key: number) => number>>,
): Promise<Record<Name, number>> {
  const drawn = await context.draws(draws, (seed) => {
    const weights = weightsOf(clusteredTokens(seed));
    return byLabel(Object.keys(weights) as Name[], (name) => rowEntropy(weights[name]));
  });
  return byLabel(Object.keys(drawn[0] ?? {}) as Name[], (name) => mean(drawn.map((entropies) => entropies[name])));
}

/** Unscaled weights of softmax attention among tokens. */
export const softmaxWeight = (tokens: Float64Array) => (i: number, j: number) =>
  Math.exp(productOf(tokens, tokens, i, j) / Math.sqrt(DIMENSION));
