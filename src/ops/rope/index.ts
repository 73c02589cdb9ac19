/** Rotary position embeddings. */
import { checkKnown, checkWhole } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import { contiguous, operand, overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import { Tensor } from '../../tensor/tensor';
import { commonRuntime, overlaps } from '../check';
import { compute } from '../compute';
import { defineComposite, floats, type OptionsOf, type Setting } from '../define';
import { checkContiguous, type ResultOptions } from '../float32';
import { kernels, RopeParams } from './params.generated';
import type { RopeCall } from './reference';
import { type Rotation, ropeSettings, rotationOf } from './rotation';

export type { RopeScaling, RopeSettings } from './rotation';

/** Elements of a task, about. */
const TASK = 8192;

const op: Op<RopeCall> = {
  name: 'rope',
  reference: async () => (await import('./reference')).rope,
  kernels,
  cpu({ x, out, positions, offset, rotation, isInverse }) {
    // By index: slices of frozen arrays take ten times as long.
    const [n, h, d] = [-3, -2, -1].map((axis) => x.shape[x.rank + axis]) as [number, number, number];
    const rows = x.size / (h * d);
    const rowsOfTask = Math.ceil(TASK / (h * d));
    const { quarters, isInterleaved, amplitude } = rotation;
    const strides = x.rank === 3 ? [0, ...x.strides] : x.strides;
    const params = RopeParams({
      rows,
      rowsOfBatch: n,
      rowsOfTask,
      heads: h,
      columns: d,
      pairs: quarters.length,
      interleaved: isInterleaved,
      x: operand(x, strides),
      out: contiguous(out),
      positions,
      places: positions?.size ?? 1,
      offset,
      cosine: amplitude,
      sine: isInverse ? -amplitude : amplitude,
    });
    return overElements('rope', Math.ceil(rows / rowsOfTask), [...params, ...quarters], x.size);
  },
  webgpu: async () => (await import('./webgpu')).planRope,
};

/** Where the rows are. */
type Places = Pick<RopeCall, 'positions' | 'offset'>;

const positions: Setting<Tensor | { readonly offset: number }, Places> = {
  expected: 'a tensor [n] or [b, n] of i32, or an object with offset',
  check(name, given, _, tensors) {
    if (given === undefined) return { positions: undefined, offset: 0 };
    const x = tensors.x as Tensor;
    const n = x.shape.at(-3) as number;
    if (!(given instanceof Tensor)) {
      checkKnown(name, given, ['offset'], (unknown) => `${name} have no '${unknown}'`);
      checkWhole(`offset of ${name}`, given.offset, -(2 ** 31), 2 ** 31 - n);
      return { positions: undefined, offset: given.offset };
    }
    commonRuntime({ x, [name]: given });
    if (given.dtype !== 'i32') throw new DTypeError(`${name} must be i32, got ${given.dtype}`);
    checkContiguous({ [name]: given });
    const shapes = [[n], ...(x.rank === 4 ? [[x.shape[0] as number, n]] : [])];
    if (!shapes.some((shape) => sameShape(shape, given.shape)))
      throw new ShapeError(
        `${name} must have shape ${shapes.map(formatShape).join(' or ')}, got ${formatShape(given.shape)}`,
      );
    return { positions: given, offset: 0 };
  },
};

export const ropeOp = defineComposite({
  name: 'rope',
  inputs: { x: floats('... n h d', { strided: true }) },
  options: {
    ...ropeSettings,
    /**
     * The positions of the rows of x: i32, [n] or [b, n], or the first of consecutive ones; any integers that i32 holds, also
     * negative ones. Default: from 0 on.
     */
    positions,
  },
  results: { out: floats('... n h d', { like: 'x' }) },
  fits(_, { x }) {
    const { shape } = x as Tensor;
    if (shape.length > 4)
      throw new ShapeError(`x must have shape [b, n, h, d] or [n, h, d], got ${formatShape(shape)}`);
  },
  run: (given, options) => rotated(given.x, given.positions, rotationOf(given), false, options as ResultOptions<DType>),
});

export interface RopeOptions<D extends DType = DType> extends OptionsOf<typeof ropeOp>, Omit<ResultOptions<D>, 'out'> {
  /** Where to write: a contiguous tensor of the shape and dtype of x, which may be x itself. */
  readonly out?: Tensor<D> | undefined;
}

/**
 * Rotary position embeddings: x [b, n, h, d] or [n, h, d] of queries or keys, f32, f16 or bf16, any strides -> the same
 * shape and dtype, contiguous. Pair j of each head is rotated by position times frequency j, so that the product of a query
 * and a key depends on the distance of their positions; what is not rotated is passed through. Angles are exact to 1e-7 at
 * any position up to 10^7. With YaRN what is rotated is also multiplied by its attention factor. The gradient is rotated back.
 *
 * @throws {ShapeError} another rank, positions of another shape
 * @throws {DTypeError} x that holds no floats, positions that are not i32
 * @throws {ParameterError} a setting that is unknown or out of range, an odd number of dimensions
 */
export const rope = <D extends DType>(x: Tensor<D>, options?: RopeOptions<D>): Tensor<D> =>
  ropeOp({ x }, options) as Tensor<D>;

function rotated<D extends DType>(
  x: Tensor<D>,
  { positions, offset }: Places,
  rotation: Rotation,
  isInverse: boolean,
  options: ResultOptions<D>,
): Tensor<D> {
  const inputs: Readonly<Record<string, Tensor>> = positions ? { x, positions } : { x };
  const call = (out: Tensor) => ({ x, out, positions, offset, rotation, isInverse });
  if (options.out === x) {
    checkContiguous({ x });
    if (positions && overlaps(x, positions)) throw new ParameterError('positions share memory with out');
    compute(op, inputs, {}, () => call(x), options, { written: [x] });
    return x;
  }
  const derivative: Derivative = {
    saves: ['positions'],
    gradients: ({ positions }, { out }, _, control) => ({
      x: rotated(out as Tensor, { positions, offset }, rotation, !isInverse, control),
    }),
  };
  const spec = { shape: x.shape, dtype: x.dtype, given: options.out };
  return compute(op, inputs, { out: spec }, ({ out }) => call(out), options, { derivative }).out as Tensor<D>;
}
