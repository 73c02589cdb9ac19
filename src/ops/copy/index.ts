/** Copies of views, and of several side by side. */
import { checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Expectation, Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import { formatShape } from '../../tensor/shape';
import { type Derivative, record, tapeOf } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors, commonRuntime } from '../check';
import { compute } from '../compute';
import { defineComposite, defineOp, elements, numbers, type OptionsOf, type Setting, setting, whole } from '../define';
import type { ResultOptions } from '../float32';
import { type CopyCall, type CopyDType, DTYPES } from './call';
import { planCopy } from './cpu';
import { kernels } from './params.generated';

const copying: Op<CopyCall> = {
  name: 'copy',
  kernels,
  reference: async () => (await import('./reference')).copy,
  cpu: planCopy,
  native: 'copy',
  webgpu: async () => (await import('./webgpu')).planCopy,
};

const copyingAll: Op<{ readonly copies: readonly CopyCall[] }> = {
  name: 'concat',
  kernels,
  async reference() {
    const { copy } = await import('./reference');
    return ({ copies }, host) => {
      for (const each of copies) copy(each, host);
    };
  },
  cpu({ copies }) {
    const plans = copies.map(planCopy);
    return { jobs: (...given) => plans.flatMap((plan) => plan.jobs(...given)) };
  },
  async webgpu() {
    const { planCopy } = await import('./webgpu');
    return ({ copies }, workspace) => ({ dispatches: copies.flatMap((each) => planCopy(each, workspace).dispatches) });
  },
};

const x = numbers('...', { strided: true, empty: true });

/** The gradient is that with respect to the copy, which the tape gives in the dtype of x. */
const identity: Derivative = { saves: [], gradients: (_, { out }) => ({ x: out }) };

/** @internal */
export const contiguousOp = defineOp({
  ...copying,
  name: 'contiguous',
  inputs: { x },
  results: { out: numbers('...', { like: 'x' }) },
  derivative: () => identity,
});

/** @internal */
export const castOp = defineOp({
  ...copying,
  name: 'cast',
  inputs: { x, dtype: setting<CopyDType>(`one of ${DTYPES.join(', ')}`, (dtype) => DTYPES.includes(dtype)) },
  results: { out: numbers('...', { like: 'dtype' }) },
  derivative: () => identity,
});

/**
 * A copy of x in row-major order, whatever its strides: [...] -> [...], f32, f16, bf16, i32 or f64.
 *
 * @throws {DTypeError} another dtype
 */
export const contiguous = <D extends DType>(x: Tensor<D>, options?: ResultOptions<D>): Tensor<D> =>
  contiguousOp({ x }, options).out as Tensor<DType> as Tensor<D>;

/**
 * A copy of x with its elements as another dtype, in row-major order, whatever its strides: [...] -> [...], f32, f16, bf16,
 * i32, or on the CPU f64. Floats are rounded to nearest even; to i32 they are cut towards zero and saturate, NaN gives 0; i32
 * and f64 go to 16 bits by way of f32.
 *
 * @throws {DTypeError} an x of another dtype
 * @throws {ParameterError} another dtype
 */
export const cast = <D extends CopyDType>(x: Tensor, dtype: D, options?: ResultOptions<D>): Tensor<D> =>
  castOp({ x, dtype }, options).out as Tensor<DType> as Tensor<D>;

/** x as f32, itself if it is. */
export function widened(x: Tensor): Tensor {
  return x.dtype === 'f32' ? x : cast(x, 'f32');
}

type Widths = readonly (readonly [before: number, after: number])[];

const widths: Setting<Widths> = {
  expected: '[before, after], integers >= 0, for each axis of x',
  check(name, widths, _, { x }) {
    const { rank } = x as Tensor;
    const isWidth = (width: unknown) => Number.isSafeInteger(width) && (width as number) >= 0;
    const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(isWidth);
    if (Array.isArray(widths) && widths.length === rank && [...widths].every(isPair)) return widths;
    throw new ParameterError(
      `${name} must be [before, after], integers >= 0, for each of the ${rank} axes of x, got ${show(widths)}`,
    );
  },
};

const filling: Setting<number> = {
  expected: 'any number',
  check(name, value = 0, _, { x }) {
    if (typeof value !== 'number') throw new ParameterError(`${name} must be a number, got ${show(value)}`);
    if ((x as Tensor).dtype === 'i32') checkWhole(name, value, -(2 ** 31), 2 ** 31 - 1);
    return value;
  },
};

/** @internal */
export const padOp = defineComposite({
  name: 'pad',
  inputs: { x: elements('...', { strided: true, empty: true }), widths },
  options: {
    /** What is put around x; default 0. */
    value: filling,
  },
  results: { out: elements('...', { like: 'x' }) },
  run({ x, widths, value }, options) {
    const places = widths.map(([before], axis) => [before, before + (x.shape[axis] as number)] as const);
    const shape = places.map(([, past], axis) => past + (widths[axis] as Widths[number])[1]);
    const inner = (whole: Tensor) => places.reduce((view, [first, past], axis) => view.slice(axis, first, past), whole);
    const spec = { shape, dtype: x.dtype, given: options.out as Tensor | undefined };
    const call = ({ out }: { out: Tensor }) => ({ x, out: inner(out), within: { whole: out, value } });
    const derivative: Derivative = { saves: [], gradients: (_, { out }) => ({ x: inner(out as Tensor) }) };
    return x.runtime.scope(() => compute(copying, { x }, { out: spec }, call, options, { derivative }).out);
  },
});

