/** The condition of a factored matrix, by Hager's and Higham's estimate of the 1-norm of its inverse. */
import { dotWide } from '../../runtime/wasm/assembly/wide.as';

const MOST_STEPS: i32 = 5;

/** L L^T, L the lower triangle [n][n] at `factor`. */
@unmanaged
export class CholeskySystem<T extends number> {
  factor: usize;
  n: i32;

  /** x of float64 becomes that of which it is the product. */
  solve(x: usize, transposed: bool): void {
    const n = this.n;
    const row = <usize>n * sizeof<T>();
    let at = this.factor;
    for (let i: i32 = 0; i < n; i++, at += row) {
      const place = x + (<usize>i << 3);
      f64.store(place, (f64.load(place) - dotMixed<T>(at, x, i)) / <f64>load<T>(at + <usize>i * sizeof<T>()));
    }
    for (let i = n - 1; i >= 0; i--) {
      at -= row;
      const value = f64.load(x + (<usize>i << 3)) / <f64>load<T>(at + <usize>i * sizeof<T>());
      f64.store(x + (<usize>i << 3), value);
      addMixed<T>(x, at, i, -value);
    }
  }
}

@inline
export function dotMixed<T extends number>(row: usize, x: usize, count: i32): f64 {
  if (sizeof<T>() == 8) return dotWide(row, x, count);
  let first = f64x2.splat(0);
  let second = first;
  let i: i32 = 0;
  for (; i + 4 <= count; i += 4, row += 16, x += 32) {
    first = f64x2.add(first, f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(row)), v128.load(x)));
    second = f64x2.add(second, f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(row, 8)), v128.load(x, 16)));
  }
  const both = f64x2.add(first, second);
  let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
  for (; i < count; i++, row += sizeof<T>(), x += 8) sum += <f64>load<T>(row) * f64.load(x);
  return sum;
}

@inline
function addMixed<T extends number>(x: usize, row: usize, count: i32, factor: f64): void {
  for (let i: i32 = 0; i < count; i++, row += sizeof<T>(), x += 8) f64.store(x, f64.load(x) + factor * <f64>load<T>(row));
}

/** About the 1-norm of the inverse of a system of n unknowns; `x` and `signs` are working memory, [n] each. */
export function inverseNorm<S>(system: S, n: i32, x: usize, signs: usize): f64 {
  fill(x, n, 1 / <f64>n);
  system.solve(x, false);
  let norm = sumOfMagnitudes(x, n);
  let chosen: i32 = -1;
  for (let step: i32 = 0; step < MOST_STEPS && n > 1; step++) {
    for (let i: i32 = 0; i < n; i++) f64.store(signs + (<usize>i << 3), f64.load(x + (<usize>i << 3)) < 0 ? -1 : 1);
    system.solve(signs, true);
    const next = largestAt(signs, n);
    // A unit vector that came before has no more to tell.
    if (next == chosen) break;
    if (chosen >= 0 && abs(f64.load(signs + (<usize>next << 3))) <= f64.load(signs + (<usize>chosen << 3))) break;
    chosen = next;
    fill(x, n, 0);
    f64.store(x + (<usize>chosen << 3), 1);
    system.solve(x, false);
    const found = sumOfMagnitudes(x, n);
    if (!(found > norm)) break;
    norm = found;
  }
  if (n == 1) return norm;
  // Against cancellation: a vector of alternating signs that grows.
  for (let i: i32 = 0; i < n; i++)
    f64.store(x + (<usize>i << 3), (i & 1 ? -1.0 : 1.0) * (1 + <f64>i / <f64>(n - 1)));
  system.solve(x, false);
  return max(norm, (2 * sumOfMagnitudes(x, n)) / (3 * <f64>n));
}

function fill(x: usize, n: i32, value: f64): void {
  for (let i: i32 = 0; i < n; i++) f64.store(x + (<usize>i << 3), value);
}

function sumOfMagnitudes(x: usize, n: i32): f64 {
  let sum: f64 = 0;
  for (let i: i32 = 0; i < n; i++) sum += abs(f64.load(x + (<usize>i << 3)));
  return sum;
}

function largestAt(x: usize, n: i32): i32 {
  let best: i32 = 0;
  for (let i: i32 = 1; i < n; i++) if (abs(f64.load(x + (<usize>i << 3))) > abs(f64.load(x + (<usize>best << 3)))) best = i;
  return best;
}

/** The largest sum of magnitudes of a column, of a matrix [n][n]; `sums` is working memory, [n]. */
export function columnNorm<T extends number>(a: usize, n: i32, sums: usize): f64 {
  fill(sums, n, 0);
  for (let i: i32 = 0; i < n; i++) {
    for (let j: usize = 0; j < <usize>n; j++, a += sizeof<T>())
      f64.store(sums + (j << 3), f64.load(sums + (j << 3)) + abs(<f64>load<T>(a)));
  }
  return f64.load(sums + (<usize>largestAt(sums, n) << 3));
}

/** The largest sum of magnitudes of a row. */
export function rowNorm<T extends number>(a: usize, n: i32): f64 {
  let largest: f64 = 0;
  for (let i: i32 = 0; i < n; i++) {
    let sum: f64 = 0;
    for (let j: i32 = 0; j < n; j++, a += sizeof<T>()) sum += abs(<f64>load<T>(a));
    largest = max(largest, sum);
  }
  return largest;
}
