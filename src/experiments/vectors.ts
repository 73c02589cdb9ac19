/** Numbers in rows: sums, distances and products, for experiments. */
import { normal } from '../tensor/random';

type Numbers = Float64Array | Float32Array;

export function dot(a: Numbers, b: Numbers): number {
  let total = 0;
  for (let at = 0; at < a.length; at++) total += a[at]! * b[at]!;
  return total;
}

export const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

export const mean = (values: readonly number[]) => sum(values) / values.length;

/** The least fall, or the largest rise, from one value to the next. */
export const largestStep = (values: readonly number[]) =>
  Math.max(...values.slice(1).map((value, at) => value - values[at]!));

/** Row `at` of rows of `width` numbers. */
export const rowOf = <T extends Numbers>(rows: T, at: number, width: number) =>
  rows.subarray(at * width, (at + 1) * width) as T;

/** The row whose product with `row` is largest; the first of equal ones. */
export function nearestRow(row: Numbers, rows: Numbers): number {
  let [nearest, largest] = [-1, Number.NEGATIVE_INFINITY];
  for (let at = 0; at < rows.length / row.length; at++) {
    const product = dot(row, rowOf(rows, at, row.length));
    if (product > largest) [nearest, largest] = [at, product];
  }
  return nearest;
}

/** The Euclidean distance from the expected numbers, over their norm. */
export function relativeDistance(actual: Float64Array, expected: Float64Array): number {
  const difference = actual.map((value, at) => value - expected[at]!);
  return Math.sqrt(dot(difference, difference) / dot(expected, expected));
}

/** The largest distance of an element from the expected one, over the largest expected magnitude. */
export function largestDifference(actual: Numbers, expected: Numbers): number {
  let [difference, largest] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    difference = Math.max(difference, Math.abs(actual[at]! - expected[at]!));
    largest = Math.max(largest, Math.abs(expected[at]!));
  }
  return difference / largest;
}

/** Scales each row of `width` numbers to length 1, in place. */
export function normaliseRows(rows: Float32Array, width: number): Float32Array {
  for (let first = 0; first < rows.length; first += width) {
    const row = rows.subarray(first, first + width);
    const length = Math.hypot(...row);
    for (let c = 0; c < width; c++) row[c] = row[c]! / length;
  }
  return rows;
}

/** Random rows of length 1. */
export const unitRows = (count: number, width: number, seed: number) =>
  normaliseRows(normal(count * width, seed), width);

/** The product of row-major matrices a [rows, inner] and b [inner, columns]. */
export function product(a: Numbers, b: Numbers, inner: number): Float64Array {
  const columns = b.length / inner;
  return Float64Array.from({ length: (a.length / inner) * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    let total = 0;
    for (let c = 0; c < inner; c++) total += a[row * inner + c]! * b[c * columns + column]!;
    return total;
  });
}

/** The transpose of a row-major matrix with `columns` columns. */
export function transposed<T extends Numbers>(a: T, columns: number): T {
  const rows = a.length / columns;
  return a.map((_, at) => a[(at % rows) * columns + Math.floor(at / rows)]!) as T;
}

/** The largest magnitude. */
export const largest = (values: Float64Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** The mean of each column of rows of `width` numbers. */
export function columnMeans(rows: Numbers, width: number): Float64Array {
  const means = new Float64Array(width);
  for (let at = 0; at < rows.length; at++) means[at % width]! += (rows[at]! * width) / rows.length;
  return means;
}
