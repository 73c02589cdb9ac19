/**
 * Local linear attention: each query fits an affine map from keys to values, weighted by softmax, and gives its value at
 * itself, where softmax attention fits a constant.
 * Source: Zuo et al. 2025, arXiv 2510.01450; defaults as in the authors' code, FlashLLA.
 */
import * as valibot from 'valibot';
import { area } from '../../../masks/area';
import { bandOf } from '../../../ops/attention';
import { localLinearAttention as attend } from '../../../ops/local-linear';
import { SOLVERS } from '../../../ops/local-linear/call';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod, problemOfLetters } from '../../define';
import { causal, choice, number, scale, whole } from '../../schema';
import { reference } from './reference';

/** Iterations of conjugate gradients for keys of unit variance and a ridge of 1. */
const USUAL_ITERATIONS = 8;

export const localLinearAttention = defineMethod({
  name: 'local-linear-attention',
  family: 'local-linear',
  short: 'local-linear',
  summary: 'softmax attention that fits a line in place of a mean: less biased, some times as slow',
  paper: '2510.01450',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: { ridge_rows: 'b n h' },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    ridge: number('penalty on the slope, unless ridge_rows has one for each row', { least: 0, preset: 10 }),
    causal,
    scale,
    solver: choice(SOLVERS, 'conjugate gradients, or the matrix of each row; else conjugate gradients'),
    tolerance: number(
      'of conjugate gradients: the residual at which to stop, relative to the norm of the right-hand side',
      {
        above: 0,
        below: 1,
        preset: 1e-6,
      },
    ),
    maxIterations: whole('of conjugate gradients; a row that needs more is an error', { least: 1, preset: 32 }),
  }),

  reference,

  forward(tensors, { ridge, ...params }, control) {
    const { q, k, v, ridge_rows: ridgeRows } = tensors;
    const settings = { ...params, ...(ridgeRows ? { ridgeRows } : { ridge }), ...control };
    return q.runtime.scope(() => ({ out: attend(q, k, v, settings).out }));
  },

  /** Weights follow from the query, so that nothing can be summed up before it comes. */
  continuation: () => ({ from: 'inputs', lastQueries: true }),

  /** A ridge for each token and head. Reconstructed: its projection, which starts from the ridge of the params. */
  layer: ({ width, heads }, { ridge }) => ({
    parameters: {
      'ridge_proj.weight': { shape: [heads, width], initial: { std: 0.02 } },
      // Softplus of it is the ridge.
      'ridge_proj.bias': { shape: [heads], initial: { value: ridge + Math.log(-Math.expm1(-Math.max(ridge, 1e-6))) } },
    },
    inputs(x, _, parameters) {
      const { 'ridge_proj.weight': weight, 'ridge_proj.bias': bias } = parameters as Record<string, Tensor>;
      const projected = matmul(x, weight as Tensor, { transposeB: true });
      return { ridge_rows: map((x, bias, { softplus }) => softplus(x + bias), projected, bias as Tensor) };
    },
  }),

  cost(letters, { causal, solver }) {
    const { b, n, m, h, g, d, e } = letters;
    const problem = problemOfLetters(letters);
    const pairs = area(bandOf({ causal }), problem);
    // Scores, mean of the keys, factor of the weights; sum of the values.
    const ends = pairs * (6 * d + 2 * e);
    const solved =
      solver === 'direct' ? pairs * d * (d + 1) + (b * h * n * d ** 3) / 3 : 4 * USUAL_ITERATIONS * d * pairs;
    return { flops: ends + solved, bytes: 4 * b * (n * h * (d + e) + m * g * (d + e)), state: 0 };
  },

  variants: () => [{}, { ridge: 1 }],
  page: () => import('./page'),
});
