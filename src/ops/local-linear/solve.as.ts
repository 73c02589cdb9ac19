/** Solves the systems of a tile's rows: all together by conjugate gradients, or each as a matrix by its Cholesky factor. */
import { factorize } from '../../runtime/wasm/assembly/cholesky.as';
import { PANEL_SLICE_BYTES } from '../../runtime/wasm/assembly/layout.as';
import { ADD, product } from '../../runtime/wasm/assembly/product.as';
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import { dot, madd } from '../../runtime/wasm/assembly/vector.as';
import { LARGEST_HEAD, PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';
import { BLOCK_PANELS, Problem } from './params.generated.as';
import {
  ACTIVE, AUX, AUX2, BLOCK, columnPanels, DIRECTION, IMAGE, INVERSES, ITERATIONS, LARGEST_ERROR, LAYOUT, MEANS, NORMS, PANEL_ROW,
  PANEL_ROWS, panelsOf, RESIDUALS, RIDGES, RIGHT, ROW, SCALES, SHIFTS, SHRINKS, sliceBytes, SOLUTION, STATE, TARGETS, Tile,
  vectorBytes,
} from './memory.as';
import { columnPanelsAt, panelsAt } from './pack.as';
import { addKeys, beginSums, dots, endSums, isLive, weighedProduct } from './sums.as';
import { largestOf, matrixBytes } from './tile.as';

const EPSILON: f32 = 1.1920929e-7;

/** Solves the system of row r; a pivot that rounding may have made leaves the solution 0 and the residual infinite. */
function solveDirectly(p: Problem, r: i32, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const rowBytes = <usize>((d + SLICE - 1) / SLICE) << 5;
  const vector = scratch + <usize>(r / SLICE) * sliceBytes(d) + (<usize>(r % SLICE) << 2);
  sumMatrix(p, t, r, rowBytes, vector, scratch);
  centreMatrix(t.matrix, d, rowBytes, vector, scratch);
  if (factorize<f32>(t.matrix, d, rowBytes, f32.load(scratch + RIDGES + (r << 2)), <f32>d * EPSILON) < d) {
    f32.store(scratch + RESIDUALS + (r << 2), Infinity);
    return;
  }
  const x = scratch + LAYOUT;
  let row = t.matrix;
  for (let i: usize = 0; i < <usize>d << 2; i += 4, row += rowBytes) {
    f32.store(x + i, (f32.load(vector + (i << 3), RIGHT) - dot(row, x, i)) / f32.load(row + i));
  }
  for (let i = (<usize>d - 1) << 2; ; i -= 4) {
    row -= rowBytes;
    const value = f32.load(x + i) / f32.load(row + i);
    f32.store(vector + (i << 3), value, SOLUTION);
    if (i == 0) return;
    // What is behind column i is not read again.
    for (let c: usize = 0; c < i; c += 16) {
      v128.store(x + c, f32x4.sub(v128.load(x + c), f32x4.mul(f32x4.splat(value), v128.load(row + c))));
    }
  }
}

/** The lower half of the keys' covariance under a row's weights. */
function sumMatrix(p: Problem, t: Tile, r: i32, rowBytes: usize, vector: usize, scratch: usize): void {
  const d = p.d;
  const all = panelsOf(p.m);
  const keys = columnPanelsAt(p.keyColumnPanels, t.group, all, d);
  const panelBytes = <usize>(all * PANEL) * PANEL_ROW;
  const bytes = <usize>all * PANEL_SLICE_BYTES;
  const slices = p.keySlices + <usize>(t.group * ((d + SLICE - 1) / SLICE)) * bytes;
  memory.fill(t.matrix, 0, matrixBytes(d));
  memory.fill(scratch + DIRECTION, 0, <usize>(LARGEST_HEAD + PANEL) << 2);
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    for (let group: i32 = 0; group < columnPanels(d); group++) {
      const mean = vector + (<usize>(group * PANEL) << 5) + MEANS;
      const left = f32x4(f32.load(mean), f32.load(mean, 32), f32.load(mean, 64), f32.load(mean, 96));
      const right = f32x4(f32.load(mean, 128), f32.load(mean, 160), 0, 0);
      let weight = t.weights + from * ROW + (<usize>r << 2);
      let key = keys + <usize>group * panelBytes + from * PANEL_ROW;
      let to = scratch + BLOCK;
      let leftSum = f32x4.splat(0);
      let rightSum = leftSum;
      for (let j: i32 = 0; j < count; j++, weight += ROW, key += PANEL_ROW, to += PANEL_ROW) {
        const w = v128.load32_splat(weight);
        const x = f32x4.mul(w, f32x4.sub(v128.load(key), left));
        const y = f32x4.mul(w, f32x4.sub(v128.load64_zero(key, 16), right));
        v128.store(to, x);
        v128.store64_lane(to, y, 0, 16);
        leftSum = f32x4.add(leftSum, x);
        rightSum = f32x4.add(rightSum, y);
      }
      const sum = scratch + DIRECTION + <usize>group * PANEL_ROW;
      v128.store(sum, f32x4.add(v128.load(sum), leftSum));
      v128.store64_lane(sum, f32x4.add(v128.load64_zero(sum, 16), rightSum), 0, 16);
      const last = (group * PANEL + PANEL - 1) / SLICE;
      const rows = t.matrix + <usize>(group * PANEL) * rowBytes;
      for (let s: i32 = 0; s <= min(last, (d - 1) / SLICE); s++) {
        addOuter(scratch + BLOCK, slices + <usize>s * bytes + (from << 5), count, rows + (<usize>s << 5), rowBytes);
      }
    }
  }
}

