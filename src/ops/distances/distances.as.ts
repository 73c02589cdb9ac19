/** Distances of points by the differences of their coordinates, and sums of the signs of these. */
import { PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { product, STORE } from '../../runtime/wasm/assembly/product.as';
import { exp2Clamped, madd } from '../../runtime/wasm/assembly/vector.as';
import { DistancesParams, PANELS, ROWS, SQUARED } from './params.generated.as';

/** Points of x whose sums are in registers at a time. */
const TOGETHER: i32 = 4;
const LOG2_E: f32 = 1.4426950408889634;

/** Eight points of y, [terms][8], with zeros past the last. */
export function packPoints(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DistancesParams>(params);
  const terms = p.terms;
  const to = p.packed + <usize>task * <usize>terms * 32;
  for (let lane: i32 = 0; lane < SLICE; lane++) {
    const point = task * SLICE + lane;
    const isPoint = point < p.columns;
    const from = p.y + ((<usize>point * <usize>terms) << 2);
    for (let k: usize = 0; k < <usize>terms; k++)
      f32.store(to + (k << 5) + (<usize>lane << 2), isPoint ? f32.load(from + (k << 2)) : 0);
  }
}

/** Six points of x, [terms][6], times the logarithm of e, with zeros past the last. */
export function packPanels(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DistancesParams>(params);
  const terms = p.terms;
  const to = p.panels + <usize>task * <usize>terms * <usize>(PANEL << 2);
  for (let r: i32 = 0; r < PANEL; r++) {
    const point = task * PANEL + r;
    const isPoint = point < p.rows;
    const from = p.x + ((<usize>point * <usize>terms) << 2);
    for (let k: usize = 0; k < <usize>terms; k++)
      f32.store(to + k * <usize>(PANEL << 2) + (<usize>r << 2), isPoint ? LOG2_E * f32.load(from + (k << 2)) : 0);
  }
}

/** exp(min(product, 0)) of some panels, two slices at a time, so that lines of the cache are written once. */
export function exponentials(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DistancesParams>(params);
  const terms = p.terms;
  const first = task * PANELS;
  const past = min(first + PANELS, (p.rows + PANEL - 1) / PANEL);
  const panelBytes = <usize>terms * <usize>(PANEL << 2);
  const sliceBytes = <usize>terms << 5;
  const zero = f32x4.splat(0);
  for (let column: i32 = 0; column < p.columns; column += 2 * SLICE) {
    const count = min(2 * SLICE, p.columns - column);
    const slice = p.packed + <usize>(column / SLICE) * sliceBytes;
    for (let panel = first; panel < past; panel++) {
      const own = p.panels + <usize>panel * panelBytes;
      product(own, PANEL << 2, false, slice, terms, scratch, 64, STORE, 0);
      if (count > SLICE) product(own, PANEL << 2, false, slice + sliceBytes, terms, scratch + 32, 64, STORE, 0);
      for (let r: i32 = 0; r < min(PANEL, p.rows - panel * PANEL); r++) {
        const from = scratch + (<usize>r << 6);
        const to = p.out + ((<usize>(panel * PANEL + r) * <usize>p.columns + <usize>column) << 2);
        const into = count == 2 * SLICE ? to : from;
        const a = exp2Clamped(f32x4.pmin(zero, v128.load(from)));
        const b = exp2Clamped(f32x4.pmin(zero, v128.load(from, 16)));
        const c = exp2Clamped(f32x4.pmin(zero, v128.load(from, 32)));
        const d = exp2Clamped(f32x4.pmin(zero, v128.load(from, 48)));
        v128.store(into, a);
        v128.store(into, b, 16);
        v128.store(into, c, 32);
        v128.store(into, d, 48);
        if (into == from) memory.copy(to, from, <usize>count << 2);
      }
    }
  }
}

/** Up to eight numbers; copies of a length that varies are calls. */
@inline
function storeSlice(to: usize, from: usize, count: i32): void {
  if (count == SLICE) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  } else memory.copy(to, from, <usize>count << 2);
}

/** exp(-d) of the sums d of magnitudes. */
export function laplacians(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DistancesParams>(params);
  const past = min((task + 1) * ROWS, p.rows);
  const slices = (p.columns + SLICE - 1) / SLICE;
  const factor = f32x4.splat(-LOG2_E);
  for (let slice: i32 = 0; slice < slices; slice++) {
    const count = min(SLICE, p.columns - slice * SLICE);
    for (let row = task * ROWS; row < past; row += TOGETHER) {
      four(p, row, past, slice, false, scratch);
      for (let at: usize = 0; at < 128; at += 16)
        v128.store(scratch + at, exp2Clamped(f32x4.mul(factor, v128.load(scratch + at))));
      for (let r: i32 = 0; r < min(TOGETHER, past - row); r++) {
        const to = p.out + ((<usize>(row + r) * <usize>p.columns + <usize>(slice * SLICE)) << 2);
        storeSlice(to, scratch + (<usize>r << 5), count);
      }
    }
  }
}

