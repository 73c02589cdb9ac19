/** How tensors are shown: as pictures, as curves, or as tables. */
import type { Picture } from '../../src/methods/page';

export interface Shown {
  readonly name: string;
  readonly kind: 'picture' | 'curves' | 'table';
  readonly shape: readonly number[];
  /** Pictures of one tensor; 1 for the others. */
  readonly planes: number;
  /** Extents of each picture or of the table; curves are rows. */
  readonly rows: number;
  readonly columns: number;
  /** Row by row, plane by plane. */
  readonly data: ArrayLike<number>;
  /** How it is read; default: by its shape and its extremes. */
  readonly note?: string;
  /** What stands beside the rows of a table, whose cells are then inked by their numbers. */
  readonly labels?: readonly string[];
}

/** Planes that are drawn, and curves. */
export const MOST_PLANES = 12;
const MOST_CURVES = 4;
/** Points that make a curve. */
const LEAST_POINTS = 8;
/** Sides of what is a picture whatever its letters. */
const LEAST_SIDE = 5;
/** Rows and columns of a table that are shown. */
const MOST_ROWS = 12;
const MOST_COLUMNS = 8;

export const isPicture = (spec: string) => /(rows columns|down\d? across\d?)$/.test(spec);

/**
 * How a tensor is shown. What has places by its letters, `[... rows columns]`, is a picture for each channel, of the first of a batch; a vector or
 * rows of vectors are curves along the longer axis, unless they are integers or few; numbers over two other long axes are a
 * picture, whose planes may be the last axis; anything else is a table, or its beginning.
 */
export function shownAs(name: string, spec: string, tensor: ShownTensor): Shown {
  const { shape, dtype, data } = tensor;
  if (isPicture(spec)) {
    const [rows, columns] = shape.slice(-2);
    const channels = shape.slice(spec.startsWith('b ') ? 1 : 0, -2).reduce((size, extent) => size * extent, 1);
    const planes = Math.min(MOST_PLANES, channels);
    return { name, kind: 'picture', shape, planes, rows, columns, data: take(data, planes * rows * columns) };
  }
  // Integers are places or counts, but for zeros and ones.
  const isOfPlaces = dtype === 'i32' && Array.from(data).some((value) => value !== 0 && value !== 1);
  const [columns = 1, rows = 1, ...rest] = shape.filter((extent) => extent > 1).reverse();
  const [lines, points] = [Math.min(rows, columns), Math.max(rows, columns)];
  if (!isOfPlaces && rest.length === 0 && lines <= MOST_CURVES && points >= LEAST_POINTS) {
    const value = (line: number, at: number) =>
      data[rows < columns || rows === 1 ? line * columns + at : at * columns + line];
    const curves = Array.from({ length: lines * points }, (_, at) => value(Math.floor(at / points), at % points));
    return { name, kind: 'curves', shape, planes: 1, rows: lines, columns: points, data: curves };
  }
  if (!isOfPlaces && columns < LEAST_SIDE && rest.length === 1 && Math.min(rows, rest[0]) >= LEAST_SIDE) {
    const cells = rest[0] * rows;
    const plane = (at: number) => data[(at % cells) * columns + Math.floor(at / cells)];
    const numbers = Array.from({ length: columns * cells }, (_, at) => plane(at));
    return { name, kind: 'picture', shape, planes: columns, rows: rest[0], columns: rows, data: numbers };
  }
  if (!isOfPlaces && lines >= LEAST_SIDE) {
    const planes = rest.reduce((size, extent) => Math.min(MOST_PLANES, size * extent), 1);
    return { name, kind: 'picture', shape, planes, rows, columns, data: take(data, planes * rows * columns) };
  }
  const [height, width] = [Math.min(MOST_ROWS, data.length / columns), Math.min(MOST_COLUMNS, columns)];
  const cells = Array.from(
    { length: height * width },
    (_, at) => data[Math.floor(at / width) * columns + (at % width)],
  );
  return { name, kind: 'table', shape, planes: 1, rows: height, columns: width, data: cells };
}

interface ShownTensor {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly data: ArrayLike<number>;
}

/** A picture that a page makes of tensors; one with labels is a table. */
export function pictureShown({ planes = 1, ...picture }: Picture): Shown {
  const { rows, columns, labels } = picture;
  const shape = planes > 1 ? [planes, rows, columns] : [rows, columns];
  return { ...picture, kind: labels ? 'table' : 'picture', planes, shape };
}

const take = (data: ArrayLike<number>, count: number) => Array.from({ length: count }, (_, at) => data[at]);
