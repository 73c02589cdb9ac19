/** Reductions over any axes. Sums go by parts in a fixed order, so that errors grow with the logarithm of the count. */
import { show } from '../../check';
import { ParameterError } from '../../errors';
import { apply, constant } from '../../expressions/expression';
import type { DType } from '../../tensor/dtype';
import { formatShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { boolean, defineComposite, f32, i32, type OptionsOf, type Setting, type TensorSpec } from '../define';
import type { ResultOptions } from '../float32';
import { multiply } from '../map';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import type { Reduction } from './call';
import { type DerivativeOf, reduce } from './core';

/** Axes of x in ascending order. */
const axes: Setting<readonly number[]> = {
  expected: 'an array of different axes of x',
  check(name, axes, _, { x }) {
    const { rank, shape } = x as Tensor;
    if (axes === undefined) return [...shape.keys()];
    const isAxis = (axis: number) => Number.isInteger(axis) && axis >= -rank && axis < rank;
    const own = Array.isArray(axes) && Array.from(axes).every(isAxis) && axes.map((axis) => (axis + rank) % rank);
    if (!own || new Set(own).size < own.length)
      throw new ParameterError(`${name} must be ${this.expected} ${formatShape(shape)}, got ${show(axes)}`);
    return own.sort((a, b) => a - b);
  },
};

/* @__NO_SIDE_EFFECTS__ */
const reduction = <D extends 'f32' | 'i32'>(operation: Reduction, out: TensorSpec<D>) =>
  defineComposite({
    name: operation,
    inputs: { x: f32('...') },
    options: {
      /** Which axes go, in any order; negative ones count from the end, and of none each element stays. Default all. */
      axes,
      /** Whether they stay, with extent 1; default false. */
      keepDims: boolean(false),
    },
    results: { out },
    run: ({ x, axes, keepDims }, options) =>
      reduce(operation, x, { axes, keepDims }, options as ResultOptions<D>, derivativeOf),
  });

/** @internal */
export const reductionOps = {
  sum: reduction('sum', f32('...')),
  mean: reduction('mean', f32('...')),
  max: reduction('max', f32('...')),
  logSumExp: reduction('logSumExp', f32('...')),
  argmax: reduction('argmax', i32('...')),
};

export interface ReduceOptions<D extends DType = 'f32'> extends OptionsOf<typeof reductionOps.sum>, ResultOptions<D> {}

/**
 * Sums over axes: x [...], f32, contiguous -> the extents of the other axes. The gradient with respect to x is that with
 * respect to the result, repeated along the axes.
 *
 * @throws {ShapeError} a strided or empty x
 * @throws {DTypeError} an x that is not f32
 * @throws {ParameterError} axes that x does not have, or one twice; an unknown option
 */
export const sum = (x: Tensor, options?: ReduceOptions): Tensor<'f32'> => reductionOps.sum({ x }, options);

/** Means over axes; shapes, errors and gradient as for `sum`, the gradient over the count. */
export const mean = (x: Tensor, options?: ReduceOptions): Tensor<'f32'> => reductionOps.mean({ x }, options);

/** The largest along axes, NaN if one is NaN; shapes and errors as for `sum`. */
export const max = (x: Tensor, options?: ReduceOptions): Tensor<'f32'> => reductionOps.max({ x }, options);

/**
 * log(sum(e^x)) over axes without overflow; -Infinity where all are. Shapes and errors as for `sum`. The gradient with
 * respect to x is e^(x - result) times that with respect to the result: over the last axis a softmax.
 */
export const logSumExp = (x: Tensor, options?: ReduceOptions): Tensor<'f32'> => reductionOps.logSumExp({ x }, options);

/**
 * Where the largest along axes is, i32: its place in row-major order of these axes alone, over one axis its index. The
 * first of equal ones; the first NaN if there is one. Shapes and errors as for `sum`.
 */
export const argmax = (x: Tensor, options?: ReduceOptions<'i32'>): Tensor<'i32'> => reductionOps.argmax({ x }, options);

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

/** For gradients of maxima. */
export const ofMaxima = { largest, share };
