/**
 * Eigenvalues and eigenvectors of symmetric matrices in float64. Reflections make a matrix tridiagonal: columns of a block need
 * products of the matrix with a vector each, all else goes by products of blocks. Implicit QL steps make that diagonal; their
 * rotations are listed first, and then applied to some coordinates of all eigenvectors at a time.
 */
import { dotWide, maddWide } from '../../runtime/wasm/assembly/wide.as';
import {
  ASYMMETRIC, BAD_PIVOT, EighParams, FINE, LANES, NOT_FINITE, REFLECTIONS, STRIP,
} from './params.generated.as';
import { addProductOf } from './product.as';
import { makeReflection, makeTriangle, reflectRows, TRIANGLE_BYTES } from './reflections.as';
import { addRow, put, widen } from './rows.as';
import { strips } from './substitute.as';

const EPSILON: f64 = 2.220446049250313e-16;
/** QL steps that an eigenvalue may take. */
const MOST_STEPS: i32 = 60;
const OF_ELEMENT: f64 = 1e-3;
const OF_LARGEST: f64 = 1e-5;

@unmanaged
class State {
  /** What the matrix was multiplied by. */
  scale: f64;
  /** The eigenvalue at hand, and the steps that it has taken. */
  at: i32;
  steps: i32;
  /** Sweeps that are listed, and their rotations. */
  sweeps: i32;
  rotations: i32;
}

/** Rotations of rows i and i + 1 for i = `last`, `last` - 1, ... */
@unmanaged
class Sweep {
  last: i32;
  count: i32;
  rotations: i32;
}
const SWEEP_BYTES: usize = 12;

@inline
function stateOf(p: EighParams, batch: i32): State {
  return changetype<State>(p.state + (<usize>batch << 6));
}

@inline
function number(list: usize, at: i32): f64 {
  return f64.load(list + (<usize>at << 3));
}

@inline
function setNumber(list: usize, at: i32, value: f64): void {
  f64.store(list + (<usize>at << 3), value);
}

/** n numbers of each matrix, from one of several such lists. */
@inline
function listOf(lists: usize, p: EighParams, batch: i32, count: i32, at: i32): usize {
  return lists + ((<usize>(batch * count + at) * <usize>p.n) << 3);
}

@inline
function rowOf(matrices: usize, p: EighParams, batch: i32, row: i32): usize {
  return listOf(matrices, p, batch, p.n, row);
}

/** Bytes of the chunks of a matrix, whose coordinates past the last are zeros. */
@inline
function chunkBytes(p: EighParams): usize {
  return <usize>p.n * <usize>(LANES << 3);
}

