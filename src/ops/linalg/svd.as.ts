/** Singular values by one-sided Jacobi rotations, a matrix a task, in float64. */
import { signOf } from './eigh.as';
import { BAD_PIVOT, DenseParams, FINE } from './params.generated.as';
import { dotRows, put, rotateRows, scaleRow, transposeInto, widen } from './rows.as';

const EPSILON: f64 = 2.220446049250313e-16;
const MOST_SWEEPS: i32 = 40;

/**
 * U [rows][k] into `first`, singular values in descending order into `second`, V [columns][k] into `third`. The shorter side's
 * vectors x [k][longer] are rotated until they are at right angles; what they were rotated by are the other side's.
 */
export function svd(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DenseParams>(params);
  const rows = p.rows;
  const columns = p.columns;
  const k = min(rows, columns);
  const longer = max(rows, columns);
  const size = <usize>(p.wide ? 8 : 4);
  const x = p.memory + <usize>task * p.bytes;
  const turns = x + (<usize>(rows * columns) << 3);
  const norms = turns + (<usize>(k * k) << 3);
  const copy = norms + (<usize>k << 3);
  const from = p.a + <usize>task * <usize>(rows * columns) * size;
  const isTall = rows > columns;
  widen(from, p.wide, rows * columns, isTall ? copy : x);
  if (isTall) transposeInto(copy, rows, columns, x);
  memory.fill(turns, 0, <usize>(k * k) << 3);
  for (let i: i32 = 0; i < k; i++) f64.store(turns + (<usize>(i * k + i) << 3), 1);
  i32.store(p.status + (<usize>task << 2), rotateAll(x, turns, k, longer) ? FINE : BAD_PIVOT);
  for (let i: i32 = 0; i < k; i++) {
    const row = x + (<usize>(i * longer) << 3);
    f64.store(norms + (<usize>i << 3), Math.sqrt(dotRows(row, row, longer)));
  }
  storeSorted(p, task, x, turns, norms, copy);
}

/** Sweeps until all pairs are at right angles; false if that takes too long, as with numbers that are not finite. */
function rotateAll(x: usize, turns: usize, k: i32, longer: i32): bool {
  for (let sweep: i32 = 0; sweep < MOST_SWEEPS; sweep++) {
    let isDone = true;
    for (let i: i32 = 0; i < k - 1; i++) {
      for (let j = i + 1; j < k; j++) {
        const first = x + (<usize>(i * longer) << 3);
        const second = x + (<usize>(j * longer) << 3);
        const a = dotRows(first, first, longer);
        const b = dotRows(second, second, longer);
        const both = dotRows(first, second, longer);
        if (both - both != 0) return false;
        if (abs(both) <= 4 * EPSILON * Math.sqrt(a) * Math.sqrt(b) || both == 0) continue;
        isDone = false;
        const tau = (b - a) / (2 * both);
        const t = (tau < 0 ? -1.0 : 1.0) / (abs(tau) + Math.hypot(1, tau));
        const c = 1 / Math.sqrt(1 + t * t);
        rotateRows(first, second, longer, c, c * t);
        rotateRows(turns + (<usize>(i * k) << 3), turns + (<usize>(j * k) << 3), k, c, c * t);
      }
    }
    if (isDone) return true;
  }
  return false;
}

function storeSorted(p: DenseParams, task: i32, x: usize, turns: usize, norms: usize, taken: usize): void {
  const rows = p.rows;
  const columns = p.columns;
  const k = min(rows, columns);
  const longer = max(rows, columns);
  const isTall = rows > columns;
  memory.fill(taken, 0, <usize>k);
  let largest: f64 = 0;
  for (let at: i32 = 0; at < k; at++) {
    let best: i32 = -1;
    for (let i: i32 = 0; i < k; i++)
      if (!load<u8>(taken + <usize>i) && (best < 0 || value(norms, i) > value(norms, best))) best = i;
    store<u8>(taken + <usize>best, 1);
    const norm = value(norms, best);
    if (at == 0) largest = norm;
    put(p.second, p.wide, task * k + at, norm);
    const long = x + (<usize>(best * longer) << 3);
    const short = turns + (<usize>(best * k) << 3);
    // What is left of vectors that vanish is no direction.
    const isNone = norm <= largest * EPSILON * <f64>longer;
    scaleRow(long, longer, isNone ? 0 : 1 / norm);
    const sign = signOf(isTall ? short : isNone ? short : long, isTall || isNone ? k : longer);
    storeColumn(isTall ? p.first : p.third, p.wide, task, long, longer, k, at, sign);
    storeColumn(isTall ? p.third : p.first, p.wide, task, short, k, k, at, sign);
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
