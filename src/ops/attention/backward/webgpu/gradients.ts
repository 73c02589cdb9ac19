/** What the gradients of attention are made of, pair by pair, and where another op (ops/parallax) joins in. */
import type { Kernel, OperandSpec } from '../../../../runtime/webgpu/kernel';
import type { Halves } from '../../../../runtime/webgpu/kernels/product';
import { TILES } from '../../block-map/tiles';
import type { ScoreShader } from '../../score/webgpu';

export type Side = 'queries' | 'keys';

/** A number of each pair, times rows of the other side in a phase: 0 for q or k, 1 for gradOut or v, 2 for a hook's or k. */
interface Term {
  readonly left: 'weight' | 'by_score' | 'by_probe';
  readonly phase: 0 | 1 | 2;
}

/** A result with rows of a side: a sum of terms over the pairs of a row. */
export interface Gradient {
  readonly name: string;
  readonly extent: 'd' | 'e';
  readonly terms: readonly Term[];
}

export const BY_SCORE: Term = { left: 'by_score', phase: 0 };
export const BY_PROBE: Term = { left: 'by_probe', phase: 2 };
export const WEIGHT: Term = { left: 'weight', phase: 1 };

export const GRAD_Q: Gradient = { name: 'grad_q', extent: 'd', terms: [BY_SCORE] };
export const GRAD_V: Gradient = { name: 'grad_v', extent: 'e', terms: [WEIGHT] };
const GRAD_K: Gradient = { name: 'grad_k', extent: 'd', terms: [BY_SCORE] };

/** The gradients of each side's owners. */
export const GRADIENTS: Readonly<Record<Side, readonly Gradient[]>> = { keys: [GRAD_V, GRAD_K], queries: [GRAD_Q] };

/** What another op makes of pairs. Its name tells variants of kernels apart: hooks of one name are equal. */
export interface PairHook {
  readonly name: string;
  /** Its operand like q, whose products with the keys are the pairs' `probe`. */
  readonly second: string;
  /** Whether there is a gradient of out, and with it the pairs' `product` of that and the values. */
  readonly hasGradOut: boolean;
  /** What `rows` holds of each row, by name. */
  readonly rows: readonly string[];
  /** From `plain`, e^(score - lse) where `is_seen`, and these names to `weight` and what else its terms take, as vectors. */
  readonly pair: string;
  /** A number of each row that sums over its pairs, by each of the two kernels: an operand, and the code that makes it. */
  readonly sum?: {
    readonly operands: Kernel['operands'];
    readonly rows: Summing;
    readonly tiled: (halves: Halves) => Summing;
  };
}

interface Summing {
  readonly declare: string;
  readonly add: string;
  readonly store: string;
}

const NO_SUM: Summing = { declare: '', add: '', store: '' };

export const sumInRows = (hook: PairHook | undefined): Summing => hook?.sum?.rows ?? NO_SUM;
export const sumInTiles = (hook: PairHook | undefined, halves: Halves): Summing => hook?.sum?.tiled(halves) ?? NO_SUM;

/** The numbers of each row: its lse, and its sum of out gradOut, minus gradLse. */
export const rowsOf = (hook: PairHook | undefined): readonly string[] => hook?.rows ?? ['lse', 'delta'];

/** A side's slots, and its tensors by phase. */
const SIDES = {
  keys: { name: 'key', slot: 'key_at', head: 'key_head', tensors: ['k', 'v', 'k'] },
  queries: { name: 'query', slot: 'query_at', head: 'head', tensors: ['q', 'grad_out', ''] },
} as const;

export interface SideCode {
  readonly name: string;
  readonly slot: string;
  readonly head: string;
  readonly tensors: readonly [string, string, string];
}

export function sideOf(side: Side, hook: PairHook | undefined): SideCode {
  const { tensors, ...others } = SIDES[side];
  return { ...others, tensors: [tensors[0], tensors[1], tensors[2] || (hook?.second ?? '')] };
}

export const otherSide = (side: Side, hook: PairHook | undefined) => sideOf(side === 'keys' ? 'queries' : 'keys', hook);

const operand: OperandSpec = { access: 'read', rank: 4, vector: true };
const result: OperandSpec = { access: 'write', rank: 4, vector: true };

/** The operands and numbers of a kernel over pairs: what it reads, and results. */
export const pairsOperands = (
  score: ScoreShader,
  hook: PairHook | undefined,
  gradients: readonly Gradient[],
  own: Pick<Kernel, 'operands' | 'numbers'> = { operands: {} },
): Pick<Kernel, 'operands' | 'numbers'> => ({
  operands: {
    q: operand,
    k: operand,
    v: operand,
    ...((hook?.hasGradOut ?? true) && { grad_out: operand }),
    ...(hook && { [hook.second]: operand }),
    rows: { access: 'read' },
    map: TILES.operand,
    ...score.operands,
    ...Object.fromEntries(gradients.map(({ name }) => [name, result])),
    ...hook?.sum?.operands,
    ...own.operands,
  },
  numbers: {
    n: 'u32',
    h: 'u32',
    repeat: 'u32',
    d: 'u32',
    e: 'u32',
    scale: 'f32',
    ...TILES.numbers,
    ...score.numbers,
    ...own.numbers,
  },
});