/** A strip of rows as float64; the largest number of each row goes to `sums`. */
export function eighWiden(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const all = strips(n, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  for (let row = first; row < min(first + STRIP, n); row++) {
    const to = rowOf(p.matrix, p, batch, row);
    widen(p.a + <usize>(batch * n + row) * <usize>n * <usize>(p.wide ? 8 : 4), p.wide, n, to);
    let largest: f64 = 0;
    let isFinite = true;
    for (let j: i32 = 0; j < n; j++) {
      const x = number(to, j);
      if (x - x != 0) isFinite = false;
      largest = max(largest, abs(x));
    }
    setNumber(listOf(p.sums, p, batch, p.parts, 0), row, isFinite ? largest : 0);
    i32.store(p.status + (<usize>(batch * n + row) << 2), isFinite ? FINE : NOT_FINITE);
    memory.fill(rowOf(p.reflections, p, batch, row), 0, <usize>n << 3);
  }
}

/** Whether a strip of rows is symmetric; the lower triangle counts, and is scaled so that squares can be summed. */
export function eighCheck(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const all = strips(n, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const largest = largestOf(p, batch);
  for (let row = first; row < min(first + STRIP, n); row++) {
    const own = rowOf(p.matrix, p, batch, row);
    const status = p.status + (<usize>(batch * n + row) << 2);
    for (let j: i32 = 0; j < row; j++) {
      const x = number(own, j);
      const y = number(rowOf(p.matrix, p, batch, j), row);
      if (x == y) continue;
      const isFar = abs(x - y) > OF_ELEMENT * max(abs(x), abs(y)) + OF_LARGEST * largest;
      if (isFar && i32.load(status) == FINE) i32.store(status, ASYMMETRIC);
    }
  }
}

function largestOf(p: EighParams, batch: i32): f64 {
  let largest: f64 = 0;
  for (let row: i32 = 0; row < p.n; row++) largest = max(largest, number(listOf(p.sums, p, batch, p.parts, 0), row));
  return largest;
}

/** Scales a strip of rows. */
export function eighScale(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const all = strips(n, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const largest = largestOf(p, batch);
  const scale: f64 = largest > 0 ? 1 / largest : 1;
  if (first == 0) {
    const state = stateOf(p, batch);
    state.scale = scale;
    state.at = 0;
    state.steps = 0;
    state.sweeps = 0;
    state.rotations = 0;
  }
  for (let row = first; row < min(first + STRIP, n); row++) {
    const own = rowOf(p.matrix, p, batch, row);
    for (let j: i32 = 0; j <= row; j++) setNumber(own, j, scale * number(own, j));
  }
}

/** What is left to do for the column before, and then the reflection of this one, if it is of the same block. */
export function eighColumn(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const k = p.column;
  const done = k - p.first;
  if (done > 0) finishChange(p, task, k - 1);
  if (done == REFLECTIONS || k == n) return;
  const diagonal = listOf(p.diagonals, p, task, 2, 0);
  const beside = diagonal + (<usize>n << 3);
  const v = rowOf(p.reflections, p, task, k);
  for (let i = k; i < n; i++) setNumber(v, i, number(rowOf(p.matrix, p, task, i), k));
  const from = <usize>k << 3;
  for (let r: i32 = 0; r < done; r++) {
    const other = rowOf(p.reflections, p, task, p.first + r);
    const change = listOf(p.changes, p, task, REFLECTIONS, r);
    addRow(v + from, other + from, n - k, -number(change, k));
    addRow(v + from, change + from, n - k, -number(other, k));
  }
  setNumber(diagonal, k, number(v, k));
  setNumber(v, k, 0);
  if (k < n - 2) setNumber(beside, k, makeReflection(v, k + 1, n));
  else if (k < n - 1) {
    setNumber(beside, k, number(v, k + 1));
    setNumber(v, k + 1, 0);
  }
}

/** w = A v - v (v . A v) / 2 of the matrix as its block's earlier columns left it; the matrix itself is as before the block. */
function finishChange(p: EighParams, batch: i32, k: i32): void {
  const n = p.n;
  const from = <usize>(k + 1) << 3;
  const count = n - k - 1;
  const v = rowOf(p.reflections, p, batch, k) + from;
  const w = listOf(p.changes, p, batch, REFLECTIONS, k - p.first) + from;
  memory.fill(w - from, 0, <usize>n << 3);
  // The last two columns have no reflection.
  if (k >= n - 2) return;
  for (let part: i32 = 0; part < p.parts; part++) addRow(w, listOf(p.sums, p, batch, p.parts, part) + from, count, 1);
  for (let r: i32 = 0; r < k - p.first; r++) {
    const other = rowOf(p.reflections, p, batch, p.first + r) + from;
    const change = listOf(p.changes, p, batch, REFLECTIONS, r) + from;
    const ofChange = dotWide(change, v, count);
    const ofOther = dotWide(other, v, count);
    addRow(w, other, count, -ofChange);
    addRow(w, change, count, -ofOther);
  }
  addRow(w, v, count, -0.5 * dotWide(v, w, count));
}

/** The first row of a part of the rows behind the column, each about as much of the lower triangle. */
@inline
function partStart(p: EighParams, first: i32, part: i32): i32 {
  return first + <i32>(<f64>(p.n - first) * sqrt(<f64>part / <f64>p.parts));
}

/** The sum of a part of the lower triangle times the column's reflection, and of its transpose. */
export function eighMultiply(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const batch = task / p.parts;
  const part = task % p.parts;
  const first = p.column + 1;
  const v = rowOf(p.reflections, p, batch, p.column);
  const sums = listOf(p.sums, p, batch, p.parts, part);
  memory.fill(sums, 0, <usize>n << 3);
  let row = partStart(p, first, part);
  const past = partStart(p, first, part + 1);
  for (; row + 1 < past; row += 2) multiplyRows(p, batch, row, first, v, sums);
  if (row < past) multiplyRow(rowOf(p.matrix, p, batch, row), row, first, v, sums);
}

/** One row, without its diagonal, as row and as column; and its diagonal. */
@inline
function multiplyRow(a: usize, row: i32, first: i32, v: usize, sums: usize): void {
  const from = <usize>first << 3;
  const along = dotWide(a + from, v + from, row - first + 1);
  addRow(sums + from, a + from, row - first, number(v, row));
  setNumber(sums, row, number(sums, row) + along);
}

/** Two rows, so that what they are added to is read once for both. */
function multiplyRows(p: EighParams, batch: i32, row: i32, first: i32, v: usize, sums: usize): void {
  const step = <usize>p.n << 3;
  const a = rowOf(p.matrix, p, batch, row);
  const one = f64x2.splat(number(v, row));
  const two = f64x2.splat(number(v, row + 1));
  let left = f64x2.splat(0);
  let right = left;
  let j = first;
  for (; j + 2 <= row; j += 2) {
    const at = <usize>j << 3;
    const x = v128.load(a + at);
    const y = v128.load(a + step + at);
    const values = v128.load(v + at);
    left = maddWide(x, values, left);
    right = maddWide(y, values, right);
    v128.store(sums + at, maddWide(two, y, maddWide(one, x, v128.load(sums + at))));
  }
  let ofFirst = f64x2.extract_lane(left, 0) + f64x2.extract_lane(left, 1);
  let ofSecond = f64x2.extract_lane(right, 0) + f64x2.extract_lane(right, 1);
  for (; j < row; j++) {
    const x = number(a, j);
    const y = number(a + step, j);
    ofFirst += x * number(v, j);
    ofSecond += y * number(v, j);
    setNumber(sums, j, number(sums, j) + x * number(v, row) + y * number(v, row + 1));
  }
  const between = number(a + step, row);
  ofFirst += number(a, row) * number(v, row) + between * number(v, row + 1);
  ofSecond += between * number(v, row) + number(a + step, row + 1) * number(v, row + 1);
  setNumber(sums, row, number(sums, row) + ofFirst);
  setNumber(sums, row + 1, number(sums, row + 1) + ofSecond);
}

/** A strip of the rows behind a block, less what the block's reflections change. */
export function eighUpdate(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const first = p.first + REFLECTIONS;
  const all = strips(n - first, STRIP);
  const batch = task / all;
  const row = first + (task % all) * STRIP;
  const rows = min(STRIP, n - row);
  const step = <usize>n << 3;
  const v = rowOf(p.reflections, p, batch, p.first);
  const w = listOf(p.changes, p, batch, REFLECTIONS, 0);
  const c = rowOf(p.matrix, p, batch, row) + (<usize>first << 3);
  const columns = row + rows - first;
  const left = <usize>row << 3;
  const right = <usize>first << 3;
  addProductOf(c, step, rows, columns, v + left, 8, step, w + right, step, 8, REFLECTIONS, -1, scratch);
  addProductOf(c, step, rows, columns, w + left, 8, step, v + right, step, 8, REFLECTIONS, -1, scratch);
}

/** The triangle of a block of reflections. */
export function eighTriangle(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const blocks = strips(n, REFLECTIONS);
  const batch = task / blocks;
  const first = (task % blocks) * REFLECTIONS;
  const v = rowOf(p.reflections, p, batch, first) + (<usize>first << 3);
  makeTriangle(v, <usize>n << 3, min(REFLECTIONS, n - first), n - first, p.triangles + <usize>task * TRIANGLE_BYTES);
}

/** A strip of rows of the transpose of the product of all reflections. */
export function eighVectors(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const all = strips(n, STRIP);
  const batch = task / all;
  const row = (task % all) * STRIP;
  const rows = min(STRIP, n - row);
  const step = <usize>n << 3;
  const z = rowOf(p.matrix, p, batch, row);
  memory.fill(z, 0, <usize>rows * step);
  for (let r: i32 = 0; r < rows; r++) setNumber(z, r * n + row + r, 1);
  const blocks = strips(n, REFLECTIONS);
  for (let block = min(blocks - 1, (row + rows - 1) / REFLECTIONS); block >= 0; block--) {
    const first = block * REFLECTIONS;
    const from = <usize>first << 3;
    const v = rowOf(p.reflections, p, batch, first) + from;
    const t = p.triangles + <usize>(batch * blocks + block) * TRIANGLE_BYTES;
    reflectRows(z + from, step, rows, v, step, min(REFLECTIONS, n - first), n - first, t, false, scratch);
  }
}

/** A chunk of the coordinates of all rows, where the reflections were. */
export function eighChunk(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const chunks = strips(n, LANES);
  const batch = task / chunks;
  const first = (task % chunks) * LANES;
  const count = min(LANES, n - first);
  let to = p.reflections + <usize>task * chunkBytes(p);
  for (let row: i32 = 0; row < n; row++, to += <usize>(LANES << 3)) {
    memory.fill(to, 0, <usize>(LANES << 3));
    memory.copy(to, rowOf(p.matrix, p, batch, row) + (<usize>first << 3), <usize>count << 3);
  }
}

/** Implicit QL of a tridiagonal matrix, of which it lists the rotations as far as there is room. */
export function eighRotations(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const state = stateOf(p, task);
  const d = listOf(p.diagonals, p, task, 2, 0);
  const e = d + (<usize>n << 3);
  const rotations = p.rotations + (<usize>task * <usize>p.mostRotations << 4);
  const sweeps = p.sweeps + <usize>(task * p.mostSweeps) * SWEEP_BYTES;
  state.sweeps = 0;
  state.rotations = 0;
  setNumber(e, n - 1, 0);
  for (; state.at < n; state.at++, state.steps = 0) {
    const l = state.at;
    for (; ; state.steps++) {
      let m = l;
      for (; m < n - 1; m++) if (abs(number(e, m)) <= EPSILON * (abs(number(d, m)) + abs(number(d, m + 1)))) break;
      if (m == l) break;
      if (state.steps >= MOST_STEPS) return;
      if (state.sweeps == p.mostSweeps || state.rotations + m - l > p.mostRotations) return;
      const sweep = changetype<Sweep>(sweeps + <usize>state.sweeps * SWEEP_BYTES);
      sweep.last = m - 1;
      sweep.rotations = state.rotations;
      sweep.count = sweepOnce(d, e, l, m, rotations + (<usize>state.rotations << 4));
      state.rotations += sweep.count;
      state.sweeps++;
    }
  }
}

/** One QL step of rows l to m; returns the number of its rotations. */
function sweepOnce(d: usize, e: usize, l: i32, m: i32, rotations: usize): i32 {
  let g = (number(d, l + 1) - number(d, l)) / (2 * number(e, l));
  let r = Math.hypot(g, 1);
  g = number(d, m) - number(d, l) + number(e, l) / (g + (g < 0 ? -r : r));
  let s: f64 = 1;
  let c: f64 = 1;
  let shift: f64 = 0;
  for (let i = m - 1; i >= l; i--, rotations += 16) {
    const f = s * number(e, i);
    const b = c * number(e, i);
    r = Math.sqrt(f * f + g * g);
    setNumber(e, i + 1, r);
    if (r == 0) {
      setNumber(d, i + 1, number(d, i + 1) - shift);
      setNumber(e, m, 0);
      return m - 1 - i;
    }
    s = f / r;
    c = g / r;
    g = number(d, i + 1) - shift;
    r = (number(d, i) - g) * s + 2 * c * b;
    shift = s * r;
    setNumber(d, i + 1, g + shift);
    g = c * r - b;
    f64.store(rotations, c);
    f64.store(rotations, s, 8);
  }
  setNumber(d, l, number(d, l) - shift);
  setNumber(e, l, g);
  setNumber(e, m, 0);
  return m - l;
}

/** Applies the listed rotations to a chunk; the row that two rotations share stays in registers between them. */
export function eighRotate(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const batch = task / strips(p.n, LANES);
  const state = stateOf(p, batch);
  const chunk = p.reflections + <usize>task * chunkBytes(p);
  const rotations = p.rotations + (<usize>batch * <usize>p.mostRotations << 4);
  const sweeps = p.sweeps + <usize>(batch * p.mostSweeps) * SWEEP_BYTES;
  for (let at: i32 = 0; at < state.sweeps; at++) {
    const sweep = changetype<Sweep>(sweeps + <usize>at * SWEEP_BYTES);
    const row = chunk + (<usize>(sweep.last + 1) << 7);
    rotateDown(row, sweep.count, rotations + (<usize>sweep.rotations << 4));
  }
}

/** Rotates `row` and the one before it, then that and the one before, and so on. */
@inline
function rotateDown(row: usize, count: i32, rotation: usize): void {
  let y0 = v128.load(row);
  let y1 = v128.load(row, 16);
  let y2 = v128.load(row, 32);
  let y3 = v128.load(row, 48);
  let y4 = v128.load(row, 64);
  let y5 = v128.load(row, 80);
  let y6 = v128.load(row, 96);
  let y7 = v128.load(row, 112);
  for (let at: i32 = 0; at < count; at++, rotation += 16, row -= 128) {
    const c = v128.load64_splat(rotation);
    const s = v128.load64_splat(rotation, 8);
    const minus = f64x2.neg(s);
    let x = v128.load(row - 128);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y0)));
    y0 = maddWide(minus, y0, f64x2.mul(c, x));
    x = v128.load(row - 128, 16);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y1)), 16);
    y1 = maddWide(minus, y1, f64x2.mul(c, x));
    x = v128.load(row - 128, 32);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y2)), 32);
    y2 = maddWide(minus, y2, f64x2.mul(c, x));
    x = v128.load(row - 128, 48);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y3)), 48);
    y3 = maddWide(minus, y3, f64x2.mul(c, x));
    x = v128.load(row - 128, 64);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y4)), 64);
    y4 = maddWide(minus, y4, f64x2.mul(c, x));
    x = v128.load(row - 128, 80);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y5)), 80);
    y5 = maddWide(minus, y5, f64x2.mul(c, x));
    x = v128.load(row - 128, 96);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y6)), 96);
    y6 = maddWide(minus, y6, f64x2.mul(c, x));
    x = v128.load(row - 128, 112);
    v128.store(row, maddWide(s, x, f64x2.mul(c, y7)), 112);
    y7 = maddWide(minus, y7, f64x2.mul(c, x));
  }
  v128.store(row, y0);
  v128.store(row, y1, 16);
  v128.store(row, y2, 32);
  v128.store(row, y3, 48);
  v128.store(row, y4, 64);
  v128.store(row, y5, 80);
  v128.store(row, y6, 96);
  v128.store(row, y7, 112);
}

