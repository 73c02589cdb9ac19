/** All forms of every mask agree: predicate, intervals, words, arrangement, area, variants. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { area } from './area';
import {
  and,
  band,
  blockCausal,
  blocks,
  causal,
  causalBlockwise,
  chosenChunks,
  dilated,
  dilatedBlocks,
  documentIds,
  documents,
  firstQueries,
  fromSlices,
  fromTable,
  full,
  globalSliding,
  type KeyWords,
  keyWords,
  LONGCA_MASKS,
  longNet,
  type Mask,
  maskText,
  neighborhood,
  not,
  or,
  type Place,
  power,
  powersOfTwo,
  prefix,
  prefixDocuments,
  randomPermutation,
  s2,
  s2Blocks,
  shareQuestion,
  sinks,
  slidingBlocks,
  stochastic,
  strided,
  strideSlash,
} from './index';
import { lastQueries } from './last-queries';
import { type Extent, placesOf } from './mask';

interface Case {
  readonly mask: Mask;
  readonly extent: Extent;
}

const whole = (min: number, max: number) => fc.integer({ min, max });
const heads = fc.constantFrom([1, 1], [2, 1], [4, 2], [3, 3]).map(([h, g]) => ({ h: h as number, g: g as number }));
const oddExtent = fc
  .tuple(whole(1, 2), whole(1, 37), whole(1, 41), heads)
  .map(([b, n, m, { h, g }]): Extent => ({ b, n, m, h, g }));
const squareOf = (n: number): Extent => ({ b: 1, n, m: n, h: 1, g: 1 });

/** A mask of any lengths. */
const anywhere = (mask: fc.Arbitrary<Mask>): fc.Arbitrary<Case> => fc.record({ mask, extent: oddExtent });

/** A mask of contiguous documents. */
const onDocuments = (make: (lengths: number[]) => Mask) =>
  fc.array(whole(1, 12), { minLength: 1, maxLength: 5 }).map((lengths) => ({
    mask: make(lengths),
    extent: squareOf(lengths.reduce((sum, length) => sum + length, 0)),
  }));

const interleavedDocuments: fc.Arbitrary<Case> = fc
  .tuple(whole(1, 2), whole(1, 33))
  .chain(([batches, n]) =>
    fc.tuple(
      fc.array(whole(-2, 3), { minLength: batches * n, maxLength: batches * n }),
      fc.constant({ ...squareOf(n), b: 2, h: 2 }),
      fc.constant(batches),
    ),
  )
  .map(([ids, extent, batches]) => ({ mask: documents(Int32Array.from(ids), batches), extent }));

const tables: fc.Arbitrary<Case> = fc
  .tuple(oddExtent, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), whole(0, 1000))
  .map(([extent, shared, seed]) => {
    const { b, h, n, m } = extent;
    const shape = [b, h, n, m].map((length, axis) => (shared[axis] ? 1 : length));
    const size = shape.reduce((product, length) => product * length, 1);
    const data = Uint8Array.from({ length: size }, (_, at) => (((at + seed) * 2654435761) & 256 ? 2 : 0));
    return { mask: fromTable({ dtype: 'u8', shape, data }), extent };
  });

const chosen: fc.Arbitrary<Case> = fc
  .record({ batches: whole(1, 2), heads: whole(1, 2), repeat: whole(1, 2), tokens: whole(1, 40), chunk: whole(1, 9) })
  .chain(({ repeat, ...shape }) => {
    const count = shape.batches * shape.heads * Math.ceil(shape.tokens / shape.chunk);
    return fc.tuple(fc.uint8Array({ minLength: count, maxLength: count, max: 1 }), fc.boolean()).map(([bits, own]) => ({
      mask: chosenChunks({ ...shape, chosen: bits, own }),
      extent: { ...squareOf(shape.tokens), b: shape.batches, h: shape.heads * repeat },
    }));
  });

const axis = fc
  .record({ window: whole(2, 5), dilation: whole(1, 3), causal: fc.boolean(), more: whole(0, 7) })
  .chain(({ window, dilation, causal, more }) =>
    whole(1, window).map((stride) => ({ length: window * dilation + more, window, stride, dilation, causal })),
  );

const onGrid = (rank: number, longest: number): fc.Arbitrary<Case> =>
  fc
    .tuple(
      fc.array(axis, { minLength: rank, maxLength: rank }),
      fc.option(fc.array(whole(1, 4), { minLength: rank, maxLength: rank }), { nil: undefined }),
    )
    .filter(([axes]) => axes.reduce((size, { length }) => size * length, 1) <= longest)
    .map(([axes, tile]) => ({
      mask: neighborhood(
        {
          grid: axes.map(({ length }) => length),
          window: axes.map(({ window }) => window),
          stride: axes.map(({ stride }) => stride),
          dilation: axes.map(({ dilation }) => dilation),
          causal: axes.map(({ causal }) => causal),
        },
        tile && { queries: tile, keys: [...tile].reverse() },
      ),
      extent: squareOf(axes.reduce((size, { length }) => size * length, 1)),
    }));

