import { ShapeError } from '../errors';
import { checkOptions } from '../ops/check';
import { checkFloat32 } from '../ops/float32';
import { matmul } from '../ops/matmul';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { ModuleControl } from './module';

export interface LinearOptions extends ModuleControl {
  /** [out], added to every row; default: none. */
  readonly bias?: Tensor | undefined;
}

/**
 * x weight^T + bias: x [..., n, in], weight [out, in] -> [..., n, out].
 *
 * @throws {ShapeError} a weight or bias that does not fit
 */
export function linear(x: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor<'f32'> {
  checkOptions('linear', options, ['bias', 'signal']);
  const { bias, signal } = options;
  checkFloat32('linear', { x, weight, ...(bias !== undefined && { bias }) }, { signal });
  if (x.rank < 2) throw new ShapeError(`x must have shape [..., n, in], got ${formatShape(x.shape)}`);
  const inner = x.shape.at(-1) as number;
  if (weight.rank !== 2 || weight.shape[1] !== inner)
    throw new ShapeError(
      `weight must have shape [out, in] with in = ${inner} as in x ${formatShape(x.shape)}, got ${formatShape(weight.shape)}`,
    );
  const [out] = weight.shape;
  if (bias && (bias.rank !== 1 || bias.shape[0] !== out))
    throw new ShapeError(`bias must have shape [out] with out = ${out} as in weight, got ${formatShape(bias.shape)}`);
  return matmul(x, weight, { transposeB: true, ...options });
}
