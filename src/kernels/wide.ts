/** Kernels in float64, by plain loops: where the digits of float32 do not do. */
import { ParameterError } from '../errors';
import { Tensor } from '../tensor/tensor';
import type { CheckedKernel } from './kernel';

/** Points in float64: `data` [count, width], row-major. */
export interface WidePoints {
  readonly data: Float64Array;
  readonly count: number;
  readonly width: number;
}

/** A kernel by what it depends on: dot products or distances of points, and for angles their lengths. */
interface Form {
  readonly depends: 'dots' | 'squares' | 'magnitudes';
  value(t: number, lengthX: number, lengthY: number): number;
  /** The derivative with respect to the logarithm of the bandwidth. */
  readonly slope?: (t: number) => number;
}

/** K(x, y) [x.count, y.count], row-major. */
export function wideMatrix(kernel: CheckedKernel, x: WidePoints, y: WidePoints): Float64Array {
  const { kernel: name } = kernel;
  if (name === 'attention') return attentionMatrix(x, y, kernel.width);
  const form = formOf({ ...kernel, kernel: name });
  const [lengthsX, lengthsY] = form.depends === 'dots' ? [lengthsOf(x), lengthsOf(y)] : [];
  return pairs(form, x, y, (t, i, j) => form.value(t, lengthsX?.[i] ?? 0, lengthsY?.[j] ?? 0));
}

/** The derivative of each element of K(x, x) with respect to the logarithm of the bandwidth; undefined for a kernel without one. */
export function wideSlopes(kernel: CheckedKernel, x: WidePoints): Float64Array | undefined {
  const { kernel: name } = kernel;
  if (name === 'attention') return undefined;
  const form = formOf({ ...kernel, kernel: name });
  const { slope } = form;
  return slope && pairs(form, x, x, slope);
}

function pairs(
  { depends }: Form,
  x: WidePoints,
  y: WidePoints,
  of: (t: number, i: number, j: number) => number,
): Float64Array {
  const out = new Float64Array(x.count * y.count);
  const statistic = STATISTICS[depends];
  for (let i = 0; i < x.count; i++)
    for (let j = 0; j < y.count; j++)
      out[i * y.count + j] = of(statistic(x.data, i * x.width, y.data, j * y.width, x.width), i, j);
  return out;
}

type Statistic = (a: Float64Array, fromA: number, b: Float64Array, fromB: number, width: number) => number;

const STATISTICS: Readonly<Record<Form['depends'], Statistic>> = {
  dots(a, fromA, b, fromB, width) {
    let total = 0;
    for (let c = 0; c < width; c++) total += a[fromA + c]! * b[fromB + c]!;
    return total;
  },
  squares(a, fromA, b, fromB, width) {
    let total = 0;
    for (let c = 0; c < width; c++) total += (a[fromA + c]! - b[fromB + c]!) ** 2;
    return total;
  },
  magnitudes(a, fromA, b, fromB, width) {
    let total = 0;
    for (let c = 0; c < width; c++) total += Math.abs(a[fromA + c]! - b[fromB + c]!);
    return total;
  },
};

const lengthsOf = ({ data, count, width }: WidePoints): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.hypot(...data.subarray(i * width, (i + 1) * width)));

/** The bandwidth as a number: those in tensors would have to be waited for. */
export function bandwidthOf({ bandwidth }: CheckedKernel): number {
  if (bandwidth instanceof Tensor) throw new ParameterError('bandwidth must be a number here, got a tensor');
  return bandwidth;
}

/** As attention.ts has it. */
function attentionMatrix(x: WidePoints, y: WidePoints, width: number): Float64Array {
  const tokens = x.width / width;
  const lifted = (a: WidePoints, i: number, b: WidePoints, j: number, k: number, l: number) =>
    1 + STATISTICS.dots(a.data, i * a.width + k * width, b.data, j * b.width + l * width, width);
  const lengths = (a: WidePoints) =>
    Float64Array.from({ length: a.count * tokens }, (_, at) => {
      const [i, k] = [Math.floor(at / tokens), at % tokens];
      return Math.sqrt(lifted(a, i, a, i, k, k));
    });
  const [ofX, ofY] = [lengths(x), lengths(y)];
  return Float64Array.from({ length: x.count * y.count }, (_, at) => {
    const [i, j] = [Math.floor(at / y.count), at % y.count];
    const asked = lifted(x, i, y, j, 0, 0);
    const lengthOf = (all: Float64Array, point: number, k: number) => all[point * tokens]! * all[point * tokens + k]!;
    let total = 0;
    for (let k = 1; k < tokens; k++)
      for (let l = 1; l < tokens; l++) {
        const dot = lifted(x, i, y, j, k, l);
        total += dot * arcCosine(asked * dot, lengthOf(ofX, i, k), lengthOf(ofY, j, l), 1);
      }
    return total / (8 * (tokens - 1) ** 2);
  });
}

function formOf(kernel: CheckedKernel & { readonly kernel: Exclude<CheckedKernel['kernel'], 'attention'> }): Form {
  const { offset, degree, order, smoothness } = kernel;
  switch (kernel.kernel) {
    case 'linear':
      return { depends: 'dots', value: (t) => t };
    case 'polynomial':
      return { depends: 'dots', value: (t) => (t + offset) ** degree };
    case 'arc-cosine':
      return { depends: 'dots', value: (t, a, b) => arcCosine(t, a, b, order) };
    case 'gaussian': {
      const s = bandwidthOf(kernel);
      const value = (t: number) => Math.exp(-t / (2 * s * s));
      return { depends: 'squares', value, slope: (t) => (value(t) * t) / (s * s) };
    }
    case 'laplace': {
      const s = bandwidthOf(kernel);
      return { depends: 'magnitudes', value: (t) => Math.exp(-t / s), slope: (t) => (Math.exp(-t / s) * t) / s };
    }
    case 'matern': {
      const factor = Math.sqrt(2 * smoothness) / bandwidthOf(kernel);
      const [terms, slopes] = MATERN[smoothness]!;
      const at = (t: number, of: (a: number) => number) => {
        const a = factor * Math.sqrt(t);
        return of(a) * Math.exp(-a);
      };
      return { depends: 'squares', value: (t) => at(t, terms), slope: (t) => at(t, slopes) };
    }
  }
}

/** By smoothness: what multiplies e^-a in the kernel, and in its derivative with respect to the logarithm of the bandwidth. */
const MATERN: Readonly<Record<number, readonly [(a: number) => number, (a: number) => number]>> = {
  0.5: [() => 1, (a) => a],
  1.5: [(a) => 1 + a, (a) => a * a],
  2.5: [(a) => 1 + a + (a * a) / 3, (a) => (a * a * (1 + a)) / 3],
};

function arcCosine(dot: number, a: number, b: number, order: number): number {
  const cosine = a * b > 0 ? Math.max(-1, Math.min(1, dot / (a * b))) : 0;
  const [angle, sine] = [Math.acos(cosine), Math.sqrt(1 - cosine * cosine)];
  const rest = Math.PI - angle;
  if (order === 0) return rest / Math.PI;
  if (order === 1) return (a * b * (sine + rest * cosine)) / Math.PI;
  return ((a * b) ** 2 * (3 * sine * cosine + rest * (1 + 2 * cosine * cosine))) / Math.PI;
}

/** a [rows, inner] times b [inner, columns], row-major. */
export function wideDot(a: Float64Array, b: Float64Array, rows: number, inner: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < inner; k++) {
      const value = a[i * inner + k]!;
      for (let j = 0; j < columns; j++) out[i * columns + j]! += value * b[k * columns + j]!;
    }
  return out;
}
