import { describe, expect, test } from 'vitest';
import { reasons } from './combine';
import {
  and,
  band,
  blocks,
  causal,
  documents,
  flashMaskColumns,
  fromSlices,
  full,
  keyWords,
  type Mask,
  not,
  oneHead,
  or,
  powersOfTwo,
  prefix,
  type Slice,
  s2Blocks,
  sinks,
  sliceArea,
  stochastic,
  strided,
} from './index';

const rows = (mask: Mask, n: number, m = n) => Array.from({ length: n }, (_, i) => mask.intervals?.(i, oneHead(n, m)));
const wordsOnly = ({ intervals: _, ...mask }: Mask): Mask => ({
  ...mask,
  words: (queries, place) => keyWords({ ...mask, intervals: full().intervals } as Mask, queries, place),
});

describe('combinations', () => {
  test('say what they are made of', () => {
    expect(and(causal(), band(3, 1)).name).toBe('causal and window [3, 1]');
    expect(and(causal(), or(band(3, 0), sinks(4))).name).toBe('causal and (causal window 3 or sinks 4)');
    expect(not(or(causal(), prefix(2))).name).toBe('not (causal or prefix 2)');
    expect(blocks(8, causal()).name).toBe('blocks of 8 (causal)');
  });

  test('equal ones are the same object, those of other operands are not', () => {
    expect(and(causal(), sinks(4))).toBe(and(causal(), sinks(4)));
    expect(not(causal())).toBe(not(causal()));
    const [a, b] = [documents(Int32Array.of(0, 0, 1)), documents(Int32Array.of(0, 1, 1))];
    expect(a.name).toBe(b.name);
    expect(and(causal(), a)).toBe(and(causal(), a));
    expect(and(causal(), a)).not.toBe(and(causal(), b));
    expect(blocks(2, a)).not.toBe(blocks(2, b));
  });

  test('of one mask is that mask, of none is refused', () => {
    expect(and(causal())).toBe(causal());
    expect(() => and()).toThrow('and() needs at least one mask, got none');
    expect(() => or()).toThrow('or() needs at least one mask, got none');
  });

  test('the complement leaves no bits to queries that a tile does not have', () => {
    const mask = not(wordsOnly(full()));
    expect(keyWords(mask, [0, 1, 2], oneHead(40, 9)).starts).toEqual([]);
    const nothing = not(mask);
    for (const count of [1, 3, 31, 32]) {
      const queries = Array.from({ length: count }, (_, r) => r);
      const { starts, words } = keyWords(nothing, queries, oneHead(40, 9));
      expect([starts, words.map((word) => word >>> 0)]).toEqual([
        [0, 9],
        [2 ** count - 1, 0],
      ]);
    }
  });

  test('of sliding masks slide, their complements and others do not', () => {
    expect(and(causal(), band(3, 1)).slides).toBe(true);
    expect(or(causal(), band(3, 1)).slides).toBe(true);
    expect(not(causal()).slides).toBeUndefined();
    expect(and(causal(), strided(40)).slides).toBeUndefined();
  });

  test('vary where an operand does', () => {
    const mask = and(causal(), s2Blocks({ localBlocks: 1, verticalStride: 4, headStep: 1 }));
    const variants = [0, 1, 2, 3, 4].map((head) => mask.variant?.({ ...oneHead(9, 9), h: 5, g: 5, head }));
    expect(new Set(variants).size).toBe(4);
    expect(and(causal(), sinks(2)).variant).toBeUndefined();
  });
});

test.each([1, 2, 3, 4, 20])(
  'blocks of %i are counted from the first key, and queries are the last positions',
  (size) => {
    const mask = blocks(size, band(1, 0));
    for (let n = 1; n < 13; n++) {
      for (let m = 1; m < 13; m++) {
        for (let at = 0; at < n * m; at++) {
          const [i, j] = [Math.floor(at / m), at % m];
          const distance = Math.floor((i + m - n) / size) - Math.floor(j / size);
          expect(mask.sees(i, j, oneHead(n, m))).toBe(distance === 0 || distance === 1);
        }
      }
    }
  },
);