/** The order of eigenvalues, which become results. */
export function eighOrder(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const state = stateOf(p, task);
  const status = p.status + (<usize>(task * n) << 2);
  if (state.at < n && i32.load(status) == FINE) i32.store(status, BAD_PIVOT);
  const d = listOf(p.diagonals, p, task, 2, 0);
  const order = p.ranks + (<usize>(2 * task * n) << 2);
  for (let at: i32 = 0; at < n; at++) {
    const value = number(d, at);
    let to = at;
    for (; to > 0 && number(d, i32.load(order + (<usize>(to - 1) << 2))) > value; to--)
      i32.store(order + (<usize>to << 2), i32.load(order + (<usize>(to - 1) << 2)));
    i32.store(order + (<usize>to << 2), at);
  }
  for (let at: i32 = 0; at < n; at++)
    put(p.values, p.wide, task * n + at, number(d, i32.load(order + (<usize>at << 2))) / state.scale);
}

/** By which the element of largest magnitude, the first of about equal ones, of some eigenvectors becomes positive. */
export function eighSigns(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const all = strips(n, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const chunks = p.reflections + <usize>(batch * strips(n, LANES)) * chunkBytes(p);
  const signs = p.ranks + (<usize>((2 * batch + 1) * n) << 2);
  for (let row = first; row < min(first + STRIP, n); row++) {
    let largest: f64 = 0;
    for (let i: i32 = 0; i < n; i++) largest = max(largest, abs(coordinate(p, chunks, row, i)));
    let sign: f32 = 1;
    for (let i: i32 = 0; i < n; i++) {
      const value = coordinate(p, chunks, row, i);
      if (abs(value) < largest * (1 - 1e-6)) continue;
      sign = value < 0 ? -1 : 1;
      break;
    }
    f32.store(signs + (<usize>row << 2), sign);
  }
}

@inline
function coordinate(p: EighParams, chunks: usize, row: i32, i: i32): f64 {
  return f64.load(chunks + <usize>(i / LANES) * chunkBytes(p) + (<usize>(row * LANES + i % LANES) << 3));
}

/** Rows of the result from a chunk: the same coordinates of all eigenvectors, in the order of their values. */
export function eighStore(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EighParams>(params);
  const n = p.n;
  const chunks = strips(n, LANES);
  const batch = task / chunks;
  const first = (task % chunks) * LANES;
  const count = min(LANES, n - first);
  const chunk = p.reflections + <usize>task * chunkBytes(p);
  const order = p.ranks + (<usize>(2 * batch * n) << 2);
  const signs = order + (<usize>n << 2);
  for (let at: i32 = 0; at < n; at++) {
    const row = i32.load(order + (<usize>at << 2));
    const sign = <f64>f32.load(signs + (<usize>row << 2));
    const vector = chunk + (<usize>row << 7);
    for (let i: i32 = 0; i < count; i++) put(p.vectors, p.wide, (batch * n + first + i) * n + at, sign * number(vector, i));
  }
}

/** By which the element of largest magnitude of a list, the first of about equal ones, becomes positive. */
export function signOf(vector: usize, count: i32): f64 {
  let largest: f64 = 0;
  for (let i: i32 = 0; i < count; i++) largest = max(largest, abs(number(vector, i)));
  for (let i: i32 = 0; i < count; i++)
    if (abs(number(vector, i)) >= largest * (1 - 1e-6)) return number(vector, i) < 0 ? -1 : 1;
  return 1;
}
