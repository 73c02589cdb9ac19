/** Rows of keys and values into pages and out of them; a task is a page. */
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { LARGEST_HEAD, Operand } from '../../runtime/cpu/params.generated.as';
import { AppendParams, I8, Page, PAGE_ROWS, ReadParams, WRITE_LENGTH } from './params.generated.as';

export const SCRATCH_BYTES: usize = LARGEST_HEAD * 4;

/** A page's bytes into another, before that is written to. */
export function copyPages(params: usize, task: i32, scratch: usize): void {
  const p = changetype<AppendParams>(params);
  const copy = p.copies + (<usize>task << 3);
  memory.copy(<usize>load<u32>(copy, 4), <usize>load<u32>(copy), p.page.bytes);
}

export function append(params: usize, task: i32, scratch: usize): void {
  const p = changetype<AppendParams>(params);
  const page = p.page;
  const write = p.writes + <usize>(task * WRITE_LENGTH * 4);
  const batch = i32.load(write);
  const token = i32.load(write, 4);
  const count = i32.load(write, 8);
  const at = <usize>load<u32>(write, 12);
  const row = i32.load(write, 16);
  writeRows(page, p.k, page.d, page.keyRow, batch, token, count, at, at + page.keyScales, row, scratch);
  writeRows(page, p.v, page.e, page.valueRow, batch, token, count, at + page.values, at + page.valueScales, row, scratch);
}

function writeRows(
  page: Page,
  x: Operand,
  columns: i32,
  padded: i32,
  batch: i32,
  token: i32,
  count: i32,
  to: usize,
  scales: usize,
  row: i32,
  buffer: usize,
): void {
  const dtype = page.dtype;
  const size: usize = dtype == I8 ? 1 : bytesOf(dtype);
  const bytes = <usize>padded * size;
  const from = x.address + (<usize>batch * x.batch + <usize>token * x.row) * bytesOf(x.dtype);
  const isPadded = padded != columns;
  const heads = page.heads;
  const element = x.element;
  const type = x.dtype;
  const headStep = x.head * bytesOf(type);
  const rowStep = x.row * bytesOf(type);
  for (let head: i32 = 0; head < heads; head++) {
    let source = from + <usize>head * headStep;
    let place = to + <usize>(head * PAGE_ROWS + row) * bytes;
    for (let r: i32 = 0; r < count; r++, source += rowStep, place += bytes) {
      const values = loadRow(source, element, type, columns, buffer);
      if (isPadded) memory.fill(place, 0, bytes);
      if (dtype == I8) f32.store(scales + (<usize>(head * PAGE_ROWS + row + r) << 2), narrowI8(values, columns, place));
      else storeRow(values, place, dtype, columns);
    }
  }
}

/** A row as integers to 127 and what they are to be multiplied by: NaN if a number is infinite or NaN. */
function narrowI8(from: usize, columns: i32, to: usize): f32 {
  let largest: f32 = 0;
  for (let c: i32 = 0; c < columns; c++) {
    const x = abs(f32.load(from + (<usize>c << 2)));
    // NaN is larger than nothing, and stays.
    if (!(x <= largest)) largest = x;
  }
  if (!(largest <= f32.MAX_VALUE)) {
    memory.fill(to, 1, columns);
    return NaN;
  }
  const scale: f32 = largest / 127;
  // The scale of denormal rows may be 0, and so are these then.
  const inverse: f32 = scale > 0 ? 1 / scale : 0;
  for (let c: i32 = 0; c < columns; c++) {
    const x = nearest<f32>(f32.load(from + (<usize>c << 2)) * inverse);
    store<i8>(to + <usize>c, <i8>max<f32>(-127, min<f32>(127, x)));
  }
  return scale;
}

/** The rows of a page, in f32. */
export function readPages(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ReadParams>(params);
  const page = p.page;
  const first = task * PAGE_ROWS;
  const count = min(PAGE_ROWS, p.rows - first);
  const at = <usize>load<u32>(p.pages + (<usize>task << 2));
  readRows(page, at, at, at + page.keyScales, page.d, page.keyRow, first, count, p.k, scratch);
  readRows(page, at, at + page.values, at + page.valueScales, page.e, page.valueRow, first, count, p.v, scratch);
}

function readRows(
  page: Page,
  at: usize,
  rows: usize,
  scales: usize,
  columns: i32,
  padded: i32,
  first: i32,
  count: i32,
  out: usize,
  buffer: usize,
): void {
  const dtype = page.dtype;
  const size: usize = dtype == I8 ? 1 : bytesOf(dtype);
  const bytes = <usize>padded * size;
  const heads = page.heads;
  const width = <usize>columns << 2;
  for (let r: i32 = 0; r < count; r++) {
    for (let head: i32 = 0; head < heads; head++) {
      const to = out + <usize>((first + r) * heads + head) * width;
      const row = rows + <usize>(head * PAGE_ROWS + r) * bytes;
      if (at == 0) memory.fill(to, 0, width);
      else if (dtype == I8) {
        const scale = f32.load(scales + (<usize>(head * PAGE_ROWS + r) << 2));
        for (let c: i32 = 0; c < columns; c++) f32.store(to + (<usize>c << 2), scale * <f32>load<i8>(row + <usize>c));
      } else memory.copy(to, loadRow(row, 1, dtype, columns, buffer), width);
    }
  }
}
