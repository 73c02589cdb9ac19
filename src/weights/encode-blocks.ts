/** Numbers rounded to blocks of 8 or 4 bits, for files that are written. Scales and minima are searched for the least squared error. */
import { ParameterError } from '../errors';
import { fromFloat16, toFloat16 } from '../tensor/float16';
import { BLOCKS } from './blocks';

const ENCODERS = { q8_0: encodeEight, q4_0: encodeFour, q4_1: encodeFourAffine, q4_k: encodeGroups };

/** Types that numbers are rounded to. */
export type EncodedType = keyof typeof ENCODERS;

/**
 * Blocks of the numbers; their count must divide into blocks.
 *
 * @throws {ParameterError} numbers that are not finite, or beyond what a scale in f16 can reach
 */
export function encodeBlocks(type: EncodedType, numbers: Float32Array): Uint8Array<ArrayBuffer> {
  const { numbers: length, bytes: size } = BLOCKS[type];
  const count = numbers.length / length;
  if (!Number.isInteger(count))
    throw new ParameterError(`${type} has blocks of ${length} numbers, got ${numbers.length} numbers`);
  for (let at = 0; at < numbers.length; at++)
    if (!Number.isFinite(numbers[at]))
      throw new ParameterError(`${type} holds finite numbers, got ${numbers[at]} at element ${at}`);
  const bytes = new Uint8Array(count * size);
  for (let block = 0; block < count; block++) {
    const x = numbers.subarray(block * length, (block + 1) * length);
    ENCODERS[type](x, new DataView(bytes.buffer, block * size, size));
  }
  return bytes;
}

function encodeEight(x: Float32Array, out: DataView): void {
  const inverse = inverseOf(writeHalf(out, 0, magnitude(x) / 127));
  for (let j = 0; j < 32; j++) out.setInt8(2 + j, nearest((x[j] as number) * inverse, -127, 127));
}

/** Codes -8 to 7; at first the number that is largest gets -8. The squared error of codes that fit best is |x|^2 - fit. */
function encodeFour(x: Float32Array, out: DataView): void {
  const most = magnitude(x);
  const first = (x.includes(most) ? most : -most) / -8;
  let best = { scale: 0, fit: 0 };
  for (let step = -2; step <= 5; step++) {
    const { squares, products } = momentsOf(x, first * (1 - step / 20), 0, -8, 7);
    const fit = products ** 2 / squares;
    if (fit > best.fit) best = { scale: products / squares, fit };
  }
  const inverse = inverseOf(writeHalf(out, 0, best.scale));
  for (let j = 0; j < 16; j++) {
    const low = nearest((x[j] as number) * inverse, -8, 7) + 8;
    out.setUint8(2 + j, low | ((nearest((x[j + 16] as number) * inverse, -8, 7) + 8) << 4));
  }
}

function encodeFourAffine(x: Float32Array, out: DataView): void {
  const fit = fitAffine(x, false);
  const [inverse, minimum] = [inverseOf(writeHalf(out, 0, fit.scale)), writeHalf(out, 2, fit.minimum)];
  for (let j = 0; j < 16; j++) {
    const low = nearest(((x[j] as number) - minimum) * inverse, 0, 15);
    out.setUint8(4 + j, low | (nearest(((x[j + 16] as number) - minimum) * inverse, 0, 15) << 4));
  }
}

/** Q4_K: minima are at most 0, as the format subtracts them. */
function encodeGroups(x: Float32Array, out: DataView): void {
  const group = (index: number) => x.subarray(32 * index, 32 * index + 32);
  const fits = Array.from({ length: 8 }, (_, index) => fitAffine(group(index), true));
  const scale = writeHalf(out, 0, Math.max(...fits.map((fit) => fit.scale)) / 63);
  const minimum = writeHalf(out, 2, Math.max(...fits.map((fit) => -fit.minimum)) / 63);
  const [inverse, inverseMinimum] = [inverseOf(scale), inverseOf(minimum)];
  for (const [index, fit] of fits.entries()) {
    const [s, m] = [nearest(fit.scale * inverse, 0, 63), nearest(-fit.minimum * inverseMinimum, 0, 63)];
    writeSixBits(out, index, s, m);
    const [codes, shift, own] = [16 + (index >> 1) * 32, 4 * (index & 1), inverseOf(scale * s)];
    for (let j = 0; j < 32; j++) {
      const code = nearest(((x[32 * index + j] as number) + minimum * m) * own, 0, 15);
      out.setUint8(codes + j, out.getUint8(codes + j) | (code << shift));
    }
  }
}

