/** Projects rows on directions, which are uploaded for each call, since they are small compared with the rows. */
import { matmul } from '../ops/matmul';
import type { Tensor } from '../tensor/tensor';
import type { FeatureOptions } from './feature-map';

/** x [r, d] times the directions [m, d], transposed -> [r, m]. */
export function project(x: Tensor, directions: Float32Array, options: FeatureOptions): Tensor<'f32'> {
  const d = x.shape[1] as number;
  return matmul(x, x.runtime.tensor(directions, [directions.length / d, d]).permute([1, 0]), options);
}
