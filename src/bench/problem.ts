/** What attention benchmarks compute: exact self-attention of one batch on seeded random inputs. */
import type { Band } from '../masks/band';
import { exactAttention } from '../methods/dense/attention';
import { bandOf } from '../ops/attention';
import { normal } from '../tensor/random';
import type { BenchOptions } from './options';

/** The masks by name, as params of the method; a window sees the 256 keys that end with the query's own. */
export const MASKS = {
  full: {},
  causal: { causal: true },
  window: { causal: true, window: [255, 0] },
} as const;
export type MaskName = keyof typeof MASKS;
export const MASK_NAMES = Object.keys(MASKS) as MaskName[];

/** Self-attention of q, k and v [1, n, h, d], f32. */
export interface Problem {
  readonly n: number;
  readonly h: number;
  readonly d: number;
  readonly mask: MaskName;
}

export interface QkvData {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** Every combination of the extents and masks. */
export function problemsOf({ n, d, masks, heads }: Pick<BenchOptions, 'n' | 'd' | 'masks' | 'heads'>): Problem[] {
  return d.flatMap((dim) => masks.flatMap((mask) => n.map((extent) => ({ n: extent, h: heads, d: dim, mask }))));
}

/** Standard normal inputs, the same for every contender and in every run. */
export function inputsOf({ n, h, d }: Problem): QkvData {
  const [q, k, v] = [1, 2, 3].map((seed) => normal(n * h * d, seed)) as [Float32Array, Float32Array, Float32Array];
  return { q, k, v };
}

export function bandOfProblem({ mask }: Problem): Band {
  return bandOf(MASKS[mask]);
}

/** Multiplications and additions of the useful work: only the pairs that the mask lets through count. */
export function flopsOf({ n, h, d, mask }: Problem): number {
  return exactAttention.cost({ b: 1, n, m: n, h, g: h, d, e: d }, exactAttention.parse(MASKS[mask])).flops;
}
