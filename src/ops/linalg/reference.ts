/** Linear algebra by plain loops in float64. */
import type { Host } from '../../runtime/op';
import type {
  CholeskyCall,
  CholeskySolveCall,
  EighCall,
  LuCall,
  QrCall,
  RefinedSolveCall,
  SvdCall,
  TriangularCall,
} from './call';
import { ASYMMETRIC, BAD_PIVOT, FINE, NOT_FINITE } from './params.generated';

/** Matrices of a tensor [..., rows, columns], each as rows. */
function matrices(values: Float64Array, rows: number, columns: number): Float64Array[][] {
  const size = rows * columns;
  return Array.from({ length: size === 0 ? 0 : values.length / size }, (_, batch) =>
    Array.from({ length: rows }, (_, r) => values.slice(batch * size + r * columns, batch * size + (r + 1) * columns)),
  );
}

const flat = (all: readonly (readonly Float64Array[])[]) =>
  Float64Array.from(all.flatMap((rows) => rows.flatMap((row) => [...row])));
const flatNumbers = (all: readonly (readonly number[])[]) => Float64Array.from(all.flat());

const isAsymmetric = (a: Float64Array[], i: number) =>
  [...a.keys()].slice(0, i).some((j) => {
    const [x, y] = [a[i]![j]!, a[j]![i]!];
    return (
      Math.abs(x - y) > 1e-3 * Math.max(Math.abs(x), Math.abs(y)) + 1e-5 * Math.sqrt(Math.abs(a[i]![i]! * a[j]![j]!))
    );
  });

const flawOf = (a: Float64Array[], i: number): number => {
  if (!a[i]!.every(Number.isFinite)) return NOT_FINITE;
  return isAsymmetric(a, i) ? ASYMMETRIC : FINE;
};

export function cholesky({ a, out, status }: CholeskyCall, { numbers, store }: Host): void {
  const n = a.shape.at(-1) as number;
  const found = matrices(numbers(a), n, n).map(factored);
  store(out, flat(found.map(({ l }) => l)));
  store(status, flatNumbers(found.map(({ state }) => state)));
}

function factored(rows: Float64Array[]) {
  const n = rows.length;
  const state = [...rows.keys()].map((i) => flawOf(rows, i));
  const l = rows.map(() => new Float64Array(n));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = rows[i]![j]!;
      for (let k = 0; k < j; k++) sum -= l[i]![k]! * l[j]![k]!;
      if (j < i) l[i]![j] = sum / l[j]![j]!;
      else if (sum > 0 && Number.isFinite(sum)) l[i]![i] = Math.sqrt(sum);
      else if (state[i] === FINE) state[i] = BAD_PIVOT;
    }
  }
  return { l, state };
}

export function triangularSolve(call: TriangularCall, { numbers, store }: Host): void {
  const { a, b, upper, transpose, unit, out, status } = call;
  const [n, columns] = b.shape.slice(-2) as [number, number];
  const triangles = matrices(numbers(a), n, n);
  const states: number[][] = [];
  const solved = matrices(numbers(b), n, columns).map((x, batch) => {
    const rows = triangles[batch] as Float64Array[];
    const at = (i: number, j: number) => (transpose ? rows[j]![i]! : rows[i]![j]!);
    const isBackwards = upper !== transpose;
    const order = [...x.keys()];
    if (isBackwards) order.reverse();
    const state = new Array<number>(n).fill(FINE);
    order.forEach((i, place) => {
      const pivot = unit ? 1 : at(i, i);
      if (pivot === 0 || !Number.isFinite(pivot)) state[i] = BAD_PIVOT;
      for (let c = 0; c < columns; c++) {
        let sum = x[i]![c]!;
        for (const j of order.slice(0, place)) sum -= at(i, j) * x[j]![c]!;
        x[i]![c] = sum / pivot;
      }
    });
    states.push(state);
    return x;
  });
  store(out, flat(solved));
  store(status, flatNumbers(states));
}

export function choleskySolve({ a, b, out, factor, status }: CholeskySolveCall, host: Host): void {
  cholesky({ a, out: factor, status }, host);
  const unchecked: Host = { ...host, store: (to, values) => to === out && host.store(to, values) };
  const half = { upper: false, unit: false, out, status };
  triangularSolve({ ...half, a: factor, b, transpose: false }, unchecked);
  triangularSolve({ ...half, a: factor, b: out, transpose: true }, unchecked);
}

export function lu({ a, b, out, log, sign, status }: LuCall, { numbers, store }: Host): void {
  const n = a.shape.at(-1) as number;
  const columns = b?.shape.at(-1) ?? 0;
  const rights = b && matrices(numbers(b), n, columns);
  const found = matrices(numbers(a), n, n).map((rows, batch) => eliminated(rows, rights?.[batch]));
  if (out) store(out, flat(found.map(({ x }) => x)));
  if (log)
    store(
      log,
      Float64Array.from(found, (each) => each.log),
    );
  if (sign)
    store(
      sign,
      Float64Array.from(found, (each) => each.sign),
    );
  store(status, flatNumbers(found.map(({ state }) => state)));
}

