/**
 * Rows whose inputs are huge, infinite or NaN, or whose systems float32 does not solve, in float64 and in the order of the
 * definition: such values take their course, and only in rows that have or see them. Systems are solved by conjugate gradients
 * whatever the solver.
 */
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { exp, log } from '../../runtime/wasm/assembly/scalar.as';
import { bytesOf, loadElement, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { F32, LARGEST_HEAD, Operand } from '../../runtime/cpu/params.generated.as';
import { ForwardParams, Problem } from './params.generated.as';
import { LARGEST_ERROR, MEANS, RESULT, RIDGES, STATE, Tile } from './memory.as';
import { rowIndex } from './tile.as';

const EPSILON: f64 = 2.220446049250313e-16;

// Vectors of float64 numbers, in place of those of 24 rows.
const BYTES: usize = LARGEST_HEAD * 8;
const MEAN: usize = MEANS;
const LEFT: usize = MEAN + BYTES;
const SOLUTION: usize = LEFT + BYTES;
const DIRECTION: usize = SOLUTION + BYTES;
const IMAGE: usize = DIRECTION + BYTES;
const OUT: usize = RESULT;
const FLOATS: usize = OUT + BYTES;

export function exceptionalTile(f: ForwardParams, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  for (let r: i32 = 0; r < t.rows; r++) exceptionalRow(f, t, r, scratch);
}

export function exceptionalRow(f: ForwardParams, t: Tile, r: i32, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const e = p.e;
  const weights = t.weights;
  const i = t.first + r;
  const seen = p.causal ? max(0, min(p.m, i + p.m - p.n + 1)) : p.m;
  const head = t.group % p.g;
  const query = rowAddress(p.q, t.batch, i, t.head);
  memory.fill(scratch + MEAN, 0, 5 * BYTES);
  memory.fill(scratch + OUT, 0, BYTES);

  let largest: f64 = -Infinity;
  for (let j: i32 = 0; j < seen; j++) {
    let score: f64 = 0;
    const key = rowAddress(p.k, t.batch, j, head);
    for (let c: i32 = 0; c < d; c++) score += <f64>element(p.q, query, c) * <f64>element(p.k, key, c);
    f64.store(weights + (<usize>j << 3), score * p.scale);
    largest = max(largest, score * p.scale);
  }
  let total: f64 = 0;
  for (let j: usize = 0; j < <usize>seen << 3; j += 8) {
    const weight = exp(f64.load(weights + j) - largest);
    f64.store(weights + j, weight);
    total += weight;
  }
  for (let j: usize = 0; j < <usize>seen << 3; j += 8) f64.store(weights + j, f64.load(weights + j) / total);
  for (let j: i32 = 0; j < seen; j++) {
    add(p.k, rowAddress(p.k, t.batch, j, head), 0, f64.load(weights + (<usize>j << 3)), d, scratch + MEAN);
  }
  let residual: f64 = 0;
  let iterations: i32 = 0;
  if (seen > 0) {
    for (let c: i32 = 0; c < d; c++) {
      const right = f64.load(scratch + MEAN + (c << 3)) - <f64>element(p.q, query, c);
      f64.store(scratch + LEFT + (c << 3), right);
      f64.store(scratch + DIRECTION + (c << 3), right);
    }
    const first = dot(scratch + LEFT, scratch + LEFT, d);
    let norm = first;
    const most = p.direct ? 4 * d : p.maxIterations;
    // A right-hand side that is not finite has no solution.
    const isNumber = first < Infinity;
    while (isNumber && iterations < most && norm > first * p.tolerance * p.tolerance) {
      norm = advance(p, t, head, seen, norm, <f64>f32.load(scratch + RIDGES + (r << 2)), scratch);
      iterations++;
    }
    if (!isNumber) for (let c: i32 = 0; c < d; c++) f64.store(scratch + SOLUTION + (c << 3), NaN);
    else if (first > 0) residual = sqrt(norm / first);
    let keys: f64 = 0;
    for (let j: i32 = 0; j < seen; j++) {
      const key = rowAddress(p.k, t.batch, j, head);
      const weight = f64.load(weights + (<usize>j << 3)) * (1 - times(p.k, key, scratch + MEAN, scratch + SOLUTION, d));
      add(p.v, rowAddress(p.v, t.batch, j, head), 0, weight, e, scratch + OUT);
      keys = max(keys, squares(p.k, key, d));
    }
    // As in float32; a single key that counts is the mean, and nothing is rounded.
    const rounded = total == 1 ? 0 : sqrt(keys * dot(scratch + SOLUTION, scratch + SOLUTION, d)) * EPSILON;
    if (isNumber && rounded > LARGEST_ERROR) residual = Infinity;
  }
  const at = rowIndex(t, r);
  storeFloats(scratch + OUT, e, f.out.address + at * <usize>e * bytesOf(f.out.dtype), f.out.dtype, scratch);
  storeFloats(scratch + SOLUTION, d, f.solution + at * (<usize>d << 2), F32, scratch);
  f32.store(f.lse + (at << 2), seen > 0 ? <f32>(largest + log(total)) : -Infinity);
  f32.store(f.residual + (at << 2), <f32>residual);
  f32.store(f.iterations + (at << 2), <f32>iterations);
}

/** One step of conjugate gradients; returns the squared norm of what is left. */
function advance(p: Problem, t: Tile, head: i32, seen: i32, norm: f64, ridge: f64, scratch: usize): f64 {
  const d = p.d;
  const direction = scratch + DIRECTION;
  const image = scratch + IMAGE;
  for (let c: usize = 0; c < <usize>d << 3; c += 8) f64.store(image + c, ridge * f64.load(direction + c));
  for (let j: i32 = 0; j < seen; j++) {
    const key = rowAddress(p.k, t.batch, j, head);
    const product = times(p.k, key, scratch + MEAN, direction, d);
    add(p.k, key, scratch + MEAN, f64.load(t.weights + (<usize>j << 3)) * product, d, image);
  }
  const curvature = dot(direction, image, d);
  // Where rounding leaves no curvature there is no way on.
  if (!(curvature > 0)) return norm;
  const alpha = norm / curvature;
  for (let c: usize = 0; c < <usize>d << 3; c += 8) {
    f64.store(scratch + SOLUTION + c, f64.load(scratch + SOLUTION + c) + alpha * f64.load(direction + c));
    f64.store(scratch + LEFT + c, f64.load(scratch + LEFT + c) - alpha * f64.load(image + c));
  }
  const next = dot(scratch + LEFT, scratch + LEFT, d);
  for (let c: usize = 0; c < <usize>d << 3; c += 8) {
    f64.store(direction + c, f64.load(scratch + LEFT + c) + (next / norm) * f64.load(direction + c));
  }
  return next;
}

@inline
function element(x: Operand, row: usize, c: i32): f32 {
  return loadElement(row + <usize>c * x.element * bytesOf(x.dtype), x.dtype);
}

function dot(a: usize, b: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: usize = 0; c < <usize>d << 3; c += 8) sum += f64.load(a + c) * f64.load(b + c);
  return sum;
}

function squares(x: Operand, row: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: i32 = 0; c < d; c++) sum += <f64>element(x, row, c) * <f64>element(x, row, c);
  return sum;
}

/** (row - mean) . vector */
function times(x: Operand, row: usize, mean: usize, vector: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: i32 = 0; c < d; c++) sum += (<f64>element(x, row, c) - f64.load(mean + (c << 3))) * f64.load(vector + (c << 3));
  return sum;
}

/** to += factor (row - mean), without a mean if that is 0 */
function add(x: Operand, row: usize, mean: usize, factor: f64, columns: i32, to: usize): void {
  for (let c: i32 = 0; c < columns; c++) {
    const number = <f64>element(x, row, c) - (mean ? f64.load(mean + (c << 3)) : 0);
    f64.store(to + (c << 3), f64.load(to + (c << 3)) + factor * number);
  }
}

function storeFloats(from: usize, columns: i32, to: usize, dtype: i32, scratch: usize): void {
  for (let c: i32 = 0; c < columns; c++) f32.store(scratch + FLOATS + (c << 2), <f32>f64.load(from + (c << 3)));
  storeRow(scratch + FLOATS, to, dtype, columns);
}
