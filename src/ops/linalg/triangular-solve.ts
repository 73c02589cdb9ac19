import { ShapeError } from '../../errors';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { boolean, defineOp, i32, type OptionsOf, reals } from '../define';
import type { ResultOptions } from '../float32';
import { planTriangularSolve } from './cpu';
import { lowerTriangle, negative, productAcross, refuseWide, upperTriangle } from './derive';
import { faultsOfRows, singular } from './faults';
import { kernels } from './params.generated';

/** Systems of triangles for the op of this name, and what it says of a diagonal with a 0. */
export const triangularOp = (name: string, badPivot: (row: number) => string) =>
  defineOp({
    name,
    inputs: { a: reals('... n n'), b: reals('... n c', { like: 'a' }) },
    options: {
      /** Whether the triangle of a is the upper one, with its diagonal; default false, the lower one. */
      upper: boolean(false),
      /** Whether systems are those of the transpose of a; default false. */
      transpose: boolean(false),
      /** Whether the diagonal counts as ones, whatever it holds; default false. */
      unit: boolean(false),
    },
    results: { out: reals('... n c', { like: 'a' }), status: i32('... n', { fresh: true }) },
    operations: '... n n c',
    fits: sameLead,
    reference: async () => (await import('./reference')).triangularSolve,
    kernels,
    cpu: planTriangularSolve,
    webgpu: async () => (await import('./webgpu')).planTriangularSolve,
    faults: ({ status }) => faultsOfRows(name, status, badPivot),
    derivative({ a, upper, transpose, unit }): Derivative {
      refuseWide('triangularSolve', a);
      return {
        saves: ['a', 'out'],
        gradients({ a, out: x }, { out: gradOut }, wanted) {
          const b = triangularSolve(a as Tensor, gradOut as Tensor, { upper, transpose: !transpose, unit });
          if (!wanted.has('a')) return { b };
          const whole = negative(transpose ? productAcross(x as Tensor, b) : productAcross(b, x as Tensor));
          const part = upper ? upperTriangle : lowerTriangle;
          return { b, a: part(whole, unit ? 0 : 1) };
        },
      };
    },
  });

/** @internal */
export const triangularSolveOp = triangularOp('triangularSolve', singular);

/** Matrices and right-hand sides come in equal batches. */
export function sameLead(_: unknown, { a, b }: Readonly<Record<string, { readonly shape: readonly number[] }>>): void {
  const [left, right] = [a, b].map((x) => x?.shape.slice(0, -2) as number[]) as [number[], number[]];
  if (left.join() !== right.join())
    throw new ShapeError(`b must have the leading axes of a ${formatShape(left)}, got ${formatShape(right)}`);
}

export interface TriangularSolveOptions extends OptionsOf<typeof triangularSolveOp>, ResultOptions<'f32' | 'f64'> {}

/**
 * x with a x = b, for triangles a [..., n, n] and b [..., n, c] -> [..., n, c]; f32, or f64 on the CPU, contiguous. What a holds
 * beyond its triangle does not count. In f64 there is no gradient.
 *
 * @throws {ShapeError} shapes that do not fit, strided views
 * @throws {DTypeError} another element type, or two of them
 * @throws {ParameterError} a diagonal with a 0, with its place
 */
export function triangularSolve<D extends 'f32' | 'f64' = 'f32'>(
  a: Tensor,
  b: Tensor,
  options: TriangularSolveOptions = {},
): Tensor<D> {
  const { out, status } = triangularSolveOp({ a, b }, options);
  status.dispose();
  return out as Tensor as Tensor<D>;
}
