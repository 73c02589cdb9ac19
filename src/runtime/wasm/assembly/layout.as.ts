/** Lays rows of q, k and v out for the micro-kernel. */
import { bytesOf, loadRow } from './storage.as';
import { fourSums, largestLane, madd, storeTransposed, sumOfLanes } from './vector.as';
import { LARGEST_HEAD, Operand, PANEL, SLICE } from '../../cpu/params.generated.as';

/** Bytes of a panel's six rows in a slice. */
export const PANEL_SLICE_BYTES: usize = <usize>(PANEL * SLICE * 4);

@inline
export function rowAddress(x: Operand, batch: i32, row: i32, head: i32): usize {
  const elements = <usize>batch * x.batch + <usize>row * x.row + <usize>head * x.head;
  return x.address + elements * bytesOf(x.dtype);
}

/** Bytes from one row to the next. */
@inline
export function rowBytes(x: Operand): usize {
  return x.row * bytesOf(x.dtype);
}

/**
 * Brings rows of the heads from `first` to `past` within the first one's batch into the cache, in the order of memory, which
 * heads one by one would not be. By loads, since WebAssembly has no prefetch; `sink` takes a vector, so that these are not
 * optimised away.
 */
export function fetchRows(
  x: Operand,
  h: i32,
  first: i32,
  past: i32,
  row: i32,
  rows: i32,
  columns: i32,
  sink: usize,
): void {
  const batch = first / h;
  const heads = min(past, (batch + 1) * h) - first;
  if (x.element != 1 || x.head > <usize>(2 * columns)) return;
  const size = bytesOf(x.dtype);
  const bytes = (<usize>(heads - 1) * x.head + <usize>columns) * size;
  const step = rowBytes(x);
  let at = rowAddress(x, batch, row, first % h);
  let sum = f32x4.splat(0);
  for (let r: i32 = 0; r < rows; r++, at += step) {
    for (let c: usize = 0; c + 16 <= bytes; c += 64) sum = v128.xor(sum, v128.load(at + c));
  }
  v128.store(sink, sum);
}

/** The row in a slot, -1 for none; with `order` 0 slots are rows. */
@inline
export function rowIn(slot: i32, order: usize, rows: i32): i32 {
  if (order) return i32.load(order + (<usize>slot << 2));
  return slot < rows ? slot : -1;
}

/**
 * The address of the float32 numbers of a row, whose head's row 0 is at `head`: in place, or converted into `buffer`; zeros, at
 * `none`, for row -1. Callers read the operand's numbers before their loops, since converting those takes time.
 */
@inline
function rowOrNone(
  head: usize,
  row: i32,
  step: usize,
  stride: usize,
  dtype: i32,
  columns: i32,
  buffer: usize,
  none: usize,
): usize {
  if (row < 0) {
    memory.fill(none, 0, LARGEST_HEAD * 4);
    return none;
  }
  return loadRow(head + <usize>row * step, stride, dtype, columns, buffer);
}

// Working memory: six loaded rows, a row of zeros, pointers to six rows.
const ZEROS: usize = 6 * LARGEST_HEAD * 4;
const POINTERS: usize = 7 * LARGEST_HEAD * 4;
export const LAYOUT_BYTES: usize = POINTERS + 6 * 4;

/** Writes the addresses of the six rows of a panel of slots to `POINTERS`. */
@inline
function findRows(
  head: usize,
  panel: i32,
  order: usize,
  rows: i32,
  step: usize,
  stride: usize,
  dtype: i32,
  columns: i32,
  scratch: usize,
): void {
  for (let r: i32 = 0; r < PANEL; r++) {
    const buffer = scratch + r * LARGEST_HEAD * 4;
    const row = rowIn(panel * PANEL + r, order, rows);
    const at = rowOrNone(head, row, step, stride, dtype, columns, buffer, scratch + ZEROS);
    store<usize>(scratch + POINTERS + (r << 2), at);
  }
}

/**
 * Lays the rows of one head in the panels of slots from `first` to `last` out as panels [columns][6 rows], panel 0 at `to`,
 * padded with zeros. Returns their largest squared norm, NaN if one is.
 */
