/** Eigenvalues of symmetric matrices, and singular values. */
import { ParameterError } from '../../errors';
import { apply, constant } from '../../expressions/expression';
import type { Control } from '../../runtime/backend';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { defineOp, i32, reals } from '../define';
import { add, multiply, reciprocal, subtract } from '../map';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import { planEigh, planSvd } from './cpu';
import { product, productAcross, productAlong, refuseWide, scaled, transposed } from './derive';
import { faultsOfRows } from './faults';
import { FINE, kernels } from './params.generated';
import { onCpuAlone } from './solve';

/** x / (b - a), and 0 where they are equal. */
const overGap = once(() => {
  const gap = apply('subtract', element(2), element(1));
  const isNone = apply('equal', gap, constant(0));
  const divisor = apply('select', isNone, constant(1), gap);
  return new ElementwiseFunction('gap', 3, [
    apply('select', isNone, constant(0), apply('divide', element(0), divisor)),
  ]);
});

/** x [..., n, n] over the differences of values [..., n], that of the column less that of the row. */
const overGaps = (x: Tensor, values: Tensor): Tensor => {
  const shape = values.shape;
  return mapOne(overGap(), { x, rows: values.reshape([...shape, 1]), columns: asRow(values) });
};

const asRow = (values: Tensor): Tensor =>
  values.reshape([...values.shape.slice(0, -1), 1, values.shape.at(-1) as number]);

/** Columns of x [..., m, n] times numbers [..., n]. */
const scaledColumns = (x: Tensor, by: Tensor): Tensor => multiply(x, asRow(by));

/** @internal */
export const eighOp = defineOp({
  name: 'eigh',
  inputs: { a: reals('... n n') },
  results: {
    values: reals('... n', { like: 'a', fresh: true }),
    vectors: reals('... n n', { like: 'a', fresh: true }),
    status: i32('... n', { fresh: true }),
  },
  operations: '9 ... n n n',
  reference: async () => (await import('./reference')).eigh,
  kernels,
  cpu: planEigh,
  webgpu: onCpuAlone('eigh'),
  faults: ({ status }) =>
    faultsOfRows(
      'eigh',
      status,
      () => 'has eigenvalues that rotations do not find: scale it, so that its largest elements are near 1',
    ),
  derivative({ a }): Derivative {
    refuseWide('eigh', a);
    return {
      saves: ['values', 'vectors'],
      gradients({ values, vectors: v }, { values: gradValues, vectors: gradVectors }) {
        const terms: Tensor[] = [];
        if (gradValues) terms.push(productAcross(scaledColumns(v as Tensor, gradValues), v as Tensor));
        if (gradVectors) {
          const inner = overGaps(productAlong(v as Tensor, gradVectors), values as Tensor);
          const whole = productAcross(product(v as Tensor, inner), v as Tensor);
          terms.push(scaled(add(whole, transposed(whole)), 0.5));
        }
        return { a: terms.reduce((sum, term) => add(sum, term)) };
      },
    };
  },
});

export interface EighResult<D extends 'f32' | 'f64' = 'f32'> {
  /** [..., n], in ascending order. */
  readonly values: Tensor<D>;
  /** [..., n, n], columns, each with its largest element positive. */
  readonly vectors: Tensor<D>;
}

/**
 * Eigenvalues and eigenvectors of symmetric matrices [..., n, n]; f32, or f64, on CPUs, contiguous; computed in float64. The
 * lower triangle of a counts. The gradient with respect to a is symmetric, and leaves out vectors of equal values; in f64
 * there is none.
 *
 * @throws {ShapeError} matrices that are not square, strided views
 * @throws {DTypeError} another element type
 * @throws {ParameterError} a matrix that is not symmetric, or holds numbers that are not finite
 */
