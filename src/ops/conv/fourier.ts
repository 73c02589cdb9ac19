/** Plans of convolutions by channel as products of spectra: see fourier.as.ts. */
import { BoundedMap } from '../../bounded-map';
import { sizeOf } from '../../tensor/shape';
import { type Axes, type Axis, type Extents, tapsOf } from './call';
import { costOf, type DirectCounts, type FourierCounts } from './costs';
import { SPECTRUM_VECTORS } from './params';

/** Windows of an axis, at most. */
const MOST_WINDOWS = 16;
/** Of local transforms: taps, and results of a window. */
const [LEAST_TAPS, LEAST_RESULTS] = [16, 32];

/** A window of an axis: where its results, elements and taps begin, and where they lie among what is transformed. */
interface Window {
  readonly firstResult: number;
  readonly results: number;
  readonly firstElement: number;
  readonly elements: number;
  readonly elementPlace: number;
}

export type Near = -1 | 0 | 1;

/** How an axis is cut into windows. */
export interface AxisPlan {
  /** Places that are transformed. */
  readonly size: number;
  readonly radices: readonly number[];
  readonly windows: readonly Window[];
  readonly firstTap: number;
  readonly taps: number;
  readonly tapPlace: number;
}

export interface FourierPlan {
  readonly y: AxisPlan;
  readonly x: AxisPlan;
  readonly counts: FourierCounts;
  /** -1 where transforms see only what lies before a window, 1 only what lies behind it, and the rest is direct; else 0. */
  readonly near: Near;
  /** Nanoseconds of one thread. */
  readonly cost: number;
}

const SIZES = smoothNumbers(2 * SPECTRUM_VECTORS);

/** Products of twos and threes, in order. */
function smoothNumbers(most: number): number[] {
  const found: number[] = [];
  for (let power = 1; power <= most; power *= 3) for (let size = power; size <= most; size *= 2) found.push(size);
  return found.sort((a, b) => a - b);
}

/** Fours, at most one two, and threes. */
function radicesOf(size: number): number[] {
  if (size % 4 === 0) return [4, ...radicesOf(size / 4)];
  if (size % 2 === 0) return [2, ...radicesOf(size / 2)];
  return size === 1 ? [] : [3, ...radicesOf(size / 3)];
}

interface Extent {
  readonly extent: number;
  readonly results: number;
  /** Those that meet an element at some result. */
  readonly met: readonly { readonly place: number }[];
}

/** An axis in so many windows of equal numbers of results; undefined if their transforms would be too long. */
function axisPlan(axis: Axis, { extent, results, met }: Extent, count: number, near: Near = 0): AxisPlan | undefined {
  const { stride, dilation, up, before } = axis;
  const places = met.map(({ place }) => place);
  const [firstTap, lastTap] = [Math.min(...places), Math.max(...places)];
  const [least, most] = [firstTap * dilation, lastTap * dilation].sort((a, b) => a - b) as [number, number];
  const width = Math.ceil(results / count);
  const span = (width - 1) * stride;
  const windows: Window[] = [];
  for (let firstResult = 0; firstResult < results; firstResult += width) {
    const from = firstResult * stride - before + least;
    const pastOwn = Math.min(results, firstResult + width);
    const firstElement = Math.max(0, near > 0 ? pastOwn : Math.ceil(from / up));
    const past = Math.min(extent, near < 0 ? firstResult : Math.floor((from + span + most - least) / up) + 1);
    const elements = Math.max(0, past - firstElement);
    windows.push({
      firstResult,
      results: pastOwn - firstResult,
      firstElement,
      elements,
      elementPlace: firstElement * up - from,
    });
  }
  const [only] = windows as [Window];
  const isOne = windows.length === 1;
  // The zeros around a single window may overlap with what results do not need.
  const shift = isOne ? only.elementPlace : 0;
  const lowest = shift + least - most;
  const length = isOne ? (only.elements - 1) * up + 1 : span + most - least + 1;
  const size = SIZES.find((each) => each >= Math.max(span - lowest + 1, length + shift, span + 1, length));
  if (size === undefined) return undefined;
  const tapPlace = shift + least - firstTap * dilation;
  return {
    size,
    radices: radicesOf(size),
    windows: isOne ? [{ ...only, elementPlace: 0 }] : windows,
    firstTap,
    taps: lastTap - firstTap + 1,
    tapPlace: ((tapPlace % size) + size) % size,
  };
}

const plans = new BoundedMap<string, { readonly plan: FourierPlan | undefined }>(256);

/** Whether results read nothing after their own place, or nothing before it, along a single axis of single steps. */
function nearOf([, , { stride, dilation, up, before }]: Axes, { inputs, extents, taps, results }: Extents): Near {
  if (inputs * extents[1] * taps[1] * results[1] > 1 || stride * Math.abs(dilation) * up !== 1) return 0;
  const ends = [-before, (taps[2] - 1) * dilation - before];
  if (taps[2] < LEAST_TAPS) return 0;
  return Math.max(...ends) === 0 ? -1 : Math.min(...ends) === 0 ? 1 : 0;
}

/**
 * The cheapest windows, of transforms that no element reaches earlier results by where `isLocal`; undefined for three spatial axes,
 * kernels that meet nothing, and transforms that are too long, or not local.
 */