describe('documents', () => {
  test('need not be contiguous', () => {
    const mask = documents(Int32Array.of(7, -1, 7, 7, -1));
    expect(rows(mask, 5)).toEqual([
      [0, 1, 2, 4],
      [1, 2, 4, 5],
      [0, 1, 2, 4],
      [0, 1, 2, 4],
      [1, 2, 4, 5],
    ]);
  });

  test('of several batches', () => {
    const mask = documents(Int32Array.of(0, 0, 1, 0, 1, 1), 2);
    const place = { ...oneHead(3, 3), b: 2 };
    expect([0, 1].map((batch) => mask.intervals?.(1, { ...place, batch }))).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(() => mask.check?.(place)).not.toThrow();
    expect(() => mask.check?.({ ...place, b: 3 })).toThrow('has ids for 2 batches, got 3 batches');
    expect(() => documents(Int32Array.of(0, 1)).check?.({ ...oneHead(2, 2), b: 3 })).not.toThrow();
  });

  test('the mask keeps its own copy of the ids', () => {
    const ids = Int32Array.of(0, 0, 1);
    const mask = documents(ids);
    ids.fill(0);
    expect(mask.sees(0, 2, oneHead(3, 3))).toBe(false);
  });
});

describe('slices', () => {
  const slice = (kind: Slice['kind'], queries: [number, number], keys: [number, number]): Slice => ({
    kind,
    queries,
    keys,
  });

  test.each([
    [
      slice('full', [0, 3], [1, 3]),
      [
        [1, 3],
        [1, 3],
        [1, 3],
      ],
    ],
    [
      slice('causal', [0, 3], [0, 4]),
      [
        [0, 2],
        [0, 3],
        [0, 4],
      ],
    ],
    [slice('causal', [0, 3], [0, 2]), [[], [0, 1], [0, 2]]],
    [
      slice('inverse', [0, 3], [0, 4]),
      [
        [0, 4],
        [1, 4],
        [2, 4],
      ],
    ],
    [slice('inverse', [0, 3], [0, 2]), [[0, 2], [1, 2], []]],
    [
      slice('bicausal', [0, 3], [0, 4]),
      [
        [0, 2],
        [1, 3],
        [2, 4],
      ],
    ],
    [slice('bicausal', [0, 3], [0, 2]), [[], [], []]],
  ])('%j', (given, expected) => {
    expect(rows(fromSlices([given]), 3, 4)).toEqual(expected);
    const area = expected.reduce((sum, [start = 0, end = 0]) => sum + end - start, 0);
    expect(sliceArea(given)).toBe(area);
  });

  test('a later slice paints over what lies in its rectangle', () => {
    const mask = fromSlices([slice('full', [0, 3], [0, 4]), slice('causal', [0, 2], [1, 3])]);
    expect(rows(mask, 3, 4)).toEqual([
      [0, 2, 3, 4],
      [0, 4],
      [0, 4],
    ]);
    expect(mask.sees(0, 2, oneHead(3, 4))).toBe(false);
  });

  test('beyond the problem is refused', () => {
    const mask = fromSlices([slice('full', [0, 3], [0, 4])]);
    expect(() => mask.check?.(oneHead(3, 3))).toThrow('needs at least 3 queries and 4 keys, got 3 queries and 3 keys');
  });
});

describe('FlashMask', () => {
  test('a column with two gaps on a side is refused', () => {
    expect(() => flashMaskColumns(strided(3), oneHead(9, 9))).toThrow(
      'FlashMask holds one gap in a column on each side of the diagonal, but mask "stride 3" has more',
    );
  });

  test('a gap across the diagonal belongs to both sides', () => {
    const { lts, lte, uts, ute } = flashMaskColumns(not(band(1, 1)), oneHead(5, 5));
    expect([lts[2], lte[2], uts[2], ute[2]]).toEqual([2, 4, 1, 2]);
  });

  test('other numbers of queries and keys are refused', () => {
    expect(() => flashMaskColumns(causal(), oneHead(4, 5))).toThrow(
      'as many queries as keys, got 4 queries and 5 keys',
    );
  });

  test('masks without intervals have columns as well', () => {
    const permutation = Int32Array.of(0, 1, 2, 3);
    expect(flashMaskColumns(wordsOnly(full()), oneHead(4, 4)).lts).toEqual(new Int32Array(4).fill(4));
    expect(() => flashMaskColumns(stochastic({ permutation, window: 2 }), oneHead(4, 4))).not.toThrow();
  });
});

test('the parts of a combination to which it is due that a pair is seen, or is not, are named', () => {
  const mask = and(causal(), blocks(4, or(band(1, 0), powersOfTwo())));
  const place = oneHead(64, 64);
  const of = (i: number, j: number) => [mask.sees(i, j, place), ...reasons(mask, i, j, place)];
  const [near, powers] = ['causal window 1 of blocks of 4', 'powers of two of blocks of 4'];
  expect(of(3, 9)).toEqual([false, 'causal', near, powers]);
  expect(of(9, 11)).toEqual([false, 'causal']);
  expect(of(40, 8)).toEqual([true, 'causal', powers]);
  expect(of(40, 12)).toEqual([false, near, powers]);
  expect(reasons(not(mask), 3, 9, place)).toEqual([not(mask).name]);
});