/** By elimination, which needs no corrections; the condition is that of the inverse. */
export function refinedSolve(call: RefinedSolveCall, { numbers, store }: Host): void {
  const { a, b, assume, x, condition, error, steps, status } = call;
  const [n, columns] = b.shape.slice(-2) as [number, number];
  const rights = matrices(numbers(b), n, columns);
  const norm = (rows: readonly Float64Array[]) =>
    Math.max(...transposed(rows).map((column) => column.reduce((sum, value) => sum + Math.abs(value), 0)));
  const found = matrices(numbers(a), n, n).map((rows, batch) => {
    const isDefinite = assume === 'positive-definite';
    const copy = () => rows.map((row) => row.slice());
    const { x, state } = eliminated(copy(), rights[batch]);
    const size = norm(rows) * norm(eliminated(copy(), identity(n)).x);
    return { x, size, state: isDefinite ? factored(rows).state : state };
  });
  store(x, flat(found.map((each) => each.x)));
  store(
    condition,
    Float64Array.from(found, ({ size }) => size),
  );
  for (const each of [error, steps]) store(each, new Float64Array(found.length));
  store(status, flatNumbers(found.map(({ state }) => state)));
}

/** Gaussian elimination with partial pivoting. */
function eliminated(a: Float64Array[], x: Float64Array[] = a.map(() => new Float64Array(0))) {
  const n = a.length;
  const largest = Math.max(...a.map((row) => Math.max(...row.map(Math.abs))));
  const state = a.map((row): number => (row.every(Number.isFinite) ? FINE : NOT_FINITE));
  let [log, sign] = [0, 1];
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k; i < n; i++) if (Math.abs(a[i]![k]!) > Math.abs(a[best]![k]!)) best = i;
    if (best !== k) {
      sign = -sign;
      [a[k], a[best]] = [a[best]!, a[k]!];
      [x[k], x[best]] = [x[best]!, x[k]!];
    }
    const pivot = a[k]![k]!;
    if (!(Math.abs(pivot) > 2.3e-16 * n * largest && Number.isFinite(pivot))) {
      if (state[k] === FINE) state[k] = BAD_PIVOT;
      break;
    }
    log += Math.log(Math.abs(pivot));
    sign *= Math.sign(pivot);
    for (let i = k + 1; i < n; i++) {
      const factor = a[i]![k]! / pivot;
      for (let j = k; j < n; j++) a[i]![j]! -= factor * a[k]![j]!;
      for (let c = 0; c < x[i]!.length; c++) x[i]![c]! -= factor * x[k]![c]!;
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let c = 0; c < x[k]!.length; c++) {
      let sum = x[k]![c]!;
      for (let j = k + 1; j < n; j++) sum -= a[k]![j]! * x[j]![c]!;
      x[k]![c] = sum / a[k]![k]!;
    }
  }
  return { x, log, sign, state };
}

const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, value, at) => sum + value * y[at]!, 0);
const columnOf = (rows: readonly Float64Array[], c: number) => Float64Array.from(rows, (row) => row[c]!);
const transposed = (rows: readonly Float64Array[]) =>
  Array.from({ length: rows[0]?.length ?? 0 }, (_, c) => columnOf(rows, c));

/** By Gram-Schmidt, twice, whose R has a diagonal that is not negative. */
export function qr({ a, q, r }: QrCall, { numbers, store }: Host): void {
  const [m, n] = a.shape.slice(-2) as [number, number];
  const k = Math.min(m, n);
  const found = matrices(numbers(a), m, n).map((rows) => {
    const columns = transposed(rows);
    const basis: Float64Array[] = [];
    for (let j = 0; j < k; j++) {
      const left = (columns[j] as Float64Array).slice();
      for (let pass = 0; pass < 2; pass++)
        for (const each of basis) {
          const along = dot(each, left);
          for (let i = 0; i < m; i++) left[i]! -= along * each[i]!;
        }
      const norm = Math.sqrt(dot(left, left));
      basis.push(left.map((value) => (norm === 0 ? 0 : value / norm)));
    }
    const triangle = basis.map((each, i) => Float64Array.from(columns, (column, j) => (j < i ? 0 : dot(each, column))));
    return { q: transposed(basis), r: triangle };
  });
  store(q, flat(found.map((each) => each.q)));
  store(r, flat(found.map((each) => each.r)));
}

/** By which the first of the largest elements becomes positive. */
function signOf(vector: Float64Array): number {
  const largest = Math.max(...vector.map(Math.abs));
  return (vector.find((value) => Math.abs(value) >= largest * (1 - 1e-6)) ?? 1) < 0 ? -1 : 1;
}

