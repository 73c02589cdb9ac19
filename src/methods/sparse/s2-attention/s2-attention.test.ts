import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { area } from '../../../masks/area';
import { causal } from '../../../masks/band';
import { type Mask, oneHead } from '../../../masks/mask';
import { cachedBlocks, isKvCacheEfficient } from '../../../masks/s2';
import { problemOfLetters } from '../../define';
import { s2Attention } from '.';
import { sees } from './reference';

const local = fc.integer({ min: 1, max: 4 });

const pattern = fc
  .record(
    {
      block: fc.integer({ min: 1, max: 20 }),
      localBlocks: local,
      verticalStride: fc.integer({ min: 1, max: 5 }),
      headStep: fc.integer({ min: 0, max: 3 }),
      headOffset: fc.integer({ min: -3, max: 3 }),
      denseHeads: fc.integer({ min: 0, max: 1 }),
      scale: fc.double({ min: -2, max: 2, noNaN: true }),
    },
    { requiredKeys: ['block', 'localBlocks', 'verticalStride'] },
  )
  .chain((params) =>
    fc.oneof(
      fc.constant(params),
      fc.constant({ ...params, denseHeads: 0, homogeneous: true }),
      fc.constant({ ...params, positions: 'relative' }),
      local.map((after) => ({ ...params, positions: 'relative', localBlocks: [params.localBlocks, after] })),
    ),
  );

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({ m: fc.integer({ min: 1, max: 90 }), params: pattern })
    .map(({ m, params }) => ({ q: [b, n, h, d], k: [b, m, g, d], v: [b, m, g, e], params })),
);

describeMethod(s2Attention, cases, 60);

interface Problem {
  readonly n: number;
  readonly m?: number;
  readonly h?: number;
  readonly g?: number;
}

/** What a head sees, a row of zeros and ones for each query, by the reference. */
function rows(params: object, { n, m = n, h = 1, g = h }: Problem, head = 0): string[] {
  const seen = sees(s2Attention.parse(params), { n, m, h, g });
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: m }, (_, j) => (seen(i, j, head, 0) ? 1 : 0)).join(''),
  );
}

const triangle = (n: number) => Array.from({ length: n }, (_, i) => '1'.repeat(i + 1).padEnd(n, '0'));

describe("the vectors of the authors' code: 8 blocks, 2 local, stride 3", () => {
  const params = { block: 1, localBlocks: 2, verticalStride: 3, homogeneous: true };

  test('causal', () => {
    expect(rows(params, { n: 8 })).toEqual(
      '10000000 11000000 11100000 10110000 10011000 10011100 10010110 10010011'.split(' '),
    );
  });

  test('to both sides', () => {
    expect(rows({ ...params, positions: 'relative' }, { n: 8 })).toEqual(
      '11001001 11100100 01110010 00111001 10011100 01001110 00100111 10010011'.split(' '),
    );
  });
});

describe('the reference', () => {
  test.each([
    ['stride 1', { block: 4, localBlocks: 1, verticalStride: 1 }],
    ['as many local blocks as there are', { block: 4, localBlocks: 8, verticalStride: 5 }],
    ['all heads dense', { block: 4, localBlocks: 1, verticalStride: 5, denseHeads: 4 }],
    ['short sequences by default', {}],
  ])('%s: dense causal', (_, params) => {
    for (const head of [0, 3]) expect(rows(params, { n: 30, h: 4 }, head)).toEqual(triangle(30));
  });

  test('no stripe within the sequence: a sliding window of blocks', () => {
    const params = { block: 1, localBlocks: 2, verticalStride: 20, headOffset: 1 };
    expect(rows(params, { n: 4 })).toEqual(['1000', '1100', '0110', '0011']);
  });

  const params = { block: 2, localBlocks: 2, verticalStride: 3, headStep: 1 };

  test('a head sees what the head a stride further on does', () => {
    for (const head of [0, 1, 2])
      expect(rows(params, { n: 31, h: 6 }, head)).toEqual(rows(params, { n: 31, h: 6 }, head + 3));
    expect(rows(params, { n: 31, h: 6 }, 0)).not.toEqual(rows(params, { n: 31, h: 6 }, 1));
  });

  test('a stride of heads sees everything together', () => {
    const heads = [1, 2, 3].map((head) => rows(params, { n: 31, h: 6 }, head));
    const union = heads[0]!.map((row, i) =>
      [...row].map((_, j) => (heads.some((head) => head[i]![j] === '1') ? 1 : 0)).join(''),
    );
    expect(union).toEqual(triangle(31));
  });

  test('homogeneous heads see what the first does', () => {
    for (const head of [0, 1, 5]) {
      expect(rows({ ...params, homogeneous: true }, { n: 31, h: 6 }, head)).toEqual(rows(params, { n: 31, h: 6 }, 0));
    }
  });

  test('query heads see what their key/value head does; the last of those are dense', () => {
    const dense = { ...params, denseHeads: 1 };
    const at = (head: number) => rows(dense, { n: 31, h: 6, g: 3 }, head);
    expect([at(0), at(2), at(5)]).toEqual([at(1), at(3), at(4)]);
    expect(at(4)).toEqual(triangle(31));
    expect(at(0)).toEqual(rows(params, { n: 31, h: 3 }, 0));
    expect(at(2)).toEqual(rows(params, { n: 31, h: 3 }, 1));
  });

  test('fewer queries than keys are the last ones', () => {
    for (const positions of ['absolute', 'relative']) {
      expect(rows({ ...params, positions }, { n: 5, m: 31 })).toEqual(
        rows({ ...params, positions }, { n: 31 }).slice(-5),
      );
    }
  });

  test('other local blocks before than after', () => {
    const sided = { block: 1, localBlocks: [3, 1], verticalStride: 4, positions: 'relative' };
    expect(rows(sided, { n: 10 })[4]).toBe('0011100010');
  });
});