const s2Pattern = fc
  .record(
    {
      localBlocks: whole(1, 4),
      after: whole(1, 4),
      verticalStride: whole(1, 5),
      headStep: whole(0, 3),
      headOffset: whole(-3, 3),
      denseHeads: whole(0, 1),
      positions: fc.constantFrom('absolute' as const, 'relative' as const),
    },
    { requiredKeys: ['localBlocks', 'verticalStride'] },
  )
  .map(({ after, ...pattern }) =>
    after !== undefined && pattern.positions === 'relative'
      ? { ...pattern, localBlocks: [pattern.localBlocks, after] as const }
      : pattern,
  );

const sinkAndWindow = fc.record({ block: whole(1, 5), window: whole(1, 4), sink: whole(0, 2) });

/** A mask without intervals, so that combinations must go by words. */
const wordsOnly = (mask: Mask): Mask => {
  const { intervals: _, ...others } = mask;
  return { ...others, words: (queries, place) => keyWords(mask, queries, place) };
};

const simple: fc.Arbitrary<Mask> = fc.oneof(
  fc.tuple(whole(-1, 9), whole(-1, 9)).map(([left, right]) => band(left, right)),
  whole(0, 9).map(sinks),
  whole(0, 9).map(firstQueries),
  fc.tuple(whole(0, 20), whole(1, 4)).map(([reach, step]) => dilated(reach, step)),
  whole(1, 9).map(strided),
  s2Pattern.map((pattern) => s2Blocks(pattern)),
);

const operand = fc.tuple(simple, fc.boolean()).map(([mask, hide]) => (hide ? wordsOnly(mask) : mask));

const { combination } = fc.letrec<{ combination: Mask }>((tie) => ({
  combination: fc.oneof(
    { maxDepth: 3 },
    operand,
    fc.array(tie('combination'), { minLength: 1, maxLength: 3 }).map((masks) => and(...masks)),
    fc.array(tie('combination'), { minLength: 1, maxLength: 3 }).map((masks) => or(...masks)),
    tie('combination').map(not),
    fc.tuple(whole(1, 7), tie('combination')).map(([size, mask]) => blocks(size, mask)),
  ),
}));

const longCa: fc.Arbitrary<Case> = fc
  .record({
    lengths: fc.array(whole(1, 12), { minLength: 1, maxLength: 5 }),
    window: whole(0, 9),
    prefix: whole(0, 20),
    block: whole(1, 5),
    which: fc.constantFrom(...LONGCA_MASKS),
  })
  .map(({ which, ...params }) => {
    const tokens = params.lengths.reduce((sum, length) => sum + length, 0);
    return { mask: fromSlices(which.slices({ ...params, tokens })), extent: squareOf(tokens) };
  });

const cases: Record<string, fc.Arbitrary<Case>> = {
  full: anywhere(fc.constant(full())),
  causal: anywhere(fc.constant(causal())),
  simple: anywhere(simple),
  combinations: anywhere(combination),
  prefix: anywhere(whole(0, 50).map((count) => or(causal(), prefix(count)))),
  sinks: anywhere(whole(0, 9).map((count) => and(causal(), or(band(5, 0), sinks(count))))),
  'global sliding': anywhere(fc.tuple(whole(0, 9), whole(0, 9)).map(([window, count]) => globalSliding(window, count))),
  'block causal': anywhere(whole(1, 9).map(blockCausal)),
  LongNet: anywhere(whole(1, 3).map((block) => longNet({ block }))),
  'LongNet of other levels': anywhere(
    fc
      .array(fc.record({ segment: whole(1, 20), dilation: whole(1, 6) }), { minLength: 1, maxLength: 3 })
      .map((levels) => longNet({ levels })),
  ),
  'last queries': anywhere(combination.map(lastQueries)).map(({ mask, extent }) => ({
    mask,
    extent: { ...extent, n: Math.min(extent.n, extent.m) },
  })),
  'powers of two': anywhere(fc.constant(powersOfTwo())),
  power: anywhere(sinkAndWindow.map(power)),
  'sliding blocks': anywhere(sinkAndWindow.map(slidingBlocks)),
  'stride slash': anywhere(fc.tuple(sinkAndWindow, whole(1, 6)).map(([is, stride]) => strideSlash({ ...is, stride }))),
  'dilated and causal': anywhere(
    fc.tuple(whole(0, 20), whole(2, 3)).map(([reach, step]) => and(causal(), dilated(reach, step), band(9, 9))),
  ),
  'dilated blocks': anywhere(
    fc.record({ block: whole(1, 5), reach: whole(1, 20), step: whole(1, 3) }).map(dilatedBlocks),
  ),
  s2: anywhere(fc.tuple(whole(1, 6), s2Pattern).map(([block, pattern]) => s2({ block, ...pattern }))),
  documents: interleavedDocuments,
  'causal documents': interleavedDocuments.map(({ mask, extent }) => ({ mask: and(mask, causal()), extent })),
  'documents in blocks': onDocuments((lengths) => and(documents(documentIds(lengths)), blockCausal(3))),
  'share question': onDocuments(shareQuestion),
  'causal blockwise': onDocuments(causalBlockwise),
  'prefix documents': onDocuments((lengths) => prefixDocuments(lengths, 4)),
  'LongCA slices': longCa,
  'neighborhood on 1 axis': onGrid(1, 60),
  'neighborhood on 2 axes': onGrid(2, 200),
  'neighborhood on 3 axes': onGrid(3, 250),
  'chosen chunks': chosen,
  'from a table': tables,
  stochastic: fc
    .record({
      // Blocks of 96 slots are in order of their tokens.
      n: fc.oneof(whole(1, 70), whole(97, 130)),
      window: whole(1, 120),
      seed: whole(0, 1000),
      causal: fc.boolean(),
      strict: fc.boolean(),
      clamped: fc.option(fc.boolean(), { nil: undefined }),
    })
    .map(({ n, seed, strict, ...params }) => ({
      mask: stochastic({ ...params, strict: strict && params.causal, permutation: randomPermutation(n, seed) }),
      extent: squareOf(n),
    })),
};

