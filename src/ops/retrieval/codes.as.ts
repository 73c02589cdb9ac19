/**
 * Copies of keys in 8 bits, by which searches score them: a byte for each column, whose mean is taken off and whose spread is the
 * query's, so that a product is of integers. A key of 64 columns is one line of memory.
 */
import { BuildParams, CODE_BYTES, Index, KEYS, LARGEST_CODE, LARGEST_WEIGHT, SPREAD } from './params.generated.as';
import { BUFFER, openKeys, rowAt, ROWS_END } from './rows.as';

// Working memory: sums of columns, and of their squares, as float64.
const SUMS: usize = ROWS_END;

/** Bytes of a key's copy. */
@inline
export function codeBytesOf(d: i32): usize {
  return <usize>((d + CODE_BYTES - 1) & ~(CODE_BYTES - 1));
}

@inline
export function codesOf(index: Index, batch: i32, head: i32, g: i32, d: i32): usize {
  return index.codes + <usize>((batch * g + head) * index.capacity) * codeBytesOf(d);
}

/** Means of columns, and behind them the steps of their codes. */
@inline
export function columnsOf(index: Index, batch: i32, head: i32, g: i32, d: i32): usize {
  return index.columns + <usize>((batch * g + head) * 2 * d) * 4;
}

/** Means of the columns of a head's keys, and what their codes count in. */
export function measureColumns(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const d = p.keys.d;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const squares = SUMS + (<usize>d << 3);
  memory.fill(scratch + SUMS, 0, <usize>d << 4);
  for (let key = index.first; key < index.past; key++) {
    const row = rowAt(rows, key, scratch + BUFFER);
    for (let c: usize = 0; c < <usize>d; c++) {
      const x = <f64>f32.load(row + (c << 2));
      // What is not finite counts nothing.
      if (x - x != 0) continue;
      const at = scratch + (c << 3);
      f64.store(at + SUMS, f64.load(at + SUMS) + x);
      f64.store(at + squares, f64.load(at + squares) + x * x);
    }
  }
  const columns = columnsOf(index, p.batch, p.head, p.keys.g, d);
  const keys = <f64>max(1, index.past - index.first);
  for (let c: usize = 0; c < <usize>d; c++) {
    const mean = f64.load(scratch + SUMS + (c << 3)) / keys;
    const square = f64.load(scratch + squares + (c << 3)) / keys;
    f32.store(columns + (c << 2), <f32>mean);
    f32.store(columns + ((<usize>d + c) << 2), <f32>((SPREAD * sqrt(max(0, square - mean * mean))) / LARGEST_CODE));
  }
}

export function encodeKeys(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const d = p.keys.d;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const columns = columnsOf(index, p.batch, p.head, p.keys.g, d);
  const codes = codesOf(index, p.batch, p.head, p.keys.g, d);
  const past = min((task + 1) * KEYS, index.past - index.first);
  for (let key = task * KEYS; key < past; key++)
    encode(rowAt(rows, index.first + key, scratch + BUFFER), columns, d, codes + <usize>key * codeBytesOf(d));
}

/** The copy of a key. */
export function encode(row: usize, columns: usize, d: i32, to: usize): void {
  const steps = columns + (<usize>d << 2);
  for (let c: usize = 0; c < <usize>d; c++) {
    const from = f32.load(row + (c << 2)) - f32.load(columns + (c << 2));
    store<i8>(to + c, <i8>rounded(from / f32.load(steps + (c << 2)), <f32>LARGEST_CODE));
  }
  memory.fill(to + <usize>d, 0, codeBytesOf(d) - <usize>d);
}

/** Whether a copy is of a key, by another one at `to`. */
export function isCopyOf(code: usize, row: usize, columns: usize, d: i32, to: usize): bool {
  encode(row, columns, d, to);
  return memory.compare(code, to, codeBytesOf(d)) == 0;
}

/** The integer that a number is nearest to, up to a largest one; 0 for NaN. */
@inline
function rounded(x: f32, largest: f32): i32 {
  return x == x ? <i32>nearest(min(max(x, -largest), largest)) : 0;
}

/** A query as the integers that codes are multiplied with, 16 bits each. */
export function layOutWeights(query: usize, columns: usize, d: i32, to: usize): void {
  const steps = columns + (<usize>d << 2);
  let largest: f32 = 0;
  for (let c: usize = 0; c < <usize>d << 2; c += 4) {
    const weight = abs(f32.load(query + c) * f32.load(steps + c));
    if (weight > largest) largest = weight;
  }
  const factor: f32 = largest > 0 ? <f32>LARGEST_WEIGHT / largest : 0;
  for (let c: usize = 0; c < <usize>d; c++) {
    const weight = f32.load(query + (c << 2)) * f32.load(steps + (c << 2)) * factor;
    store<i16>(to + (c << 1), <i16>rounded(weight, <f32>LARGEST_WEIGHT));
  }
  memory.fill(to + (<usize>d << 1), 0, (codeBytesOf(d) - <usize>d) << 1);
}

@inline
export function codeProduct(codes: usize, weights: usize, bytes: usize): i32 {
  let sums = i32x4.splat(0);
  let others = sums;
  for (let at: usize = 0; at < bytes; at += 16) {
    const x = v128.load(codes + at);
    const y = weights + (at << 1);
    sums = i32x4.add(sums, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(x), v128.load(y)));
    others = i32x4.add(others, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(x), v128.load(y, 16)));
  }
  sums = i32x4.add(sums, others);
  return (
    i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + (i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3))
  );
}
