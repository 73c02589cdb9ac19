/** Plans of convolutions by channel as products of spectra: see fourier.as.ts. */
import { BoundedMap } from '../../bounded-map';
import { sizeOf } from '../../tensor/shape';
import { type Axes, type Axis, type Extents, tapsOf } from './call';
import { costOf, type FourierCounts } from './costs';
import { SPECTRUM_VECTORS } from './params';

/** Windows of an axis, at most. */
const MOST_WINDOWS = 16;
/** Of local transforms: taps, and results of a window. */
const [LEAST_TAPS, LEAST_RESULTS] = [16, 32];
const PARTS = [1, 2, 4, 6, 8];

/** A window of an axis: where its results, elements and taps begin, and where they lie among what is transformed. */
interface Window {
  readonly firstResult: number;
  readonly results: number;
  readonly firstElement: number;
  readonly elements: number;
  readonly elementPlace: number;
}

/** Whether results read what lies before them or behind, or both. */
type Near = -1 | 0 | 1;

export interface Local {
  readonly near: Near;
  /** Of the taps, and how many taps each has but the last. */
  readonly parts: number;
  readonly partTaps: number;
}

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
  /** Where transforms see only what lies before or behind a window, whose own elements are direct. */
  readonly local: Local | undefined;
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
function axisPlan(axis: Axis, { extent, results, met }: Extent, count: number): AxisPlan | undefined {
  const { stride, dilation, up, before } = axis;
  const places = met.map(({ place }) => place);
  const [firstTap, lastTap] = [Math.min(...places), Math.max(...places)];
  const [least, most] = [firstTap * dilation, lastTap * dilation].sort((a, b) => a - b) as [number, number];
  const width = Math.ceil(results / count);
  const span = (width - 1) * stride;
  const windows: Window[] = [];
  for (let firstResult = 0; firstResult < results; firstResult += width) {
    const from = firstResult * stride - before + least;
    const firstElement = Math.max(0, Math.ceil(from / up));
    const past = Math.min(extent, Math.floor((from + span + most - least) / up) + 1);
    const elements = Math.max(0, past - firstElement);
    windows.push({
      firstResult,
      results: Math.min(width, results - firstResult),
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
  return Math.max(...ends) === 0 ? -1 : Math.min(...ends) === 0 ? 1 : 0;
}

/**
 * The cheapest windows; undefined for three spatial axes, kernels that meet nothing, and transforms that are too long. Where
 * `isLocal` no element reaches earlier results, or later ones: undefined where that cannot be.
 */
export function fourierPlan(axes: Axes, all: Extents, isLocal = false): FourierPlan | undefined {
  const { batch, groups, inputs, outputs, extents, taps, results } = all;
  if (extents[0] * taps[0] * results[0] !== 1) return undefined;
  return plans.get(JSON.stringify([axes, batch, groups, inputs, outputs, extents, taps, results, isLocal]), () => {
    const [ofY, ofX] = ([1, 2] as const).map((at) => {
      const [axis, extent, count] = [axes[at], extents[at], results[at]];
      const met = tapsOf(axis, extent, taps[at], count).flat();
      if (met.length === 0) return [];
      const counts = Array.from({ length: Math.min(count, MOST_WINDOWS) }, (_, more) => more + 1);
      return counts.flatMap((windows) => axisPlan(axis, { extent, results: count, met }, windows) ?? []);
    }) as [AxisPlan[], AxisPlan[]];
    if (isLocal) return { plan: ofY[0] && localPlan(axes, all, ofY[0]) };
    let plan: FourierPlan | undefined;
    for (const y of ofY)
      for (const x of ofX) {
        if (2 * x.size > SPECTRUM_VECTORS || 2 * y.size * columnsOf(x) > SPECTRUM_VECTORS) continue;
        const counts = countsOf(y, x, all);
        const cost = costOf('fourier', counts);
        if (!plan || cost < plan.cost) plan = { y, x, counts, local: undefined, cost };
      }
    return { plan };
  }).plan;
}

/** Taps go in parts, since a transform has the length of a window and a part; pairs of parts share one. */
function localPlan(axes: Axes, all: Extents, y: AxisPlan): FourierPlan | undefined {
  const { batch, groups, outputs, extents, results } = all;
  const near = nearOf(axes, all);
  const places = tapsOf(axes[2], extents[2], all.taps[2], results[2]).flatMap((phase) =>
    phase.map(({ place }) => place),
  );
  const taps = places.length;
  if (near === 0 || taps < LEAST_TAPS) return undefined;
  const ofAll = Math.ceil(groups / 4) * outputs;
  let plan: FourierPlan | undefined;
  for (const parts of PARTS)
    for (const size of SIZES) {
      const partTaps = Math.ceil(taps / parts);
      const windows = Math.ceil(results[2] / (size - partTaps + 1));
      const width = Math.ceil(results[2] / windows);
      if (size < partTaps || windows < 2 || width < LEAST_RESULTS) continue;
      // Behind the spectra lie all taps, and elements of taps and a window.
      if (Math.max(2, parts) * (size + 2) + taps + width + 32 > SPECTRUM_VECTORS) continue;
      const [radices, transforms, pictures] = [radicesOf(size), Math.ceil(parts / 2), batch * windows];
      const counts = {
        stages: ofAll * size * radices.length * (transforms + pictures * (transforms + 1)),
        products: ofAll * pictures * parts * columnsOf({ size }),
        taps: ofAll * taps,
      };
      const direct = { macs: ofAll * pictures * width * Math.min(taps, width / 2 + 4), results: 0, taps: ofAll * taps };
      const cost = costOf('fourier', counts) + costOf('direct', direct);
      if (plan && plan.cost <= cost) continue;
      const none = { firstElement: 0, elements: 0, elementPlace: 0 };
      const x = {
        ...{ size, radices, firstTap: Math.min(...places), taps, tapPlace: 0 },
        windows: Array.from({ length: windows }, (_, at) => ({
          ...none,
          firstResult: at * width,
          results: Math.min(width, results[2] - at * width),
        })).filter(({ results }) => results > 0),
      };
      plan = { y, x, counts, local: { near, parts, partTaps }, cost };
    }
  return plan;
}

const columnsOf = ({ size }: Pick<AxisPlan, 'size'>) => Math.floor(size / 2) + 1;

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
