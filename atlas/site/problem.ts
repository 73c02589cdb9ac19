/** The sample problem of a method: its extents by letter, and the params that a page begins with. */
import type { Letters, Method } from '../../src/methods/define';

export interface Sizes {
  /** Tokens of a sequence, or along each of two axes for methods that have them. */
  readonly tokens: readonly number[];
  readonly heads: number;
  /** The dimension of queries, keys and values. */
  readonly dimension: number;
}

export function isSpatial({ inputs }: Method): boolean {
  return Object.values(inputs).some((spec) => spec.includes('...space'));
}

export function sampleSizes(method: Method): Sizes {
  return {
    // Weights, which take longer than masks, are seen one by one.
    tokens: isSpatial(method) ? [24, 24] : [method.mask ? 1024 : 512],
    heads: method.name === 's2-attention' ? 8 : 1,
    dimension: 64,
  };
}

/** Every letter that methods of attention use. */
export function lettersOf(method: Method, { tokens, heads, dimension }: Sizes): Letters {
  const n = tokens.reduce((size, extent) => size * extent, 1);
  const space = isSpatial(method) ? Object.fromEntries(tokens.map((extent, axis) => [`space${axis}`, extent])) : {};
  return { b: 1, n, m: n, h: heads, g: heads, a: heads, d: dimension, e: dimension, ...space } as Letters;
}

/** The most telling setting at these sizes, as a user would write it. */
export function sampleParams(method: Method, sizes: Sizes): Readonly<Record<string, unknown>> {
  return (method.variants(lettersOf(method, sizes))[0] ?? {}) as Readonly<Record<string, unknown>>;
}

/**
 * Where real q, k and v come from, as `saccade compare` makes them, and the heads that they have: the layers of the sentence
 * encoder, through which a text goes, and patches of a photograph, for methods on grids.
 */
export const REAL_NUMBERS = {
  'layer 0': { heads: 4, dimension: 64, spatial: false },
  'layer 1': { heads: 4, dimension: 128, spatial: false },
  picture: { heads: 4, dimension: 30, spatial: true },
} as const;
export type RealNumbers = keyof typeof REAL_NUMBERS;