/** The mask of the method, and the problem of one of its heads. */
function maskOf(params: object, problem: Required<Problem>): Mask {
  return s2Attention.mask!(s2Attention.parse(params), problemOfLetters({ ...problem }));
}

describe('the cache', () => {
  const params = { block: 4, localBlocks: 2, verticalStride: 3 };
  const problem = { n: 48, m: 48, h: 6, g: 3 };
  const place = { ...oneHead(48, 48), ...problem, head: 2 };

  test('may drop what absolute patterns drop, and not what relative ones do', () => {
    expect(isKvCacheEfficient(maskOf(params, problem), place)).toBe(true);
    expect(isKvCacheEfficient(maskOf({ ...params, positions: 'relative' }, problem), place)).toBe(false);
    const dense = { ...params, positions: 'relative', verticalStride: 1 };
    expect(isKvCacheEfficient(maskOf(dense, problem), place)).toBe(true);
  });

  test('of the blocks that it keeps, later queries see every one and no other', () => {
    const { block, ...pattern } = params;
    const last = 6;
    const mask = maskOf(params, problem);
    const kept = cachedBlocks(pattern, last, { h: 6, g: 3, head: 2 });
    const needed = Array.from({ length: last + 1 }, (_, at) =>
      Array.from({ length: 48 - (last + 1) * block }, (_, later) =>
        mask.sees((last + 1) * block + later, at * block, place),
      ).some(Boolean),
    );
    expect(needed.map((_, at) => kept.filter((bound) => bound <= at).length % 2 === 1)).toEqual(needed);
    expect(needed).toContain(false);
  });
});

test.each([
  [8192, 16, 8, 32, 0.329],
  [8192, 8, 16, 16, 0.1756],
])(
  '%i tokens, %i local blocks, stride %i, %i heads: the share of causal attention',
  (n, localBlocks, verticalStride, h, density) => {
    const settings = s2Attention.parse({ block: 1, localBlocks, verticalStride });
    const blocks = n / 64;
    const letters = { b: 1, n: blocks, m: blocks, h, g: h, d: 1, e: 1 };
    const pairs = s2Attention.cost(letters, settings).flops / 4;
    expect(pairs / area(causal(), problemOfLetters(letters))).toBeCloseTo(density, 3);
  },
);

test.each([1, 2, 3, 100, 4096, 100_000])('variants are all different and valid for %i keys', (m) => {
  const variants = s2Attention.variants({ b: 1, n: m, m, h: 1, g: 1, d: 1, e: 1 });
  const settings = variants.map((variant) => JSON.stringify(s2Attention.parse(variant)));
  expect(new Set(settings).size).toBe(settings.length);
});

describe('params', () => {
  test("are Phi-3-small's by default, causal if absolute", () => {
    expect(s2Attention.parse({})).toEqual({
      block: 64,
      localBlocks: 16,
      verticalStride: 8,
      headOffset: 0,
      denseHeads: 0,
      homogeneous: false,
      positions: 'absolute',
    });
    expect(s2Attention.isCausal?.(s2Attention.parse({}))).toBe(true);
    expect(s2Attention.isCausal?.(s2Attention.parse({ positions: 'relative' }))).toBe(false);
  });

  const either = 'expected integer >= 1 or [integer >= 1, integer >= 1]';

  test.each([
    [{ block: 0 }, 'param block of s2-attention: expected integer >= 1, got 0'],
    [{ localBlocks: 0 }, `param localBlocks of s2-attention: ${either}, got 0`],
    [{ localBlocks: [1] }, `param localBlocks of s2-attention: ${either}, got [1]`],
    [{ verticalStride: 2.5 }, 'param verticalStride of s2-attention: expected integer >= 1, got 2.5'],
    [{ headStep: -1 }, 'param headStep of s2-attention: expected integer >= 0, got -1'],
    [{ headOffset: '1' }, 'param headOffset of s2-attention: expected integer, got "1"'],
    [{ denseHeads: -1 }, 'param denseHeads of s2-attention: expected integer >= 0, got -1'],
    [{ homogeneous: 'yes' }, 'param homogeneous of s2-attention: expected true or false, got "yes"'],
    [{ positions: 'both' }, 'param positions of s2-attention: expected one of absolute, relative, got "both"'],
    [{ stride: 8 }, "s2-attention has no param 'stride': expected block, localBlocks, verticalStride"],
  ])('%j is refused by name', (params, message) => {
    expect(() => s2Attention.parse(params as never)).toThrow(message);
  });

  test.each([
    [{ localBlocks: [2, 1] }, 'localBlocks must be one number with absolute positions, got [2, 1]'],
    [{ homogeneous: true, denseHeads: 1 }, 'denseHeads must be 0 if all heads are alike, got 1'],
  ])('%j do not fit each other', (params, message) => {
    expect(() => maskOf(params, { n: 8, m: 8, h: 2, g: 2 })).toThrow(message);
  });
});
