/** The Cholesky factor of one small matrix. */
import { dot, fourSums, madd } from './vector.as';
import { dotWide } from './wide.as';

/**
 * L of L L^T = matrix + ridge in place of the lower triangle of a matrix [n][n], rows `rowBytes` apart. Returns the first row
 * whose pivot is not finite or not above `least` times its diagonal, and n if there is none; what is behind it is as it was.
 */
@inline
export function factorize<T extends number>(matrix: usize, n: i32, rowBytes: usize, ridge: T, least: T): i32 {
  let row = matrix;
  for (let i: i32 = 0; i < n; i++, row += rowBytes) {
    let other = matrix;
    let at = row;
    let j: i32 = 0;
    const own = row + <usize>i * sizeof<T>();
    if (sizeof<T>() == 4) for (; j + 4 <= i; j += 4, at += 16, other += 4 * rowBytes) solveFour(row, other, rowBytes, at, <usize>j << 2);
    for (; at < own; at += sizeof<T>(), other += rowBytes, j++)
      store<T>(at, (load<T>(at) - along<T>(row, other, j)) / load<T>(other + <usize>j * sizeof<T>()));
    const diagonal = load<T>(own) + ridge;
    const pivot = diagonal - along<T>(row, row, i);
    if (!(pivot > least * diagonal && pivot - pivot == 0)) return i;
    store<T>(own, sqrt<T>(pivot));
  }
  return n;
}

/** Four numbers of a row at `at`, by as many finished rows from `other` on; `bytes` of each come before them. */
@inline
function solveFour(row: usize, other: usize, rowBytes: usize, at: usize, bytes: usize): void {
  const second = other + rowBytes;
  const third = second + rowBytes;
  const fourth = third + rowBytes;
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (let k: usize = 0; k < bytes; k += 16) {
    const x = v128.load(row + k);
    a = madd(x, v128.load(other + k), a);
    b = madd(x, v128.load(second + k), b);
    c = madd(x, v128.load(third + k), c);
    d = madd(x, v128.load(fourth + k), d);
  }
  const left = f32x4.sub(v128.load(at), fourSums(a, b, c, d));
  const x = f32x4.extract_lane(left, 0) / f32.load(other + bytes);
  const y = (f32x4.extract_lane(left, 1) - x * f32.load(second + bytes)) / f32.load(second + bytes, 4);
  const z = (f32x4.extract_lane(left, 2) - x * f32.load(third + bytes) - y * f32.load(third + bytes, 4)) / f32.load(third + bytes, 8);
  const rest = x * f32.load(fourth + bytes) + y * f32.load(fourth + bytes, 4) + z * f32.load(fourth + bytes, 8);
  v128.store(at, f32x4(x, y, z, (f32x4.extract_lane(left, 3) - rest) / f32.load(fourth + bytes, 12)));
}

@inline
function along<T extends number>(x: usize, y: usize, count: i32): T {
  if (sizeof<T>() == 4) return <T>dot(x, y, <usize>count << 2);
  return <T>dotWide(x, y, count);
}