export function eigh<D extends 'f32' | 'f64' = 'f32'>(a: Tensor, options: Control = {}): EighResult<D> {
  const { status, ...result } = eighOp({ a }, options);
  status.dispose();
  return result as Readonly<Record<'values' | 'vectors', Tensor>> as EighResult<D>;
}

/** @internal */
export const svdOp = defineOp({
  name: 'svd',
  inputs: { a: reals('... m n') },
  results: {
    u: reals('... m k', { like: 'a', fresh: true }),
    s: reals('... k', { like: 'a', fresh: true }),
    v: reals('... n k', { like: 'a', fresh: true }),
    status: i32('...', { fresh: true }),
  },
  operations: '20 ... m n n',
  more: ({ a }) => ({ k: Math.min(...a.shape.slice(-2)) }),
  reference: async () => (await import('./reference')).svd,
  kernels,
  cpu: planSvd,
  webgpu: onCpuAlone('svd'),
  faults: ({ status }) => [
    {
      tensor: status,
      least: FINE,
      most: FINE,
      error: (_, place) =>
        new ParameterError(
          `a of svd${status.size > 1 ? ` (matrix ${place})` : ''} must hold finite numbers: its rotations do not end`,
        ),
    },
  ],
  derivative({ a }): Derivative {
    refuseWide('svd', a);
    return {
      saves: ['u', 's', 'v'],
      gradients: ({ u, s, v }, { u: gradU, s: gradS, v: gradV }) => ({
        a: gradientOfSvd([u, s, v] as Three, gradU, gradS, gradV),
      }),
    };
  },
});

type Three = readonly [Tensor, Tensor, Tensor];

/**
 * U (G_u S + S G_v + diag gradS) V^T, G the antisymmetric parts of U^T gradU and V^T gradV over the gaps of S^2, and what
 * gradU and gradV have beyond the columns of U and V.
 */
function gradientOfSvd([u, s, v]: Three, gradU?: Tensor, gradS?: Tensor, gradV?: Tensor): Tensor {
  const squares = multiply(s, s);
  const inverse = reciprocal(s);
  const turning = (x: Tensor, by: Tensor) => {
    const along = productAlong(x, by);
    return overGaps(subtract(along, transposed(along)), squares);
  };
  const beyond = (x: Tensor, by: Tensor) => subtract(by, product(x, productAlong(x, by)));
  const terms: Tensor[] = [];
  if (gradS) terms.push(productAcross(scaledColumns(u, gradS), v));
  if (gradU) {
    terms.push(productAcross(product(u, scaledColumns(turning(u, gradU), s)), v));
    terms.push(productAcross(scaledColumns(beyond(u, gradU), inverse), v));
  }
  if (gradV) {
    terms.push(productAcross(product(scaledColumns(u, s), turning(v, gradV)), v));
    terms.push(productAcross(scaledColumns(u, inverse), beyond(v, gradV)));
  }
  return terms.reduce((sum, term) => add(sum, term));
}

export interface SvdResult<D extends 'f32' | 'f64' = 'f32'> {
  /** [..., m, k] and [..., n, k], columns at right angles, each pair's largest element of the shorter side positive. */
  readonly u: Tensor<D>;
  readonly v: Tensor<D>;
  /** [..., k], in descending order. */
  readonly s: Tensor<D>;
}

/**
 * a = u diag(s) v^T for matrices [..., m, n], k = min(m, n); f32, or f64, on CPUs, contiguous; computed in float64. Columns of the
 * longer side whose singular value vanishes are 0. The gradient needs singular values that differ and are not 0; in f64 there
 * is none.
 *
 * @throws {ShapeError} strided views
 * @throws {DTypeError} another element type
 * @throws {ParameterError} numbers that are not finite
 */
export function svd<D extends 'f32' | 'f64' = 'f32'>(a: Tensor, options: Control = {}): SvdResult<D> {
  const { status, ...result } = svdOp({ a }, options);
  status.dispose();
  return result as Readonly<Record<'u' | 's' | 'v', Tensor>> as SvdResult<D>;
}
