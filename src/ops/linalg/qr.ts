import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { defineComposite, defineOp, f32, reals } from '../define';
import type { ResultOptions } from '../float32';
import { add, multiply, subtract } from '../map';
import { map } from '../map/map';
import { matmul } from '../matmul';
import { sum } from '../reduce';
import { planQr } from './cpu';
import { lowerTriangle, product, productAcross, productAlong, refuseWide, transposed } from './derive';
import { dependent } from './faults';
import { kernels } from './params.generated';
import { onCpuAlone } from './solve';
import { sameLead, triangularOp, triangularSolve } from './triangular-solve';

/** @internal */
export const qrOp = defineOp({
  name: 'qr',
  inputs: { a: reals('... m n') },
  results: { q: reals('... m k', { like: 'a', fresh: true }), r: reals('... k n', { like: 'a', fresh: true }) },
  operations: '4 ... m n n',
  more: ({ a }) => ({ k: Math.min(...a.shape.slice(-2)) }),
  reference: async () => (await import('./reference')).qr,
  kernels,
  cpu: planQr,
  webgpu: onCpuAlone('qr'),
  derivative({ a }): Derivative {
    refuseWide('qr', a);
    return {
      saves: ['q', 'r'],
      gradients({ q, r }, { q: gradQ, r: gradR }) {
        return { a: gradientOfQr(q as Tensor, r as Tensor, gradQ, gradR) };
      },
    };
  },
});

/** (gradQ + Q copyltu(M)) R^-T with M = R gradR^T - gradQ^T Q, of which the lower triangle counts, mirrored. */
function gradientOfQr(q: Tensor, r: Tensor, gradQ: Tensor | undefined, gradR: Tensor | undefined): Tensor {
  const [k, n] = r.shape.slice(-2) as [number, number];
  if (n > k)
    throw new ShapeError(`qr has no gradient for matrices of more columns than rows, got ${formatShape([k, n])}`);
  const [left, right] = [gradR && productAcross(r, gradR), gradQ && productAlong(gradQ, q)];
  const m = left && right ? subtract(left, right) : (left ?? subtract(r.runtime.zeros(r.shape), right as Tensor));
  const mirrored = add(lowerTriangle(m, 1), transposed(lowerTriangle(m, 0)));
  const inner = product(q, mirrored);
  const all = gradQ ? add(gradQ, inner) : inner;
  return transposed(triangularSolve(r, transposed(all), { upper: true }));
}

export interface QrResult<D extends 'f32' | 'f64' = 'f32'> {
  /** [..., m, k], columns at right angles. */
  readonly q: Tensor<D>;
  /** [..., k, n], an upper triangle whose diagonal is not negative. */
  readonly r: Tensor<D>;
}

/**
 * a = q r for matrices [..., m, n], k = min(m, n); f32, or f64, on CPUs, contiguous; computed in float64. The gradient needs
 * m >= n and columns that are independent; in f64 there is none.
 *
 * @throws {ShapeError} strided views; more columns than rows where it is differentiated
 * @throws {DTypeError} another element type
 */
export const qr = <D extends 'f32' | 'f64' = 'f32'>(a: Tensor, options: Control = {}): QrResult<D> =>
  qrOp({ a }, options) as { readonly q: Tensor; readonly r: Tensor } as QrResult<D>;

const leastSquaresOp = triangularOp('lstsq', dependent);
/** The share of a column that others must leave of it: below, it is the rounding of f32 that the solution would hang on. */
const DEPENDENT = 2 ** -22;

/** @internal */
export const lstsqOp = defineComposite({
  name: 'lstsq',
  inputs: { a: f32('... m n'), b: f32('... m c') },
  results: { out: f32('... n c') },
  operations: '4 ... m n n',
  fits(extents, tensors) {
    sameLead(extents, tensors);
    const { m, n } = extents as Readonly<Record<'m' | 'n', number>>;
    if (m < n)
      throw new ShapeError(
        `a of lstsq must have at least as many rows as columns, got ${formatShape([m, n])}: add a ridge, and use solve`,
      );
  },
  run({ a, b }, options) {
    const factors = qr(a);
    using q = factors.q;
    using r = factors.r;
    using along = matmul(q, b, { transposeA: true });
    const { runtime } = a;
    return runtime.scope(() => {
      const squares = sum(multiply(r, r), { axes: [r.rank - 2], keepDims: true });
      const captured = { least: DEPENDENT ** 2 };
      const triangle = map(
        (value, size, one, { least }) => (one > 0 && value * value <= least * size ? 0 : value),
        r,
        squares,
        runtime.eye(r.shape.at(-1) as number),
        { captured },
      );
      return leastSquaresOp({ a: triangle, b: along }, { ...options, upper: true }).out as Tensor<'f32'>;
    });
  },
});

/**
 * The x of least |a x - b|, for matrices a [..., m, n], m >= n, and b [..., m, c] -> [..., n, c], f32, contiguous, by a QR
 * decomposition: on CPUs.
 *
 * @throws {ShapeError} shapes that do not fit, strided views, fewer rows than columns
 * @throws {DTypeError} another element type
 * @throws {ParameterError} a column of a that is 0, or follows from those before it but for 2^-22 of its length, with its place
 */
export const lstsq = (a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> => lstsqOp({ a, b }, options);