/** Rows of x are rotated in pairs until they are at right angles, and those of `turned` with them. */
function jacobi(x: Float64Array[], turned: Float64Array[]): boolean {
  for (let sweep = 0; sweep < 60; sweep++) {
    let isDone = true;
    for (let i = 0; i < x.length; i++) {
      for (let j = i + 1; j < x.length; j++) {
        const [a, b, both] = [dot(x[i]!, x[i]!), dot(x[j]!, x[j]!), dot(x[i]!, x[j]!)];
        if (!Number.isFinite(both)) return false;
        if (both === 0 || Math.abs(both) <= 1e-15 * Math.sqrt(a) * Math.sqrt(b)) continue;
        isDone = false;
        const angle = 0.5 * Math.atan2(2 * both, a - b);
        for (const rows of [x, turned]) rotate(rows, i, j, Math.cos(angle), Math.sin(angle));
      }
    }
    if (isDone) return true;
  }
  return false;
}

function rotate(rows: Float64Array[], i: number, j: number, c: number, s: number): void {
  const [first, second] = [rows[i] as Float64Array, rows[j] as Float64Array];
  for (let at = 0; at < first.length; at++) {
    const [x, y] = [first[at]!, second[at]!];
    first[at] = c * x + s * y;
    second[at] = c * y - s * x;
  }
}

const identity = (n: number) =>
  Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => Number(i === j)));

export function svd({ a, u, s, v, status }: SvdCall, { numbers, store }: Host): void {
  const [m, n] = a.shape.slice(-2) as [number, number];
  const k = Math.min(m, n);
  const found = matrices(numbers(a), m, n).map((rows) => {
    const isTall = m > n;
    const x = isTall ? transposed(rows) : rows;
    const turned = identity(k);
    const isGood = jacobi(x, turned);
    const norms = x.map((row) => Math.sqrt(dot(row, row)));
    const order = [...x.keys()].sort((i, j) => norms[j]! - norms[i]!);
    const least = (norms[order[0] as number] ?? 0) * 2.2e-16 * Math.max(m, n);
    const long = order.map((i) => x[i]!.map((value) => (norms[i]! <= least ? 0 : value / norms[i]!)));
    const short = order.map((i) => turned[i] as Float64Array);
    const leading = isTall ? short : long.map((row, at) => (norms[order[at]!]! <= least ? short[at]! : row));
    const signed = (list: readonly Float64Array[]) =>
      transposed(list.map((row, at) => row.map((value) => value * signOf(leading[at] as Float64Array))));
    const [ofLong, ofShort] = [signed(long), signed(short)];
    return { u: isTall ? ofLong : ofShort, s: order.map((i) => norms[i]!), v: isTall ? ofShort : ofLong, isGood };
  });
  store(u, flat(found.map((each) => each.u)));
  store(s, flatNumbers(found.map((each) => each.s)));
  store(v, flat(found.map((each) => each.v)));
  store(
    status,
    Float64Array.from(found, ({ isGood }) => (isGood ? FINE : BAD_PIVOT)),
  );
}

/** By Jacobi's rotations of both sides. */
export function eigh({ a, values, vectors, status }: EighCall, { numbers, store }: Host): void {
  const n = a.shape.at(-1) as number;
  const found = matrices(numbers(a), n, n).map((rows) => {
    const largest = Math.max(...rows.map((row) => Math.max(...row.map(Math.abs))));
    const state = rows.map((row, i) => {
      if (!row.every(Number.isFinite)) return NOT_FINITE;
      const isFar = (x: number, y: number) =>
        Math.abs(x - y) > 1e-3 * Math.max(Math.abs(x), Math.abs(y)) + 1e-5 * largest;
      return [...row.keys()].slice(0, i).some((j) => isFar(row[j]!, rows[j]![i]!)) ? ASYMMETRIC : FINE;
    });
    const symmetric = rows.map((_, i) => Float64Array.from(rows, (_, j) => rows[Math.max(i, j)]![Math.min(i, j)]!));
    const turned = identity(n);
    if (!state.includes(NOT_FINITE)) diagonalize(symmetric, turned);
    const order = [...rows.keys()].sort((i, j) => symmetric[i]![i]! - symmetric[j]![j]!);
    const signed = order.map((i) => turned[i]!.map((value) => value * signOf(turned[i] as Float64Array)));
    return { values: order.map((i) => symmetric[i]![i]!), vectors: transposed(signed), state };
  });
  store(values, flatNumbers(found.map((each) => each.values)));
  store(vectors, flat(found.map((each) => each.vectors)));
  store(status, flatNumbers(found.map((each) => each.state)));
}

function diagonalize(a: Float64Array[], turned: Float64Array[]): void {
  for (let sweep = 0; sweep < 60; sweep++) {
    let left = 0;
    for (let i = 0; i < a.length; i++) {
      for (let j = i + 1; j < a.length; j++) {
        const both = a[i]![j]!;
        if (Math.abs(both) <= 1e-18 * (Math.abs(a[i]![i]!) + Math.abs(a[j]![j]!))) continue;
        left++;
        const angle = 0.5 * Math.atan2(2 * both, a[i]![i]! - a[j]![j]!);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        rotate(a, i, j, c, s);
        for (const row of a) {
          const [x, y] = [row[i]!, row[j]!];
          row[i] = c * x + s * y;
          row[j] = c * y - s * x;
        }
        rotate(turned, i, j, c, s);
      }
    }
    if (left === 0) return;
  }
}
