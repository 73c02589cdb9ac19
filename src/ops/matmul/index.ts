/** Matrix products. */
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import type { Elements } from '../../tensor/elements';
import { broadcastShape, type Shape, sizeOf } from '../../tensor/shape';
import { tapeOf } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { presentOf } from '../check';
import { compute } from '../compute';
import { contiguous } from '../copy';
import { type CommonAxis, commonAxes } from '../copy/axes';
import { boolean, defineComposite, f32, floats, type OptionsOf, optional, orOperand, setting } from '../define';
import type { ResultOptions } from '../float32';
import { mapItems } from '../map/core';
import { Elementwise } from '../map/function';
import { type Activations, activationsSetting, PackedWeight, packedProducts } from '../packed';
import { PACKED_TYPES } from '../packed/params';
import { sum } from '../reduce';
import type { MatmulCall } from './call';
import { isFewRows, planFewRows } from './few-rows';
import { IN_WEBASSEMBLY, planManyRows } from './many-rows';
import { kernels, MOST_ALONG } from './params.generated';

const op: Op<MatmulCall> = {
  name: 'matmul',
  reference: async () => (await import('./reference')).matmul,
  kernels,
  cpu: (call, { threads }) => (isFewRows(call) ? planFewRows(call) : planManyRows(call, threads, IN_WEBASSEMBLY)),
  native: 'matmul',
  webgpu: async () => (await import('./webgpu')).planMatmul,
};

export const matmulOp = defineComposite({
  name: 'matmul',
  inputs: {
    a: floats('* r k', { strided: true, swappedBy: 'transposeA' }),
    b: orOperand(floats('* k c', { strided: true, swappedBy: 'transposeB' }), PackedWeight, 'k c', PACKED_TYPES),
  },
  options: {
    /** Whether the last two axes of a are swapped, [..., k, r]; default false. */
    transposeA: boolean(false),
    /** Whether the last two axes of b are swapped, [..., c, k]; default false. */
    transposeB: boolean(false),
    /** [c], of the dtype of a, added to every row. */
    bias: floats('c', { strided: true, like: 'a' }),
    /**
     * Where b is packed in blocks and `transposeB` is true: whether rows of a are rounded to 8 bits in blocks of 32 (`q8`, default),
     * each number by up to 1/254 of the largest magnitude of its block, or left as they are (`f32`).
     */
    activations: activationsSetting,
    /** Made by `elementwise`: applied to each element of the result, after the bias, before it is stored. */
    epilogue: optional(setting<Elementwise>('made by elementwise()', (value) => value instanceof Elementwise)),
  },
  results: { out: f32('* r c') },
  operations: '2 * r k c',
  run: multiply,
});

export interface MatmulOptions extends OptionsOf<typeof matmulOp>, ResultOptions {}

interface Factors extends Pick<MatmulCall, 'epilogue'> {
  readonly a: Tensor;
  readonly b: Tensor | PackedWeight;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias: Tensor | undefined;
  readonly activations?: Activations | undefined;
}

/** `matmul` of checked arguments. */
export function multiply(factors: Factors, control: ResultOptions): Tensor<'f32'> {
  const { b, transposeB = false } = factors;
  return b instanceof PackedWeight && b.isTransposed
    ? multiplyStored({ ...factors, b: b.stored, transposeB: !transposeB }, control)
    : multiplyStored(factors, control);
}

function multiplyStored(
  { a, b, transposeA, transposeB = false, bias, epilogue, activations }: Factors,
  control: ResultOptions,
): Tensor<'f32'> {
  const matrix = b instanceof PackedWeight ? b.parts.values : b;
  using transposedA = transposeA ? swapped(a) : undefined;
  using transposedB = transposeB ? swapped(matrix) : undefined;
  const left = transposedA ?? a;
  const plainly = (epilogue?: Elementwise) => {
    if (b instanceof PackedWeight && isTakenPacked(b, left, transposeB)) {
      const options = { ...control, biases: [bias], epilogue, activations, isAcross: !transposeB };
      return packedProducts('matmul', left, [b], options)[0] as Tensor<'f32'>;
    }
    if (activations === 'q8')
      throw new ParameterError('activations must be f32 where b is no packed weight of q8 or q4, got q8');
    return product(left, transposedB ?? matrix, bias, control, epilogue);
  };
  if (!epilogue || !tapeOf('matmul', presentOf({ a, b: matrix, bias }))) return plainly(epilogue);
  // Its gradient follows from what it is applied to, which is kept for it.
  using plain = plainly();
  return applied(epilogue, plain, control);
}

/** Whether the kernels of packed weights take it: integers always, floats where they would be packed at each call otherwise. */
const isTakenPacked = (b: PackedWeight, { size, shape }: Tensor, transposeB: boolean): boolean =>
  b.isQuantised || (transposeB && size / (shape.at(-1) as number) > MOST_ALONG);

