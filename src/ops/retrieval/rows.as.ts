/** Rows of keys and values where they lie, as float32. */
import { I8, PAGE_ROWS } from '../cache/params.generated.as';
import { F32, LARGEST_HEAD, Operand } from '../../runtime/cpu/params.generated.as';
import { bytesOf, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { dot, madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { Keys } from './params.generated.as';

/** The rows of a head. Numbers of params are converted once. */
@unmanaged
export class Rows {
  address: usize;
  step: usize;
  element: usize;
  pages: usize;
  /** Where the scales of 8-bit rows begin in a page. */
  scales: usize;
  dtype: i32;
  columns: i32;
  isPlain: bool;
}
const ROWS_BYTES: usize = 64;

// Working memory: two such objects, and rows that were widened.
const KEY_ROWS: usize = 0;
const VALUE_ROWS: usize = ROWS_BYTES;
export const BUFFER: usize = 2 * ROWS_BYTES;
export const SECOND: usize = BUFFER + LARGEST_HEAD * 4;
export const QUERY: usize = SECOND + LARGEST_HEAD * 4;
/** What comes after is a kernel's. */
export const ROWS_END: usize = QUERY + LARGEST_HEAD * 4;

export function openKeys(keys: Keys, batch: i32, head: i32, scratch: usize): Rows {
  return open(keys, keys.k, keys.keyScales, keys.d, batch, head, scratch + KEY_ROWS);
}

export function openValues(keys: Keys, batch: i32, head: i32, scratch: usize): Rows {
  return open(keys, keys.v, keys.valueScales, keys.e, batch, head, scratch + VALUE_ROWS);
}

function open(keys: Keys, x: Operand, scales: usize, columns: i32, batch: i32, head: i32, to: usize): Rows {
  const rows = changetype<Rows>(to);
  const dtype = x.dtype;
  const size: usize = dtype == I8 ? 1 : bytesOf(dtype);
  rows.address = x.address + (<usize>batch * x.batch + <usize>head * x.head) * size;
  rows.step = x.row * size;
  rows.element = x.element;
  rows.pages = keys.pages;
  rows.scales = scales + <usize>(head * PAGE_ROWS * 4);
  rows.dtype = dtype;
  rows.columns = columns;
  rows.isPlain = dtype == F32 && x.element == 1;
  return rows;
}

/** The address of the float32 numbers of row j: in place, or in `buffer`. */
@inline
export function rowAt(rows: Rows, j: i32, buffer: usize): usize {
  const page: usize = rows.pages ? <usize>load<u32>(rows.pages + (<usize>(j / PAGE_ROWS) << 2)) : 0;
  const at = page + rows.address + <usize>(rows.pages ? j % PAGE_ROWS : j) * rows.step;
  return rows.isPlain ? at : widen(rows, page, at, j, buffer);
}

function widen(rows: Rows, page: usize, at: usize, j: i32, buffer: usize): usize {
  const columns = rows.columns;
  if (rows.dtype != I8) return loadRow(at, rows.element, rows.dtype, columns, buffer);
  const scale = f32.load(page + rows.scales + (<usize>(j % PAGE_ROWS) << 2));
  for (let c: usize = 0; c < <usize>columns; c++) f32.store(buffer + (c << 2), <f32>load<i8>(at + c) * scale);
  return buffer;
}

@inline
export function product(a: usize, b: usize, columns: i32): f32 {
  return dot(a, b, <usize>columns << 2);
}

/** The square of the distance of two rows. */
export function distance(a: usize, b: usize, columns: i32): f32 {
  const bytes = <usize>columns << 2;
  let first = f32x4.splat(0);
  let second = first;
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const x = f32x4.sub(v128.load(a + at), v128.load(b + at));
    const y = f32x4.sub(v128.load(a + at, 16), v128.load(b + at, 16));
    first = madd(x, x, first);
    second = madd(y, y, second);
  }
  let sum = sumOfLanes(f32x4.add(first, second));
  for (; at < bytes; at += 4) {
    const x = f32.load(a + at) - f32.load(b + at);
    sum += x * x;
  }
  return sum;
}
