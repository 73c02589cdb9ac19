/** Gaussian elimination with partial pivoting, a matrix a task, in float64. */
import { dotWide } from '../../runtime/wasm/assembly/wide.as';
import { columnNorm, dotMixed, inverseNorm, rowNorm } from './condition.as';
import { BAD_PIVOT, DenseParams, FINE, NOT_FINITE } from './params.generated.as';
import { addRow, put, scaleRow, widen } from './rows.as';

/** Pivots below so much of the largest element, times n, are none. */
const EPSILON: f64 = 2.3e-16;
/** Corrections of a refined solution. */
const MOST_STEPS: i32 = 10;

/** A factored matrix: rows of U, and before their diagonal the multipliers of L; `order` says which row each was. */
@unmanaged
class LuSystem {
  rows: usize;
  order: usize;
  /** Working memory, [n]. */
  spare: usize;
  n: i32;

  solve(x: usize, transposed: bool): void {
    const n = this.n;
    const row = <usize>n << 3;
    if (transposed) {
      this.solveTransposed(x, row);
      return;
    }
    const y = this.spare;
    for (let i: i32 = 0; i < n; i++) {
      const place = y + (<usize>i << 3);
      const right = f64.load(x + (<usize>i32.load(this.order + (<usize>i << 2)) << 3));
      f64.store(place, right - dotWide(this.rows + <usize>i * row, y, i));
    }
    for (let i = n - 1; i >= 0; i--) {
      const own = this.rows + <usize>i * row + (<usize>i << 3);
      const place = y + (<usize>i << 3);
      f64.store(place, (f64.load(place) - dotWide(own + 8, place + 8, n - 1 - i)) / f64.load(own));
    }
    memory.copy(x, y, row);
  }

  private solveTransposed(x: usize, row: usize): void {
    const n = this.n;
    for (let i: i32 = 0; i < n; i++) {
      const own = this.rows + <usize>i * row + (<usize>i << 3);
      const place = x + (<usize>i << 3);
      f64.store(place, f64.load(place) / f64.load(own));
      addRow(place + 8, own + 8, n - 1 - i, -f64.load(place));
    }
    for (let i = n - 1; i > 0; i--) addRow(x, this.rows + <usize>i * row, i, -f64.load(x + (<usize>i << 3)));
    for (let i: i32 = 0; i < n; i++) {
      const to = <usize>i32.load(this.order + (<usize>i << 2));
      f64.store(this.spare + (to << 3), f64.load(x + (<usize>i << 3)));
    }
    memory.copy(x, this.spare, row);
  }
}

/** Solves a x = b into `first`, and writes the logarithm of |det a| and its sign into `second` and `third`. */
export function lu(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DenseParams>(params);
  const n = p.rows;
  const columns = p.others;
  const size = <usize>(p.wide ? 8 : 4);
  const row = <usize>n << 3;
  const right = <usize>columns << 3;
  const a = p.memory + <usize>task * p.bytes;
  const b = a + <usize>n * row;
  const vectors = b + <usize>n * right;
  const order = vectors + 4 * row;
  widen(p.a + <usize>task * <usize>n * <usize>n * size, p.wide, n * n, a);
  if (p.b) widen(p.b + <usize>task * <usize>n * <usize>columns * size, p.wide, n * columns, b);
  const status = p.status + (<usize>(task * n) << 2);
  for (let i: i32 = 0; i < n; i++) {
    const sum = dotWide(a + <usize>i * row, a + <usize>i * row, n);
    i32.store(status + (<usize>i << 2), sum - sum == 0 ? FINE : NOT_FINITE);
    i32.store(order + (<usize>i << 2), i);
  }
  let log: f64 = 0;
  let sign: f64 = 1;
  const least = EPSILON * <f64>n * largestOf(a, n * n);
  for (let k: i32 = 0; k < n; k++) {
    const best = pivotRow(a, n, k);
    if (best != k) {
      sign = -sign;
      swap(a + <usize>best * row, a + <usize>k * row, n);
      swap(b + <usize>best * right, b + <usize>k * right, columns);
      const other = i32.load(order + (<usize>best << 2));
      i32.store(order + (<usize>best << 2), i32.load(order + (<usize>k << 2)));
      i32.store(order + (<usize>k << 2), other);
    }
    const own = a + <usize>k * row;
    const pivot = f64.load(own + (<usize>k << 3));
    if (!(abs(pivot) > least && pivot - pivot == 0)) {
      if (i32.load(status + (<usize>k << 2)) == FINE) i32.store(status + (<usize>k << 2), BAD_PIVOT);
      break;
    }
    log += logarithm(abs(pivot));
    if (pivot < 0) sign = -sign;
    for (let i = k + 1; i < n; i++) {
      const at = a + <usize>i * row;
      const factor = f64.load(at + (<usize>k << 3)) / pivot;
      f64.store(at + (<usize>k << 3), factor);
      if (factor == 0) continue;
      addRow(at + (<usize>(k + 1) << 3), own + (<usize>(k + 1) << 3), n - k - 1, -factor);
      addRow(b + <usize>i * right, b + <usize>k * right, columns, -factor);
    }
  }
  if (p.second) put(p.second, p.wide, task, log);
  if (p.third) put(p.third, p.wide, task, sign);
  if (!p.b) return;
  for (let k = n - 1; k >= 0; k--) {
    const own = b + <usize>k * right;
    for (let j = k + 1; j < n; j++) addRow(own, b + <usize>j * right, columns, -f64.load(a + <usize>k * row + (<usize>j << 3)));
    scaleRow(own, columns, 1 / f64.load(a + <usize>k * row + (<usize>k << 3)));
  }
  if (p.condition) {
    const system = changetype<LuSystem>(scratch);
    system.rows = a;
    system.order = order;
    system.spare = vectors;
    system.n = n;
    if (p.wide) refine<f64>(p, task, system, b, vectors + row);
    else refine<f32>(p, task, system, b, vectors + row);
  }
  const isWide = p.wide || p.condition != 0;
  for (let at: i32 = 0; at < n * columns; at++) put(p.first, isWide, task * n * columns + at, f64.load(b + (<usize>at << 3)));
}

