/**
 * Softmax attention to the keys of chosen cells. A pool of rows of the estimate keeps its largest cells: a radix search finds the
 * least of them. A row's keys are then gathered from its runs of cells and weighed some hundred at a time.
 */
import { CellBackwardParams, CellParams, KEYS, QUERIES } from './params.generated.as';
import { LARGEST_HEAD } from '../../runtime/cpu/params.generated.as';
import { log } from '../../runtime/wasm/assembly/scalar.as';
import { dot, exp2Clamped, madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';

const LOG2E: f32 = 1.4426950408889634;
const LN2: f64 = 0.6931471805599453;

const PLACES: usize = 0; // [KEYS] i32: keys at hand
const WEIGHTS: usize = PLACES + KEYS * 4; // [KEYS]
const QUERY: usize = WEIGHTS + KEYS * 4; // [d], times scale and log2(e)
const COUNTS: usize = QUERY + LARGEST_HEAD * 4; // [256] i32
const WALK: usize = COUNTS + 1024;
export const SCRATCH_BYTES: usize = WALK + 48;

/** Bits in the order of the numbers; 0 and -0 are one. */
@inline
function keyAt(at: usize): u32 {
  const bits = reinterpret<u32>(f32.load(at) + 0);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/** The bounds and ties of the rows of a pool. */
export function chooseCells(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CellParams>(params);
  const width = p.width;
  const rows = p.rows;
  const bytes = <usize>width << 2;
  const step = <usize>p.rowStep;
  const first = <usize>(task / p.pools) * <usize>(p.h * p.n) + <usize>(task % p.pools) * <usize>p.poolStep;
  const visible: f64 = p.causal ? <f64>(<i32>(first % <usize>p.n) + 1 + p.m - p.n) : 1;
  const most = <f64>rows * <f64>width;
  let left = <i32>min<f64>(most, max<f64>(1, floor(p.budget / visible + 0.5)));
  const counts = scratch + COUNTS;
  let found: u32 = 0;
  for (let shift: i32 = 24; shift >= 0; shift -= 8) {
    memory.fill(counts, 0, 1024);
    // Digits above this one are those of the bound.
    const above: u32 = shift == 24 ? 0 : <u32>0xffffffff << (shift + 8);
    for (let r: i32 = 0; r < rows; r++) {
      let at = p.estimate + (first + <usize>r * step) * bytes;
      for (const past = at + bytes; at < past; at += 4) {
        const key = keyAt(at);
        if ((key & above) != found) continue;
        const count = counts + <usize>(((key >> shift) & 255) << 2);
        i32.store(count, i32.load(count) + 1);
      }
    }
    let digit: i32 = 255;
    for (; digit > 0; digit--) {
      const here = i32.load(counts + (<usize>digit << 2));
      if (here >= left) break;
      left -= here;
    }
    found |= <u32>digit << shift;
  }
  const bound = reinterpret<f32>(found & 0x80000000 ? found & 0x7fffffff : ~found);
  for (let r: i32 = 0; r < rows; r++) {
    const row = first + <usize>r * step;
    let equal: i32 = 0;
    if (left > 0) {
      let at = p.estimate + row * bytes;
      for (const past = at + bytes; at < past; at += 4) equal += <i32>(f32.load(at) == bound);
    }
    const taken = min(equal, left);
    left -= taken;
    f32.store(p.bounds + (row << 2), bound);
    i32.store(p.ties + (row << 2), taken);
  }
}

/** The first key of a cell, or the first behind it that has keys. */
function startOf(cell: i32, visible: i32, width: i32): i32 {
  let j = <i32>((<f64>cell * <f64>visible) / <f64>width);
  while (j > 0 && isFrom(j - 1, cell, visible, width)) j--;
  while (j < visible && !isFrom(j, cell, visible, width)) j++;
  return j;
}

@inline
function isFrom(j: i32, cell: i32, visible: i32, width: i32): bool {
  return cell == 0 || floor(((<f64>j + 0.5) / <f64>visible) * <f64>width - 0.0001) >= <f64>cell;
}

/** Goes through the keys of the cells that a row keeps, some at a time. */
@unmanaged
class Walk {
  estimate: usize;
  bound: f32;
  ties: i32;
  width: i32;
  visible: i32;
  cell: i32;
  /** The next key of a run and one past its last. */
  key: i32;
  past: i32;
}

function openWalk(p: CellParams, walk: Walk, batch: i32, head: i32, i: i32): void {
  const row = (<usize>(batch * p.h + head) * <usize>p.n + <usize>i) << 2;
  walk.estimate = p.estimate + row * <usize>p.width;
  walk.bound = f32.load(p.bounds + row);
  walk.ties = i32.load(p.ties + row);
  walk.width = p.width;
  walk.visible = p.causal ? i + 1 + p.m - p.n : p.m;
  walk.cell = 0;
  walk.key = 0;
  walk.past = 0;
}

@inline
function isKept(walk: Walk, cell: i32): bool {
  const value = f32.load(walk.estimate + (<usize>cell << 2));
  if (value > walk.bound) return true;
  if (value != walk.bound || walk.ties == 0) return false;
  walk.ties--;
  return true;
}

/** Writes the next keys to PLACES; returns their number, 0 at the end. */
function takeKeys(walk: Walk, scratch: usize): i32 {
  let count: i32 = 0;
  while (count < KEYS) {
    if (walk.key == walk.past) {
      while (walk.cell < walk.width && !isKept(walk, walk.cell)) walk.cell++;
      if (walk.cell == walk.width) break;
      walk.key = startOf(walk.cell, walk.visible, walk.width);
      walk.cell++;
      while (walk.cell < walk.width && isKept(walk, walk.cell)) walk.cell++;
      walk.past = walk.cell == walk.width ? walk.visible : startOf(walk.cell, walk.visible, walk.width);
      // The cell behind the run was asked, and is not kept.
      walk.cell++;
      if (walk.cell > walk.width) walk.cell = walk.width;
      continue;
    }
    const taken = min(walk.past - walk.key, KEYS - count);
    for (let at: i32 = 0; at < taken; at++) i32.store(scratch + PLACES + (<usize>(count + at) << 2), walk.key + at);
    walk.key += taken;
    count += taken;
  }
  return count;
}

/** Queries of a head from a task's first on. */
export function attendToCells(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CellParams>(params);
  const tasks = (p.n + QUERIES - 1) / QUERIES;
  const head = (task / tasks) % p.h;
  const batch = task / tasks / p.h;
  const first = (task % tasks) * QUERIES;
  for (let i = first; i < min(first + QUERIES, p.n); i++) attendRow(p, batch, head, i, scratch);
}

function attendRow(p: CellParams, batch: i32, head: i32, i: i32, scratch: usize): void {
  const walk = changetype<Walk>(scratch + WALK);
  openWalk(p, walk, batch, head, i);
  const e = p.e;
  const row = (<usize>(batch * p.n + i) * <usize>p.h + <usize>head) << 2;
  const out = p.out + row * <usize>e;
  const valueBytes = <usize>e << 2;
  const values = p.v + keyHead(p, batch, head) * valueBytes;
  const valueStep = <usize>p.g * valueBytes;
  loadQuery(p, row, scratch);
  memory.fill(out, 0, valueBytes);
  let maximum: f32 = -3e38;
  let sum: f64 = 0;
  for (;;) {
    const count = takeKeys(walk, scratch);
    if (count == 0) break;
    const largest = scoreKeys(p, batch, head, count, scratch);
    if (largest > maximum) {
      const factor: f32 = sum == 0 ? 0 : f32x4.extract_lane(exp2Clamped(f32x4.splat(maximum - largest)), 0);
      sum *= <f64>factor;
      scale(out, valueBytes, factor);
      maximum = largest;
    }
    sum += <f64>weigh(count, f32x4.splat(maximum), scratch);
    for (let at: usize = 0; at < <usize>count << 2; at += 4) {
      const value = values + <usize>i32.load(scratch + PLACES + at) * valueStep;
      addScaled(out, value, f32.load(scratch + WEIGHTS + at), valueBytes);
    }
  }
  scale(out, valueBytes, sum > 0 ? <f32>(1 / sum) : 0);
  f32.store(p.lse + row, sum > 0 ? <f32>(<f64>maximum * LN2 + log(sum)) : -Infinity);
}

/** The row of a key/value head at the first key of a batch. */
@inline
function keyHead(p: CellParams, batch: i32, head: i32): usize {
  return <usize>(batch * p.m) * <usize>p.g + <usize>((head * p.g) / p.h);
}

/** The query, times scale and log2(e). */
function loadQuery(p: CellParams, row: usize, scratch: usize): void {
  const bytes = <usize>p.d << 2;
  const from = p.q + row * <usize>p.d;
  const factor = <f32>p.scale * LOG2E;
  for (let at: usize = 0; at < bytes; at += 4) f32.store(scratch + QUERY + at, factor * f32.load(from + at));
}

/** Scores of the keys at hand; returns the largest. */
function scoreKeys(p: CellParams, batch: i32, head: i32, count: i32, scratch: usize): f32 {
  const bytes = <usize>p.d << 2;
  const keys = p.k + keyHead(p, batch, head) * bytes;
  const step = <usize>p.g * bytes;
  let largest: f32 = -3e38;
  for (let at: usize = 0; at < <usize>count << 2; at += 4) {
    const score = dot(scratch + QUERY, keys + <usize>i32.load(scratch + PLACES + at) * step, bytes);
    f32.store(scratch + WEIGHTS + at, score);
    largest = max(largest, score);
  }
  return largest;
}

/** Scores to weights 2^(score - maximum); returns their sum. */
function weigh(count: i32, maximum: v128, scratch: usize): f32 {
  const past = <usize>count << 2;
  for (let at = past; at & 15; at += 4) f32.store(scratch + WEIGHTS + at, -3e38);
  let sum = f32x4.splat(0);
  for (let at: usize = 0; at < past; at += 16) {
    const weight = exp2Clamped(f32x4.sub(v128.load(scratch + WEIGHTS + at), maximum));
    v128.store(scratch + WEIGHTS + at, weight);
    sum = f32x4.add(sum, weight);
  }
  return sumOfLanes(sum);
}

function scale(x: usize, bytes: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(x + at, f32x4.mul(v128.load(x + at), factors));
  for (; at < bytes; at += 4) f32.store(x + at, f32.load(x + at) * factor);
}

/** to += factor x. */
function addScaled(to: usize, x: usize, factor: f32, bytes: usize): void {
  const factors = f32x4.splat(factor);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(to + at, madd(factors, v128.load(x + at), v128.load(to + at)));
  for (; at < bytes; at += 4) f32.store(to + at, f32.load(to + at) + factor * f32.load(x + at));
}

/** A key/value head of a batch: nobody else adds to its gradients. */
export function cellsBackward(params: usize, task: i32, scratch: usize): void {
  const f = changetype<CellBackwardParams>(params);
  const p = f.cells;
  const batch = task / p.g;
  const shared = p.h / p.g;
  const first = (task % p.g) * shared;
  for (let j: i32 = 0; j < p.m; j++) {
    const row = <usize>(batch * p.m + j) * <usize>p.g + <usize>(task % p.g);
    memory.fill(f.gradK + ((row * <usize>p.d) << 2), 0, <usize>p.d << 2);
    memory.fill(f.gradV + ((row * <usize>p.e) << 2), 0, <usize>p.e << 2);
  }
  for (let i: i32 = 0; i < p.n; i++) {
    for (let head = first; head < first + shared; head++) rowBackward(f, batch, head, i, scratch);
  }
}

function rowBackward(f: CellBackwardParams, batch: i32, head: i32, i: i32, scratch: usize): void {
  const p = f.cells;
  const walk = changetype<Walk>(scratch + WALK);
  openWalk(p, walk, batch, head, i);
  const row = (<usize>(batch * p.n + i) * <usize>p.h + <usize>head) << 2;
  const keyBytes = <usize>p.d << 2;
  const valueBytes = <usize>p.e << 2;
  const query = p.q + row * <usize>p.d;
  const gradQ = f.gradQ + row * <usize>p.d;
  const gradOut = f.gradOut + row * <usize>p.e;
  memory.fill(gradQ, 0, keyBytes);
  const lse = f32.load(p.lse + row);
  if (lse == -Infinity) return;
  loadQuery(p, row, scratch);
  const delta = dot(gradOut, p.out + row * <usize>p.e, valueBytes);
  const own = keyHead(p, batch, head);
  const factor = <f32>p.scale;
  for (;;) {
    const count = takeKeys(walk, scratch);
    if (count == 0) return;
    scoreKeys(p, batch, head, count, scratch);
    weigh(count, f32x4.splat(lse * LOG2E), scratch);
    for (let at: usize = 0; at < <usize>count << 2; at += 4) {
      const key = own + <usize>i32.load(scratch + PLACES + at) * <usize>p.g;
      const weight = f32.load(scratch + WEIGHTS + at);
      const slope = factor * weight * (dot(gradOut, p.v + key * valueBytes, valueBytes) - delta);
      addScaled(f.gradV + key * valueBytes, gradOut, weight, valueBytes);
      addScaled(f.gradK + key * keyBytes, query, slope, keyBytes);
      addScaled(gradQ, p.k + key * keyBytes, slope, keyBytes);
    }
  }
}
