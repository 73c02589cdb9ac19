import { defineComposite, f32, floats, type OptionsOf, orOperand } from '../ops/define';
import { multiply, PackedMatrix } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

export const linearOp = defineComposite({
  name: 'linear',
  inputs: {
    x: floats('... n in', { strided: true }),
    weight: orOperand(floats('out in', { strided: true }), PackedMatrix, 'in out'),
  },
  options: {
    /** [out], of the dtype of x, added to every row; default: none. */
    bias: floats('out', { strided: true, like: 'x' }),
  },
  results: { out: f32('... n out', { fresh: true }) },
  operations: '2 ... n in out',
  run: ({ x, weight, bias }, control) =>
    multiply({ a: x, b: weight, transposeB: !(weight instanceof PackedMatrix), bias }, control),
});

export interface LinearOptions extends OptionsOf<typeof linearOp>, Control {}

/**
 * x weight^T + bias: x [..., n, in], weight [out, in] -> [..., n, out], f32; element types as `matmul` takes them. A weight of
 * many calls may be packed once: `packMatrix(weight, { transpose: true })`.
 *
 * @throws {ShapeError} a weight or bias that does not fit
 */
export const linear = (x: Tensor, weight: Tensor | PackedMatrix, options: LinearOptions = {}): Tensor<'f32'> =>
  linearOp({ x, weight }, options);
