/**
 * Softmax attention to the keys of chosen cells: rows of an estimate stretch `w` cells over the keys that each query sees, pools of
 * rows keep their largest cells, and each query and head attends to the keys of its own. Linear in the number of tokens.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension, w cells.
 */
import { ParameterError, ShapeError } from '../../errors';
import { withMemory } from '../../runtime/cpu/plan';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { boolean, defineOp, f32, group, i32, type OptionsOf, optional, setting, whole } from '../define';
import type { ResultOptions } from '../float32';
import { checkHeads, largestHead, scale } from '../heads';
import { type CellBackwardCall, type CellCall, POOLS, type Pool, type Pools } from './call';
import { CellBackwardParams, CellParams, kernels, QUERIES } from './params.generated';

const inputs = { q: f32('b n h d'), k: f32('b m g d'), v: f32('b m g e'), estimate: f32('b h n w') };

function paramsOf(call: Omit<CellCall, keyof Pools> & Partial<Pools>) {
  const [b, n, h, d] = call.q.shape as [number, number, number, number];
  const [m, g, e] = call.v.shape.slice(1) as [number, number, number];
  const none = { pools: 0, poolStep: 0, rows: 0, rowStep: 0, budget: 0 };
  return { ...none, ...call, b, n, m, h, g, d, e, width: call.estimate.shape[3] as number };
}

/** Cycles for each number of a key and its value, in and out of the cache, about. */
const microseconds = ({ q }: Pick<CellCall, 'q'>, keys: number) => (q.size * keys) / 4000;

/** @internal */
export const cellAttentionBackwardOp = defineOp({
  name: 'cellAttentionBackward',
  inputs: {
    ...inputs,
    /** What the forward pass gave, and a loss's gradient. */
    gradients: group(
      { out: f32('b n h e'), lse: f32('b n h'), bounds: f32('b h n'), ties: i32('b h n'), gradOut: f32('b n h e') },
      {},
    ),
  },
  options: { causal: boolean(false), scale },
  results: {
    gradQ: f32('b n h d', { fresh: true }),
    gradK: f32('b m g d', { fresh: true }),
    gradV: f32('b m g e', { fresh: true }),
  },
  largest: largestHead,
  fits: checkHeads,
  more: ({ gradients }) => gradients,
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: (call: CellBackwardCall) =>
    withMemory({}, () => [
      {
        phases: [{ kernel: 'cellsBackward', tasks: (call.k.shape[0] as number) * (call.k.shape[2] as number) }],
        params: CellBackwardParams({ cells: paramsOf(call), ...call }),
        microseconds: microseconds(call, 256),
      },
    ]),
  webgpu: async () => (await import('./webgpu')).planCellsBackward,
});

/** @internal */
export const cellAttentionOp = defineOp({
  name: 'cellAttention',
  inputs,
  options: {
    /** Keys that a query keeps, about, on average over its pool. Default 64. */
    keys: whole({ least: 1 }, 64),
    /** Whether query i sees the keys up to i + m - n only; cells are stretched over these. Default false. */
    causal: boolean(false),
    /**
     * Rows of the estimate that share a budget of cells: `query`, none; `causal-batch`, those of a query in all heads;
     * `head`, those of a head, or `batch`, all of a batch, unless causal. Default: `query`, or `causal-batch` if causal.
     */
    pool: optional(setting<Pool>(`one of ${POOLS.join(', ')}`, (pool) => POOLS.includes(pool))),
    scale,
  },
  results: {
    out: f32('b n h e'),
    lse: f32('b n h', { fresh: true }),
    bounds: f32('b h n', { fresh: true }),
    ties: i32('b h n', { fresh: true }),
  },
  largest: largestHead,
  fits: checkHeads,
  more: ({ keys, causal, pool }, extents) =>
    poolsOf(keys, causal, pool ?? (causal ? 'causal-batch' : 'query'), extents),
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu(call: CellCall & { readonly keys: number }) {
    const params = paramsOf(call);
    const { b, n, m, h } = params;
    return withMemory({}, () => [
      {
        phases: [
          { kernel: 'chooseCells', tasks: b * call.pools },
          { kernel: 'attendToCells', tasks: b * h * Math.ceil(n / QUERIES), main: true },
        ],
        params: CellParams(params),
        microseconds: microseconds(call, Math.min(m, call.keys)),
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planCells,
  derivative: ({ causal, scale }): Derivative => ({
    saves: ['q', 'k', 'v', 'estimate', 'out', 'lse', 'bounds', 'ties'],
    gradients(saved, { out: gradOut }, _, control) {
      const { q, k, v, estimate, ...kept } = saved as Record<string, Tensor>;
      const given = { q, k, v, estimate, gradients: { ...kept, gradOut } } as never;
      const { gradQ, gradK, gradV } = cellAttentionBackwardOp(given, { causal, scale, ...control });
      return { q: gradQ, k: gradK, v: gradV };
    },
  }),
});

export interface CellAttentionOptions extends OptionsOf<typeof cellAttentionOp>, ResultOptions {}

/**
 * softmax(scale q k^T) v over the keys of the cells that each query and head keeps: q [b, n, h, d], k [b, m, g, d], v [b, m, g, e],
 * estimate [b, h, n, w], f32, contiguous -> [b, n, h, e]. Of the L keys that a query sees, key j lies in cell
 * floor((j + 1/2) w / L - 1e-4). A pool keeps so many of its largest cells as its share of `keys` fills, of equal ones the earlier,
 * one at least. A query that keeps none gives zeros. No gradient passes through the choice.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {ParameterError} `head` or `batch` if causal
 */
export function cellAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  estimate: Tensor,
  options: CellAttentionOptions = {},
): Tensor<'f32'> {
  const { out, ...kept } = cellAttentionOp({ q, k, v, estimate }, options);
  // Only the tape keeps them.
  for (const each of Object.values(kept)) each.dispose();
  return out;
}

function poolsOf(keys: number, causal: boolean, pool: Pool, { h, n, m, w }: Readonly<Record<string, number>>): Pools {
  const [heads, rows, seen, width] = [h, n, m, w] as [number, number, number, number];
  if (causal && seen < rows)
    throw new ShapeError(`k must have as many tokens as q at least, ${rows}, if causal, got ${seen}`);
  if (causal && (pool === 'head' || pool === 'batch'))
    throw new ParameterError(
      `pool must be query or causal-batch if causal, got ${pool}, whose cells compete with those of later queries`,
    );
  // Where queries see different numbers of keys, each divides by its own.
  const share = (keys * width) / (causal ? 1 : seen);
  const one = { pools: heads * rows, poolStep: 1, rows: 1, rowStep: 1, budget: share };
  if (pool === 'head') return { ...one, pools: heads, poolStep: rows, rows, budget: rows * share };
  if (pool === 'batch') return { ...one, pools: 1, rows: heads * rows, budget: heads * rows * share };
  if (pool === 'query') return one;
  return { pools: rows, poolStep: 1, rows: heads, rowStep: rows, budget: heads * share };
}