export interface PadOptions<D extends DType> extends OptionsOf<typeof padOp>, ResultOptions<D> {}

/**
 * x with so many elements before and after it along each axis: [...] -> [before + extent + after, ...], f32, f16, bf16 or
 * i32, any strides; contiguous.
 *
 * @throws {ParameterError} widths that are not two integers from 0 on for each axis, a value that i32 cannot hold
 * @throws {DTypeError} another dtype
 */
export const pad = <D extends DType>(x: Tensor<D>, widths: Widths, options?: PadOptions<D>): Tensor<D> =>
  padOp({ x, widths }, options) as Tensor<D>;

/** A copy whose fault it is if an element of x is not as expected: what is computed from it has the fault too. */
export function expecting(x: Tensor, expectation: Omit<Expectation, 'tensor'>): Tensor<'f32'> {
  const checked: Op<CopyCall> = { ...copying, faults: ({ x: tensor }) => [{ tensor, ...expectation }] };
  const spec = { shape: x.shape, dtype: 'f32' } as const;
  return compute(checked, { x }, { out: spec }, ({ out }) => ({ x, out }), {}, { derivative: identity }).out;
}

type Part = Tensor<'f32' | 'i32'>;

/** By the names that messages and the tape have for them. */
const parts: Setting<readonly Part[], Readonly<Record<string, Part>>> = {
  expected: 'an array of at least one tensor',
  check(name, parts) {
    if (!Array.isArray(parts) || parts.length === 0)
      throw new ParameterError(`${name} must be ${this.expected}, got ${show(parts)}`);
    const named: Record<string, Part> = {};
    for (let at = 0; at < parts.length; at++) named[`${name}[${at}]`] = parts[at];
    checkTensors(named);
    commonRuntime(named);
    return named;
  },
};

/** @internal */
export const concatOp = defineComposite({
  name: 'concat',
  inputs: { parts, axis: whole({ least: 0 }) },
  options: {},
  run({ parts, axis }, control) {
    checkSideBySide(parts, axis);
    const all = Object.values(parts);
    const [{ shape, dtype, runtime }] = all as [Part];
    const extents = all.map((part) => part.shape[axis] as number);
    const joined = [...shape];
    joined[axis] = extents.reduce((sum, extent) => sum + extent);
    const tape = tapeOf('concat', parts);
    return runtime.scope(() => {
      const out = runtime.empty(joined, dtype);
      const places = partsOf(out, axis, extents);
      const copies = all.map((x, at) => ({ x, out: places[at] as Tensor }));
      runtime.calls.run(copyingAll, { make: () => ({ copies }) }, all, [out], control);
      if (tape) record('concat', tape, parts, { out }, derivativeOf(Object.keys(parts), axis, extents));
      return out;
    });
  },
});

/** Throws unless parts have one element type, and shapes that differ along the axis only. */
function checkSideBySide(parts: Readonly<Record<string, Part>>, axis: number): void {
  const [{ shape, dtype }] = Object.values(parts) as [Part];
  if (axis >= shape.length)
    throw new ShapeError(`axis must be one of the ${shape.length} axes of ${formatShape(shape)}, got ${axis}`);
  for (const name in parts) {
    const part = parts[name] as Part;
    if (part.rank !== shape.length || part.shape.some((extent, at) => at !== axis && extent !== shape[at]))
      throw new ShapeError(
        `${name} must have the shape of parts[0] ${formatShape(shape)} but along axis ${axis}, got ${formatShape(part.shape)}`,
      );
    if (part.dtype !== dtype || (dtype !== 'f32' && dtype !== 'i32'))
      throw new DTypeError(`${name} must be f32 or i32 as parts[0], got ${part.dtype}`);
  }
}

/** Where parts of these extents lie in the whole. */
function partsOf(whole: Tensor, axis: number, extents: readonly number[]): Tensor[] {
  let past = 0;
  return extents.map((extent) => {
    past += extent;
    return whole.slice(axis, past - extent, past);
  });
}

/** The gradient with respect to each part is where it lies in that with respect to the whole. */
const derivativeOf = (names: readonly string[], axis: number, extents: readonly number[]): Derivative => ({
  saves: [],
  gradients(_, { out }) {
    const parts = partsOf(out as Tensor, axis, extents);
    return Object.fromEntries(names.map((name, at) => [name, parts[at] as Tensor]));
  },
});

/**
 * Tensors side by side along an axis: shapes that differ there only, f32 or i32, any strides. Contiguous.
 *
 * @throws {ShapeError} shapes that differ elsewhere, an axis that they do not have
 * @throws {DTypeError} another dtype, or several
 */
export const concat = <D extends 'f32' | 'i32'>(
  parts: readonly Tensor<D>[],
  axis: number,
  options?: Control,
): Tensor<D> => concatOp({ parts, axis }, options) as Tensor<'f32' | 'i32'> as Tensor<D>;
