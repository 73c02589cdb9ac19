/** Triangular systems by blocks of unknowns: the triangle is packed once, and right-hand sides go in slices. */
import { PANEL } from '../../runtime/cpu/params.generated.as';
import { BAD_PIVOT, BLOCK, FINE, TriangularParams } from './params.generated.as';
import { eliminateAll, lanesOf, SLICE_BYTES, strips, substitute, termBytes } from './substitute.as';

@inline
function unknowns(n: i32): i32 {
  return strips(n, PANEL) * PANEL;
}

/** Whether a matrix needs no more work. */
@inline
export function isDone(done: usize, batch: i32): bool {
  return done != 0 && i32.load(done + (<usize>batch << 2)) != 0;
}

/** A panel of the triangle as that of a forward substitution: rows may come last first, and columns be rows. */
export function packTriangle(params: usize, task: i32, scratch: usize): void {
  const p = changetype<TriangularParams>(params);
  if (isDone(p.done, task / strips(p.n, PANEL))) return;
  if (p.wide) pack<f64>(p, task);
  else pack<f32>(p, task);
}

function pack<T extends number>(p: TriangularParams, task: i32): void {
  const n = p.n;
  const panels = strips(n, PANEL);
  const batch = task / panels;
  const panel = task % panels;
  const a = p.a + <usize>batch * <usize>n * <usize>n * sizeof<T>();
  const down = p.transposed ? sizeof<T>() : <usize>n * sizeof<T>();
  const across = p.transposed ? <usize>n * sizeof<T>() : sizeof<T>();
  const to = p.panels + <usize>task * <usize>unknowns(n) * termBytes<T>();
  const first = panel * PANEL;
  const past = first + PANEL;
  for (let k: i32 = 0; k < past; k++) {
    for (let r: i32 = 0; r < PANEL; r++) {
      const row = first + r;
      let value: T = <T>(row == k ? 1 : 0);
      if (row < n && k < row) value = <T>-load<T>(elementAt<T>(p, a, row, k, down, across));
      else if (row < n && k == row) value = reciprocal<T>(p, batch, row, load<T>(elementAt<T>(p, a, row, k, down, across)));
      store<T>(to + <usize>k * termBytes<T>() + <usize>r * sizeof<T>(), value);
    }
  }
}

@inline
function elementAt<T>(p: TriangularParams, a: usize, row: i32, column: i32, down: usize, across: usize): usize {
  const last = p.n - 1;
  const r = p.backwards ? last - row : row;
  const c = p.backwards ? last - column : column;
  return a + <usize>r * down + <usize>c * across;
}

@inline
function reciprocal<T extends number>(p: TriangularParams, batch: i32, row: i32, diagonal: T): T {
  const place = p.status + (<usize>(batch * p.n + (p.backwards ? p.n - 1 - row : row)) << 2);
  const isGood = p.unit || (diagonal != 0 && diagonal - diagonal == 0);
  i32.store(place, isGood ? FINE : BAD_PIVOT);
  return p.unit || !isGood ? <T>1 : <T>1 / diagonal;
}

/** Some slices of right-hand sides. */
export function triangularSolve(params: usize, task: i32, scratch: usize): void {
  const p = changetype<TriangularParams>(params);
  if (p.wide) solve<f64>(p, task);
  else solve<f32>(p, task);
}

function solve<T extends number>(p: TriangularParams, task: i32): void {
  const n = p.n;
  const all = strips(p.columns, lanesOf<T>());
  const tasks = strips(all, p.slicesOfTask);
  const batch = task / tasks;
  if (isDone(p.done, batch)) return;
  const from = (task % tasks) * p.slicesOfTask;
  const past = min(from + p.slicesOfTask, all);
  const step = <usize>unknowns(n) * SLICE_BYTES;
  const slices = p.slices + <usize>(batch * all + from) * step;
  const b = <usize>batch * <usize>n * <usize>p.columns * sizeof<T>();
  for (let slice = from, to = slices; slice < past; slice++, to += step) move<T>(p, p.b + b, slice, to, true);
  const panelStep = <usize>unknowns(n) * termBytes<T>();
  const panels = p.panels + <usize>(batch * strips(n, PANEL)) * panelStep;
  for (let first: i32 = 0; first < n; first += BLOCK) {
    const own = panels + <usize>(first / PANEL) * panelStep;
    const count = strips(min(BLOCK, n - first), PANEL);
    eliminateAll<T>(own, panelStep, count, slices, step, past - from, first, first);
    for (let slice = from, at = slices; slice < past; slice++, at += step) substitute<T>(own, panelStep, count, at, first);
  }
  for (let slice = from, at = slices; slice < past; slice++, at += step) move<T>(p, p.out + b, slice, at, false);
}

/** Columns of a matrix [n][columns] into a slice, with zeros past the last, or back. */
@inline
function move<T extends number>(p: TriangularParams, matrix: usize, slice: i32, at: usize, into: bool): void {
  const n = p.n;
  const first = slice * lanesOf<T>();
  const bytes = <usize>min(lanesOf<T>(), p.columns - first) * sizeof<T>();
  if (into) memory.fill(at, 0, <usize>unknowns(n) * SLICE_BYTES);
  for (let k: i32 = 0; k < n; k++, at += SLICE_BYTES) {
    const row = p.backwards ? n - 1 - k : k;
    const place = matrix + (<usize>row * <usize>p.columns + <usize>first) * sizeof<T>();
    if (into) memory.copy(at, place, bytes);
    else memory.copy(place, at, bytes);
  }
}
