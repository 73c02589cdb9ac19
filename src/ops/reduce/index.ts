/** Reductions over any axes. Sums go by parts in a fixed order, so that errors grow with the logarithm of the count. */
import { apply, constant } from '../../expressions/expression';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { multiply } from '../map';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import { type DerivativeOf, type ReduceOptions, reduce } from './core';

export type { ReduceOptions };

/**
 * Sums over axes: x [...], f32, contiguous -> the extents of the other axes. The gradient with respect to x is that with
 * respect to the result, repeated along the axes.
 *
 * @throws {ShapeError} a strided or empty x
 * @throws {DTypeError} an x that is not f32
 * @throws {ParameterError} axes that x does not have, or one twice; an unknown option
 */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor<'f32'> {
  return reduce('sum', x, options, derivativeOf);
}

/** Means over axes; shapes, errors and gradient as for `sum`, the gradient over the count. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor<'f32'> {
  return reduce('mean', x, options, derivativeOf);
}

/** The largest along axes, NaN if one is NaN; shapes and errors as for `sum`. */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor<'f32'> {
  return reduce('max', x, options, derivativeOf);
}

/**
 * log(sum(e^x)) over axes without overflow; -Infinity where all are. Shapes and errors as for `sum`. The gradient with
 * respect to x is e^(x - result) times that with respect to the result: over the last axis a softmax.
 */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor<'f32'> {
  return reduce('logSumExp', x, options, derivativeOf);
}

/**
 * Where the largest along axes is, i32: its place in row-major order of these axes alone, over one axis its index. The
 * first of equal ones; the first NaN if there is one. Shapes and errors as for `sum`.
 */
export function argmax(x: Tensor, options: ReduceOptions<'i32'> = {}): Tensor<'i32'> {
  return reduce('argmax', x, options, derivativeOf);
}

const derivativeOf: DerivativeOf = (operation, input, shape, gone) => {
  const kept = shape.map((extent, axis) => (gone.includes(axis) ? 1 : extent));
  const along = (x: Tensor) => x.reshape(kept).expand(shape);
  switch (operation) {
    case 'sum':
      return { saves: [], gradients: (_, { out }) => ({ [input]: along(out as Tensor) }) };
    case 'mean': {
      const share = sizeOf(kept) / sizeOf(shape);
      return {
        saves: [],
        gradients: (_, { out }) => ({
          [input]: along(multiply(out as Tensor, (out as Tensor).runtime.tensor([share], []))),
        }),
      };
    }
    case 'max':
      return {
        saves: [input, 'out'],
        gradients({ [input]: x, out }, { out: gradOut }) {
          const isLargest = mapOne(largest(), { x: x as Tensor, out: (out as Tensor).reshape(kept) });
          // Equal ones share it.
          const count = sum(isLargest, { axes: gone, keepDims: true });
          return { [input]: mapOne(share(), { isLargest, count, gradOut: (gradOut as Tensor).reshape(kept) }) };
        },
      };
    case 'logSumExp':
      return {
        saves: [input, 'out'],
        gradients({ [input]: x, out }, { out: gradOut }) {
          const [sums, gradients] = [(out as Tensor).reshape(kept), (gradOut as Tensor).reshape(kept)];
          return { [input]: mapOne(weight(), { x: x as Tensor, out: sums, gradOut: gradients }) };
        },
      };
    default:
      return undefined;
  }
};

/** x = out; a share of c, of b elements, to those where a holds; c e^(a - b), also where both are -Infinity. */
const [largest, share, weight] = [
  once(() => new ElementwiseFunction('max', 2, [apply('equal', element(0), element(1))])),
  once(() => {
    const each = apply('divide', element(2), element(1));
    return new ElementwiseFunction('max', 3, [apply('multiply', element(0), each)]);
  }),
  once(() => {
    const power = apply('exp', apply('subtract', element(0), element(1)));
    const isNone = apply('equal', element(0), constant(-Infinity));
    const value = apply('select', isNone, constant(0), apply('multiply', power, element(2)));
    return new ElementwiseFunction('logSumExp', 3, [value]);
  }),
];