/**
 * The matrix product a b + bias, each element as `epilogue` has it: a [..., r, k], b [..., k, c] -> [..., r, c]. Leading axes
 * broadcast against each other. f32, f16 or bf16 storage of any strides, f32 arithmetic and result. A b that `packWeight`
 * made has no gradient; it is [c, k] with `transposeB`, or a `transpose()`, which is how weights in blocks are fast.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {DTypeError} tensors that hold no floats
 * @throws {ParameterError} an `epilogue` that `elementwise` did not make, `activations` that are not for such a b
 */
export const matmul = (a: Tensor, b: Tensor | PackedWeight, options: MatmulOptions = {}): Tensor<'f32'> =>
  matmulOp({ a, b }, options);

/** The product of factors that may differ in element type, with r, k and c where they are by default. */
function product(
  a: Tensor,
  b: Tensor,
  bias: Tensor | undefined,
  options: ResultOptions,
  epilogue?: Elementwise,
): Tensor<'f32'> {
  const [leadA, leadB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const lead = broadcastShape(leadA, leadB) as Shape;
  const [rows, inner] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1) as number;
  const isShared = sizeOf(leadB) === 1;
  const flat = isShared ? flattened(a) : undefined;
  const [left, right] = [flat ?? under(lead, a), flat ? under([], b) : under(lead, b)];
  const axes = commonAxes(left.shape.slice(0, -2), left.strides.slice(0, -2), right.strides.slice(0, -2));
  const spec = { shape: [...lead, rows, columns], dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ a: left, b: right, bias, epilogue, out, axes });
  return compute(op, bias ? { a, b, bias } : { a, b }, { out: spec }, call, options, {
    derivative: {
      saves: ['a', 'b'],
      gradients(saved, gradients, wanted, control) {
        const [a, b, gradOut] = [saved.a, saved.b, gradients.out] as [Tensor, Tensor, Tensor];
        const found: Record<string, Tensor> = {};
        if (wanted.has('a')) found.a = summed(product(gradOut, swapped(b), undefined, control), a.shape);
        if (wanted.has('b')) {
          // Rows that meet one b are summed by one product.
          const [x, y] = isShared
            ? [(flat ? a : contiguous(a)).reshape([-1, inner]), gradOut.reshape([-1, columns])]
            : [a, gradOut];
          // The gradient of a b that was transposed lies as b does, so that nothing is copied when it is turned back.
          const isTurned = isShared && b.strides.at(-1) !== 1;
          const gradB = isTurned
            ? swapped(product(swapped(y), x, undefined, control))
            : product(swapped(x), y, undefined, control);
          found.b = summed(gradB, b.shape);
        }
        if (wanted.has('bias')) found.bias = summed(gradOut, [columns]);
        return found;
      },
    },
  }).out;
}

/** The function of each element, recorded. */
function applied({ fn, numbers }: Elementwise, x: Tensor, control: Control): Tensor<'f32'> {
  const names = () => ({ inputs: ['x'], outs: ['out'] });
  return mapItems(fn, [[x]], numbers, { names }, control)[0]?.[0] as Tensor<'f32'>;
}

/** x [..., r, c] with its leading axes broadcast. */
function under(lead: Shape, { storage, dtype, shape, strides, offset }: Tensor): Elements {
  const front = shape.length - 2 - lead.length;
  const leading = lead.map((_, axis) => ((shape[front + axis] ?? 1) === 1 ? 0 : (strides[front + axis] as number)));
  return {
    storage,
    dtype,
    offset,
    shape: [...lead, ...shape.slice(-2)],
    strides: [...leading, ...strides.slice(-2)],
  };
}

/** x [..., r, c] as one matrix, if its rows lie in memory as one. */
function flattened({ storage, dtype, shape, strides, offset }: Tensor): Elements | undefined {
  const ofRows = strides.slice(0, -1);
  const [{ extent, from }, ...others] = commonAxes(shape.slice(0, -1), ofRows, ofRows) as [CommonAxis];
  if (others.length > 0) return undefined;
  return {
    storage,
    dtype,
    offset,
    shape: [extent, shape.at(-1) as number],
    strides: [from, strides.at(-1) as number],
  };
}

/** The gradient with respect to a tensor of `shape` from that to which it was broadcast. */
function summed(gradient: Tensor, shape: Shape): Tensor {
  const front = gradient.rank - shape.length;
  const axes = [...gradient.shape.keys()].filter(
    (axis) => axis < front || shape[axis - front] !== gradient.shape[axis],
  );
  return (axes.length > 0 ? sum(gradient, { axes }) : gradient).reshape(shape);
}

/** With the last two axes in each other's place. */
function swapped(x: Tensor): Tensor {
  const axes = [...x.shape.keys()];
  return x.permute([...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}