export function layOutPanels(
  x: Operand,
  batch: i32,
  head: i32,
  order: usize,
  rows: i32,
  columns: i32,
  first: i32,
  last: i32,
  to: usize,
  scratch: usize,
): f32 {
  let largest: f32 = 0;
  const head0 = rowAddress(x, batch, 0, head);
  const step = rowBytes(x);
  const stride = x.element;
  const dtype = x.dtype;
  to += <usize>first * <usize>(columns * PANEL * 4);
  for (let panel = first; panel < last; panel++, to += <usize>(columns * PANEL * 4)) {
    findRows(head0, panel, order, rows, step, stride, dtype, columns, scratch);
    largest = max(largest, packPanel(scratch + POINTERS, columns, to));
  }
  return largest;
}

/**
 * Lays the same rows out as slices [rows][8 columns], slice 0 of panel 0 at `to`, slices `sliceBytes` and panels `panelBytes`
 * apart, padded with zeros. Returns the largest magnitude, NaN if there is one.
 */
export function layOutSlices(
  x: Operand,
  batch: i32,
  head: i32,
  order: usize,
  rows: i32,
  columns: i32,
  first: i32,
  last: i32,
  to: usize,
  sliceBytes: usize,
  panelBytes: usize,
  scratch: usize,
): f32 {
  let largest = i32x4.splat(0);
  const head0 = rowAddress(x, batch, 0, head);
  const step = rowBytes(x);
  const stride = x.element;
  const dtype = x.dtype;
  const bytes = <usize>columns << 2;
  // Rows are copied to where their padding up to the last slice's end is zero.
  if (columns % SLICE != 0) memory.fill(scratch, 0, PANEL * LARGEST_HEAD * 4);
  to += <usize>first * panelBytes;
  for (let panel = first; panel < last; panel++, to += panelBytes) {
    findRows(head0, panel, order, rows, step, stride, dtype, columns, scratch);
    if (columns % SLICE != 0) {
      for (let r: i32 = 0; r < PANEL; r++) {
        const row = load<usize>(scratch + POINTERS + (r << 2));
        const buffer = scratch + r * LARGEST_HEAD * 4;
        if (row != buffer) memory.copy(buffer, row, bytes);
        store<usize>(scratch + POINTERS + (r << 2), buffer);
      }
    }
    largest = packSlices(scratch + POINTERS, bytes, to, sliceBytes, largest);
  }
  return largestLane(i32x4.shr_u(largest, 1));
}

/**
 * Packs the six rows whose addresses are at `rows` in slices of eight columns. Returns the largest magnitudes, as integers with
 * the sign bit shifted out: these order alike, with NaN above infinity.
 */
function packSlices(rows: usize, bytes: usize, to: usize, sliceBytes: usize, largest: v128): v128 {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const r4 = load<usize>(rows, 16);
  const r5 = load<usize>(rows, 20);
  for (let c: usize = 0; c < bytes; c += 32, to += sliceBytes) {
    largest = packPart(r0 + c, to, largest);
    largest = packPart(r1 + c, to + 32, largest);
    largest = packPart(r2 + c, to + 64, largest);
    largest = packPart(r3 + c, to + 96, largest);
    largest = packPart(r4 + c, to + 128, largest);
    largest = packPart(r5 + c, to + 160, largest);
  }
  return largest;
}

@inline
function packPart(row: usize, to: usize, largest: v128): v128 {
  const left = v128.load(row);
  const right = v128.load(row, 16);
  v128.store(to, left);
  v128.store(to, right, 16);
  return i32x4.max_u(largest, i32x4.max_u(i32x4.shl(left, 1), i32x4.shl(right, 1)));
}

