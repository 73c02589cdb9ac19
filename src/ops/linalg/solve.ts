/** Systems of equations, inverses and determinants. */
import { ParameterError, UnsupportedError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { choice, defineComposite, defineOp, f64, i32, type OptionsOf, reals, whole } from '../define';
import type { ResultOptions } from '../float32';
import { add, multiply } from '../map';
import { planCholeskySolve, planLu, planRefinedSolve } from './cpu';
import { negative, productAcross, refuseWide, scaled, transposed } from './derive';
import { faultsOfRows, indefinite, singular } from './faults';
import { kernels } from './params.generated';
import { sameLead, triangularSolve } from './triangular-solve';

const inputs = { a: reals('... n n'), b: reals('... n c', { like: 'a' }) };
const out = reals('... n c', { like: 'a' });
const status = i32('... n', { fresh: true });

/** What has no kernels for GPUs. */
export const onCpuAlone = (op: string) => async () => () => {
  throw new UnsupportedError(`${op} has no kernels for GPUs: use a runtime with backend 'wasm'`);
};

const options = {
  /**
   * What a is: `general` matrices are solved by elimination with pivoting, in float64, `positive-definite` (and symmetric) ones
   * by their Cholesky factor, in their own element type and many times as fast. Default `general`.
   */
  assume: choice('general', 'general', 'positive-definite'),
  /**
   * How often a solution by the factor is corrected by its residual, which is summed in float64: once or twice leaves of the
   * errors of an f32 factor those of rounding alone, unless the condition of a nears 1e7. Default 0.
   */
  refine: whole({ least: 0, most: 10 }, 0),
};

const generalSolveOp = defineOp({
  name: 'solve',
  inputs,
  results: { out, status },
  operations: '... n n n + 2 ... n n c',
  fits: sameLead,
  reference: async () => (await import('./reference')).lu,
  kernels,
  cpu: planLu,
  webgpu: onCpuAlone('solve'),
  faults: ({ status }) => faultsOfRows('solve', status, singular),
  derivative({ a }): Derivative {
    refuseWide('solve', a);
    return {
      saves: ['a', 'out'],
      gradients({ a, out: x }, { out: gradOut }) {
        const b = freed(generalSolveOp({ a: transposed(a as Tensor), b: gradOut as Tensor }));
        return { b, a: negative(productAcross(b, x as Tensor)) };
      },
    };
  },
});

const choleskySolveOp = defineOp({
  name: 'solve',
  inputs,
  options: { refine: options.refine },
  results: { out, factor: reals('... n n', { like: 'a', fresh: true }), status },
  operations: '... n n n + 2 ... n n c',
  fits: sameLead,
  reference: async () => (await import('./reference')).choleskySolve,
  kernels,
  cpu: planCholeskySolve,
  webgpu: async () => (await import('./webgpu')).planCholeskySolve,
  faults: ({ status }) => faultsOfRows('solve', status, indefinite),
  derivative({ a }): Derivative {
    refuseWide('solve', a);
    return {
      saves: ['factor', 'out'],
      gradients({ factor, out: x }, { out: gradOut }, wanted) {
        const half = triangularSolve(factor as Tensor, gradOut as Tensor);
        const b = triangularSolve(factor as Tensor, half, { transpose: true });
        if (!wanted.has('a')) return { b };
        const across = productAcross(b, x as Tensor);
        return { b, a: scaled(add(across, transposed(across)), -0.5) };
      },
    };
  },
});

/** The solution, without what only the op needs. */
function freed({ out, ...others }: { readonly out: Tensor } & Readonly<Record<string, Tensor>>): Tensor {
  for (const each of Object.values(others)) each.dispose();
  return out;
}

/** @internal */
export const solveOp = defineComposite({
  name: 'solve',
  inputs,
  options,
  results: { out },
  operations: '... n n n + 2 ... n n c',
  fits: sameLead,
  run: solved,
});

/** The solution of checked arguments. */
function solved(
  { a, b, assume, refine }: Readonly<Record<'a' | 'b', Tensor> & { assume: string; refine: number }>,
  control: Control,
): Tensor {
  return assume === 'general'
    ? freed(generalSolveOp({ a, b }, control))
    : freed(choleskySolveOp({ a, b }, { ...control, refine }));
}

/** @internal */
export const inverseOp = defineComposite({
  name: 'inverse',
  inputs: { a: inputs.a },
  options,
  results: { out: reals('... n n', { like: 'a' }) },
  operations: '3 ... n n n',
  run({ a, ...settings }, control) {
    using one = a.runtime.eye(a.shape.at(-1) as number, a.dtype);
    using all = one.expand([...a.shape.slice(0, -2), ...one.shape]);
    using b = contiguous(all);
    return solved({ a, b, ...settings }, control);
  },
});

export interface SolveOptions extends OptionsOf<typeof solveOp>, ResultOptions<'f32' | 'f64'> {}

/**
 * x with a x = b, for matrices a [..., n, n] and b [..., n, c] -> [..., n, c]; f32, or f64 on the CPU, contiguous. The gradient
 * with respect to a is symmetric where a is assumed to be. In f64 there is none; general matrices are solved on CPUs alone.
 *
 * @throws {ShapeError} shapes that do not fit, strided views
 * @throws {DTypeError} another element type, or two of them
 * @throws {ParameterError} an a that is singular, or not as it is assumed to be, with the first pivot that shows it
 */
export const solve = <D extends 'f32' | 'f64' = 'f32'>(a: Tensor, b: Tensor, options: SolveOptions = {}): Tensor<D> =>
  solveOp({ a, b }, options) as Tensor as Tensor<D>;

/** @internal */
export const solveRefinedOp = defineOp({
  name: 'solveRefined',
  inputs,
  options: { assume: options.assume },
  results: {
    x: f64('... n c', { fresh: true }),
    condition: f64('...', { fresh: true }),
    error: f64('...', { fresh: true }),
    steps: i32('...', { fresh: true }),
    status,
  },
  operations: '... n n n + 8 ... n n c',
  fits: sameLead,
  reference: async () => (await import('./reference')).refinedSolve,
  kernels,
  cpu: planRefinedSolve,
  webgpu: onCpuAlone('solveRefined'),
  faults: ({ status, assume }) => faultsOfRows('solveRefined', status, assume === 'general' ? singular : indefinite),
});

export interface SolveRefinedOptions extends OptionsOf<typeof solveRefinedOp>, Control {}

export interface RefinedSolution {
  /** [..., n, c] */
  readonly x: Tensor<'f64'>;
  /** [...], about the condition of a in the 1-norm, from its factor: what errors of a and b may grow by. */
  readonly condition: Tensor<'f64'>;
  /** [...], what is left of b over |a| |x| + |b| in the largest column: the backward error, 1e-16 where all went well. */
  readonly error: Tensor<'f64'>;
  /** [...], how many corrections that took. */
  readonly steps: Tensor<'i32'>;
}

/**
 * x with a x = b, as `solve` finds it, in float64, corrected by its residual for as long as that helps: an f32 matrix is factored
 * in f32 where it is `positive-definite`, and still x gets the digits of f64 while its condition is below about 1e6. `condition` and
 * `error` tell how far x can be trusted: its relative error is about their product. On CPUs, and without a gradient.
 *
 * @throws {ShapeError} shapes that do not fit, strided views
 * @throws {DTypeError} another element type, or two of them
 * @throws {ParameterError} an a that is singular, or not as it is assumed to be, with the first pivot that shows it
 */
export function solveRefined(a: Tensor, b: Tensor, options: SolveRefinedOptions = {}): RefinedSolution {
  const { status, ...solution } = solveRefinedOp({ a, b }, options);
  status.dispose();
  return solution;
}

/**
 * The inverse of matrices [..., n, n]; options and errors as for `solve`, which needs no inverse and is more exact.
 */
export const inverse = <D extends 'f32' | 'f64' = 'f32'>(a: Tensor, options: SolveOptions = {}): Tensor<D> =>
  inverseOp({ a }, options) as Tensor as Tensor<D>;

/** @internal */
export const logdetOp = defineOp({
  name: 'logdet',
  inputs: { a: inputs.a },
  results: { log: reals('...', { like: 'a' }), sign: reals('...', { like: 'a', fresh: true }), status },
  operations: '... n n n',
  reference: async () => (await import('./reference')).lu,
  kernels,
  cpu: planLu,
  webgpu: onCpuAlone('logdet'),
  faults: ({ sign, status }) => [
    ...faultsOfRows('logdet', status, singular),
    {
      tensor: sign,
      least: 1,
      most: 1,
      error: (_, place) =>
        new ParameterError(
          `the determinant of a of logdet${sign.size > 1 ? ` (matrix ${place})` : ''} is negative, so that it has no logarithm: pass a times its transpose, and halve the result`,
        ),
    },
  ],
  derivative({ a }): Derivative {
    refuseWide('logdet', a);
    return {
      saves: ['a'],
      gradients({ a }, { log: gradLog }) {
        const across = transposed(inverse(a as Tensor));
        return { a: multiply(across, (gradLog as Tensor).reshape([...(gradLog as Tensor).shape, 1, 1])) };
      },
    };
  },
});

/**
 * The logarithm of the determinant of matrices [..., n, n] -> [...]; f32, or f64, on CPUs, contiguous; computed in float64.
 *
 * @throws {ShapeError} matrices that are not square, strided views
 * @throws {DTypeError} another element type
 * @throws {ParameterError} a matrix that is singular, or whose determinant is negative
 */
export function logdet<D extends 'f32' | 'f64' = 'f32'>(a: Tensor, options: Control = {}): Tensor<D> {
  const { log, sign, status } = logdetOp({ a }, options);
  for (const each of [sign, status]) each.dispose();
  return log as Tensor as Tensor<D>;
}