/** Corrects x [n][columns] by its residual while that helps, and tells the condition and the backward error. */
function refine<T extends number>(p: DenseParams, task: i32, system: LuSystem, x: usize, vectors: usize): void {
  const n = p.rows;
  const columns = p.others;
  const row = <usize>n << 3;
  const a = p.a + <usize>task * <usize>n * <usize>n * sizeof<T>();
  const b = p.b + <usize>task * <usize>n * <usize>columns * sizeof<T>();
  const column = vectors + row;
  const norm = columnNorm<T>(a, n, vectors);
  f64.store(p.condition + (<usize>task << 3), norm * inverseNorm<LuSystem>(system, n, vectors, column));
  const ofRows = rowNorm<T>(a, n);
  let worst: f64 = 0;
  let most: i32 = 0;
  for (let c: i32 = 0; c < columns; c++) {
    let before = Infinity;
    for (let step: i32 = 0; ; step++) {
      let ofX: f64 = 0;
      let ofB: f64 = 0;
      let ofResidual: f64 = 0;
      for (let i: i32 = 0; i < n; i++) f64.store(column + (<usize>i << 3), f64.load(x + (<usize>(i * columns + c) << 3)));
      for (let i: i32 = 0; i < n; i++) {
        const right = <f64>load<T>(b + <usize>(i * columns + c) * sizeof<T>());
        const left = right - dotMixed<T>(a + <usize>i * <usize>n * sizeof<T>(), column, n);
        f64.store(vectors + (<usize>i << 3), left);
        ofResidual = max(ofResidual, abs(left));
        ofB = max(ofB, abs(right));
        ofX = max(ofX, abs(f64.load(column + (<usize>i << 3))));
      }
      const error = ofResidual == 0 ? 0 : ofResidual / (ofRows * ofX + ofB);
      most = max(most, step);
      if (error <= EPSILON * Math.sqrt(<f64>n) || !(error <= 0.5 * before) || step == MOST_STEPS) {
        worst = max(worst, error);
        break;
      }
      before = error;
      system.solve(vectors, false);
      for (let i: i32 = 0; i < n; i++)
        f64.store(x + (<usize>(i * columns + c) << 3), f64.load(column + (<usize>i << 3)) + f64.load(vectors + (<usize>i << 3)));
    }
  }
  f64.store(p.error + (<usize>task << 3), worst);
  i32.store(p.steps + (<usize>task << 2), most);
}

function largestOf(a: usize, count: i32): f64 {
  let largest: f64 = 0;
  for (let at: i32 = 0; at < count; at++, a += 8) largest = max(largest, abs(f64.load(a)));
  return largest;
}

/** The natural logarithm of x > 0. Tables such as the library's would be written into the memory that threads share. */
function logarithm(x: f64): f64 {
  if (x < 2.2250738585072014e-308) return logarithm(x * 18014398509481984) - 54 * Math.LN2;
  const bits = reinterpret<u64>(x);
  const exponent = <i32>(bits >> 52) - 1023;
  const mantissa = reinterpret<f64>((bits & 0xfffffffffffff) | 0x3ff0000000000000);
  const t = (mantissa - 1) / (mantissa + 1);
  const square = t * t;
  let sum: f64 = 0;
  for (let k: i32 = 35; k > 0; k -= 2) sum = sum * square + 1 / <f64>k;
  return 2 * t * sum + <f64>exponent * Math.LN2;
}

@inline
function pivotRow(a: usize, n: i32, k: i32): i32 {
  let best = k;
  let largest: f64 = -1;
  for (let i = k; i < n; i++) {
    const size = abs(f64.load(a + (<usize>(i * n + k) << 3)));
    if (size > largest) {
      largest = size;
      best = i;
    }
  }
  return best;
}

function swap(x: usize, y: usize, count: i32): void {
  for (let i: i32 = 0; i < count; i++, x += 8, y += 8) {
    const value = f64.load(x);
    f64.store(x, f64.load(y));
    f64.store(y, value);
  }
}
