/**
 * Local linear attention: each query fits a line to the values over its keys, weighted by softmax, and gives the line's
 * value at itself.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 * Source: Zuo et al. 2025, Local Linear Attention, arXiv 2510.01450.
 */
import { ParameterError, UnsupportedError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Expectation } from '../../runtime/op';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import {
  boolean,
  type CheckedOptions,
  choice,
  defineOp,
  f32,
  floats,
  group,
  type Members,
  type OptionsOf,
  optional,
  type ResultsOf,
  setting,
  whole,
} from '../define';
import { zeros } from '../float32';
import { checkHeads, gradients, largestHead, STRIDED, scale, tokens } from '../heads';
import { type LocalLinearProblem, SOLVERS } from './call';
import { planLocalLinear, planLocalLinearBackward } from './cpu';
import { kernels } from './params.generated';

/** The least number above 0 that float32 holds to its full precision, and the largest. */
const SMALLEST = 2 ** -126;
const LARGEST = 2 ** 128 - 2 ** 104;

/** The same for the forward and the backward pass. */
const settings = {
  /** Penalty on the slope of each row's line, for weights that sum to 1; from 0, default 10. */
  ridge: optional(
    setting<number>(
      '0 or a number from 1.18e-38 to 3.4e38, as float32 holds',
      (ridge) => ridge === 0 || (typeof ridge === 'number' && ridge >= SMALLEST && ridge <= LARGEST),
    ),
  ),
  /** [b, n, h]: a ridge for each row, in place of `ridge`. */
  ridgeRows: floats('b n h', STRIDED),
  /** Query i sees key j only if j <= i + m - n: the last query sees the last key. Default false. */
  causal: boolean(false),
  /** Factor on the scores; default 1 / sqrt(d). */
  scale,
  /** Conjugate gradients, or the matrix of each row and its Cholesky factor, which pays for few dimensions. Default `cg`. */
  solver: choice('cg', ...SOLVERS),
  /** For `cg`: what may be left of a row's right-hand side, relative to its norm. Default 1e-6. */
  tolerance: setting<number>(
    'a number above 0 and below 1',
    (tolerance) => typeof tolerance === 'number' && tolerance > 0 && tolerance < 1,
    1e-6,
  ),
  /** For `cg`: from 1. Default 32. */
  maxIterations: whole({ least: 1 }, 32),
  /** Whether gradients take the sum of a row's exponentials, by which its ridge is multiplied, as a constant. Default false. */
  stopGradRidge: boolean(false),
};

type Settings = CheckedOptions<typeof settings>;

function ridgeOf({ ridge, ridgeRows }: Settings) {
  if (ridgeRows && ridge !== undefined) throw new ParameterError('ridge is given by row in ridgeRows: leave it out');
  return { ridge: ridge ?? 10 };
}

const FRESH = { fresh: true } as const;
const rows = f32('b n h', FRESH);

/** @internal */
export const localLinearBackwardOp = defineOp({
  name: 'localLinearAttentionBackward',
  inputs: {
    ...tokens,
    gradients: group(
      {
        /** [b, n, h, e]. */
        gradOut: floats('b n h e', STRIDED),
        /** As the forward pass returned it. */
        solution: f32('b n h d'),
      },
      {
        /** May stand beside it. */
        lse: f32('b n h'),
      },
    ),
  },
  options: settings,
  results: {
    ...gradients,
    /** Only if there were any. */
    gradRidgeRows: floats('b n h', { like: 'ridgeRows', fresh: true, when: 'ridgeRows' }),
    residual: rows,
  },
  largest: largestHead,
  fits: checkHeads,
  more: ({ gradients: { gradOut, solution }, ...given }) => ({ ...ridgeOf(given), gradOut, solution }),
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planLocalLinearBackward,
  webgpu: async () => (await import('./webgpu')).planLocalLinearBackward,
  faults: (call) => faultsOf('localLinearAttentionBackward', call),
});

/** @internal */
export const localLinearOp = defineOp({
  name: 'localLinearAttention',
  inputs: tokens,
  options: settings,
  results: {
    /** [b, n, h, e] in the dtype of q: the only one that has a gradient. */
    out: floats('b n h e', { like: 'q' }),
    /** [b, n, h], f32: natural logarithm of the sum of exponentials of the scaled scores; -Infinity for no key. */
    lse: rows,
    /** [b, n, h, d], f32: what solves (covariance of the keys under the weights + ridge) x = mean of the keys - query. */
    solution: f32('b n h d', FRESH),
    /** [b, n, h], f32: what was left of that system's right-hand side, relative to it; 0 from the direct solver. */
    residual: rows,
    /** [b, n, h], f32: how many conjugate gradients took. */
    iterations: rows,
  },
  largest: largestHead,
  fits: checkHeads,
  more: ridgeOf,
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planLocalLinear,
  webgpu: async () => (await import('./webgpu')).planLocalLinear,
  faults: (call) => faultsOf('localLinearAttention', call),
  derivative: derivativeOf,
});