/** Less what the weighted distances of the keys from their mean add up to, and should not, times the mean. */
function centreMatrix(matrix: usize, d: i32, rowBytes: usize, vector: usize, scratch: usize): void {
  let row = matrix;
  for (let i: usize = 0; i < <usize>d << 2; i += 4, row += rowBytes) {
    const sum = f32.load(scratch + DIRECTION + i);
    for (let c: usize = 0; c <= i; c += 4) f32.store(row + c, f32.load(row + c) - sum * f32.load(vector + (c << 3), MEANS));
  }
}

function addOuter(scaled: usize, keys: usize, count: i32, to: usize, rowBytes: usize): void {
  product(scaled, PANEL_ROW, false, keys, count, to, rowBytes, ADD, 0);
}

/**
 * Solves (covariance of the keys under the weights + ridge) x = right-hand side for each row; says how many iterations that took
 * and what is left, relative to the right-hand side: Infinity where the system is singular in float32.
 */
export function solve(p: Problem, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const live = t.live;
  const right = scratch + RIGHT;
  const solution = scratch + SOLUTION;
  // The squares of small ones would be lost.
  shrinkVector(right, d, scratch + SCALES);
  memory.fill(solution, 0, vectorBytes(d));
  memory.fill(scratch + ITERATIONS, 0, ROW);
  memory.fill(scratch + RESIDUALS, 0, ROW);
  dots(right, right, d, scratch + NORMS);
  // Rows that see no key, or whose right-hand side is 0, have nothing to solve.
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const sees = f32x4.gt(v128.load(scratch + INVERSES + lane), f32x4.splat(0));
    v128.store(scratch + ACTIVE + lane, v128.and(sees, f32x4.gt(v128.load(scratch + NORMS + lane), f32x4.splat(0))));
  }
  for (let r: i32 = t.rows; r < TILE; r++) i32.store(scratch + ACTIVE + (r << 2), 0);
  memory.copy(scratch + AUX2, scratch + NORMS, ROW);
  if (p.direct) {
    for (let r: i32 = 0; r < t.rows; r++) {
      if (i32.load(scratch + ACTIVE + (r << 2))) solveDirectly(p, r, scratch);
    }
  } else iterate(p, scratch);

  scaleVector(solution, d, scratch + SCALES);

  // What rounding the solution may do to weights, which are its products with keys.
  dots(solution, solution, d, scratch + AUX);
  const keys = sqrt(largestOf(p, t.group, 0));
  for (let r: usize = 0; r < <usize>t.rows << 2; r += 4) {
    const size = f32.load(scratch + AUX2 + r);
    if (!p.direct && size > 0 && f32.load(scratch + INVERSES + r) > 0) f32.store(scratch + RESIDUALS + r, sqrt(f32.load(scratch + NORMS + r) / size));
    const residual = f32.load(scratch + RESIDUALS + r);
    // A single key that counts is the mean, and nothing is rounded.
    const rounded: f32 = f32.load(scratch + INVERSES + r) == 1 ? 0 : sqrt(f32.load(scratch + AUX + r)) * keys * EPSILON;
    const isLost = residual != residual || !(rounded <= LARGEST_ERROR);
    if (isLost) f32.store(scratch + RESIDUALS + r, Infinity);
  }
  t.live = live;
}

/**
 * Conjugate gradients of all rows together; those that are solved take no part, and slices of solved ones no time. Ridges above
 * 1 divide their systems, so that nothing overflows, and scale the solutions.
 */
function iterate(p: Problem, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const step = sliceBytes(d);
  const tolerance = f32x4.splat(<f32>(p.tolerance * p.tolerance));
  const one = f32x4.splat(1);
  memory.copy(scratch + DIRECTION, scratch + RIGHT, vectorBytes(d));
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    v128.store(scratch + TARGETS + lane, f32x4.mul(tolerance, v128.load(scratch + NORMS + lane)));
    v128.store(scratch + SHRINKS + lane, f32x4.div(one, f32x4.max(one, v128.load(scratch + RIDGES + lane))));
  }
  for (let iteration: i32 = 0; iteration < p.maxIterations && !isAborted(); iteration++) {
    t.live = liveSlices(scratch);
    if (t.live == 0) break;
    dots(scratch + MEANS, scratch + DIRECTION, d, scratch + SHIFTS);
    beginSums(scratch + IMAGE, d, scratch);
    for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
      const count = min(BLOCK_PANELS, t.panels - first);
      weighProducts(p, first, count, scratch + DIRECTION, scratch);
      addKeys(p, <usize>(first * PANEL), count * PANEL, scratch + IMAGE, scratch);
    }
    endSums(scratch + IMAGE, d, scratch);
    for (let lane: usize = 0; lane < ROW; lane += 16) {
      if (isLive(t, lane)) advance(lane, (lane >> 5) * step + (lane & 16), d, scratch);
    }
  }
  scaleVector(scratch + SOLUTION, d, scratch + SHRINKS);
}

