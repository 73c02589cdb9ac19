/** The system of one row as a matrix of d x d numbers, solved by its Cholesky factor. */
import { PANEL_SLICE_BYTES } from '../../runtime/wasm/assembly/layout.as';
import { ADD, product } from '../../runtime/wasm/assembly/product.as';
import { dot } from '../../runtime/wasm/assembly/vector.as';
import { LARGEST_HEAD, PANEL, SLICE } from '../../runtime/wasm/params.generated.as';
import { BLOCK_PANELS, Problem } from './params.generated.as';
import { BLOCK, DIRECTION, LAYOUT, matrixBytes, MEANS, panelsOf, RESIDUALS, RIDGES, RIGHT, ROW, SIX, sixes, sixesAt, sliceBytes, SOLUTION, STATE, Tile } from './tile.as';

const EPSILON: f32 = 1.1920929e-7;

/** Solves the system of row r; a pivot that rounding may have made leaves the solution 0 and the residual infinite. */
export function solveDirectly(p: Problem, r: i32, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const rowBytes = <usize>((d + SLICE - 1) / SLICE) << 5;
  const vector = scratch + <usize>(r / SLICE) * sliceBytes(d) + (<usize>(r % SLICE) << 2);
  sumMatrix(p, t, r, rowBytes, vector, scratch);
  centreMatrix(t.matrix, d, rowBytes, vector, scratch);
  if (!factorize(t.matrix, d, rowBytes, f32.load(scratch + RIDGES + (r << 2)))) {
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
  const keys = sixesAt(p.keySixes, t.group, all, d);
  const sixBytes = <usize>(all * PANEL) * SIX;
  const bytes = <usize>all * PANEL_SLICE_BYTES;
  const slices = p.keySlices + <usize>(t.group * ((d + SLICE - 1) / SLICE)) * bytes;
  memory.fill(t.matrix, 0, matrixBytes(d));
  memory.fill(scratch + DIRECTION, 0, <usize>(LARGEST_HEAD + PANEL) << 2);
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    for (let six: i32 = 0; six < sixes(d); six++) {
      const mean = vector + (<usize>(six * PANEL) << 5) + MEANS;
      const left = f32x4(f32.load(mean), f32.load(mean, 32), f32.load(mean, 64), f32.load(mean, 96));
      const right = f32x4(f32.load(mean, 128), f32.load(mean, 160), 0, 0);
      let weight = t.weights + from * ROW + (<usize>r << 2);
      let key = keys + <usize>six * sixBytes + from * SIX;
      let to = scratch + BLOCK;
      let leftSum = f32x4.splat(0);
      let rightSum = leftSum;
      for (let j: i32 = 0; j < count; j++, weight += ROW, key += SIX, to += SIX) {
        const w = v128.load32_splat(weight);
        const x = f32x4.mul(w, f32x4.sub(v128.load(key), left));
        const y = f32x4.mul(w, f32x4.sub(v128.load64_zero(key, 16), right));
        v128.store(to, x);
        v128.store64_lane(to, y, 0, 16);
        leftSum = f32x4.add(leftSum, x);
        rightSum = f32x4.add(rightSum, y);
      }
      const sum = scratch + DIRECTION + <usize>six * SIX;
      v128.store(sum, f32x4.add(v128.load(sum), leftSum));
      v128.store64_lane(sum, f32x4.add(v128.load64_zero(sum, 16), rightSum), 0, 16);
      const last = (six * PANEL + PANEL - 1) / SLICE;
      const rows = t.matrix + <usize>(six * PANEL) * rowBytes;
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
  product(scaled, SIX, false, keys, count, to, rowBytes, ADD, 0);
}

/** The Cholesky factor of matrix + ridge in the place of the matrix; false where a pivot is lost. */
function factorize(matrix: usize, d: i32, rowBytes: usize, ridge: f32): bool {
  const least = <f32>d * EPSILON;
  let row = matrix;
  for (let i: usize = 0; i < <usize>d << 2; i += 4, row += rowBytes) {
    let other = matrix;
    for (let j: usize = 0; j < i; j += 4, other += rowBytes) {
      f32.store(row + j, (f32.load(row + j) - dot(row, other, j)) / f32.load(other + j));
    }
    const diagonal = f32.load(row + i) + ridge;
    const pivot = diagonal - dot(row, row, i);
    if (!(pivot > least * diagonal)) return false;
    f32.store(row + i, sqrt(pivot));
  }
  return true;
}
