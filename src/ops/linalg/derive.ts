/** What the derivatives of linear algebra share. */
import { UnsupportedError } from '../../errors';
import { apply, constant } from '../../expressions/expression';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { multiply } from '../map';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import { matmul } from '../matmul';

/** With its last two axes in each other's place. */
export function transposed(x: Tensor): Tensor {
  const axes = [...x.shape.keys()];
  return contiguous(x.permute([...axes.slice(0, -2), x.rank - 1, x.rank - 2]));
}

export const product = (a: Tensor, b: Tensor): Tensor => matmul(a, b);

/** a b^T */
export const productAcross = (a: Tensor, b: Tensor): Tensor => matmul(a, b, { transposeB: true });

/** a^T b */
export const productAlong = (a: Tensor, b: Tensor): Tensor => matmul(a, b, { transposeA: true });

export const scaled = (x: Tensor, factor: number): Tensor => multiply(x, x.runtime.tensor([factor], []));
export const negative = (x: Tensor): Tensor => scaled(x, -1);

/** Where rows and columns are i and j: x below the diagonal, `diagonal` x on it, 0 above. */
const lowerPart = once(() => {
  const [x, i, j, diagonal] = [0, 1, 2, 3].map(element) as [never, never, never, never];
  const onDiagonal = apply('select', apply('equal', i, j), apply('multiply', x, diagonal), constant(0));
  return new ElementwiseFunction('triangle', 4, [apply('select', apply('less', j, i), x, onDiagonal)]);
});

/** The lower triangle of x [..., n, n], its diagonal times a factor; zeros above. */
export function lowerTriangle(x: Tensor, diagonal: number): Tensor {
  const { runtime } = x;
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const i = runtime.arange(rows).reshape([rows, 1]);
  return mapOne(lowerPart(), { x, i, j: runtime.arange(columns), diagonal: runtime.tensor([diagonal], []) });
}

export const upperTriangle = (x: Tensor, diagonal: number): Tensor =>
  transposed(lowerTriangle(transposed(x), diagonal));

/** Throws where an op is to be differentiated that has kernels, and no derivative, in float64. */
export function refuseWide(op: string, a: Tensor): void {
  if ((a.dtype as string) === 'f64')
    throw new UnsupportedError(`${op} has no gradient in f64: cast to f32, or apply stopGradient() to its inputs`);
}
