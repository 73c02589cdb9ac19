import { describe, expect, test } from 'vitest';
import { normal } from '../tensor/random';
import { drawDirections, orthonormalRows } from './draw';

/** Sums of products of matrix entries that tell a uniform rotation from another, each with its exact mean. */
const MOMENTS: readonly (readonly [
  name: string,
  of: (q: Float64Array, d: number) => number,
  mean: (d: number) => number,
])[] = [
  ['an entry', (q) => q[0]!, () => 0],
  ['the trace', trace, () => 0],
  ['the squared trace', (q, d) => trace(q, d) ** 2, () => 1],
  ['a squared entry', (q) => q[1]! ** 2, (d) => 1 / d],
  ['the fourth power of an entry', (q) => q[0]! ** 4, (d) => 3 / (d * (d + 2))],
  ['a product around a square', (q, d) => q[0]! * q[1]! * q[d]! * q[d + 1]!, (d) => -1 / ((d - 1) * d * (d + 2))],
];

describe('orthonormalRows', () => {
  test('has rows of length 1 at right angles, up to rounding', () => {
    for (const d of [1, 2, 7, 64, 200]) {
      const q = orthonormalRows(normal(d * d, d), d);
      let worst = 0;
      for (let r = 0; r < d; r++) {
        for (let s = 0; s <= r; s++) {
          worst = Math.max(
            worst,
            Math.abs(dot(q.subarray(r * d, r * d + d), q.subarray(s * d, s * d + d)) - Number(r === s)),
          );
        }
      }
      expect(worst).toBeLessThan(1e-14);
    }
  });

  for (const [name, of, mean] of MOMENTS) {
    test(`${name} has the mean of uniform rotations`, () => {
      for (const d of [2, 4, 8]) {
        const { average, error } = statistics(draws(orthonormalRows, d, 4000).map((q) => of(q, d)));
        expect(Math.abs(average - mean(d)) / error).toBeLessThan(4.5);
      }
    });
  }

  test('the usual QR, whose diagonal of R has any sign, fails the first', () => {
    for (const d of [2, 4, 8]) {
      const { average, error } = statistics(draws(householderRows, d, 4000).map((q) => q[0]!));
      expect(Math.abs(average) / error).toBeGreaterThan(20);
    }
  });
});

test('estimates that are not even in the directions are biased by the usual QR, not by this one', () => {
  const d = 4;
  // The mean of exp(w . z - |z|^2 / 2) is 1 for normal w.
  const estimates = (orthogonalise: typeof orthonormalRows) => {
    const lengths = squaredLengths(normal(4000 * d * d, 5), d).map(Math.sqrt);
    return draws(orthogonalise, d, 4000).map((q, i) => {
      const rows = Array.from({ length: d }, (_, r) => Math.exp(lengths[i * d + r]! * q[r * d]! - 0.5));
      return rows.reduce((a, b) => a + b) / d;
    });
  };
  const uniform = statistics(estimates(orthonormalRows));
  expect(Math.abs(uniform.average - 1) / uniform.error).toBeLessThan(4.5);
  const usual = statistics(estimates(householderRows));
  expect(Math.abs(usual.average - 1) / usual.error).toBeGreaterThan(10);
});

describe('drawDirections', () => {
  test('come in blocks of orthogonal directions, the last one cut short', () => {
    const [d, count] = [5, 13];
    const w = drawDirections(count, { dimension: d, features: count, seed: 3 });
    expect(w.length).toBe(count * d);
    for (let r = 0; r < count; r++) {
      for (let s = 0; s < r; s++) {
        const [a, b] = [
          Float64Array.from(w.subarray(r * d, r * d + d)),
          Float64Array.from(w.subarray(s * d, s * d + d)),
        ];
        const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
        if (Math.floor(r / d) === Math.floor(s / d)) expect(Math.abs(cosine)).toBeLessThan(1e-6);
        else expect(Math.abs(cosine)).toBeGreaterThan(1e-6);
      }
    }
  });

  test('have the lengths of normal vectors, or sqrt(d)', () => {
    const d = 8;
    const lengths = (norms: 'chi' | 'sqrt-d') =>
      squaredLengths(drawDirections(20000, { dimension: d, features: 1, norms }), d);
    const chi = lengths('chi');
    expect(Math.abs(statistics(chi).average - d) / statistics(chi).error).toBeLessThan(4.5);
    const fourth = statistics(chi.map((value) => value ** 2));
    expect(Math.abs(fourth.average - d * (d + 2)) / fourth.error).toBeLessThan(4.5);
    for (const value of lengths('sqrt-d')) expect(value).toBeCloseTo(d, 4);
  });

  test('follow from the seed', () => {
    const draw = (seed: number, orthogonal = true) => [
      ...drawDirections(6, { dimension: 4, features: 6, seed, orthogonal }),
    ];
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    expect(draw(1, false)).toEqual([...normal(24, 1)]);
    const changed = drawDirections(6, { dimension: 4, features: 6, seed: 1 });
    const before = [...changed];
    changed.fill(0);
    expect(draw(1)).toEqual(before);
  });
});

function draws(orthogonalise: typeof orthonormalRows, d: number, count: number): Float64Array[] {
  const gaussian = normal(count * d * d, 11 + d);
  return Array.from({ length: count }, (_, i) => orthogonalise(gaussian.subarray(i * d * d, (i + 1) * d * d), d));
}

/** Q of a QR decomposition by Householder reflections, as LAPACK has it, transposed. */
function householderRows(gaussian: ArrayLike<number>, d: number): Float64Array {
  const a = Float64Array.from(gaussian);
  const q = Float64Array.from({ length: d * d }, (_, i) => Number(i % (d + 1) === 0));
  for (let k = 0; k < d - 1; k++) {
    const v = Float64Array.from({ length: d }, (_, r) => (r < k ? 0 : a[r * d + k]!));
    v[k]! += Math.sign(v[k]!) * Math.sqrt(dot(v, v));
    const length = dot(v, v);
    for (let c = 0; c < d; c++) {
      let [overlapA, overlapQ] = [0, 0];
      for (let r = 0; r < d; r++) {
        overlapA += v[r]! * a[r * d + c]!;
        overlapQ += v[r]! * q[r * d + c]!;
      }
      for (let r = 0; r < d; r++) {
        a[r * d + c]! -= (2 * v[r]! * overlapA) / length;
        q[r * d + c]! -= (2 * v[r]! * overlapQ) / length;
      }
    }
  }
  return q;
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function trace(q: Float64Array, d: number): number {
  return Array.from({ length: d }, (_, i) => q[i * (d + 1)]!).reduce((a, b) => a + b);
}

function squaredLengths(w: Float32Array, d: number): number[] {
  return Array.from({ length: w.length / d }, (_, r) =>
    w.subarray(r * d, r * d + d).reduce((sum, x) => sum + x * x, 0),
  );
}

/** The mean and its standard error. */
function statistics(values: readonly number[]): { average: number; error: number } {
  const average = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - average) ** 2, 0) / (values.length - 1);
  return { average, error: Math.sqrt(variance / values.length) };
}
