/** What attention benchmarks compute: exact self-attention of one batch on seeded random inputs. */
import { type Band, band, causal, full } from '../masks/band';
import type { Extent, Mask } from '../masks/mask';
import { fromFloat16, toFloat16 } from '../tensor/float16';
import { normal } from '../tensor/random';
import type { Operation } from './operation';
import type { BenchOptions } from './options';
import type { BenchRow } from './report';

/** The masks that options name; a window sees the 256 keys that end with the query's own. */
export const MASKS = {
  full: full(),
  causal: causal(),
  window: named('window', band(255, 0)),
} satisfies Record<string, Band>;
export type MaskName = keyof typeof MASKS;
export const MASK_NAMES = Object.keys(MASKS) as MaskName[];

/** Self-attention of q [1, n, h, d], k and v [1, n, g, d]. */
export interface Problem {
  readonly n: number;
  readonly h: number;
  /** Heads of keys and values; default: h. */
  readonly g?: number;
  readonly d: number;
  /** As what inputs and results are stored; default: f32. */
  readonly dtype?: 'f32' | 'f16';
  /** Reports call it by its name. */
  readonly mask: Mask;
  /** What is computed; default: exact attention under the mask. */
  readonly operation?: Operation;
}

export interface Inputs {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** A loss's gradient with respect to the result, [1, n, h, d]: of operations that take it. */
  readonly gradOut: Float32Array;
}

/** The mask under another name, by which reports call it. */
export function named<M extends Mask>(name: string, mask: M): M {
  return { ...mask, name };
}

/** Every combination of the extents and masks. */
export function problemsOf({ n, d, masks, heads }: Pick<BenchOptions, 'n' | 'd' | 'masks' | 'heads'>): Problem[] {
  return d.flatMap((dim) =>
    masks.flatMap((mask) => n.map((extent) => ({ n: extent, h: heads, d: dim, mask: MASKS[mask] }))),
  );
}

/** The options by which `problemsOf` gives this problem alone. */
export function optionsOf({ n, d, mask }: Problem): Pick<BenchOptions, 'n' | 'd' | 'masks'> {
  return { n: [n], d: [d], masks: [mask.name as MaskName] };
}

/** The problem as rows say it. */
export function rowOf({ n, h, g = h, d, mask }: Problem): Pick<BenchRow, 'n' | 'h' | 'g' | 'd' | 'mask'> {
  return { n, h, ...(g !== h && { g }), d, mask: mask.name };
}

export function extentOf({ n, h, g = h }: Problem): Extent {
  return { b: 1, n, m: n, h, g };
}

/** Standard normal inputs, the same for every contender and in every run; they are what the dtype can hold. */
export function inputsOf({ n, h, g = h, d, dtype, operation }: Problem): Inputs {
  const numbers = (length: number, seed: number) => {
    const exact = normal(length, seed);
    return dtype === 'f16' ? exact.map((x) => fromFloat16(toFloat16(x))) : exact;
  };
  return {
    q: numbers(n * h * d, 1),
    k: numbers(n * g * d, 2),
    v: numbers(n * g * d, 3),
    gradOut: numbers(operation?.takesGradient ? n * h * d : 0, 4),
  };
}

export function takesSameInputs(a: Problem, b: Problem): boolean {
  const inputs = ({ n, h, g = h, d, dtype = 'f32', operation }: Problem) =>
    [n, h, g, d, dtype, operation?.takesGradient ?? false].join();
  return inputs(a) === inputs(b);
}
