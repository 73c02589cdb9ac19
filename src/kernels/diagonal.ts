import { add } from '../ops/map';
import { map } from '../ops/map/map';
import { Tensor } from '../tensor/tensor';

/** A matrix [n, n] with `by`, a number or a tensor of one, added to its diagonal. */
export function withDiagonal(matrix: Tensor, by: number | Tensor): Tensor<'f32'> {
  const { runtime } = matrix;
  const n = matrix.shape[0] as number;
  const at = runtime.arange(n);
  const added = by instanceof Tensor ? by : runtime.tensor([by], []);
  return map((k, i, j, added) => (i === j ? k + added : k), matrix, at.reshape([n, 1]), at, added) as Tensor<'f32'>;
}

/** A copy of points that is one's own. */
export const copied = (x: Tensor): Tensor<'f32'> => x.runtime.scope(() => add(x, x.runtime.zeros([])));
