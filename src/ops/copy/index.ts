/** Copies of views, and of several side by side. */
import { checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import { ELEMENTS_PER_MICROSECOND, type Plan } from '../../runtime/cpu/plan';
import type { Expectation, Op } from '../../runtime/op';
import { bytesPerElement, type DType } from '../../tensor/dtype';
import { hostTensor } from '../../tensor/host';
import { formatShape } from '../../tensor/shape';
import { type Derivative, record, tapeOf } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime } from '../check';
import { compute } from '../compute';
import type { ResultOptions } from '../float32';
import { commonAxes } from './axes';
import { type CopyCall, type CopyDType, DTYPES } from './call';
import { CopyAxis, CopyParams, kernels, RUN } from './params.generated';

const op: Op<CopyCall> = {
  name: 'copy',
  kernels,
  reference: async () => (await import('./reference')).copy,
  cpu({ x, out, within }) {
    const [fromBytes, toBytes] = [bytesPerElement(x.dtype), bytesPerElement(out.dtype)];
    const axes = commonAxes(x.shape, x.strides, out.strides);
    const [whole, wholeSize] = [within?.whole, within?.whole.size ?? 0];
    const bits = within ? bitsOf(within.value, out.dtype) : 0;
    const params = [
      ...CopyParams({
        size: x.size,
        from: codeOf(x),
        to: codeOf(out),
        x,
        out,
        axes: axes.length,
        whole,
        wholeSize,
        bits,
      }),
      ...axes.flatMap(({ extent, from, to }) => CopyAxis({ extent, from: from * fromBytes, to: to * toBytes })),
    ];
    const copying = { kernel: 'copy', tasks: Math.ceil(x.size / RUN) };
    const phases = within ? [{ kernel: 'fill', tasks: Math.ceil(wholeSize / RUN) }, copying] : [copying];
    const microseconds = (x.size + wholeSize) / ELEMENTS_PER_MICROSECOND;
    return { jobs: () => [{ phases, params, microseconds }] };
  },
  webgpu: async () => (await import('./webgpu')).planCopy,
};

const concatOp: Op<{ readonly copies: readonly CopyCall[] }> = {
  name: 'concat',
  kernels,
  async reference() {
    const { copy } = await import('./reference');
    return ({ copies }, host) => {
      for (const each of copies) copy(each, host);
    };
  },
  cpu({ copies }, machine) {
    const plans = copies.map((each) => op.cpu(each, machine) as Plan);
    return { jobs: (...given) => plans.flatMap((plan) => plan.jobs(...given)) };
  },
  async webgpu() {
    const { planCopy } = await import('./webgpu');
    return ({ copies }, workspace) => ({ dispatches: copies.flatMap((each) => planCopy(each, workspace).dispatches) });
  },
};

const codeOf = ({ dtype }: Tensor) => DTYPES.indexOf(dtype as CopyDType);

/** The bits of a number as an element. */
function bitsOf(value: number, dtype: DType): number {
  const { data } = hostTensor([value], [1], dtype);
  return bytesPerElement(dtype) === 4 ? (new Uint32Array(data.buffer)[0] as number) : (data[0] as number);
}

/**
 * A copy of x in row-major order, whatever its strides: [...] -> [...], f32, f16, bf16 or i32.
 *
 * @throws {DTypeError} another dtype
 */
export function contiguous<D extends DType>(x: Tensor<D>, options: ResultOptions<D> = {}): Tensor<D> {
  checkCopied('contiguous', x, options);
  return copied(x, x.dtype, options);
}

/**
 * A copy of x with its elements as another dtype, in row-major order, whatever its strides: [...] -> [...], f32, f16, bf16
 * or i32. Floats are rounded to nearest even; to i32 they are cut towards zero and saturate, NaN gives 0; i32 goes to 16
 * bits by way of f32.
 *
 * @throws {DTypeError} another dtype
 */
export function cast<D extends CopyDType>(x: Tensor, dtype: D, options: ResultOptions<D> = {}): Tensor<D> {
  checkCopied('cast', x, options);
  if (!DTYPES.includes(dtype)) throw new DTypeError(`dtype must be ${DTYPES.join(', ')}, got ${show(dtype)}`);
  return copied(x, dtype, options);
}

function copied<D extends DType>(x: Tensor, dtype: D, options: ResultOptions<D>): Tensor<D> {
  const spec = { shape: x.shape, dtype, given: options.out };
  const call = ({ out }: { out: Tensor }) => ({ x, out });
  return compute(op, { x }, { out: spec }, call, options, { derivative: identity }).out as Tensor<D>;
}

/** The gradient is that with respect to the copy, which the tape gives in the dtype of x. */
const identity: Derivative = { saves: [], gradients: (_, { out }) => ({ x: out }) };

/** x as f32, itself if it is. */
export function widened(x: Tensor): Tensor {
  return x.dtype === 'f32' ? x : cast(x, 'f32');
}

export interface PadOptions<D extends DType> extends ResultOptions<D> {
  /** What is put around x; default 0. */
  readonly value?: number | undefined;
}

/**
 * x with so many elements before and after it along each axis: [...] -> [before + extent + after, ...], f32, f16, bf16 or
 * i32, any strides; contiguous.
 *
 * @throws {ParameterError} widths that are not two integers from 0 on for each axis, a value that i32 cannot hold
 * @throws {DTypeError} another dtype
 */
