import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { area, areaAt } from './area';
import {
  cachedBlocks,
  causal,
  isKvCacheEfficient,
  isUnionComplete,
  type Mask,
  oneHead,
  type Place,
  type S2Pattern,
  s2,
  s2Blocks,
} from './index';
import { s2Pairs } from './s2';

/** The rows of a pattern, as strings of zeros and ones. */
function rows(mask: Mask, place: Place): string[] {
  return Array.from({ length: place.n }, (_, i) =>
    Array.from({ length: place.m }, (_, j) => (mask.sees(i, j, place) ? 1 : 0)).join(''),
  );
}

const atHead = (head: number, h: number, g: number, n = 8): Place => ({ ...oneHead(n, n), h, g, head });

describe("the repository's vectors: 8 blocks, 2 local, stride 3", () => {
  const pattern = { localBlocks: 2, verticalStride: 3, homogeneous: true };

  test('absolute', () => {
    expect(rows(s2Blocks(pattern), oneHead(8, 8))).toEqual(
      '10000000 11000000 11100000 10110000 10011000 10011100 10010110 10010011'.split(' '),
    );
  });

  test('relative', () => {
    expect(rows(s2Blocks({ ...pattern, positions: 'relative' }), oneHead(8, 8))).toEqual(
      '11001001 11100100 01110010 00111001 10011100 01001110 00100111 10010011'.split(' '),
    );
  });
});

test('relative with as many local blocks before as after: one number says both', () => {
  const pattern = { verticalStride: 3, positions: 'relative' } as const;
  expect(s2Blocks({ ...pattern, localBlocks: [2, 2] })).toBe(s2Blocks({ ...pattern, localBlocks: 2 }));
});

test('relative, the formula with other sides', () => {
  const mask = s2Blocks({ localBlocks: [4, 2], verticalStride: 3, positions: 'relative' });
  const expected = Array.from({ length: 12 }, (_, i) =>
    Array.from({ length: 12 }, (_, j) =>
      (Math.max(0, i - j - 4 + 1) + Math.max(0, j - i - 2 + 1)) % 3 === 0 ? 1 : 0,
    ).join(''),
  );
  expect(rows(mask, oneHead(12, 12))).toEqual(expected);
});

test('two sides are refused with absolute positions', () => {
  expect(() => s2Blocks({ localBlocks: [4, 2], verticalStride: 3 })).toThrow(
    'localBlocks must be one number with absolute positions, got [4, 2]',
  );
});

test('the formula, head by head', () => {
  const params = { localBlocks: 2, verticalStride: 5, headStep: 2, headOffset: 1, denseHeads: 1 };
  for (let head = 0; head < 8; head++) {
    const keyHead = Math.floor(head / 2);
    const place = atHead(head, 8, 4, 12);
    const expected = Array.from({ length: 12 }, (_, i) =>
      Array.from({ length: 12 }, (_, j) => {
        const kept = (j + keyHead * 2 + 1) % 5 === 0 || keyHead >= 3 || (i - j < 2 && j - i < 1);
        return kept && i >= j ? 1 : 0;
      }).join(''),
    );
    expect(rows(s2Blocks(params), place)).toEqual(expected);
  }
});

describe('limits', () => {
  test.each<[string, S2Pattern]>([
    ['stride 1', { localBlocks: 1, verticalStride: 1 }],
    ['as many local blocks as there are', { localBlocks: 8, verticalStride: 3 }],
    ['all heads dense', { localBlocks: 1, verticalStride: 3, denseHeads: 2 }],
  ])('%s: causal', (_, pattern) => {
    for (const head of [0, 1]) {
      expect(rows(s2({ block: 4, ...pattern }), atHead(head, 2, 2, 30))).toEqual(rows(causal(), oneHead(30, 30)));
    }
  });

  test('no stripe within the sequence: a window of blocks', () => {
    const pattern = s2Blocks({ localBlocks: 2, verticalStride: 20, headOffset: 1 });
    expect(rows(pattern, oneHead(4, 4))).toEqual(['1000', '1100', '0110', '0011']);
  });

  test('heads alike see what the first does', () => {
    const pattern = { localBlocks: 2, verticalStride: 4 };
    for (let head = 0; head < 4; head++) {
      expect(rows(s2Blocks({ ...pattern, homogeneous: true }), atHead(head, 4, 4))).toEqual(
        rows(s2Blocks(pattern), atHead(0, 4, 4)),
      );
    }
  });

  test('the pattern repeats after as many heads as the stride', () => {
    const pattern = s2Blocks({ localBlocks: 2, verticalStride: 3, headStep: 1 });
    for (const head of [0, 1, 2]) {
      expect(rows(pattern, atHead(head, 6, 6))).toEqual(rows(pattern, atHead(head + 3, 6, 6)));
    }
  });
});

