/** What benchmarks compute: exact self-attention of one batch on seeded random inputs, or another operation on them. */
import { type Band, band, causal, full } from '../masks/band';
import type { Extent, Mask } from '../masks/mask';
import type { Expected } from '../measure/gate';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { fromFloat16, toFloat16 } from '../tensor/float16';
import type { HostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import type { BenchRow } from './report';

/** The masks by their names in options; a window sees the 256 keys up to the query's own. */
export const MASKS = {
  full: full(),
  causal: causal(),
  window: named('window', band(255, 0)),
} satisfies Record<string, Band>;
export type MaskName = keyof typeof MASKS;
export const MASK_NAMES = Object.keys(MASKS) as MaskName[];

/** Whether it is one of the masks above, which pages and other systems know too. */
export const isKnownToPeers = (name: string): name is MaskName => (MASK_NAMES as string[]).includes(name);

/** Self-attention of q [1, n, h, d], k and v [1, n, g, d]. */
export interface Problem {
  readonly n: number;
  readonly h: number;
  /** Heads of keys and values; default: h. */
  readonly g?: number;
  readonly d: number;
  /** The element type of inputs and results; default: f32. */
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
  /** A loss's gradient with respect to the result, [1, n, h, d], for operations that take it. */
  readonly gradOut: Float32Array;
}

/** A problem with its inputs. */
export interface Task {
  readonly problem: Problem;
  readonly inputs: Inputs;
}

/** What a problem computes, with h heads of d features and d value columns. */
export interface Operation {
  /** Unique among operations. */
  readonly name: string;
  /** The power of the number of tokens with which its time grows; default 1. */
  readonly growth?: number;
  /** Whether it takes a loss's gradient with respect to a result, beside q, k and v. */
  readonly takesGradient?: boolean;
  /** Useful multiplications and additions; 0 where bytes count, not arithmetic. */
  flops(problem: Problem): number;
  /** Tokens that a call reads or generates, where these are counted. */
  tokens?(problem: Problem): number;
  /** Numbers in a result, as `Session.result` gives it. */
  size(problem: Problem): number;
  /** Bytes of inputs and results: what is held beyond them is working memory. */
  bytes(problem: Problem): number;
  /** What the first call should give, or some of it. */
  expected(problem: Problem, inputs: Inputs): readonly Expected[] | Promise<readonly Expected[]>;
  /** What peers are given instead of attention's q, k and v; operations without it are not for peers. */
  given?(problem: Problem): Given;
  open(runtime: Runtime, task: Task): Call;
}

/** A call on tensors that it holds. */
interface Call {
  call(control: Control): unknown;
  /** Reads a number of the last call's result. */
  readOne?(): Promise<unknown>;
  result(): Promise<Float32Array>;
  /** What is held, also between calls. */
  readonly tensors: readonly Pick<Tensor, 'dispose'>[];
}

/** What peers are given. */
export interface Given {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  /** Further settings for them, as JSON. */
  readonly settings: object;
}

/** The mask under another name, by which reports call it. */
export function named<M extends Mask>(name: string, mask: M): M {
  return { ...mask, name };
}

/** The problem as rows say it. */
export function rowOf({ n, h, g = h, d, mask }: Problem): Pick<BenchRow, 'n' | 'h' | 'g' | 'd' | 'mask'> {
  return { n, h, ...(g !== h && { g }), d, mask: mask.name };
}

export function extentOf({ n, h, g = h }: Problem): Extent {
  return { b: 1, n, m: n, h, g };
}

/** Standard normal inputs, the same for every contender and in every run, rounded to the dtype. */
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
