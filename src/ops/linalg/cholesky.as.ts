/**
 * Cholesky factors by blocks of columns: each row of the factor is a forward substitution by the rows above it, so rows go in
 * slices, several side by side, and the rows of the block at hand in panels.
 */
import { PANEL } from '../../runtime/cpu/params.generated.as';
import { factorize } from '../../runtime/wasm/assembly/cholesky.as';
import { ASYMMETRIC, BAD_PIVOT, BLOCK, CholeskyParams, FINE, NOT_FINITE } from './params.generated.as';
import { eliminateAll, lanesOf, SLICE_BYTES, strips, substitute, termBytes } from './substitute.as';

/** A block [BLOCK][BLOCK] of the widest numbers. */
export const BLOCK_BYTES: usize = <usize>(BLOCK * BLOCK * 8);

/** Largest difference of elements that should be equal, beside these and beside the diagonal. */
const OF_ELEMENT: f64 = 1e-3;
const OF_DIAGONAL: f64 = 1e-5;

/** Unknowns of a slice, in whole panels. */
@inline
function unknowns(n: i32): i32 {
  return strips(n, PANEL) * PANEL;
}

@inline
function sliceStep(n: i32): usize {
  return <usize>unknowns(n) * SLICE_BYTES;
}

@inline
function slicesAt<T>(p: CholeskyParams, batch: i32): usize {
  return p.slices + <usize>(batch * strips(p.n, lanesOf<T>())) * sliceStep(p.n);
}

@inline
function panelStep<T>(n: i32): usize {
  return <usize>unknowns(n) * termBytes<T>();
}

@inline
function panelsAt<T>(p: CholeskyParams, batch: i32): usize {
  return p.panels + <usize>(batch * (BLOCK / PANEL)) * panelStep<T>(p.n);
}

@inline
function matrixAt<T>(address: usize, n: i32, batch: i32): usize {
  return address + <usize>batch * <usize>n * <usize>n * sizeof<T>();
}

/** Whether rows are symmetric; a task takes `BLOCK` of them. */
export function choleskyCheck(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CholeskyParams>(params);
  if (p.wide) check<f64>(p, task);
  else check<f32>(p, task);
}

function check<T extends number>(p: CholeskyParams, task: i32): void {
  const n = p.n;
  const blocks = strips(n, BLOCK);
  const batch = task / blocks;
  const a = matrixAt<T>(p.a, n, batch);
  const row = <usize>n * sizeof<T>();
  const first = (task % blocks) * BLOCK;
  const status = p.status + (<usize>batch * n << 2);
  for (let i = first; i < min(first + BLOCK, n); i++) {
    const isFinite = holdsFinite<T>(a + <usize>i * row, n);
    i32.store(status + (<usize>i << 2), isFinite ? FINE : NOT_FINITE);
  }
  // By tiles, so that columns stay in the cache.
  for (let from: i32 = 0; from <= first; from += BLOCK) {
    for (let i = first; i < min(first + BLOCK, n); i++) {
      const own = <f64>abs(load<T>(a + <usize>i * (row + sizeof<T>())));
      for (let j = from; j < min(from + BLOCK, i); j++) {
        const x = <f64>load<T>(a + <usize>i * row + <usize>j * sizeof<T>());
        const y = <f64>load<T>(a + <usize>j * row + <usize>i * sizeof<T>());
        if (x == y) continue;
        const other = <f64>abs(load<T>(a + <usize>j * (row + sizeof<T>())));
        if (abs(x - y) > OF_ELEMENT * max(abs(x), abs(y)) + OF_DIAGONAL * sqrt(own * other))
          i32.store(status + (<usize>i << 2), max(ASYMMETRIC, i32.load(status + (<usize>i << 2))));
      }
    }
  }
}

