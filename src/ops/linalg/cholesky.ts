import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { defineOp, i32, type OptionsOf, reals } from '../define';
import type { ResultOptions } from '../float32';
import { add } from '../map';
import { planCholesky } from './cpu';
import { lowerTriangle, productAlong, refuseWide, scaled, transposed } from './derive';
import { faultsOfRows, indefinite } from './faults';
import { kernels } from './params.generated';
import { triangularSolve } from './triangular-solve';

/** @internal */
export const choleskyOp = defineOp({
  name: 'cholesky',
  inputs: { a: reals('... n n') },
  results: { out: reals('... n n', { like: 'a' }), status: i32('... n', { fresh: true }) },
  operations: '... n n n',
  reference: async () => (await import('./reference')).cholesky,
  kernels,
  cpu: planCholesky,
  webgpu: async () => (await import('./webgpu')).planCholesky,
  faults: ({ status }) => faultsOfRows('cholesky', status, indefinite),
  derivative({ a }): Derivative {
    refuseWide('cholesky', a);
    return {
      saves: ['out'],
      gradients({ out: l }, { out: gradOut }) {
        const inner = lowerTriangle(productAlong(l as Tensor, gradOut as Tensor), 0.5);
        const left = triangularSolve(l as Tensor, inner, { transpose: true });
        const both = triangularSolve(l as Tensor, transposed(left), { transpose: true });
        return { a: scaled(add(both, transposed(both)), 0.5) };
      },
    };
  },
});

export interface CholeskyOptions extends OptionsOf<typeof choleskyOp>, ResultOptions<'f32' | 'f64'> {}

/**
 * The lower triangle L with L L^T = a, for symmetric, positive definite matrices a [..., n, n] -> [..., n, n], zeros above the
 * diagonal; f32, or f64 on the CPU, contiguous. The lower triangle of a counts. The gradient with respect to a is symmetric;
 * in f64 there is none.
 *
 * @throws {ShapeError} matrices that are not square, strided views
 * @throws {DTypeError} another element type
 * @throws {ParameterError} an a that is not symmetric or not positive definite, with the first row or pivot
 */
export function cholesky<D extends 'f32' | 'f64' = 'f32'>(a: Tensor, options: CholeskyOptions = {}): Tensor<D> {
  const { out, status } = choleskyOp({ a }, options);
  status.dispose();
  return out as Tensor as Tensor<D>;
}