export function distances(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DistancesParams>(params);
  const isSquared = p.norm == SQUARED;
  const past = min((task + 1) * ROWS, p.rows);
  const slices = (p.columns + SLICE - 1) / SLICE;
  for (let slice: i32 = 0; slice < slices; slice++) {
    const count = min(SLICE, p.columns - slice * SLICE);
    for (let row = task * ROWS; row < past; row += TOGETHER) {
      if (isSquared) four(p, row, past, slice, true, scratch);
      else four(p, row, past, slice, false, scratch);
      for (let r: i32 = 0; r < min(TOGETHER, past - row); r++) {
        const to = p.out + ((<usize>(row + r) * <usize>p.columns + <usize>(slice * SLICE)) << 2);
        storeSlice(to, scratch + (<usize>r << 5), count);
      }
    }
  }
}

/** Working memory: sums [4][8], or products [6][16]. */
export const SCRATCH_BYTES: usize = 384;

@inline
function four(p: DistancesParams, row: i32, past: i32, slice: i32, isSquared: bool, to: usize): void {
  const bytes = <usize>p.terms << 2;
  // Past the last row the last is taken again.
  const a = p.x + <usize>row * bytes;
  const b = p.x + <usize>min(row + 1, past - 1) * bytes;
  const c = p.x + <usize>min(row + 2, past - 1) * bytes;
  const d = p.x + <usize>min(row + 3, past - 1) * bytes;
  let y = p.packed + <usize>slice * (bytes << 3);
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  for (let k: usize = 0; k < bytes; k += 4, y += 32) {
    const left = v128.load(y);
    const right = v128.load(y, 16);
    let x = v128.load32_splat(a + k);
    a0 = plus(a0, f32x4.sub(x, left), isSquared);
    a1 = plus(a1, f32x4.sub(x, right), isSquared);
    x = v128.load32_splat(b + k);
    b0 = plus(b0, f32x4.sub(x, left), isSquared);
    b1 = plus(b1, f32x4.sub(x, right), isSquared);
    x = v128.load32_splat(c + k);
    c0 = plus(c0, f32x4.sub(x, left), isSquared);
    c1 = plus(c1, f32x4.sub(x, right), isSquared);
    x = v128.load32_splat(d + k);
    d0 = plus(d0, f32x4.sub(x, left), isSquared);
    d1 = plus(d1, f32x4.sub(x, right), isSquared);
  }
  v128.store(to, a0);
  v128.store(to, a1, 16);
  v128.store(to, b0, 32);
  v128.store(to, b1, 48);
  v128.store(to, c0, 64);
  v128.store(to, c1, 80);
  v128.store(to, d0, 96);
  v128.store(to, d1, 112);
}

@inline
function plus(sum: v128, difference: v128, isSquared: bool): v128 {
  return isSquared ? madd(difference, difference, sum) : f32x4.add(sum, f32x4.abs(difference));
}

/** For each point of x and coordinate, the sum over y of weights times the sign of x - y. */
export function signSums(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DistancesParams>(params);
  const terms = <usize>p.terms;
  const bytes = terms << 2;
  const one = f32x4.splat(1);
  const past = min((task + 1) * ROWS, p.rows);
  for (let row = task * ROWS; row < past; row++) {
    const x = p.x + <usize>row * bytes;
    const out = p.out + <usize>row * bytes;
    memory.fill(out, 0, bytes);
    const weights = p.weights + ((<usize>row * <usize>p.columns) << 2);
    for (let column: usize = 0; column < <usize>p.columns; column++) {
      const y = p.y + column * bytes;
      const weight = f32.load(weights + (column << 2));
      const weightOf = f32x4.splat(weight);
      let k: usize = 0;
      for (; k + 16 <= bytes; k += 16) {
        const left = v128.load(x + k);
        const right = v128.load(y + k);
        const sign = f32x4.sub(v128.and(f32x4.gt(left, right), one), v128.and(f32x4.lt(left, right), one));
        v128.store(out + k, madd(weightOf, sign, v128.load(out + k)));
      }
      for (; k < bytes; k += 4) {
        const left = f32.load(x + k);
        const right = f32.load(y + k);
        if (left != right) f32.store(out + k, f32.load(out + k) + (left > right ? weight : -weight));
      }
    }
  }
}
