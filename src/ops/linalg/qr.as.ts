/** QR decompositions by blocks of Householder reflections, in float64. The diagonal of R is not negative. Columns are rows here. */
import { dotWide } from '../../runtime/wasm/assembly/wide.as';
import { QrParams, REFLECTIONS, STRIP } from './params.generated.as';
import { makeReflection, makeTriangle, reflectRows, TRIANGLE_BYTES } from './reflections.as';
import { addRow, put } from './rows.as';
import { strips } from './substitute.as';

@inline
function extentOf(p: QrParams): i32 {
  return min(p.rows, p.columns);
}

@inline
function lineOf(p: QrParams, batch: i32, column: i32): usize {
  return p.lines + ((<usize>(batch * p.columns + column) * <usize>p.rows) << 3);
}

/** A row of one of the two lists of k. */
@inline
function rowOf(list: usize, p: QrParams, batch: i32, at: i32): usize {
  return list + ((<usize>(batch * extentOf(p) + at) * <usize>p.rows) << 3);
}

@inline
function triangleOf(p: QrParams, batch: i32, first: i32): usize {
  return p.triangles + <usize>(batch * strips(extentOf(p), REFLECTIONS) + first / REFLECTIONS) * TRIANGLE_BYTES;
}

/** Columns of the matrix, a strip a task. */
export function qrWiden(params: usize, task: i32, scratch: usize): void {
  const p = changetype<QrParams>(params);
  const all = strips(p.columns, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const past = min(first + STRIP, p.columns);
  for (let i: i32 = 0; i < p.rows; i++) {
    for (let c = first; c < past; c++) {
      const from = <usize>(batch * p.rows + i) * <usize>p.columns + <usize>c;
      const value = p.wide ? f64.load(p.a + (from << 3)) : <f64>f32.load(p.a + (from << 2));
      f64.store(lineOf(p, batch, c) + (<usize>i << 3), value);
    }
  }
}

/** The reflections of a block, by its own columns. */
export function qrBlock(params: usize, task: i32, scratch: usize): void {
  const p = changetype<QrParams>(params);
  const rows = p.rows;
  const step = <usize>rows << 3;
  const past = min(p.first + REFLECTIONS, extentOf(p));
  for (let j = p.first; j < past; j++) {
    const from = <usize>j << 3;
    const line = lineOf(p, task, j);
    const v = rowOf(p.reflections, p, task, j);
    memory.fill(v, 0, from);
    memory.copy(v + from, line + from, step - from);
    f64.store(line + from, makeReflection(v, j, rows));
    memory.fill(line + from + 8, 0, step - from - 8);
    for (let c = j + 1; c < past; c++) {
      const other = lineOf(p, task, c) + from;
      addRow(other, v + from, rows - j, -dotWide(other, v + from, rows - j));
    }
  }
  const v = rowOf(p.reflections, p, task, p.first) + (<usize>p.first << 3);
  makeTriangle(v, step, past - p.first, rows - p.first, triangleOf(p, task, p.first));
}

/** A strip of the columns behind a block. */
export function qrUpdate(params: usize, task: i32, scratch: usize): void {
  const p = changetype<QrParams>(params);
  const past = min(p.first + REFLECTIONS, extentOf(p));
  const all = strips(p.columns - past, STRIP);
  const batch = task / all;
  const column = past + (task % all) * STRIP;
  reflect(p, batch, lineOf(p, batch, column), min(STRIP, p.columns - column), p.first, true, scratch);
}

/** A block of reflections of some rows. */
@inline
function reflect(p: QrParams, batch: i32, z: usize, rows: i32, first: i32, reversed: bool, scratch: usize): void {
  const step = <usize>p.rows << 3;
  const from = <usize>first << 3;
  const count = min(REFLECTIONS, extentOf(p) - first);
  const v = rowOf(p.reflections, p, batch, first) + from;
  reflectRows(z + from, step, rows, v, step, count, p.rows - first, triangleOf(p, batch, first), reversed, scratch);
}

/** A strip of the columns of Q. */
export function qrBasis(params: usize, task: i32, scratch: usize): void {
  const p = changetype<QrParams>(params);
  const k = extentOf(p);
  const all = strips(k, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const rows = min(STRIP, k - first);
  const z = rowOf(p.basis, p, batch, first);
  memory.fill(z, 0, <usize>(rows * p.rows) << 3);
  for (let r: i32 = 0; r < rows; r++) f64.store(z + (<usize>(r * p.rows + first + r) << 3), 1);
  for (let block = ((first + rows - 1) / REFLECTIONS) * REFLECTIONS; block >= 0; block -= REFLECTIONS)
    reflect(p, batch, z, rows, block, false, scratch);
}

/** A strip of the columns of Q and of the rows of R as results. */
export function qrStore(params: usize, task: i32, scratch: usize): void {
  const p = changetype<QrParams>(params);
  const k = extentOf(p);
  const all = strips(k, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  for (let j = first; j < min(first + STRIP, k); j++) {
    const sign: f64 = f64.load(lineOf(p, batch, j) + (<usize>j << 3)) < 0 ? -1 : 1;
    const column = rowOf(p.basis, p, batch, j);
    for (let i: i32 = 0; i < p.rows; i++) put(p.q, p.wide, (batch * p.rows + i) * k + j, sign * f64.load(column + (<usize>i << 3)));
    const row = (batch * k + j) * p.columns;
    for (let c: i32 = 0; c < p.columns; c++) put(p.r, p.wide, row + c, c < j ? 0 : sign * f64.load(lineOf(p, batch, c) + (<usize>j << 3)));
  }
}