/** Whether none of the numbers is NaN or infinity: 0 times these is NaN. */
function holdsFinite<T extends number>(row: usize, n: i32): bool {
  const end = row + <usize>n * sizeof<T>();
  let sums = v128.splat<T>(0);
  for (; row + 16 <= end; row += 16) sums = v128.add<T>(sums, v128.mul<T>(v128.load(row), v128.splat<T>(0)));
  let sum: T = <T>0;
  for (; row < end; row += sizeof<T>()) sum += load<T>(row) * <T>0;
  return sum == 0 && v128.all_true<i32>(sizeof<T>() == 4 ? f32x4.eq(sums, sums) : f64x2.eq(sums, sums));
}

/** The rows of the block at hand in panels, as far as they are finished. */
export function choleskyPack(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CholeskyParams>(params);
  if (p.wide) packRows<f64>(p, task);
  else packRows<f32>(p, task);
}

function packRows<T extends number>(p: CholeskyParams, task: i32): void {
  const n = p.n;
  const count = strips(p.count, PANEL);
  const batch = task / count;
  const panel = task % count;
  const slices = slicesAt<T>(p, batch);
  const to = panelsAt<T>(p, batch) + <usize>panel * panelStep<T>(n);
  for (let r: i32 = 0; r < PANEL; r++) {
    const row = p.first + panel * PANEL + r;
    const isRow = row < n;
    let from = slices + <usize>(row / lanesOf<T>()) * sliceStep(n) + <usize>(row % lanesOf<T>()) * sizeof<T>();
    let at = to + <usize>r * sizeof<T>();
    for (let k: i32 = 0; k < p.first; k++, from += SLICE_BYTES, at += termBytes<T>())
      store<T>(at, isRow ? <T>-load<T>(from) : <T>0);
  }
}

/** The block's columns of some slices of rows: those of the matrix, without what earlier columns explain. */
export function choleskyRows(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CholeskyParams>(params);
  if (p.wide) takeRows<f64>(p, task);
  else takeRows<f32>(p, task);
}

function takeRows<T extends number>(p: CholeskyParams, task: i32): void {
  const n = p.n;
  const all = strips(n, lanesOf<T>());
  const start = p.first / lanesOf<T>();
  const tasks = strips(all - start, p.slicesOfTask);
  const batch = task / tasks;
  const from = start + (task % tasks) * p.slicesOfTask;
  const past = min(from + p.slicesOfTask, all);
  const step = sliceStep(n);
  const slices = slicesAt<T>(p, batch) + <usize>from * step;
  const a = matrixAt<T>(p.a, n, batch);
  const panels = strips(p.count, PANEL);
  for (let slice = from, to = slices; slice < past; slice++, to += step) {
    memory.fill(to + <usize>p.first * SLICE_BYTES, 0, <usize>(panels * PANEL) * SLICE_BYTES);
    for (let r: i32 = 0; r < min(lanesOf<T>(), n - slice * lanesOf<T>()); r++) {
      let source = a + (<usize>(slice * lanesOf<T>() + r) * <usize>n + <usize>p.first) * sizeof<T>();
      let at = to + <usize>p.first * SLICE_BYTES + <usize>r * sizeof<T>();
      for (let c: i32 = 0; c < p.count; c++, source += sizeof<T>(), at += SLICE_BYTES) store<T>(at, load<T>(source));
    }
  }
  eliminateAll<T>(panelsAt<T>(p, batch), panelStep<T>(n), panels, slices, step, past - from, p.first, p.first);
}

/** The block on the diagonal, of a matrix a task. */
export function choleskyBlock(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CholeskyParams>(params);
  if (p.wide) factor<f64>(p, task, scratch);
  else factor<f32>(p, task, scratch);
}

