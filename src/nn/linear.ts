import { ShapeError } from '../errors';
import { checkControl, checkOptions, checkTensors } from '../ops/check';
import { matmul, PackedMatrix } from '../ops/matmul';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { ModuleControl } from './module';

export interface LinearOptions extends ModuleControl {
  /** [out], added to every row; default: none. */
  readonly bias?: Tensor | undefined;
}

/**
 * x weight^T + bias: x [..., n, in], weight [out, in] -> [..., n, out], f32; what `matmul` takes. A weight of many calls may
 * be packed once: `packMatrix(weight, { transpose: true })`.
 *
 * @throws {ShapeError} a weight or bias that does not fit
 */
export function linear(x: Tensor, weight: Tensor | PackedMatrix, options: LinearOptions = {}): Tensor<'f32'> {
  checkOptions('linear', options, ['bias', 'signal']);
  checkControl(options);
  const { bias } = options;
  const isPacked = weight instanceof PackedMatrix;
  const given = isPacked ? weight.rows : weight;
  checkTensors({ x, weight: given, ...(bias !== undefined && { bias }) });
  if (x.rank < 2) throw new ShapeError(`x must have shape [..., n, in], got ${formatShape(x.shape)}`);
  const inner = x.shape.at(-1) as number;
  const [own, out] = isPacked ? weight.shape : [given.shape[1], given.shape[0]];
  if (given.rank !== 2 || own !== inner)
    throw new ShapeError(
      `weight must have shape [out, in] with in = ${inner} as in x ${formatShape(x.shape)}, got ${formatShape(isPacked ? [out as number, own as number] : given.shape)}`,
    );
  if (bias && (bias.rank !== 1 || bias.shape[0] !== out))
    throw new ShapeError(`bias must have shape [out] with out = ${out} as in weight, got ${formatShape(bias.shape)}`);
  return matmul(x, weight, { transposeB: !isPacked, ...options });
}