export function pad<D extends DType>(
  x: Tensor<D>,
  widths: readonly (readonly [before: number, after: number])[],
  options: PadOptions<D> = {},
): Tensor<D> {
  checkCopied('pad', x, options, ['value', ...OPTION_NAMES]);
  const { value = 0 } = options;
  const isWidth = (width: unknown) => Number.isSafeInteger(width) && (width as number) >= 0;
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(isWidth);
  if (!(Array.isArray(widths) && widths.length === x.rank && Array.from(widths).every(isPair)))
    throw new ParameterError(
      `widths must be [before, after], integers >= 0, for each of the ${x.rank} axes of x, got ${show(widths)}`,
    );
  if (typeof value !== 'number') throw new ParameterError(`value must be a number, got ${show(value)}`);
  if (x.dtype === 'i32') checkWhole('value', value, -(2 ** 31), 2 ** 31 - 1);
  const shape = widths.map(([before, after], axis) => before + (x.shape[axis] as number) + after);
  const places = widths.map(([before], axis) => [before, before + (x.shape[axis] as number)] as const);
  const inner = (whole: Tensor) => places.reduce((view, [first, past], axis) => view.slice(axis, first, past), whole);
  const spec = { shape, dtype: x.dtype, given: options.out };
  const call = ({ out }: { out: Tensor }) => ({ x, out: inner(out), within: { whole: out, value } });
  const derivative: Derivative = { saves: [], gradients: (_, { out }) => ({ x: inner(out as Tensor) }) };
  return x.runtime.scope(() => compute(op, { x }, { out: spec }, call, options, { derivative }).out as Tensor<D>);
}

const OPTION_NAMES: readonly string[] = ['out', 'signal', 'onProgress'];

function checkCopied(name: string, x: Tensor, options: object, more = OPTION_NAMES): void {
  checkTensors({ x });
  checkOptions(name, options, more);
  checkControl(options);
  if (!(DTYPES as readonly DType[]).includes(x.dtype))
    throw new DTypeError(`x must be ${DTYPES.join(', ')}, got ${x.dtype}`);
}

/** A copy whose fault it is if an element of x is not as expected: what is computed from it has the fault too. */
export function expecting(x: Tensor, expectation: Omit<Expectation, 'tensor'>): Tensor<'f32'> {
  const checked: Op<CopyCall> = { ...op, faults: ({ x: tensor }) => [{ tensor, ...expectation }] };
  const spec = { shape: x.shape, dtype: 'f32' } as const;
  return compute(checked, { x }, { out: spec }, ({ out }) => ({ x, out }), {}, { derivative: identity }).out;
}

/**
 * Tensors side by side along an axis: shapes that differ there only, f32 or i32, any strides. Contiguous.
 *
 * @throws {ShapeError} shapes that differ elsewhere
 * @throws {DTypeError} another dtype, or several
 */
export function concat<D extends 'f32' | 'i32'>(parts: readonly Tensor<D>[], axis: number): Tensor<D> {
  if (!Array.isArray(parts) || parts.length === 0)
    throw new ParameterError(`parts must be an array of at least one tensor, got ${show(parts)}`);
  const all: readonly Tensor<D>[] = [...parts];
  const named = Object.fromEntries(all.map((part, at) => [`parts[${at}]`, part]));
  checkTensors(named);
  const runtime = commonRuntime(named);
  const { shape, dtype } = parts[0] as Tensor<D>;
  if (!(Number.isInteger(axis) && axis >= 0 && axis < shape.length))
    throw new ShapeError(`axis must be one of the ${shape.length} axes of ${formatShape(shape)}, got ${show(axis)}`);
  for (const [name, part] of Object.entries(named)) {
    const isLike = part.rank === shape.length && part.shape.every((extent, at) => at === axis || extent === shape[at]);
    if (!isLike)
      throw new ShapeError(
        `${name} must have the shape of parts[0] ${formatShape(shape)} but along axis ${axis}, got ${formatShape(part.shape)}`,
      );
    if (part.dtype !== dtype || (dtype !== 'f32' && dtype !== 'i32'))
      throw new DTypeError(`${name} must be f32 or i32 as parts[0], got ${part.dtype}`);
  }
  const whole = [...shape];
  whole[axis] = parts.reduce((sum: number, part: Tensor) => sum + (part.shape[axis] as number), 0);
  const tape = tapeOf('concat', named);
  return runtime.scope(() => {
    const out = runtime.empty(whole, dtype);
    let first = 0;
    const copies = all.map((x) => {
      const place = out.slice(axis, first, first + (x.shape[axis] as number));
      first += x.shape[axis] as number;
      return { x, out: place };
    });
    runtime.calls.run(concatOp, { make: () => ({ copies }) }, all, [out], {});
    if (tape) record('concat', tape, named, { out }, partsOf(named, axis));
    return out;
  });
}

/** The gradient with respect to each part is where it lies in that with respect to the whole. */
function partsOf(parts: Readonly<Record<string, Tensor>>, axis: number): Derivative {
  const extents = Object.entries(parts).map(([name, { shape }]) => [name, shape[axis] as number] as const);
  return {
    saves: [],
    gradients(_, { out }, wanted) {
      const gradients: Record<string, Tensor> = {};
      let first = 0;
      for (const [name, extent] of extents) {
        if (wanted.has(name)) gradients[name] = (out as Tensor).slice(axis, first, first + extent);
        first += extent;
      }
      return gradients;
    },
  };
}
