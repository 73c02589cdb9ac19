/**
 * SEA: an estimated attention map of a few cells for each query says which keys are worth exact attention; a mean of the values
 * stands for the others.
 * Source: Lee et al. 2024, arXiv 2310.01777; the definition is that of the authors' code.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { cellAttention } from '../../../ops/cell-attention';
import { POOLS } from '../../../ops/cell-attention/call';
import { contiguous } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { gather } from '../../../ops/gather';
import { matmul } from '../../../ops/matmul';
import { mean } from '../../../ops/reduce';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { causal, choice, scale, whole } from '../../schema';
import { SeaCache } from './cache';
import { layer } from './layer';
import { mixed, runningMean } from './mixed';
import { reference, type SeaInputs } from './reference';

export const sea = defineMethod({
  name: 'sea',
  short: 'SEA',
  family: 'sparse',
  summary: 'exact attention to the keys of the best cells of an estimated map, mixed with a mean of values',
  paper: '2310.01777',
  inputs: { q: 'b n h d', k: 'b n g d', v: 'b n g e', estimate: 'b h n w', prob: 'b n h', mix: 'b n h' },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    keys: whole('keys that a query keeps, about, on average over its pool', { least: 1, preset: 64 }),
    causal,
    pool: choice(
      POOLS,
      'cells compete within a query and head, a head, a batch, or a query in all heads; else query, or causal-batch if causal',
    ),
    scale,
    cells: whole('cells of a map that a layer estimates, a multiple of 4', { least: 4, preset: 256 }),
    positions: whole('tokens that the causal estimator of a layer tells apart by their places', {
      least: 1,
      preset: 4096,
    }),
  }),

  reference,

  forward(inputs, { keys, causal, pool, scale }, control) {
    checkFloat32(sea.name, inputs, {});
    checkContiguous(inputs);
    if (causal && pool !== undefined && pool !== 'causal-batch')
      throw new ParameterError(`pool must be causal-batch if causal, got ${pool}`);
    const { q, k, v, estimate } = inputs;
    const shapes = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, x.shape]));
    const { g } = bindShapes(sea.inputs, shapes) as Record<'g', number>;
    return q.runtime.scope(() => {
      const chosen = cellAttention(q, k, v, estimate, { keys, causal, pool, scale, ...control });
      const around = causal ? runningMean(v) : estimatedMean(inputs);
      return { out: mixed(chosen, around, inputs, g, control) };
    });
  },

  cost({ b, n, h, g, d, e, w }, { keys, causal }) {
    const kept = causal ? keptCausally(n, keys) : n * Math.min(n, keys);
    const sums = causal ? 2 * g * n * e : h * n * w + 2 * h * n * e;
    return {
      flops: b * (2 * h * (d + e) * kept + sums + 4 * h * n * e),
      bytes: 4 * b * n * (h * (d + e + w + 2) + g * (d + e)),
      state: 0,
    };
  },

  layer,
  mostTokens: ({ causal, positions }) => (causal ? positions : Number.POSITIVE_INFINITY),
  continuation: (params) =>
    params.causal
      ? {
          from: 'own',
          open: (place) =>
            new SeaCache(
              place,
              params,
              Array.from({ length: place.rows }, () => ({ length: 0 })),
            ),
        }
      : { from: 'inputs' },

  /** None: it takes more than q, k and v, so `compare` leaves it out. */
  variants: () => [],
  page: () => import('./page'),
});

/** Keys that all queries keep together, if each keeps `keys` or all that it sees. */
function keptCausally(n: number, keys: number): number {
  const few = Math.min(n, keys);
  return (few * (few + 1)) / 2 + (n - few) * keys;
}

/** The values by the mean of all estimated maps, each cell's number for all its keys: [b, 1, g, h / g, e]. */
function estimatedMean({ v, estimate }: SeaInputs<Tensor>): Tensor {
  const [b, h, n, w] = estimate.shape as [number, number, number, number];
  const [g, e] = v.shape.slice(2) as [number, number];
  const cells = Int32Array.from({ length: n }, (_, j) => Math.max(0, Math.floor(((j + 0.5) / n) * w - 1e-4)));
  const table = contiguous(
    mean(estimate, { axes: [2] })
      .reshape([b * h, w])
      .permute([1, 0]),
  );
  const shares = contiguous(gather(table, v.runtime.tensor(cells, [n], 'i32')).permute([1, 0]));
  const values = v.permute([0, 2, 1, 3]);
  return matmul(shares.reshape([b, g, h / g, n]), values).reshape([b, 1, g, h / g, e]);
}
