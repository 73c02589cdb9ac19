/**
 * Dynamic differential linear attention: features whose exponent each token picks, less a share, picked by each token
 * too, of the features of a redundant query or key. The projection that makes these is in `dynamic-projection.ts`.
 * Source: Cao et al. 2026, arXiv 2601.13683, from a review and a port of it: no code of the authors was found. What is
 * reconstructed is marked in the README.
 */
import * as valibot from 'valibot';
import { ParameterError, ShapeError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import type { HostTensor } from '../../../tensor/host';
import { bindShapes, formatShape, type Shape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, number } from '../../schema';
import { pairProducts, rowsAt } from '../../weights';
import { attend, features } from './attend';
import { layer } from './layer';
import { type DydilaInputs, reference } from './reference';

/** Beyond it rows are one-hot, and slopes would overflow float32. */
const LARGEST_EXPONENT = 1e6;
/** Its inverse is still far from the end of float32. */
const SMALLEST_SUM = 1e-30;

export const dydila = defineMethod({
  name: 'dydila',
  family: 'linear',
  summary: 'linear attention over powers that keep their length, less those of redundant queries and keys',
  paper: '2601.13683',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: {
    q_redundant: 'b n h d',
    k_redundant: 'b m g d',
    gamma: 'f u',
    gamma_router: 'f d u',
    lambda: 's',
    lambda_router: 't w s',
  },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    gamma: number('exponent where no input gamma is given', { least: 1, most: LARGEST_EXPONENT, preset: 3 }),
    lambda: number('share of the redundant features where no input lambda is given', { preset: 0.01 }),
    scale: number('factor on the scores; else 1 / m'),
    normalise: choice(
      ['none', 'sum'],
      'sum divides a row by the magnitude of the sum of its weights, which may vanish',
      'none',
    ),
    epsilon: number('magnitudes of sums below become it', { least: SMALLEST_SUM, preset: 1e-6 }),
  }),
  isCausal: () => false,
  needsTraining: true,

  reference(inputs: DydilaInputs<HostTensor>, params, gradOut) {
    checkShapes(inputs);
    return reference(inputs, params, gradOut);
  },

  forward(inputs: DydilaInputs<Tensor>, params, control = {}) {
    checkInputs(inputs);
    return { out: attend(inputs, params, control) };
  },

  layer,

  /** For settings without redundant queries and keys, banks and routers. */
  cost({ b, n, m, h, g, d, e }, { normalise }) {
    const rows = b * (n * h + m * g);
    // The sums of weights are one more column of values; then magnitude, inverse and quotients.
    const sums = normalise === 'sum' ? 2 * rows * d + b * n * h * (2 + e) : 0;
    return {
      // relu, a share of the largest, its power, two lengths and the factor: eight operations a number.
      flops: 8 * rows * d + b * n * h * d + 2 * rows * d * e + sums,
      bytes: 4 * b * (n * h * (d + e) + m * g * (d + e)),
      state: 4 * b * h * d * e,
    };
  },

  /** For settings without redundant queries and keys, banks and routers. */
  weights({ q, k, v }, params, queries) {
    const inputs = { q: rowsAt(q, queries), k, v };
    return pairProducts({ q: features(0, inputs.q, inputs, params), k: features(1, k, inputs, params) });
  },

  variants: () => [{}, { gamma: 1 }, { gamma: 5 }],
  page: () => import('./page'),
});

function checkInputs(inputs: DydilaInputs<Tensor>): void {
  const given: Record<string, Tensor> = { ...inputs };
  checkFloat32(dydila.name, given, {});
  checkContiguous(given);
  checkShapes(inputs);
}

function checkShapes(inputs: DydilaInputs<{ readonly shape: Shape }>): void {
  const specs: Record<string, string> = { ...dydila.inputs, ...dydila.optional };
  const given = Object.entries(inputs).filter((entry): entry is [string, { shape: Shape }] => entry[1] && true);
  const { d, f, u, s, t, w } = bindShapes(
    Object.fromEntries(given.map(([name]) => [name, specs[name] as string])),
    Object.fromEntries(given.map(([name, { shape }]) => [name, shape])),
  );
  const needs = (one: keyof typeof inputs, other: keyof typeof inputs) => {
    if (inputs[one] && !inputs[other]) throw new ParameterError(`${one} needs ${other}`);
  };
  needs('q_redundant', 'k_redundant');
  needs('k_redundant', 'q_redundant');
  needs('lambda', 'q_redundant');
  needs('gamma_router', 'gamma');
  needs('lambda_router', 'lambda');
  const kernels = inputs.q_redundant ? 4 : 2;
  for (const name of ['gamma', 'gamma_router'] as const) {
    const shape = inputs[name]?.shape;
    if (shape && f !== kernels)
      throw new ShapeError(
        `${name} must have ${kernels} rows, for q, k${kernels === 4 ? ', q_redundant and k_redundant' : ''}, got ${formatShape(shape)}`,
      );
  }
  if (inputs.gamma && !inputs.gamma_router && u !== 1)
    throw new ParameterError(`gamma ${formatShape(inputs.gamma.shape)} needs gamma_router to pick from it`);
  if (inputs.lambda && !inputs.lambda_router && s !== 1)
    throw new ParameterError(`lambda ${formatShape(inputs.lambda.shape)} needs lambda_router to pick from it`);
  if (inputs.lambda_router && (t !== 2 || w !== 2 * (d as number)))
    throw new ShapeError(
      `lambda_router must have shape [2, 2 d, s] with d = ${d} as in q, got ${formatShape(inputs.lambda_router.shape)}`,
    );
}