test.each([
  [8192, 16, 8, 32, 32, 0.329],
  [32768, 8, 16, 16, 16, 0.0915],
  [8192, 8, 16, 16, 16, 0.1756],
])('%i tokens in blocks of 64, %i local, stride %i, %i heads: the share of causal attention', (...row) => {
  const [n, localBlocks, verticalStride, h, g, density] = row;
  const extent = { b: 1, n: n / 64, m: n / 64, h, g };
  const blocks = area(s2Blocks({ localBlocks, verticalStride }), extent);
  expect(blocks / area(causal(), extent)).toBeCloseTo(density, 3);
});

test.each([
  [{ localBlocks: 3, verticalStride: 4, headStep: 1, headOffset: 2 }, 101, 3],
  [{ localBlocks: 1, verticalStride: 2, denseHeads: 1 }, 64, 2],
  [{ localBlocks: 9, verticalStride: 3, homogeneous: true }, 7, 2],
])('pairs of %j are counted without going through them', (pattern, n, h) => {
  const extent = { b: 2, n, m: n, h, g: h };
  expect(s2Pairs({ block: 4, ...pattern }, extent)).toBe(area(s2({ block: 4, ...pattern }), extent));
  expect(s2Pairs({ block: 4, ...pattern, positions: 'relative' }, extent)).toBeUndefined();
});

describe('cache', () => {
  const pattern = fc.record({
    localBlocks: fc.integer({ min: 1, max: 5 }),
    verticalStride: fc.integer({ min: 1, max: 6 }),
    headOffset: fc.integer({ min: 0, max: 6 }),
  });

  test('absolute patterns never see a block again, relative ones do', () => {
    fc.assert(
      fc.property(pattern, (given) => {
        expect(isKvCacheEfficient(s2Blocks(given), oneHead(24, 24))).toBe(true);
        const relative = s2Blocks({ ...given, positions: 'relative' });
        expect(isKvCacheEfficient(relative, oneHead(24, 24))).toBe(given.verticalStride === 1);
      }),
    );
  });

  test('it holds what later blocks see, and nothing else', () => {
    fc.assert(
      fc.property(pattern, fc.nat({ max: 20 }), fc.nat({ max: 3 }), (given, last, head) => {
        const place = atHead(head, 4, 2, 40);
        const mask = s2Blocks(given);
        const needed = Array.from({ length: last + 1 }, (_, j) =>
          Array.from({ length: 39 - last }, (_, at) => mask.sees(last + 1 + at, j, place)).some(Boolean),
        );
        const kept = cachedBlocks(given, last, { h: 4, g: 2, head });
        expect(needed.map((_, j) => kept.filter((bound) => bound <= j).length % 2 === 1)).toEqual(needed);
      }),
    );
  });

  test('a relative pattern has no cache to bound', () => {
    expect(() =>
      cachedBlocks({ localBlocks: 1, verticalStride: 2, positions: 'relative' }, 3, { h: 1, g: 1, head: 0 }),
    ).toThrow('positions of a cached pattern must be absolute, got relative');
  });
});

test('the union of heads is complete if and only if some head sees each block', () => {
  fc.assert(
    fc.property(
      fc.record({
        localBlocks: fc.constant(1),
        verticalStride: fc.integer({ min: 1, max: 6 }),
        headStep: fc.integer({ min: 0, max: 4 }),
        denseHeads: fc.integer({ min: 0, max: 1 }),
      }),
      fc.constantFrom({ h: 1, g: 1 }, { h: 4, g: 4 }, { h: 6, g: 3 }, { h: 8, g: 8 }),
      (given, heads) => {
        const mask = s2Blocks(given);
        const all = Array.from({ length: 20 }, (_, j) =>
          Array.from({ length: heads.h }, (_, head) => mask.sees(19, j, { ...oneHead(20, 20), ...heads, head })).some(
            Boolean,
          ),
        ).every(Boolean);
        expect(isUnionComplete(given, heads)).toBe(all);
      },
    ),
  );
  // Phi-3-small: 32 query heads of 8 key/value heads, stride 8.
  expect(isUnionComplete({ localBlocks: 16, verticalStride: 8 }, { h: 32, g: 8 })).toBe(true);
  expect(isUnionComplete({ localBlocks: 16, verticalStride: 8 }, { h: 32, g: 4 })).toBe(false);
});

test('more dense heads than there are is refused', () => {
  const mask = s2({ block: 16, localBlocks: 1, verticalStride: 2, denseHeads: 3 });
  expect(() => mask.check?.({ b: 1, n: 64, m: 64, h: 4, g: 2 })).toThrow('needs at least 3 key/value heads, got 2');
  expect(() => mask.check?.({ b: 1, n: 64, m: 64, h: 4, g: 4 })).not.toThrow();
});

test('short sequences see all that is causal', () => {
  const mask = s2({ block: 16, localBlocks: 4, verticalStride: 8 });
  expect(areaAt(mask, oneHead(64, 64))).toBe((64 * 65) / 2);
});