/** Packs the six rows of d floats whose addresses are at `rows` to [d][6]. Returns their largest squared norm, NaN if one is. */
export function packPanel(rows: usize, d: i32, to: usize): f32 {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const r4 = load<usize>(rows, 16);
  const r5 = load<usize>(rows, 20);
  let n0 = f32x4.splat(0);
  let n1 = n0;
  let n2 = n0;
  let n3 = n0;
  let n4 = n0;
  let n5 = n0;
  let c: usize = 0;
  const end = <usize>d << 2;
  for (; c + 16 <= end; c += 16, to += 96) {
    const x0 = v128.load(r0 + c);
    const x1 = v128.load(r1 + c);
    const x2 = v128.load(r2 + c);
    const x3 = v128.load(r3 + c);
    storeTransposed(x0, x1, x2, x3, to, 24);
    n0 = madd(x0, x0, n0);
    n1 = madd(x1, x1, n1);
    n2 = madd(x2, x2, n2);
    n3 = madd(x3, x3, n3);
    const x4 = v128.load(r4 + c);
    const x5 = v128.load(r5 + c);
    n4 = madd(x4, x4, n4);
    n5 = madd(x5, x5, n5);
    const low = v128.shuffle<f32>(x4, x5, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(x4, x5, 2, 6, 3, 7);
    v128.store64_lane(to, low, 0, 16);
    v128.store64_lane(to, low, 1, 40);
    v128.store64_lane(to, high, 0, 64);
    v128.store64_lane(to, high, 1, 88);
  }
  for (; c < end; c += 4, to += 24) {
    n0 = packOne(r0 + c, to, n0);
    n1 = packOne(r1 + c, to + 4, n1);
    n2 = packOne(r2 + c, to + 8, n2);
    n3 = packOne(r3 + c, to + 12, n3);
    n4 = packOne(r4 + c, to + 16, n4);
    n5 = packOne(r5 + c, to + 20, n5);
  }
  const four = max(max(sumOfLanes(n0), sumOfLanes(n1)), max(sumOfLanes(n2), sumOfLanes(n3)));
  return max(four, max(sumOfLanes(n4), sumOfLanes(n5)));
}

@inline
function packOne(from: usize, to: usize, norm: v128): v128 {
  const x = v128.load32_zero(from);
  v128.store32_lane(to, x, 0);
  return madd(x, x, norm);
}

/**
 * Lays the rows of a tile times `factor` out as [3 slices][columns][8 rows] at `to`. Returns their largest squared norm.
 */
export function layOutTile(
  x: Operand,
  batch: i32,
  head: i32,
  order: usize,
  rows: i32,
  columns: i32,
  first: i32,
  count: i32,
  factor: f32,
  to: usize,
  scratch: usize,
): f32 {
  let largest = f32x4.splat(0);
  const head0 = rowAddress(x, batch, 0, head);
  const step = rowBytes(x);
  const stride = x.element;
  const dtype = x.dtype;
  for (let s: i32 = 0; s < count; s += SLICE) {
    const slice = to + <usize>(s * columns * 4);
    for (let quad: i32 = 0; quad < SLICE; quad += 4) {
      for (let r: i32 = 0; r < 4; r++) {
        const slot = s + quad + r;
        const row = slot < count ? rowIn(first + slot, order, rows) : -1;
        const buffer = scratch + r * LARGEST_HEAD * 4;
        const at = rowOrNone(head0, row, step, stride, dtype, columns, buffer, scratch + ZEROS);
        store<usize>(scratch + POINTERS + (r << 2), at);
      }
      largest = f32x4.max(largest, packQuad(scratch + POINTERS, columns, slice + (quad << 2), factor));
    }
  }
  return largestLane(largest);
}

/** Packs the four rows whose addresses are at `rows`, times a factor, as columns of [columns][8]. Returns their squared norms. */
export function packQuad(rows: usize, columns: i32, to: usize, factor: f32 = 1): v128 {
  const scale = f32x4.splat(factor);
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  let n0 = f32x4.splat(0);
  let n1 = n0;
  let n2 = n0;
  let n3 = n0;
  let c: usize = 0;
  const end = <usize>columns << 2;
  for (; c + 16 <= end; c += 16, to += 128) {
    const x0 = f32x4.mul(v128.load(r0 + c), scale);
    const x1 = f32x4.mul(v128.load(r1 + c), scale);
    const x2 = f32x4.mul(v128.load(r2 + c), scale);
    const x3 = f32x4.mul(v128.load(r3 + c), scale);
    storeTransposed(x0, x1, x2, x3, to, 32);
    n0 = madd(x0, x0, n0);
    n1 = madd(x1, x1, n1);
    n2 = madd(x2, x2, n2);
    n3 = madd(x3, x3, n3);
  }
  let norms = fourSums(n0, n1, n2, n3);
  for (; c < end; c += 4, to += 32) {
    let x = v128.load32_zero(r0 + c);
    x = v128.load32_lane(r1 + c, x, 1);
    x = v128.load32_lane(r2 + c, x, 2);
    x = f32x4.mul(v128.load32_lane(r3 + c, x, 3), scale);
    v128.store(to, x);
    norms = madd(x, x, norms);
  }
  return norms;
}
