import { ShapeError } from '../errors';
import { checkOptions } from '../ops/check';
import { add } from '../ops/elementwise';
import { checkFloat32 } from '../ops/float32';
import { matmul } from '../ops/matmul';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { ModuleControl } from './module';

/**
 * x weight^T + bias: x [..., n, in], weight [out, in], bias [out] -> [..., n, out].
 *
 * @throws {ShapeError} a weight or bias that does not fit
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, options: ModuleControl = {}): Tensor<'f32'> {
  checkOptions('linear', options, ['signal']);
  checkFloat32('linear', { x, weight, ...(bias !== undefined && { bias }) }, options);
  if (x.rank < 2) throw new ShapeError(`x must have shape [..., n, in], got ${formatShape(x.shape)}`);
  const into = x.shape.at(-1) as number;
  if (weight.rank !== 2 || weight.shape[1] !== into)
    throw new ShapeError(
      `weight must have shape [out, in] with in = ${into} as in x ${formatShape(x.shape)}, got ${formatShape(weight.shape)}`,
    );
  const out = weight.shape[0] as number;
  if (bias && (bias.rank !== 1 || bias.shape[0] !== out))
    throw new ShapeError(`bias must have shape [out] with out = ${out} as in weight, got ${formatShape(bias.shape)}`);
  return x.runtime.scope(() => {
    const product = matmul(x, weight.permute([1, 0]), options);
    return bias ? add(product, bias, options) : product;
  });
}
