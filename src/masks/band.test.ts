import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { ParameterError } from '../errors';
import { areaAt } from './area';
import { band, causal, full } from './band';
import { type Mask, oneHead } from './mask';

const length = fc.integer({ min: 1, max: 12 });
const reach = fc.oneof(fc.constant(-1), fc.nat({ max: 15 }));

/** The pairs that the definition admits: the last query aligned with the last key. */
function pairs(left: number, right: number, n: number, m: number): boolean[][] {
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: m }, (_, j) => {
      const aligned = i + (m - n);
      return (left === -1 || j >= aligned - left) && (right === -1 || j <= aligned + right);
    }),
  );
}

test('sees, interval and area agree with the definition', () => {
  fc.assert(
    fc.property(length, length, reach, reach, (n, m, left, right) => {
      const mask = band(left, right);
      const expected = pairs(left, right, n, m);
      expected.forEach((row, i) => {
        expect(row.map((_, j) => mask.sees(i, j, oneHead(n, m)))).toEqual(row);
        const [start = 0, end = 0] = mask.intervals?.(i, oneHead(n, m)) ?? [];
        expect(row.map((_, j) => start <= j && j < end)).toEqual(row);
        expect(0 <= start && start <= end && end <= m).toBe(true);
      });
      expect(areaAt(mask, oneHead(n, m))).toBe(expected.flat().filter(Boolean).length);
    }),
    { numRuns: 500 },
  );
});

test('an area is counted once for each mask and each extent', () => {
  const mask = { ...band(2, 0), intervals: vi.fn(band(2, 0).intervals as NonNullable<Mask['intervals']>) };
  expect([oneHead(9, 9), oneHead(9, 9), oneHead(5, 5)].map((place) => areaAt(mask, place))).toEqual([24, 24, 12]);
  expect(mask.intervals).toHaveBeenCalledTimes(9 + 5);
});

test('full sees everything, causal what the definition says', () => {
  fc.assert(
    fc.property(length, length, (n, m) => {
      expect(areaAt(full(), oneHead(n, m))).toBe(n * m);
      for (let i = 0; i < n; i++) {
        expect(full().intervals?.(i, oneHead(n, m))).toEqual([0, m]);
        expect(causal().intervals?.(i, oneHead(n, m))).toEqual(i + 1 + m - n > 0 ? [0, i + 1 + m - n] : []);
      }
    }),
  );
});

describe('examples', () => {
  test('causal with fewer queries than keys: the last query sees the last key', () => {
    expect([0, 1].map((i) => causal().intervals?.(i, oneHead(2, 5)))).toEqual([
      [0, 4],
      [0, 5],
    ]);
  });

  test('causal with more queries than keys: the first queries see nothing', () => {
    expect([0, 1, 2, 3].map((i) => causal().intervals?.(i, oneHead(4, 2)))).toEqual([[], [], [0, 1], [0, 2]]);
  });

  test('a window of two keys before and one behind', () => {
    expect([0, 1, 2, 3, 4, 5].map((i) => band(2, 1).intervals?.(i, oneHead(6, 6)))).toEqual([
      [0, 2],
      [0, 3],
      [0, 4],
      [1, 5],
      [2, 6],
      [3, 6],
    ]);
  });

  test('the largest reach there is', () => {
    expect(band(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER).intervals?.(3, oneHead(10, 10))).toEqual([0, 10]);
  });
});

test('names', () => {
  expect([full(), causal(), band(3, 0), band(2, 1), band(-1, 2), band(2, -1)].map(({ name }) => name)).toEqual([
    'full',
    'causal',
    'causal window 3',
    'window [2, 1]',
    'window [-1, 2]',
    'window [2, -1]',
  ]);
});

test.each([-2, 1.5, Number.NaN, Number.POSITIVE_INFINITY, undefined])('a reach of %s is refused by its side', (bad) => {
  expect(() => band(bad as number, 0)).toThrow(ParameterError);
  expect(() => band(bad as number, 0)).toThrow(`window left must be an integer >= 0, or -1 for unbounded, got ${bad}`);
  expect(() => band(0, bad as number)).toThrow(`window right must be an integer >= 0, or -1 for unbounded, got ${bad}`);
});
