/**
 * Eigenvalues and eigenvectors of symmetric matrices, a matrix a task, in float64: reflections make it tridiagonal, implicit QL
 * steps diagonal. Vectors are rows while they are worked at.
 */
import { ASYMMETRIC, BAD_PIVOT, DenseParams, FINE } from './params.generated.as';
import { makeReflection } from './qr.as';
import { addRow, dotRows, put, rotateRows, widen } from './rows.as';

const EPSILON: f64 = 2.220446049250313e-16;
/** QL steps that an eigenvalue may take. */
const MOST_STEPS: i32 = 60;
const OF_ELEMENT: f64 = 1e-3;
const OF_LARGEST: f64 = 1e-5;

/** Eigenvalues in ascending order into `first`, eigenvectors as columns into `second`, their largest element positive. */
export function eigh(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DenseParams>(params);
  const n = p.rows;
  const size = <usize>(p.wide ? 8 : 4);
  const row = <usize>n << 3;
  const a = p.memory + <usize>task * p.bytes;
  const z = a + <usize>n * row;
  const diagonal = z + <usize>n * row;
  const beside = diagonal + row;
  const sums = beside + row;
  const status = p.status + (<usize>(task * n) << 2);
  widen(p.a + <usize>task * <usize>(n * n) * size, p.wide, n * n, a);
  checkSymmetry(a, n, status);
  tridiagonalize(a, n, diagonal, beside, sums);
  // The reflections lie in the rows of a; z becomes the transpose of their product.
  memory.fill(z, 0, <usize>n * row);
  for (let i: i32 = 0; i < n; i++) f64.store(z + (<usize>(i * n + i) << 3), 1);
  for (let k = n - 3; k >= 0; k--) {
    const v = a + <usize>k * row;
    const from = <usize>(k + 1) << 3;
    for (let i = k + 1; i < n; i++) {
      const at = z + <usize>i * row + from;
      const along = dotRows(at, v + from, n - k - 1);
      if (along != 0) addRow(at, v + from, n - k - 1, -along);
    }
  }
  if (!diagonalize(diagonal, beside, z, n)) i32.store(status, BAD_PIVOT);
  storeSorted(p, task, diagonal, z, n, sums);
}

function checkSymmetry(a: usize, n: i32, status: usize): void {
  let largest: f64 = 0;
  for (let at: i32 = 0; at < n * n; at++) largest = max(largest, abs(f64.load(a + (<usize>at << 3))));
  for (let i: i32 = 0; i < n; i++) {
    let isFine = true;
    for (let j: i32 = 0; j < n; j++) {
      const x = f64.load(a + (<usize>(i * n + j) << 3));
      if (x - x != 0) isFine = false;
      if (j < i && isFine) {
        const y = f64.load(a + (<usize>(j * n + i) << 3));
        if (abs(x - y) > OF_ELEMENT * max(abs(x), abs(y)) + OF_LARGEST * largest) {
          i32.store(status + (<usize>i << 2), ASYMMETRIC);
          break;
        }
        // The lower triangle counts.
        f64.store(a + (<usize>(j * n + i) << 3), x);
      }
      i32.store(status + (<usize>i << 2), isFine ? FINE : BAD_PIVOT);
    }
  }
}

/** a becomes its reflections, in its rows; what is left are the diagonal and the elements beside it. */
function tridiagonalize(a: usize, n: i32, diagonal: usize, beside: usize, sums: usize): void {
  const row = <usize>n << 3;
  for (let k: i32 = 0; k < n; k++) {
    const own = a + <usize>k * row;
    f64.store(diagonal + (<usize>k << 3), f64.load(own + (<usize>k << 3)));
    if (k == n - 1) return;
    const count = n - k - 1;
    const from = <usize>(k + 1) << 3;
    const v = own + from;
    const head = f64.load(v);
    if (k == n - 2) {
      f64.store(beside + (<usize>k << 3), head);
      continue;
    }
    const norm = Math.sqrt(dotRows(v, v, count));
    makeReflection(own, k + 1, n);
    f64.store(beside + (<usize>k << 3), norm == 0 ? 0 : head < 0 ? norm : -norm);
    if (norm == 0) continue;
    // w = a v - v (v . a v) / 2, and a -= v w^T + w v^T.
    const w = sums + from;
    for (let i: i32 = 0; i < count; i++) f64.store(w + (<usize>i << 3), dotRows(a + <usize>(k + 1 + i) * row + from, v, count));
    addRow(w, v, count, -0.5 * dotRows(v, w, count));
    for (let i: i32 = 0; i < count; i++) {
      const at = a + <usize>(k + 1 + i) * row + from;
      addRow(at, w, count, -f64.load(v + (<usize>i << 3)));
      addRow(at, v, count, -f64.load(w + (<usize>i << 3)));
    }
  }
}

