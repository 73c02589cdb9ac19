/**
 * Singular values in float64. Eigenvectors of the products of all pairs rotate the shorter side's vectors nearly to right angles;
 * one-sided Jacobi rotations of the pairs that are not there yet do the rest, so that small singular values keep their digits.
 */
import { dotWide } from '../../runtime/wasm/assembly/wide.as';
import { signOf } from './eigh.as';
import { BAD_PIVOT, FINE, STRIP, SvdParams } from './params.generated.as';
import { addProductOf } from './product.as';
import { put, rotateRows, scaleRow } from './rows.as';
import { strips } from './substitute.as';

const EPSILON: f64 = 2.220446049250313e-16;
const MOST_SWEEPS: i32 = 40;
/** Cosines of angles that count as right where results are f32. */
const NARROW_RIGHT: f64 = 1e-11;

@inline
function extentOf(p: SvdParams): i32 {
  return min(p.rows, p.columns);
}

/** A list of k rows of `length` numbers, of a matrix. */
@inline
function listOf(list: usize, p: SvdParams, batch: i32, length: i32): usize {
  return list + ((<usize>(batch * extentOf(p)) * <usize>length) << 3);
}

/** The vectors of the shorter side, a strip of its positions a task. */
export function svdWiden(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SvdParams>(params);
  const k = extentOf(p);
  const longer = max(p.rows, p.columns);
  const isTall = p.rows > p.columns;
  const all = strips(k, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const to = listOf(p.lines, p, batch, longer);
  for (let i: i32 = 0; i < longer; i++) {
    for (let j = first; j < min(first + STRIP, k); j++) {
      const place = isTall ? i * p.columns + j : j * p.columns + i;
      const from = <usize>batch * <usize>p.rows * <usize>p.columns + <usize>place;
      const value = p.wide ? f64.load(p.a + (from << 3)) : <f64>f32.load(p.a + (from << 2));
      f64.store(to + (<usize>(j * longer + i) << 3), value);
    }
  }
}

/** Products of a strip of the vectors with all. */
export function svdProducts(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SvdParams>(params);
  const k = extentOf(p);
  const all = strips(k, STRIP);
  const batch = task / all;
  multiplyStrip(p, batch, (task % all) * STRIP, p.lines, scratch);
}

function multiplyStrip(p: SvdParams, batch: i32, first: i32, vectors: usize, scratch: usize): void {
  const k = extentOf(p);
  const longer = max(p.rows, p.columns);
  const step = <usize>longer << 3;
  const rows = min(STRIP, k - first);
  const all = listOf(vectors, p, batch, longer);
  const to = listOf(p.products, p, batch, k) + (<usize>(first * k) << 3);
  memory.fill(to, 0, <usize>(rows * k) << 3);
  addProductOf(to, <usize>k << 3, rows, k, all + <usize>first * step, step, 8, all, 8, step, longer, 1, scratch);
}

/** A strip of the vectors, rotated by the eigenvectors of these products. */
export function svdRotate(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SvdParams>(params);
  const k = extentOf(p);
  const longer = max(p.rows, p.columns);
  const all = strips(k, STRIP);
  const batch = task / all;
  const first = (task % all) * STRIP;
  const rows = min(STRIP, k - first);
  const step = <usize>longer << 3;
  const to = listOf(p.rotated, p, batch, longer) + <usize>first * step;
  const by = listOf(p.vectors, p, batch, k);
  const turns = listOf(p.turns, p, batch, k);
  for (let j = first; j < first + rows; j++) {
    for (let i: i32 = 0; i < k; i++)
      f64.store(turns + (<usize>(j * k + i) << 3), f64.load(by + (<usize>(i * k + j) << 3)));
  }
  memory.fill(to, 0, <usize>rows * step);
  const own = turns + (<usize>(first * k) << 3);
  addProductOf(to, step, rows, longer, own, <usize>k << 3, 8, listOf(p.lines, p, batch, longer), step, 8, k, 1, scratch);
}

/** U [rows][k], singular values in descending order, V [columns][k]. */
export function svd(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SvdParams>(params);
  const k = extentOf(p);
  const longer = max(p.rows, p.columns);
  const x = listOf(p.rotated, p, task, longer);
  const turns = listOf(p.turns, p, task, k);
  const norms = listOf(p.norms, p, task, 2);
  const marks = norms + (<usize>k << 3);
  i32.store(p.status + (<usize>task << 2), rotateAll(p, task, x, turns, norms, marks, scratch) ? FINE : BAD_PIVOT);
  for (let i: i32 = 0; i < k; i++) {
    const row = x + (<usize>(i * longer) << 3);
    f64.store(norms + (<usize>i << 3), Math.sqrt(dotWide(row, row, longer)));
  }
  storeSorted(p, task, x, turns, norms, marks);
}

/** Sweeps until all pairs are at right angles; false if that takes too long, as with numbers that are not finite. */
function rotateAll(
  p: SvdParams,
  batch: i32,
  x: usize,
  turns: usize,
  norms: usize,
  marks: usize,
  scratch: usize,
): bool {
  const k = extentOf(p);
  const longer = max(p.rows, p.columns);
  const products = listOf(p.products, p, batch, k);
  const limit = p.wide ? EPSILON * max(4, Math.sqrt(<f64>longer)) : NARROW_RIGHT;
  for (let sweep: i32 = 0; sweep < MOST_SWEEPS; sweep++) {
    for (let first: i32 = 0; first < k; first += STRIP) multiplyStrip(p, batch, first, p.rotated, scratch);
    let largest: f64 = 0;
    for (let i: i32 = 0; i < k; i++) {
      const norm = Math.sqrt(value(products, i * k + i));
      if (norm - norm != 0) return false;
      f64.store(norms + (<usize>i << 3), norm);
      largest = max(largest, norm);
    }
    // What vanishes has no direction.
    const least = largest * EPSILON * <f64>longer;
    // Vectors that this sweep has rotated, of which the products are out of date.
    memory.fill(marks, 0, <usize>k);
    let isDone = true;
    for (let i: i32 = 0; i < k - 1; i++) {
      for (let j = i + 1; j < k; j++) {
        const isKnown = !load<u8>(marks + <usize>i) && !load<u8>(marks + <usize>j);
        if (isKnown && isRight(value(products, i * k + j), value(norms, i), value(norms, j), least, limit)) continue;
        const first = x + (<usize>(i * longer) << 3);
        const second = x + (<usize>(j * longer) << 3);
        const a = dotWide(first, first, longer);
        const b = dotWide(second, second, longer);
        const both = dotWide(first, second, longer);
        if (both - both != 0) return false;
        if (isRight(both, Math.sqrt(a), Math.sqrt(b), least, limit)) continue;
        isDone = false;
        const tau = (b - a) / (2 * both);
        const t = (tau < 0 ? -1.0 : 1.0) / (abs(tau) + Math.hypot(1, tau));
        const c = 1 / Math.sqrt(1 + t * t);
        rotateRows(first, second, longer, c, c * t);
        rotateRows(turns + (<usize>(i * k) << 3), turns + (<usize>(j * k) << 3), k, c, c * t);
        store<u8>(marks + <usize>i, 1);
        store<u8>(marks + <usize>j, 1);
      }
    }
    if (isDone) return true;
  }
  return false;
}

/** Whether vectors of these lengths and product count as at right angles. */
@inline
function isRight(both: f64, first: f64, second: f64, least: f64, limit: f64): bool {
  return both == 0 || first <= least || second <= least || abs(both) <= limit * first * second;
}

function storeSorted(p: SvdParams, task: i32, x: usize, turns: usize, norms: usize, taken: usize): void {
  const k = extentOf(p);
  const longer = max(p.rows, p.columns);
  const isTall = p.rows > p.columns;
  memory.fill(taken, 0, <usize>k);
  let largest: f64 = 0;
  for (let at: i32 = 0; at < k; at++) {
    let best: i32 = -1;
    for (let i: i32 = 0; i < k; i++)
      if (!load<u8>(taken + <usize>i) && (best < 0 || value(norms, i) > value(norms, best))) best = i;
    store<u8>(taken + <usize>best, 1);
    const norm = value(norms, best);
    if (at == 0) largest = norm;
    put(p.s, p.wide, task * k + at, norm);
    const long = x + (<usize>(best * longer) << 3);
    const short = turns + (<usize>(best * k) << 3);
    // What is left of vectors that vanish is no direction.
    const isNone = norm <= largest * EPSILON * <f64>longer;
    scaleRow(long, longer, isNone ? 0 : 1 / norm);
    const sign = signOf(isTall ? short : isNone ? short : long, isTall || isNone ? k : longer);
    storeColumn(isTall ? p.u : p.v, p.wide, task, long, longer, k, at, sign);
    storeColumn(isTall ? p.v : p.u, p.wide, task, short, k, k, at, sign);
  }
}

@inline
function value(list: usize, at: i32): f64 {
  return f64.load(list + (<usize>at << 3));
}

@inline
function storeColumn(to: usize, wide: bool, task: i32, from: usize, count: i32, k: i32, at: i32, sign: f64): void {
  for (let i: i32 = 0; i < count; i++) put(to, wide, (task * count + i) * k + at, sign * value(from, i));
}
