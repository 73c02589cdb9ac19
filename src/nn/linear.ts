import { checkControl, checkOptions } from '../ops/check';
import { floats, tensorChecker } from '../ops/define';
import { matmul, PackedMatrix } from '../ops/matmul';
import type { Tensor } from '../tensor/tensor';
import type { ModuleControl } from './module';

export interface LinearOptions extends ModuleControl {
  /** [out], added to every row; default: none. */
  readonly bias?: Tensor | undefined;
}

const STRIDED = { strided: true };
const x = floats('... n in', STRIDED);
const bias = floats('out', STRIDED);
const check = tensorChecker({ x, weight: floats('out in', STRIDED), bias });
const checkPacked = tensorChecker({ x, weight: floats('in out', STRIDED), bias });

/**
 * x weight^T + bias: x [..., n, in], weight [out, in] -> [..., n, out], f32; element types as `matmul` takes them. A weight of
 * many calls may be packed once: `packMatrix(weight, { transpose: true })`.
 *
 * @throws {ShapeError} a weight or bias that does not fit
 */
export function linear(x: Tensor, weight: Tensor | PackedMatrix, options: LinearOptions = {}): Tensor<'f32'> {
  checkOptions('linear', options, ['bias', 'signal']);
  checkControl(options);
  const { bias } = options;
  const others = { x, ...(bias !== undefined && { bias }) };
  if (weight instanceof PackedMatrix) {
    checkPacked({ ...others, weight: weight.rows });
    return matmul(x, weight, options);
  }
  check({ ...others, weight });
  return matmul(x, weight, { transposeB: true, ...options });
}