/** The scale and minimum of a group, as `sixBits` of the decoder reads them. */
function writeSixBits(out: DataView, group: number, scale: number, minimum: number): void {
  const set = (at: number, bits: number) => out.setUint8(4 + at, out.getUint8(4 + at) | bits);
  if (group < 4) {
    set(group, scale);
    set(group + 4, minimum);
    return;
  }
  set(group + 4, (scale & 15) | ((minimum & 15) << 4));
  set(group - 4, (scale >> 4) << 6);
  set(group, (minimum >> 4) << 6);
}

interface Affine {
  readonly scale: number;
  readonly minimum: number;
}

/** Scale >= 0 and minimum of codes 0 to 15: the best of several ranges, each fitted to its own codes by least squares. */
function fitAffine(x: Float32Array, isNegative: boolean): Affine {
  const low = x.reduce((least, value) => Math.min(least, value), isNegative ? 0 : (x[0] as number));
  const range = x.reduce((most, value) => Math.max(most, value), low) - low;
  let best = { scale: range / 15, minimum: low, fit: Number.NEGATIVE_INFINITY };
  if (range === 0) return best;
  for (let step = -2; step <= 7; step++) {
    const moments = momentsOf(x, range / (15 + step / 4), low, 0, 15);
    const next = leastSquares(x.length, moments, isNegative);
    if (next.fit > best.fit) best = next;
  }
  return best;
}

interface Moments {
  readonly codes: number;
  readonly squares: number;
  readonly values: number;
  readonly products: number;
}

/** Sums over the numbers and the codes that a scale and a minimum give them. */
function momentsOf(x: Float32Array, scale: number, minimum: number, least: number, most: number): Moments {
  const inverse = inverseOf(scale);
  let [codes, squares, values, products] = [0, 0, 0, 0];
  for (let j = 0; j < x.length; j++) {
    const value = x[j] as number;
    const code = nearest((value - minimum) * inverse, least, most);
    codes += code;
    squares += code * code;
    values += value;
    products += code * value;
  }
  return { codes, squares, values, products };
}

/** The squared error is |x|^2 - fit. */
function leastSquares(count: number, moments: Moments, isNegative: boolean): Affine & { readonly fit: number } {
  const { codes, squares, values, products } = moments;
  const determinant = count * squares - codes * codes;
  const minimum = (squares * values - codes * products) / determinant;
  if (isNegative && !(minimum <= 0)) return { scale: products / squares, minimum: 0, fit: products ** 2 / squares };
  const scale = (count * products - codes * values) / determinant;
  return { scale, minimum, fit: scale * products + minimum * values };
}

/** The nearest code within limits; floor and comparisons are far faster than round, max and min. */
function nearest(value: number, least: number, most: number): number {
  const code = Math.floor(value + 0.5);
  if (code > most) return most;
  if (code < least) return least;
  return code;
}

const inverseOf = (scale: number) => (scale === 0 ? 0 : 1 / scale);

function magnitude(x: Float32Array): number {
  let most = 0;
  for (let j = 0; j < x.length; j++) most = Math.max(most, Math.abs(x[j] as number));
  return most;
}

const rounded = (value: number) => fromFloat16(toFloat16(value));

/** Writes f16 and returns what it holds. */
function writeHalf(out: DataView, at: number, value: number): number {
  const held = rounded(value);
  if (!Number.isFinite(held))
    throw new ParameterError(`a scale must be within f16, got ${value}: these numbers are too large for blocks`);
  out.setUint16(at, toFloat16(value), true);
  return held;
}
