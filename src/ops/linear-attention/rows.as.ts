/** A chunk's rows: fetched, laid out as products take them, and stored. */
import { fetchRows, packPanel, packQuad, rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { F32, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import {
  CARRY, CONVERTED, KEY_ROWS, KEY_SLICES, panelAt, panelsOf, POINTERS, POWERS, RESULTS, slicesOf, Task, VALUES, WIDEST_ROW,
  ZEROS,
} from './memory.as';
import { CHUNK, PassParams, Rows } from './params.generated.as';

/** Where the row lies in `out`, of f32 if it is used so. */
@inline
export function outAddress(p: PassParams, bh: i32, row: i32): usize {
  return p.out.address + placeOf(p, bh, row) * <usize>p.outWidth * bytesOf(p.out.dtype);
}

/** The number of a head's row among all [b, n, h]. */
@inline
function placeOf(p: PassParams, bh: i32, row: i32): usize {
  const n = p.n;
  const h = p.h;
  return <usize>((bh / h) * n + (p.reverse ? n - 1 - row : row)) * <usize>h + <usize>(bh % h);
}

/** The addresses of `count` rows of one head as f32, in the problem's order; past the last row, of a row of zeros. */
function pointToRows(p: PassParams, t: Task, x: Rows, total: i32, count: i32, scratch: usize): void {
  const h = p.h;
  const head = ((t.bh % h) * x.heads) / h;
  const isReverse = p.reverse;
  const row = isReverse ? total - 1 - t.first : t.first;
  let from = rowAddress(x.operand, t.bh / h, row, head);
  const dtype = x.operand.dtype;
  const element = x.operand.element;
  const rowBytes = x.operand.row * bytesOf(dtype);
  const step: usize = isReverse ? 0 - rowBytes : rowBytes;
  const columns = x.columns;
  const hasOnes = x.ones;
  const inMemory = min(count, total - t.first);
  for (let r: i32 = 0; r < inMemory; r++, from += step) {
    const buffer = scratch + CONVERTED + <usize>r * WIDEST_ROW;
    let at = loadRow(from, element, dtype, columns, buffer);
    if (hasOnes) {
      if (at != buffer) memory.copy(buffer, at, <usize>columns << 2);
      f32.store(buffer + (<usize>columns << 2), 1);
      at = buffer;
    }
    store<usize>(scratch + POINTERS + (r << 2), at);
  }
  for (let r = inMemory; r < count; r++) store<usize>(scratch + POINTERS + (r << 2), scratch + ZEROS);
}

/** Brings a chunk's rows of several heads into the cache. */
export function fetch(p: PassParams, t: Task, x: Rows, total: i32, scratch: usize): void {
  const h = p.h;
  const heads = x.heads;
  const from = (t.firstHead * heads) / h;
  const past = ((t.pastHead - 1) * heads) / h + 1;
  const row = p.reverse ? total - t.first - t.rows : t.first;
  fetchRows(x.operand, heads, from, past, row, t.rows, x.columns, scratch + CARRY);
}

export function layOutQueries(p: PassParams, t: Task, scratch: usize): void {
  const d = p.d;
  const panels = panelsOf(t.rows);
  pointToRows(p, t, p.q, p.n, panels * PANEL, scratch);
  for (let panel: i32 = 0; panel < panels; panel++) {
    packPanel(scratch + POINTERS + (panel * PANEL * 4), d, panelAt(scratch, panel, d));
  }
}

/** Keys as slices for the scores, if wanted, and as rows, decayed to the chunk's end, for the state. */
export function layOutKeys(p: PassParams, t: Task, slicesToo: bool, scratch: usize): void {
  const d = p.d;
  const rows = t.rows;
  const slices = slicesOf(rows);
  pointToRows(p, t, p.k, p.m, slices * SLICE, scratch);
  if (slicesToo) {
    for (let s: i32 = 0; s < slices; s++) {
      const pointers = scratch + POINTERS + (s * SLICE * 4);
      const to = scratch + KEY_SLICES + (<usize>(s * d) << 5);
      packQuad(pointers, d, to);
      packQuad(pointers + 16, d, to + 16);
    }
  }
  const step = <usize>(panelsOf(d) * PANEL * 4);
  const bytes = <usize>d << 2;
  const last = rows - 1 + (p.reverse ? 1 : 0);
  for (let r: i32 = 0; r < rows; r++) {
    const from = load<usize>(scratch + POINTERS + (r << 2));
    const to = scratch + KEY_ROWS + <usize>r * step;
    const weight = f32.load(t.table + POWERS + ((last - r) << 2));
    const weights = f32x4.splat(weight);
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16) v128.store(to + c, f32x4.mul(v128.load(from + c), weights));
    for (; c < bytes; c += 4) f32.store(to + c, f32.load(from + c) * weight);
    for (; c < step; c += 4) f32.store(to + c, 0);
  }
}

/** Some slices of the values' columns, [slices][48][8], the columns beyond the last one 0. */
export function layOutValues(p: PassParams, t: Task, scratch: usize): void {
  const slices = t.slices;
  pointToRows(p, t, p.v, p.m, t.rows, scratch);
  const rest = p.e - t.firstSlice * SLICE;
  const whole = min(slices, rest / SLICE);
  for (let r: i32 = 0; r < t.rows; r++) {
    let from = load<usize>(scratch + POINTERS + (r << 2)) + (<usize>t.firstSlice << 5);
    let to = scratch + VALUES + (<usize>r << 5);
    for (let s: i32 = 0; s < whole; s++, from += 32, to += <usize>CHUNK << 5) {
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
    }
    if (whole < slices) {
      memory.fill(to, 0, 32);
      memory.copy(to, from, <usize>(rest - whole * SLICE) << 2);
    }
  }
}

/** Results from row `from` on to the rows of `out`, with what was before and over the denominators where there are some. */
export function storeRows(p: PassParams, t: Task, from: i32, scratch: usize): void {
  const firstColumn = t.firstSlice * SLICE;
  const columns = min(t.slices * SLICE, p.outColumns - firstColumn);
  const dtype = p.out.dtype;
  // The last column, of a task that has all.
  const last = p.e - 1;
  const sums = scratch + RESULTS + <usize>(last / SLICE) * (<usize>CHUNK << 5) + (<usize>(last % SLICE) << 2);
  for (let r = from; r < t.rows; r++) {
    let factor: f32 = 1;
    const place = placeOf(p, t.bh, t.first + r);
    if (p.before != 0) {
      const before = p.before + ((place * <usize>p.outColumns + <usize>firstColumn) << 2);
      addNumbers(before, scratch + RESULTS + (<usize>r << 5), columns);
    }
    if (p.denominators != 0) {
      const at = p.denominators + (place << 2);
      let denominator = f32.load(sums + (<usize>r << 5));
      if (p.before != 0) denominator += f32.load(at);
      if (!p.unfinished) {
        denominator += <f32>p.epsilon;
        factor = 1 / denominator;
      }
      f32.store(at, denominator);
    }
    const out = outAddress(p, t.bh, t.first + r) + <usize>firstColumn * bytesOf(dtype);
    const to = dtype == F32 && columns % SLICE == 0 ? out : scratch + CONVERTED;
    const factors = f32x4.splat(factor);
    let result = scratch + RESULTS + (<usize>r << 5);
    const end = to + (<usize>columns << 2);
    for (let at = to; at < end; at += 32, result += <usize>CHUNK << 5) {
      v128.store(at, f32x4.mul(v128.load(result), factors));
      v128.store(at, f32x4.mul(v128.load(result, 16), factors), 16);
    }
    if (to != out) storeRow(to, out, dtype, columns);
  }
}

/** A row's numbers to a row of results [slices][48][8]. */
function addNumbers(from: usize, to: usize, count: i32): void {
  const past = from + (<usize>count << 2);
  for (; from + 32 <= past; from += 32, to += <usize>CHUNK << 5) {
    v128.store(to, f32x4.add(v128.load(from), v128.load(to)));
    v128.store(to, f32x4.add(v128.load(from, 16), v128.load(to, 16)), 16);
  }
  for (; from < past; from += 4, to += 4) f32.store(to, f32.load(from) + f32.load(to));
}