/** Divides a vector's rows by their largest magnitudes, which go to `to`; a row of zeros stays. */
function shrinkVector(vector: usize, d: i32, to: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const slice = vector + (lane >> 5) * step + (lane & 16);
    const end = slice + (<usize>d << 5);
    let largest = f32x4.splat(0);
    for (let at = slice; at < end; at += 32) largest = f32x4.max(largest, f32x4.abs(v128.load(at)));
    const divisor = v128.bitselect(f32x4.splat(1), largest, f32x4.eq(largest, f32x4.splat(0)));
    for (let at = slice; at < end; at += 32) v128.store(at, f32x4.div(v128.load(at), divisor));
    v128.store(to + lane, divisor);
  }
}

/** A vector times a number of each row. */
function scaleVector(vector: usize, d: i32, factors: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const slice = vector + (lane >> 5) * step + (lane & 16);
    const factor = v128.load(factors + lane);
    for (let at = slice, end = slice + (<usize>d << 5); at < end; at += 32) v128.store(at, f32x4.mul(factor, v128.load(at)));
  }
}

function liveSlices(scratch: usize): i32 {
  let live: i32 = 0;
  for (let s: i32 = 0; s < TILE / SLICE; s++) {
    const active = scratch + ACTIVE + (<usize>s << 5);
    if (v128.any_true(v128.or(v128.load(active), v128.load(active, 16)))) live |= 1 << s;
  }
  return live;
}

/** One step of four rows. */
function advance(lane: usize, slice: usize, d: i32, scratch: usize): void {
  const shrink = v128.load(scratch + SHRINKS + lane);
  const ridge = f32x4.mul(shrink, v128.load(scratch + RIDGES + lane));
  const first = scratch + slice;
  const end = first + (<usize>d << 5);
  let curvature = f32x4.splat(0);
  for (let at = first; at < end; at += 32) {
    const direction = v128.load(at, DIRECTION);
    const image = madd(ridge, direction, f32x4.mul(shrink, v128.load(at, IMAGE)));
    v128.store(at, image, IMAGE);
    curvature = madd(direction, image, curvature);
  }
  // Where rounding leaves no curvature there is no way on.
  const active = v128.and(v128.load(scratch + ACTIVE + lane), f32x4.gt(curvature, f32x4.splat(0)));
  const before = v128.load(scratch + NORMS + lane);
  const alpha = v128.and(f32x4.div(before, curvature), active);
  let norm = f32x4.splat(0);
  for (let at = first; at < end; at += 32) {
    v128.store(at, madd(alpha, v128.load(at, DIRECTION), v128.load(at, SOLUTION)), SOLUTION);
    const left = f32x4.sub(v128.load(at, RIGHT), f32x4.mul(alpha, v128.load(at, IMAGE)));
    v128.store(at, left, RIGHT);
    norm = madd(left, left, norm);
  }
  const one = v128.and(f32x4.splat(1), active);
  v128.store(scratch + ITERATIONS + lane, f32x4.add(v128.load(scratch + ITERATIONS + lane), one));
  v128.store(scratch + NORMS + lane, norm);
  const goesOn = v128.and(active, f32x4.gt(norm, v128.load(scratch + TARGETS + lane)));
  v128.store(scratch + ACTIVE + lane, goesOn);
  const beta = f32x4.div(norm, before);
  for (let at = first; at < end; at += 32) {
    v128.store(at, v128.and(madd(beta, v128.load(at, DIRECTION), v128.load(at, RIGHT)), goesOn), DIRECTION);
  }
}

/** Numbers of a block of pairs: weights times (key . vector - shift of the row), for the live slices. */
function weighProducts(p: Problem, first: i32, count: i32, vector: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const live = t.live;
  const step = sliceBytes(d);
  const panelBytes = <usize>(d * PANEL * 4);
  let keys = panelsAt(p.keyPanels, t.group, panelsOf(p.m), d) + <usize>first * panelBytes;
  let weights = t.weights + <usize>first * PANEL_ROWS;
  let pairs = scratch + BLOCK;
  for (let panel: i32 = 0; panel < count; panel++, keys += panelBytes, weights += PANEL_ROWS, pairs += PANEL_ROWS) {
    for (let s: i32 = 0; s < TILE / SLICE; s++) {
      if (!((live >> s) & 1)) continue;
      const lane = <usize>s << 5;
      weighedProduct(keys, vector + <usize>s * step, d, pairs + lane, scratch + SHIFTS + lane, weights + lane);
    }
  }
}
