/** What a convolution is, whatever it computes: results, gradients with respect to x, or to kernels. */
import type { Elements } from '../../tensor/elements';
import type { Tensor } from '../../tensor/tensor';
import type { Elementwise } from '../map/function';

/**
 * How results, taps and elements of x meet along a spatial axis: result r and tap k meet element t / up, where
 * t = r * stride + k * dilation - before, if that is a whole number within x.
 */
export interface Axis {
  readonly stride: number;
  /** Negative where kernels are turned around, as in gradients with respect to x. */
  readonly dilation: number;
  /** Not 1 in transposed convolutions, whose stride is 1. */
  readonly up: number;
  readonly before: number;
}

export type Axes = readonly [z: Axis, y: Axis, x: Axis];

/** Each result is the bias and the sum over taps and channels of its group of x times weight; f32. */
export interface ConvCall {
  /** [b, z, y, x, g, i], of any strides. */
  readonly x: Elements;
  /** [g, o, i, z, y, x], of any strides. */
  readonly weight: Elements;
  /** [g o]. */
  readonly bias?: Tensor | undefined;
  readonly epilogue?: Elementwise | undefined;
  /** Contiguous, in the layout that the caller wants. */
  readonly out: Tensor;
  /** The same as [b, z, y, x, g, o]. */
  readonly results: Elements;
  readonly axes: Axes;
  /** Default `auto`. */
  readonly way?: Way;
}

/**
 * How convolutions by channel are computed; `auto` for the faster one, `local` for the faster one in which no later element reaches
 * an earlier result, nor one that is not finite a result that does not read it.
 */
export type Way = 'auto' | 'direct' | 'fourier' | 'local';

type Six = readonly [number, number, number, number, number, number];

export interface Extents {
  readonly batch: number;
  readonly groups: number;
  readonly outputs: number;
  readonly inputs: number;
  readonly extents: Three;
  readonly taps: Three;
  readonly results: Three;
}

/** The extents of a call. */
export function extentsOf({ x, weight, results }: Pick<ConvCall, 'x' | 'weight' | 'results'>): Extents {
  const [batch, ...rest] = x.shape as Six;
  const [groups, outputs, inputs, ...taps] = weight.shape as Six;
  return {
    batch,
    groups,
    outputs,
    inputs,
    extents: rest.slice(0, 3) as unknown as Three,
    taps: taps as Three,
    results: results.shape.slice(1, 4) as unknown as Three,
  };
}

type Three = readonly [z: number, y: number, x: number];

/** A tap that meets x at some result: `offset` elements after `stride` times the number of the result within its phase. */
interface Tap {
  readonly offset: number;
  readonly place: number;
}

/** The taps of each phase of an axis, by offset; those that meet no element are left out. */
export function tapsOf({ stride, dilation, up, before }: Axis, extent: number, taps: number, results: number): Tap[][] {
  return Array.from({ length: up }, (_, phase) => {
    const last = Math.ceil((results - phase) / up) - 1;
    const found: Tap[] = [];
    for (let place = 0; place < taps; place++) {
      const offset = (phase + place * dilation - before) / up;
      if (Number.isInteger(offset) && offset < extent && offset + last * stride >= 0) found.push({ offset, place });
    }
    return dilation < 0 ? found.reverse() : found;
  });
}

/** Multiplications and additions of elements of x with taps, those beyond the edges left out. */
export function operationsOf(call: Pick<ConvCall, 'x' | 'weight' | 'results' | 'axes'>): number {
  const { batch, groups, outputs, inputs, extents, taps, results } = extentsOf(call);
  const along = call.axes.map((axis, at) => {
    const [extent, count, width] = [extents[at], results[at], taps[at]] as [number, number, number];
    const phases = tapsOf(axis, extent, width, count);
    return phases.reduce(
      (sum, each, phase) =>
        sum + each.reduce((total, { offset }) => total + meeting(axis, offset, extent, count, phase), 0),
      0,
    );
  });
  return 2 * batch * groups * outputs * inputs * along.reduce((product, each) => product * each, 1);
}

/** How many results of a phase a tap meets x at. */
function meeting({ stride, up }: Axis, offset: number, extent: number, results: number, phase: number): number {
  const count = Math.ceil((results - phase) / up);
  const first = Math.max(0, Math.ceil(-offset / stride));
  const past = Math.min(count, Math.floor((extent - 1 - offset) / stride) + 1);
  return Math.max(0, past - first);
}

/** How often the taps of a kernel that lies in the middle of its padding meet elements of an axis. */
export function tapsInside(extent: number, taps: number, stride: number): number {
  const axis = { stride, dilation: 1, up: 1, before: (taps - 1) / 2 };
  const results = Math.ceil(extent / stride);
  const [found = []] = tapsOf(axis, extent, taps, results);
  return found.reduce((sum, { offset }) => sum + meeting(axis, offset, extent, results, 0), 0);
}
