import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { areaAt } from './area';
import { band, causal, full, type Mask, oneHead, randomPermutation, stochastic } from './index';

const identity = (n: number) => Int32Array.from({ length: n }, (_, at) => at);

function rows(mask: Mask, n: number): string[] {
  return Array.from({ length: n }, (_, i) => `${mask.intervals?.(i, oneHead(n, n))}`);
}

describe('random permutations', () => {
  test('hold every token once, differ by seed and repeat with it', () => {
    for (const n of [1, 2, 3, 64, 1000]) {
      expect([...randomPermutation(n, 7)].sort((a, b) => a - b)).toEqual([...identity(n)]);
      expect(randomPermutation(n, 7)).toEqual(randomPermutation(n, 7));
    }
    expect(randomPermutation(64, 1)).not.toEqual(randomPermutation(64, 2));
  });

  test('every order of three is as likely', () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const order = randomPermutation(3, seed).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

test('every row and every column has as many ones as the window', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 50 }), fc.nat(), (n, window, seed) => {
      const mask = stochastic({ permutation: randomPermutation(n, seed), window });
      const place = oneHead(n, n);
      for (let i = 0; i < n; i++) {
        const row = identity(n).filter((j) => mask.sees(i, j, place));
        const column = identity(n).filter((j) => mask.sees(j, i, place));
        expect([row.length, column.length]).toEqual([Math.min(n, window), Math.min(n, window)]);
        expect(mask.sees(i, i, place)).toBe(true);
      }
    }),
  );
});

test('an even window: half before, itself, the rest after, around the circle', () => {
  const mask = stochastic({ permutation: Int32Array.of(3, 0, 4, 1, 2), window: 4 });
  // Token 3 is in slot 0: slots 3, 4, 0, 1 hold 1, 2, 3, 0. Token 4 is in slot 2: slots 0 to 3 hold 3, 0, 4, 1.
  expect([mask.intervals?.(3, oneHead(5, 5)), mask.intervals?.(4, oneHead(5, 5))]).toEqual([
    [0, 4],
    [0, 2, 3, 5],
  ]);
});

test('tokens in their own order, causally: the sliding window', () => {
  for (const window of [1, 2, 5, 30]) {
    expect(rows(stochastic({ permutation: identity(20), window, causal: true }), 20)).toEqual(
      rows(band(window - 1, 0), 20),
    );
  }
});

test('a window over everything sees everything, or everything before', () => {
  const permutation = randomPermutation(30, 1);
  expect(rows(stochastic({ permutation, window: 30 }), 30)).toEqual(rows(full(), 30));
  expect(rows(stochastic({ permutation, window: 31 }), 30)).toEqual(rows(full(), 30));
  expect(rows(stochastic({ permutation, window: 30, causal: true }), 30)).toEqual(rows(causal(), 30));
});

test('a causal window has about as many keys as a sliding one', () => {
  let pairs = 0;
  for (let seed = 0; seed < 50; seed++) {
    pairs += areaAt(
      stochastic({ permutation: randomPermutation(512, seed), window: 32, causal: true }),
      oneHead(512, 512),
    );
  }
  expect(Math.abs(pairs / 50 / areaAt(band(31, 0), oneHead(512, 512)) - 1)).toBeLessThan(0.02);
});

test('off the diagonal a pair is seen with probability (window - 1) / (n - 1)', () => {
  let seen = 0;
  for (let seed = 0; seed < 4000; seed++) {
    if (stochastic({ permutation: randomPermutation(20, seed), window: 6 }).sees(3, 11, oneHead(20, 20))) seen++;
  }
  expect(Math.abs(seen / 4000 - 5 / 19)).toBeLessThan(0.03);
});

test('the mask keeps its own copy of the permutation', () => {
  const permutation = randomPermutation(10, 1);
  const mask = stochastic({ permutation, window: 3 });
  const before = rows(mask, 10);
  permutation.fill(0);
  expect(rows(mask, 10)).toEqual(before);
});

test.each([
  [[0, 1, 3], 'permutation must hold each of 0 to 2 once, got 3 at 2'],
  [[0, -1, 2], 'got -1 at 1'],
  [[0, 2, 0], 'permutation must hold each of 0 to 2 once, got 0 at 0 and again at 2'],
  [[], 'permutation must have at least one token'],
])('%j is no permutation', (tokens, message) => {
  expect(() => stochastic({ permutation: Int32Array.from(tokens), window: 2 })).toThrow(message);
});

test('another length is refused', () => {
  const mask = stochastic({ permutation: randomPermutation(10, 1), window: 3 });
  expect(() => mask.check?.(oneHead(10, 12))).toThrow('needs 10 queries and as many keys, got 10 queries and 12 keys');
});
