/** Copies of views, and of several side by side. */
import { show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { bytesPerElement, type DType } from '../../tensor/dtype';
import { formatShape } from '../../tensor/shape';
import { type Derivative, record, tapeOf } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime } from '../check';
import { compute } from '../compute';
import type { ResultOptions } from '../float32';
import type { Expectation, Op } from '../op';
import { commonAxes } from './axes';
import type { CopyCall } from './call';
import { CopyAxis, CopyParams, RUN } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./copy.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./copy.baseline.wasm', import.meta.url),
};

const op: Op<CopyCall> = {
  name: 'copy',
  kernels,
  reference: async () => (await import('./reference')).copy,
  wasm({ x, out }) {
    const bytes = bytesPerElement(x.dtype);
    const axes = commonAxes(x.shape, x.strides, out.strides);
    const params = [
      ...CopyParams({ size: out.size, elementBytes: bytes, x, out, axes: axes.length }),
      ...axes.flatMap(({ extent, from, to }) => CopyAxis({ extent, from: from * bytes, to: to * bytes })),
    ];
    return overElements('copy', Math.ceil(out.size / RUN), params, out.size);
  },
  webgpu: async () => (await import('./webgpu')).planCopy,
};

const DTYPES: readonly DType[] = ['f32', 'f16', 'bf16', 'i32'];

/**
 * A copy of x in row-major order, whatever its strides: [...] -> [...], f32, f16, bf16 or i32.
 *
 * @throws {DTypeError} another dtype
 */
export function contiguous<D extends DType>(x: Tensor<D>, options: ResultOptions = {}): Tensor<D> {
  checkTensors({ x });
  checkOptions('contiguous', options, ['out', 'signal', 'onProgress']);
  checkControl(options);
  if (!DTYPES.includes(x.dtype)) throw new DTypeError(`x must be ${DTYPES.join(', ')}, got ${x.dtype}`);
  const spec = { shape: x.shape, dtype: x.dtype, given: options.out };
  return compute(op, { x }, { out: spec }, ({ out }) => ({ x, out }), options, { derivative: identity }).out;
}

/** The gradient is that with respect to the copy. */
const identity: Derivative = { saves: [], gradients: (_, { out }) => ({ x: out }) };

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
    for (const x of all) {
      const past = first + (x.shape[axis] as number);
      const place = out.slice(axis, first, past);
      runtime.run(op, { make: () => ({ x, out: place }) }, [x], [place], {});
      first = past;
    }
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