export interface LocalLinearSettings extends OptionsOf<typeof localLinearOp> {}

export interface LocalLinearOptions extends LocalLinearSettings, Control {
  /** Where to write: a contiguous tensor that no input shares memory with. */
  readonly out?: Tensor | undefined;
}

export interface LocalLinearResult extends ResultsOf<typeof localLinearOp> {}

/** What the forward pass returned, and a loss's gradient with respect to `out`. */
export interface LocalLinearGradients extends Members<typeof localLinearBackwardOp.declaration.inputs.gradients> {}

/** Each of the shape and dtype of its input. */
export interface LocalLinearBackwardResult extends Omit<ResultsOf<typeof localLinearBackwardOp>, 'residual'> {}

/**
 * For each query the intercept at it of the affine map from keys to values that minimises the sum over the keys it sees of
 * softmax(scale q k) |value - map(key)|^2 + ridge |slope|^2. With a large ridge it is softmax attention; without one it is
 * exact where values are an affine function of keys.
 *
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d and e are
 * from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic. Never holds n x m numbers. A query that sees no key gives zeros.
 * Weights may be negative; rounding puts an error of about 1e-7 |key| |solution| on them, keys less what they have in common,
 * so that small ridges want keys that span the space: with 30 keys of 8 normal numbers, scale 3 and a ridge of 1e-3, up to 1e-3 of
 * the largest output and of the largest gradient of v, though systems are solved to `tolerance`. A row whose system is singular in float32, or not solved within `maxIterations`, is a fault of the results.
 *
 * @throws {ShapeError} ranks or extents that do not fit, heads that do not divide
 * @throws {ParameterError} an unknown or ill-typed option, a ridge below 0 or that float32 does not hold
 */
export function localLinearAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: LocalLinearOptions = {},
): LocalLinearResult {
  return localLinearOp({ q, k, v }, options);
}

/** `ridge` is that of all rows, also where each has its own. */
function derivativeOf({
  ridge,
  ridgeRows,
  causal,
  scale,
  solver,
  tolerance,
  maxIterations,
  stopGradRidge,
}: Settings): Derivative {
  const settings = { causal, scale, solver, tolerance, maxIterations, stopGradRidge, ...(!ridgeRows && { ridge }) };
  return {
    saves: ['q', 'k', 'v', 'ridgeRows', 'solution'],
    gradients(saved, { out, ...others }, _, control) {
      const other = Object.entries(others).find(([, gradient]) => gradient)?.[0];
      if (other) throw new UnsupportedError(`'${other}' of localLinearAttention has no gradient: only out has`);
      const { q, k, v, solution } = saved as Record<'q' | 'k' | 'v' | 'solution', Tensor>;
      const gradOut = out ?? zeros(q.runtime, [...q.shape.slice(0, 3), v.shape[3] as number]);
      const options = { ...settings, ridgeRows: saved.ridgeRows, ...control };
      const grads = localLinearAttentionBackward(q, k, v, { solution, gradOut }, options);
      return { q: grads.gradQ, k: grads.gradK, v: grads.gradV, ridgeRows: grads.gradRidgeRows };
    },
  };
}

/**
 * Gradients of a loss with respect to the inputs of `localLinearAttention`, from that with respect to `out`; the settings
 * must be the same. A second system for each row, and the weights again: O(n) memory. The same bits whatever the number of threads. The
 * inputs must be finite.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} as `localLinearAttention`
 */
export function localLinearAttentionBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  gradients: LocalLinearGradients,
  options: LocalLinearSettings & Control = {},
): LocalLinearBackwardResult {
  const { residual, ...grads } = localLinearBackwardOp({ q, k, v, gradients }, options);
  residual.dispose();
  return grads;
}

/** What only the device can see: ridges, and whether systems were solved. */
function faultsOf(op: string, call: LocalLinearProblem & { readonly residual: Tensor }): Expectation[] {
  const { ridgeRows, residual, tolerance, maxIterations } = call;
  const unsolved: Expectation = {
    tensor: residual,
    // Rounded as the kernels round it.
    least: 0,
    most: 1.001 * tolerance,
    error(_value, _place, { count, largest }) {
      const why = Number.isFinite(largest)
        ? `after ${maxIterations} iterations the largest residual is ${largest.toPrecision(3)} of the right-hand side, above ${tolerance}: raise maxIterations, tolerance or ridge`
        : 'a system is singular in float32: raise ridge';
      return new ParameterError(`${op} did not solve ${count} of ${residual.size} rows: ${why}`);
    },
  };
  if (!ridgeRows) return [unsolved];
  const [, n, h] = ridgeRows.shape as [number, number, number];
  const ridges: Expectation = {
    tensor: ridgeRows,
    least: 0,
    most: LARGEST,
    error(value, at) {
      const place = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
      return new ParameterError(`ridgeRows must be finite and at least 0, got ${value} at ${formatShape(place)}`);
    },
  };
  return [ridges, unsolved];
}