/** In `block`, rows [count][BLOCK]. */
function factor<T extends number>(p: CholeskyParams, batch: i32, block: usize): void {
  const n = p.n;
  const count = p.count;
  const row = <usize>BLOCK * sizeof<T>();
  const slices = slicesAt<T>(p, batch) + <usize>(p.first / lanesOf<T>()) * sliceStep(n) + <usize>p.first * SLICE_BYTES;
  for (let r: i32 = 0; r < count; r++) {
    let from = slices + <usize>(r / lanesOf<T>()) * sliceStep(n) + <usize>(r % lanesOf<T>()) * sizeof<T>();
    const to = block + <usize>r * row;
    for (let c: i32 = 0; c <= r; c++, from += SLICE_BYTES) store<T>(to + <usize>c * sizeof<T>(), load<T>(from));
  }
  const bad = factorize<T>(block, count, row, <T>0, <T>0);
  if (bad < count) {
    const status = p.status + (<usize>(batch * n + p.first + bad) << 2);
    if (i32.load(status) == FINE) i32.store(status, BAD_PIVOT);
  }
  const panels = panelsAt<T>(p, batch);
  const ofSlices = strips(count, lanesOf<T>()) * lanesOf<T>();
  const ofPanels = strips(count, PANEL) * PANEL;
  for (let r: i32 = 0; r < max(ofSlices, ofPanels); r++) {
    const from = block + <usize>r * row;
    let slice = slices + <usize>(r / lanesOf<T>()) * sliceStep(n) + <usize>(r % lanesOf<T>()) * sizeof<T>();
    let panel = panels + <usize>(r / PANEL) * panelStep<T>(n) + <usize>p.first * termBytes<T>() + <usize>(r % PANEL) * sizeof<T>();
    for (let c: i32 = 0; c < count; c++, slice += SLICE_BYTES, panel += termBytes<T>()) {
      const value = c <= r && r < count ? load<T>(from + <usize>c * sizeof<T>()) : <T>0;
      if (r < ofSlices) store<T>(slice, value);
      if (r < ofPanels) store<T>(panel, c == r ? <T>1 / value : -value);
    }
  }
  padPanels<T>(panels, n, p.first, count);
}

/** What lies past the last row is as of the identity. */
@inline
function padPanels<T extends number>(panels: usize, n: i32, first: i32, count: i32): void {
  for (let c = count; c < strips(count, PANEL) * PANEL; c++) {
    const to = panels + <usize>(c / PANEL) * panelStep<T>(n) + <usize>(first + c) * termBytes<T>();
    for (let r: i32 = 0; r < PANEL; r++) store<T>(to + <usize>r * sizeof<T>(), r == c % PANEL ? <T>1 : <T>0);
  }
}

/** The block's columns of the rows below it, some slices a task. */
export function cholesky(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CholeskyParams>(params);
  if (p.wide) below<f64>(p, task);
  else below<f32>(p, task);
}

function below<T extends number>(p: CholeskyParams, task: i32): void {
  const n = p.n;
  const all = strips(n, lanesOf<T>());
  const start = (p.first + p.count) / lanesOf<T>();
  const tasks = strips(all - start, p.slicesOfTask);
  const batch = task / tasks;
  const from = start + (task % tasks) * p.slicesOfTask;
  const past = min(from + p.slicesOfTask, all);
  const slices = slicesAt<T>(p, batch);
  for (let slice = from; slice < past; slice++)
    substitute<T>(panelsAt<T>(p, batch), panelStep<T>(n), strips(p.count, PANEL), slices + <usize>slice * sliceStep(n), p.first);
}

/** Rows of the factor, a slice a task, with zeros behind the diagonal. */
export function choleskyStore(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CholeskyParams>(params);
  if (p.wide) storeRows<f64>(p, task);
  else storeRows<f32>(p, task);
}

function storeRows<T extends number>(p: CholeskyParams, task: i32): void {
  const n = p.n;
  const all = strips(n, lanesOf<T>());
  const batch = task / all;
  const slice = task % all;
  const source = slicesAt<T>(p, batch) + <usize>slice * sliceStep(n);
  const out = matrixAt<T>(p.out, n, batch);
  for (let r: i32 = 0; r < lanesOf<T>(); r++) {
    const row = slice * lanesOf<T>() + r;
    if (row >= n) return;
    let from = source + <usize>r * sizeof<T>();
    let to = out + <usize>row * <usize>n * sizeof<T>();
    for (let c: i32 = 0; c <= row; c++, from += SLICE_BYTES, to += sizeof<T>()) store<T>(to, load<T>(from));
    memory.fill(to, 0, <usize>(n - row - 1) * sizeof<T>());
  }
}