export function fourierPlan(axes: Axes, all: Extents, isLocal = false): FourierPlan | undefined {
  const { batch, groups, inputs, outputs, extents, taps, results } = all;
  if (extents[0] * taps[0] * results[0] !== 1) return undefined;
  const near = isLocal ? nearOf(axes, all) : 0;
  if (isLocal && near === 0) return undefined;
  return plans.get(JSON.stringify([axes, batch, groups, inputs, outputs, extents, taps, results, near]), () => {
    const [ofY, ofX] = ([1, 2] as const).map((at) => {
      const [axis, extent, count] = [axes[at], extents[at], results[at]];
      const met = tapsOf(axis, extent, taps[at], count).flat();
      if (met.length === 0) return [];
      const isCut = near !== 0 && at === 2;
      const counts = isCut
        ? cutsOf(count, met.length)
        : Array.from({ length: Math.min(count, MOST_WINDOWS) }, (_, more) => more + 1);
      return counts.flatMap(
        (windows) => axisPlan(axis, { extent, results: count, met }, windows, isCut ? near : 0) ?? [],
      );
    }) as [AxisPlan[], AxisPlan[]];
    let plan: FourierPlan | undefined;
    for (const y of ofY)
      for (const x of ofX) {
        if (2 * x.size > SPECTRUM_VECTORS || 2 * y.size * columnsOf(x) > SPECTRUM_VECTORS) continue;
        // What is direct has taps and elements of its own behind the spectra.
        if (near !== 0 && 2 * x.size + 32 > SPECTRUM_VECTORS) continue;
        const counts = countsOf(y, x, all);
        const cost = costOf('fourier', counts) + (near === 0 ? 0 : costOf('direct', nearCounts(x, all)));
        if (!plan || cost < plan.cost) plan = { y, x, counts, near, cost };
      }
    return { plan };
  }).plan;
}

/** Numbers of windows, at least two, that fill transforms of as many taps. */
const cutsOf = (results: number, taps: number): number[] => [
  ...new Set(
    SIZES.filter((size) => size >= taps + LEAST_RESULTS)
      .map((size) => Math.ceil(results / (size - taps + 1)))
      .filter((windows) => windows > 1),
  ),
];

/** What is direct within windows. */
function nearCounts({ windows, taps }: AxisPlan, { batch, groups, outputs }: Extents): DirectCounts {
  const ofAll = Math.ceil(groups / 4) * outputs;
  const macs = sumOf(windows, ({ results }) => results * Math.min(taps, results / 2 + 4));
  return {
    macs: ofAll * batch * macs,
    results: ofAll * batch * sumOf(windows, ({ results }) => results),
    taps: ofAll * taps,
  };
}

const columnsOf = ({ size }: AxisPlan) => Math.floor(size / 2) + 1;

const sumOf = <T>(all: readonly T[], of: (each: T) => number) => all.reduce((sum, each) => sum + of(each), 0);

/** What there is to do, of all vectors of four channels. */
function countsOf(y: AxisPlan, x: AxisPlan, { batch, groups, inputs, outputs }: Extents): FourierCounts {
  const numbers = columnsOf(x) * y.size;
  const windows = y.windows.length * x.windows.length;
  const kernels = inputs === 1 ? 1 : inputs * batch * windows;
  const pictures = inputs * batch * windows;
  const spectra = kernels + pictures + batch * windows;
  const pairs =
    kernels * Math.ceil(y.taps / 2) +
    batch *
      x.windows.length *
      sumOf(y.windows, ({ elements, results }) => inputs * Math.ceil(elements / 2) + Math.ceil(results / 2));
  const ofAll = Math.ceil(groups / 4) * outputs;
  return {
    stages: ofAll * (pairs * x.size * x.radices.length + spectra * numbers * y.radices.length),
    products: ofAll * pictures * numbers,
    taps: ofAll * kernels * y.taps * x.taps,
  };
}

const windowTables = new BoundedMap<string, Int32Array>(256);

/** The windows as in `Window` of fourier.as.ts. */
export function windowsOf({ windows, firstTap, taps, tapPlace }: AxisPlan): Int32Array {
  const numbers = windows.flatMap((window) => [
    window.firstResult,
    window.results,
    window.firstElement,
    window.elements,
    window.elementPlace,
    firstTap,
    taps,
    tapPlace,
  ]);
  return windowTables.get(`${numbers}`, () => Int32Array.from(numbers));
}

interface Transform {
  readonly radices: Int32Array;
  readonly frequencies: Int32Array;
  readonly twiddles: Float32Array;
}

const transforms = new BoundedMap<number, Transform>(64);

/** The tables of transforms of a size. */
export function transformOf(size: number): Transform {
  return transforms.get(size, () => {
    const radices = radicesOf(size);
    const twiddles: number[] = [];
    let length = size;
    for (const radix of radices) {
      const places = length / radix;
      for (let place = 0; place < places; place++)
        for (let number = 1; number < radix; number++) {
          const angle = (2 * Math.PI * ((place * number) % length)) / length;
          twiddles.push(Math.cos(angle), -Math.sin(angle));
        }
      length = places;
    }
    const frequencies = Int32Array.from({ length: size }, (_, frequency) => placeOf(frequency, radices));
    return { radices: Int32Array.of(radices.length, ...radices), frequencies, twiddles: Float32Array.from(twiddles) };
  });
}

/** Where a frequency lies when all radices have passed: the first one's block is its rest by the first radix, and so on. */
function placeOf(frequency: number, radices: readonly number[]): number {
  let length = sizeOf(radices);
  let place = 0;
  for (const radix of radices) {
    length /= radix;
    place += (frequency % radix) * length;
    frequency = Math.floor(frequency / radix);
  }
  return place;
}