describe.each(Object.entries(cases))('%s', (_, anyCase) => {
  test('all forms agree', () => {
    fc.assert(
      fc.property(anyCase, whole(5, 32), whole(0, 1000), ({ mask, extent }, count, seed) => {
        mask.check?.(extent);
        const byVariant = new Map<unknown, string>();
        let pairs = 0;
        for (const place of placesOf(extent)) {
          const seen = matrixOf(mask, place);
          pairs += seen.flat().filter(Boolean).length;
          expectIntervals(mask, place, seen);
          expectWords(mask, place, seen, count, seed);
          expectArrangement(mask, place, seen, count);

          const variant = mask.variant?.(place) ?? 'all';
          expect(JSON.stringify(seen)).toBe(byVariant.get(variant) ?? JSON.stringify(seen));
          byVariant.set(variant, JSON.stringify(seen));
        }
        expect(area(mask, extent)).toBe(pairs);
        expect(mask.name).not.toMatch(/undefined|NaN|\[object|, *,/);
        expect(maskText(mask, { ...extent, batch: 0, head: 0 }, 60)).toContain('keys 0 to');
      }),
      { numRuns: 50 },
    );
  });
});

function matrixOf(mask: Mask, place: Place): boolean[][] {
  return Array.from({ length: place.n }, (_, i) => Array.from({ length: place.m }, (_, j) => mask.sees(i, j, place)));
}

function expectIntervals(mask: Mask, place: Place, seen: boolean[][]): void {
  const { intervals } = mask;
  if (!intervals) {
    expect(mask.words).toBeDefined();
    return;
  }
  seen.forEach((row, i) => {
    const bounds = intervals(i, place);
    expectAscending(bounds, place.m);
    const covered = row.map((_, j) => bounds.filter((bound) => bound <= j).length % 2 === 1);
    expect(covered.join()).toBe(row.join());
    const before = seen[i - 1];
    if (mask.slides && before) expect(row.slice(1).join()).toBe(before.slice(0, -1).join());
  });
}

function expectWords(mask: Mask, place: Place, seen: boolean[][], count: number, seed: number): void {
  // Queries of a tile are in any order.
  const order = randomPermutation(place.n, seed);
  for (let first = 0; first < place.n; first += count) {
    const queries = order.subarray(first, first + count);
    const expected = Array.from({ length: place.m }, (_, j) => wordOf(Array.from(queries, (i) => seen[i]?.[j])));
    expect(expanded(keyWords(mask, queries, place), place.m).join()).toBe(expected.join());
  }
}

function expectArrangement(mask: Mask, place: Place, seen: boolean[][], count: number): void {
  const arrangement = mask.arrange?.(place);
  if (!arrangement) return;
  const { queries, keys } = arrangement;
  const each = (count: number) => Array.from({ length: count }, (_, token) => token);
  expect(Array.from(queries.filter((query) => query !== -1)).sort((a, b) => a - b)).toEqual(each(place.n));
  expect(Array.from(keys.filter((key) => key !== -1)).sort((a, b) => a - b)).toEqual(each(place.m));
  for (let first = 0; first < queries.length; first += count) {
    const tile = Array.from(queries.subarray(first, first + count));
    const expected = Array.from(keys, (j) => wordOf(tile.map((i) => i !== -1 && j !== -1 && seen[i]?.[j])));
    expect(expanded(arrangement.words(first, tile.length, place), keys.length).join()).toBe(expected.join());
  }
}

function wordOf(bits: readonly (boolean | undefined)[]): number {
  return bits.reduce((word, bit, r) => word | (bit ? 1 << r : 0), 0);
}

/** The word of each of m keys; those behind must be seen by none. */
function expanded({ starts, words }: KeyWords, m: number): number[] {
  const result = new Array<number>(m).fill(0);
  starts.forEach((start, at) => {
    result.fill(words[at] as number, start);
  });
  expectAscending(starts, m);
  expect(words.at(-1) ?? 0).toBe(0);
  return result;
}

function expectAscending(bounds: readonly number[], last: number): void {
  const within = bounds.every((bound, at) => bound > (bounds[at - 1] ?? -1) && bound <= last);
  expect(within, `${bounds}`).toBe(true);
}