/** Implicit QL; false if it does not converge. Rows of z turn with it. */
function diagonalize(d: usize, e: usize, z: usize, n: i32): bool {
  f64.store(e + (<usize>(n - 1) << 3), 0);
  for (let l: i32 = 0; l < n; l++) {
    for (let step: i32 = 0; ; step++) {
      let m = l;
      for (; m < n - 1; m++) {
        const around = abs(number(d, m)) + abs(number(d, m + 1));
        if (abs(number(e, m)) <= EPSILON * around) break;
      }
      if (m == l) break;
      if (step == MOST_STEPS) return false;
      let g = (number(d, l + 1) - number(d, l)) / (2 * number(e, l));
      let r = Math.hypot(g, 1);
      g = number(d, m) - number(d, l) + number(e, l) / (g + (g < 0 ? -r : r));
      let s: f64 = 1;
      let c: f64 = 1;
      let shift: f64 = 0;
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * number(e, i);
        const b = c * number(e, i);
        r = Math.hypot(f, g);
        f64.store(e + (<usize>(i + 1) << 3), r);
        if (r == 0) {
          f64.store(d + (<usize>(i + 1) << 3), number(d, i + 1) - shift);
          f64.store(e + (<usize>m << 3), 0);
          break;
        }
        s = f / r;
        c = g / r;
        g = number(d, i + 1) - shift;
        r = (number(d, i) - g) * s + 2 * c * b;
        shift = s * r;
        f64.store(d + (<usize>(i + 1) << 3), g + shift);
        g = c * r - b;
        rotateRows(z + (<usize>(i * n) << 3), z + (<usize>((i + 1) * n) << 3), n, c, s);
      }
      if (r == 0 && i >= l) continue;
      f64.store(d + (<usize>l << 3), number(d, l) - shift);
      f64.store(e + (<usize>l << 3), g);
      f64.store(e + (<usize>m << 3), 0);
    }
  }
  return true;
}

@inline
function number(list: usize, at: i32): f64 {
  return f64.load(list + (<usize>at << 3));
}

/** Writes them in order; `taken` marks those that are written. */
function storeSorted(p: DenseParams, task: i32, d: usize, z: usize, n: i32, taken: usize): void {
  memory.fill(taken, 0, <usize>n);
  for (let at: i32 = 0; at < n; at++) {
    let best: i32 = -1;
    for (let i: i32 = 0; i < n; i++)
      if (!load<u8>(taken + <usize>i) && (best < 0 || number(d, i) < number(d, best))) best = i;
    store<u8>(taken + <usize>best, 1);
    put(p.first, p.wide, task * n + at, number(d, best));
    const vector = z + (<usize>(best * n) << 3);
    const sign = signOf(vector, n);
    for (let i: i32 = 0; i < n; i++) put(p.second, p.wide, (task * n + i) * n + at, sign * number(vector, i));
  }
}

/** By which its element of largest magnitude, the first of about equal ones, becomes positive. */
export function signOf(vector: usize, count: i32): f64 {
  let largest: f64 = 0;
  for (let i: i32 = 0; i < count; i++) largest = max(largest, abs(number(vector, i)));
  for (let i: i32 = 0; i < count; i++)
    if (abs(number(vector, i)) >= largest * (1 - 1e-6)) return number(vector, i) < 0 ? -1 : 1;
  return 1;
}
