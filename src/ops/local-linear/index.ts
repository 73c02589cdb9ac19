/**
 * Local linear attention: each query fits a line to the values over its keys, weighted by softmax, and gives the line's
 * value at itself.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 * Source: Zuo et al. 2025, Local Linear Attention, arXiv 2510.01450.
 */
import { checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError, UnsupportedError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { FLOATS, LARGEST_HEAD } from '../../runtime/cpu/params';
import type { Expectation, Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import { bindShapes, formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkGradients, checkOptions, checkTensors } from '../check';
import { compute, type ResultSpec } from '../compute';
import { zeros } from '../float32';
import {
  type LocalLinearBackwardCall,
  type LocalLinearCall,
  type LocalLinearProblem,
  type LocalLinearSolver,
  SOLVERS,
} from './call';
import { planLocalLinear, planLocalLinearBackward } from './cpu';
import { kernels } from './params.generated';

/** The least number above 0 that float32 holds to its full precision, and the largest. */
const SMALLEST = 2 ** -126;
const LARGEST = 2 ** 128 - 2 ** 104;

const forward: Op<LocalLinearCall> = {
  name: 'localLinearAttention',
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planLocalLinear,
  webgpu: async () => (await import('./webgpu')).planLocalLinear,
  faults: (call) => faultsOf('localLinearAttention', call),
};

const backward: Op<LocalLinearBackwardCall> = {
  name: 'localLinearAttentionBackward',
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planLocalLinearBackward,
  webgpu: async () => (await import('./webgpu')).planLocalLinearBackward,
  faults: (call) => faultsOf('localLinearAttentionBackward', call),
};

/** The same for the forward and the backward pass. */
export interface LocalLinearSettings {
  /** Penalty on the slope of each row's line, for weights that sum to 1; from 0, default 10. */
  readonly ridge?: number | undefined;
  /** [b, n, h]: a ridge for each row, in place of `ridge`. */
  readonly ridgeRows?: Tensor | undefined;
  /** Query i sees key j only if j <= i + m - n: the last query sees the last key. Default false. */
  readonly causal?: boolean | undefined;
  /** Factor on the scores; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** Conjugate gradients, or the matrix of each row and its Cholesky factor, which pays for few dimensions. Default `cg`. */
  readonly solver?: LocalLinearSolver | undefined;
  /** For `cg`: what may be left of a row's right-hand side, relative to its norm. Default 1e-6. */
  readonly tolerance?: number | undefined;
  /** For `cg`: from 1. Default 32. */
  readonly maxIterations?: number | undefined;
  /** Whether gradients take the sum of a row's exponentials, by which its ridge is multiplied, as a constant. Default false. */
  readonly stopGradRidge?: boolean | undefined;
}

export interface LocalLinearOptions extends LocalLinearSettings, Control {
  /** Where to write: a contiguous tensor that no input shares memory with. */
  readonly out?: Tensor | undefined;
}

export interface LocalLinearResult {
  /** [b, n, h, e] in the dtype of q: the only one that has a gradient. */
  readonly out: Tensor;
  /** [b, n, h], f32: natural logarithm of the sum of exponentials of the scaled scores; -Infinity for no key. */
  readonly lse: Tensor<'f32'>;
  /** [b, n, h, d], f32: what solves (covariance of the keys under the weights + ridge) x = mean of the keys - query. */
  readonly solution: Tensor<'f32'>;
  /** [b, n, h], f32: what was left of that system's right-hand side, relative to it; 0 from the direct solver. */
  readonly residual: Tensor<'f32'>;
  /** [b, n, h], f32: how many conjugate gradients took. */
  readonly iterations: Tensor<'f32'>;
}

/** What the forward pass returned, of which `lse` may be left out, and a loss's gradient with respect to `out`. */
export interface LocalLinearGradients extends Pick<LocalLinearResult, 'solution'> {
  readonly lse?: LocalLinearResult['lse'] | undefined;
  /** [b, n, h, e]. */
  readonly gradOut: Tensor;
}

/** Each of the shape and dtype of its input. */
export interface LocalLinearBackwardResult {
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  /** Only if there were any. */
  readonly gradRidgeRows?: Tensor;
}

const SETTINGS = ['ridge', 'ridgeRows', 'causal', 'scale', 'solver', 'tolerance', 'maxIterations', 'stopGradRidge'];
const CONTROL = ['signal', 'onProgress'];

/**
 * For each query the intercept at it of the affine map from keys to values that minimises the sum over the keys it sees of
 * softmax(scale q k) |value - map(key)|^2 + ridge |slope|^2. With a large ridge it is softmax attention; without one it is
 * exact where values are an affine function of keys.
 *
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d and e are
 * from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic. Never holds n x m numbers. A query that sees no key gives zeros.
 * Weights may be negative; rounding puts an error of about 1e-7 |key| |solution| on them, keys less what they have in common,
 * so that small ridges want keys that span the space. A row whose system is singular in float32, or not solved within `maxIterations`, is a fault of the results.
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
  checkTensors({ q, k, v });
  checkOptions('localLinearAttention', options, [...SETTINGS, ...CONTROL, 'out']);
  const { problem, inputs, b, n, h, d, e } = checkProblem({ q, k, v }, options);
  const rows = { shape: [b, n, h], dtype: 'f32' } as const;
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    lse: rows,
    solution: { shape: [b, n, h, d], dtype: 'f32' },
    residual: rows,
    iterations: rows,
  } as const satisfies Record<string, ResultSpec>;
  const derivative = derivativeOf(options);
  return compute(forward, inputs, results, (computed) => ({ ...problem, ...computed }), options, { derivative });
}

function derivativeOf({
  ridgeRows: _rows,
  signal: _signal,
  onProgress: _progress,
  out: _out,
  ...settings
}: LocalLinearOptions): Derivative {
  return {
    saves: ['q', 'k', 'v', 'ridgeRows', 'solution'],
    gradients(saved, { out, ...others }, _, control) {
      const other = Object.entries(others).find(([, gradient]) => gradient)?.[0];
      if (other) throw new UnsupportedError(`'${other}' of localLinearAttention has no gradient: only out has`);
      const { q, k, v, ridgeRows } = saved as Record<'q' | 'k' | 'v', Tensor> & { readonly ridgeRows?: Tensor };
      const { solution } = saved as unknown as LocalLinearResult;
      const gradOut = out ?? zeros(q.runtime, [...q.shape.slice(0, 3), v.shape[3] as number]);
      const options = { ...settings, ridgeRows, ...control };
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
  checkGradients('localLinearAttentionBackward', gradients, ['gradOut', 'lse', 'solution']);
  const { lse, solution, gradOut } = gradients;
  const results = { solution, ...(lse !== undefined && { lse }) };
  checkTensors({ q, k, v, gradOut, ...results });
  checkOptions('localLinearAttentionBackward', options, [...SETTINGS, ...CONTROL]);
  const { problem, inputs, stopGradRidge, b, n, h, d, e } = checkProblem({ q, k, v }, options);
  const shapes = { lse: [b, n, h], solution: [b, n, h, d], gradOut: [b, n, h, e] };
  for (const [name, { shape, dtype, isContiguous, strides }] of Object.entries({ ...results, gradOut })) {
    const expected = shapes[name as keyof typeof shapes];
    if (!sameShape(shape, expected))
      throw new ShapeError(`${name} must have shape ${formatShape(expected)}, got ${formatShape(shape)}`);
    if (name !== 'gradOut' && (dtype !== 'f32' || !isContiguous))
      throw new DTypeError(`${name} must be contiguous f32, got ${dtype}, strides ${formatShape(strides)}`);
  }
  checkStorage('gradOut', gradOut);
  const like = ({ shape, dtype }: Tensor): ResultSpec => ({ shape, dtype });
  const { ridgeRows } = options;
  const specs: Record<string, ResultSpec> = {
    gradQ: like(q),
    gradK: like(k),
    gradV: like(v),
    residual: { shape: [b, n, h], dtype: 'f32' },
    ...(ridgeRows && { gradRidgeRows: like(ridgeRows) }),
  };
  const given = { solution, gradOut };
  const call = (computed: object) => ({ ...problem, ...given, ...computed, stopGradRidge }) as LocalLinearBackwardCall;
  const { residual, ...grads } = compute(backward, { ...inputs, ...given }, specs, call, options);
  residual?.dispose();
  return grads as unknown as LocalLinearBackwardResult;
}

/** The problem of a call, its tensors and extents; throws where they do not fit. */
function checkProblem({ q, k, v }: Readonly<Record<'q' | 'k' | 'v', Tensor>>, options: LocalLinearSettings & Control) {
  checkControl(options);
  const {
    ridgeRows,
    causal = false,
    solver = 'cg',
    tolerance = 1e-6,
    maxIterations = 32,
    stopGradRidge = false,
  } = options;
  if (ridgeRows !== undefined) checkTensors({ ridgeRows });
  const inputs: Readonly<Record<string, Tensor>> = { q, k, v, ...(ridgeRows && { ridgeRows }) };
  const letters = bindShapes(
    { q: 'b n h d', k: 'b m g d', v: 'b m g e', ...(ridgeRows && { ridgeRows: 'b n h' }) } as Record<string, string>,
    Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape])),
  ) as Record<'b' | 'n' | 'm' | 'h' | 'g' | 'd' | 'e', number>;
  const { h, g, d, e } = letters;
  if (h % g !== 0)
    throw new ShapeError(
      `the ${g} heads of k ${formatShape(k.shape)} must divide the ${h} heads of q ${formatShape(q.shape)}`,
    );
  for (const [letter, extent, { shape }] of [
    ['d', d, q],
    ['e', e, v],
  ] as const) {
    if (extent > LARGEST_HEAD)
      throw new ShapeError(`the head dimension ${letter} must be at most ${LARGEST_HEAD}, got ${formatShape(shape)}`);
  }
  for (const [name, tensor] of Object.entries(inputs)) checkStorage(name, tensor);
  if (ridgeRows !== undefined && options.ridge !== undefined)
    throw new ParameterError('ridge is given by row in ridgeRows: leave it out');
  const { ridge = 10, scale = 1 / Math.sqrt(d) } = options;
  if (!(ridge === 0 || (typeof ridge === 'number' && ridge >= SMALLEST && ridge <= LARGEST)))
    throw new ParameterError(
      `ridge must be 0 or a number from 1.18e-38 to 3.4e38, as float32 holds, got ${show(ridge)}`,
    );
  if (typeof scale !== 'number' || !Number.isFinite(scale))
    throw new ParameterError(`scale must be a finite number, got ${show(scale)}`);
  for (const [name, value] of Object.entries({ causal, stopGradRidge }))
    if (typeof value !== 'boolean') throw new ParameterError(`${name} must be true or false, got ${show(value)}`);
  if (!SOLVERS.includes(solver))
    throw new ParameterError(`solver must be one of ${SOLVERS.join(', ')}, got ${show(solver)}`);
  if (!(typeof tolerance === 'number' && tolerance > 0 && tolerance < 1))
    throw new ParameterError(`tolerance must be a number above 0 and below 1, got ${show(tolerance)}`);
  checkWhole('maxIterations', maxIterations, 1);
  const problem: LocalLinearProblem = {
    q,
    k,
    v,
    ridge,
    ridgeRows,
    causal,
    scale,
    solver,
    tolerance,
    maxIterations,
  };
  return { ...letters, problem, inputs, stopGradRidge };
}

function checkStorage(name: string, { dtype }: Tensor): void {
  if (!(FLOATS as readonly DType[]).includes(dtype))
    throw new DTypeError(`${name} must be one of ${FLOATS.join(', ')}, got ${dtype}`);
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
