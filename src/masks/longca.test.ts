import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { areaAt } from './area';
import { flashMaskColumns } from './flashmask';
import { LONGCA_MASKS, type LongCaParams } from './longca';
import { oneHead } from './mask';
import { fromSlices, type Slice, sliceArea } from './slices';

/** The sheet's example, and what it says of each mask: area, and tiles of 8 x 8 that are not empty and that are full. */
const example: LongCaParams = { tokens: 32, lengths: [5, 7, 12, 8], window: 4, prefix: 10, block: 4 };
const GOLDEN: Record<string, { params?: Partial<LongCaParams>; area: number; tiles: [some: number, full: number] }> = {
  full: { area: 1024, tiles: [16, 16] },
  causal: { area: 528, tiles: [10, 6] },
  'full-document': { area: 282, tiles: [8, 2] },
  'causal-document': { area: 157, tiles: [6, 0] },
  'sliding-window': { area: 268, tiles: [10, 0] },
  'sliding-window-causal': { area: 150, tiles: [7, 0] },
  'share-question': { area: 292, tiles: [8, 0] },
  'causal-blockwise': { area: 349, tiles: [9, 3] },
  'prefix-lm-causal': { area: 573, tiles: [11, 7] },
  'prefix-lm-document': { params: { prefix: 3 }, area: 169, tiles: [6, 0] },
  'global-sliding-window': { area: 644, tiles: [14, 7] },
  'block-causal-document': { params: { lengths: [8, 4, 12, 8] }, area: 208, tiles: [5, 0] },
};

/** For each mask whether q sees k, and the gaps of key j below and above the diagonal, as in the benchmark's paper. */
interface Definition {
  keep(q: number, k: number): boolean;
  columns(j: number): { lts?: number; lte?: number; uts?: number; ute?: number };
}

function definitions({ tokens: T, lengths, window: w, prefix: p, block: b }: LongCaParams): Record<string, Definition> {
  const cu = [0];
  for (const length of lengths) cu.push((cu.at(-1) as number) + length);
  const did = (q: number) => cu.findIndex((bound) => bound > q) - 1;
  const start = (q: number) => cu[did(q)] as number;
  const end = (q: number) => cu[did(q) + 1] as number;
  const last = lengths.length - 1;
  const g = 2 * w;
  return {
    full: { keep: () => true, columns: () => ({}) },
    causal: { keep: (q, k) => q >= k, columns: (j) => ({ ute: j }) },
    'full-document': { keep: (q, k) => did(q) === did(k), columns: (j) => ({ lts: end(j), ute: start(j) }) },
    'causal-document': {
      keep: (q, k) => did(q) === did(k) && q >= k,
      columns: (j) => ({ lts: end(j), ute: j }),
    },
    'sliding-window': {
      keep: (q, k) => Math.abs(q - k) <= w,
      columns: (j) => ({ lts: Math.min(j + w + 1, T), ute: Math.max(j - w, 0) }),
    },
    'sliding-window-causal': {
      keep: (q, k) => q - k >= 0 && q - k <= w,
      columns: (j) => ({ lts: Math.min(j + w + 1, T), ute: j }),
    },
    'share-question': {
      keep: (q, k) => (did(q) !== 0 && did(k) === 0) || (did(q) === did(k) && q >= k),
      columns: (j) => ({ lts: did(j) === 0 ? T : end(j), ute: j }),
    },
    'causal-blockwise': {
      keep: (q, k) => (did(q) === last && did(k) !== last) || (did(q) === did(k) && q >= k),
      columns: (j) =>
        did(j) >= last - 1 ? { lts: T, lte: T, ute: j } : { lts: end(j), lte: cu[last] as number, ute: j },
    },
    'prefix-lm-causal': {
      keep: (q, k) => k < p || q >= k,
      columns: (j) => ({ ute: j < p ? 0 : j }),
    },
    'prefix-lm-document': {
      keep: (q, k) => did(q) === did(k) && (k - start(k) < p || q >= k),
      columns: (j) => ({ lts: end(j), ute: j - start(j) < p ? start(j) : j }),
    },
    'global-sliding-window': {
      keep: (q, k) => Math.abs(q - k) <= w || q < g || k < g,
      columns: (j) => ({
        lts: j < g ? T : Math.min(j + w + 1, T),
        ...(j < g + w + 1 ? {} : { uts: g, ute: j - w }),
      }),
    },
    'block-causal-document': {
      keep: (q, k) => did(q) === did(k) && Math.floor(q / b) >= Math.floor(k / b),
      columns: (j) => ({ lts: end(j), ute: Math.floor(j / b) * b }),
    },
  };
}

test('twelve masks', () => {
  expect(LONGCA_MASKS.map(({ name }) => name)).toEqual(Object.keys(GOLDEN));
});

describe.each(LONGCA_MASKS)('$name', ({ name, mask: maskOf, slices: slicesOf }) => {
  test('the example with 32 tokens', () => {
    const { params, area, tiles } = GOLDEN[name] as (typeof GOLDEN)[string];
    const given = { ...example, ...params };
    expectAgreement(given);
    expect(areaAt(maskOf(given), oneHead(32, 32))).toBe(area);
    expect(slicesOf(given).reduce((sum, slice) => sum + sliceArea(slice), 0)).toBe(area);
    const mask = maskOf(given);
    const counts = [];
    for (let i = 0; i < 32; i += 8) {
      for (let j = 0; j < 32; j += 8) {
        let count = 0;
        for (let at = 0; at < 64; at++) count += mask.sees(i + (at >> 3), j + (at & 7), oneHead(32, 32)) ? 1 : 0;
        counts.push(count);
      }
    }
    expect([counts.filter((count) => count > 0).length, counts.filter((count) => count === 64).length]).toEqual(tiles);
  });

  test('predicate, slices and columns agree', () => {
    const whole = (min: number, max: number) => fc.integer({ min, max });
    const blocksOf = fc.array(whole(1, 4), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(blocksOf, whole(1, 5), whole(1, 12), whole(0, 30), (counts, block, window, prefix) => {
        // Whole blocks, as the block-causal mask wants them.
        const lengths = counts.map((count) => count * block);
        const tokens = lengths.reduce((sum, length) => sum + length, 0);
        expectAgreement({ tokens, lengths, window, prefix, block });
      }),
    );
  });

  function expectAgreement(params: LongCaParams): void {
    const place = oneHead(params.tokens, params.tokens);
    const { keep, columns } = definitions(params)[name] as Definition;
    const mask = maskOf(params);
    const slices = slicesOf(params);
    const painted = fromSlices(slices);
    mask.check?.(place);
    painted.check?.(place);
    const { lts, lte, uts, ute } = flashMaskColumns(mask, place);
    const pairs = { keep: '', sees: '', painted: '' };
    for (let j = 0; j < params.tokens; j++) {
      const expected = { lts: place.n, lte: place.n, uts: 0, ute: 0, ...columns(j) };
      expect({ lts: lts[j], lte: lte[j], uts: uts[j], ute: ute[j] }).toEqual(expected);
      for (let i = 0; i < params.tokens; i++) {
        pairs.keep += keep(i, j) ? 1 : 0;
        pairs.sees += mask.sees(i, j, place) ? 1 : 0;
        pairs.painted += painted.sees(i, j, place) ? 1 : 0;
      }
    }
    expect(pairs.sees).toBe(pairs.keep);
    expect(pairs.painted).toBe(pairs.keep);
    expectDisjoint(slices);
  }
});

function expectDisjoint(slices: readonly Slice[]): void {
  const apart = ([a, b]: Slice['keys'], [c, d]: Slice['keys']) => b <= c || d <= a;
  const disjoint = slices.every((slice, at) =>
    slices.slice(0, at).every((other) => apart(slice.queries, other.queries) || apart(slice.keys, other.keys)),
  );
  expect(disjoint).toBe(true);
}

describe('limits', () => {
  const seen = (name: string, params: Partial<LongCaParams>) => {
    const entry = LONGCA_MASKS.find((candidate) => candidate.name === name) as (typeof LONGCA_MASKS)[number];
    const mask = entry.mask({ ...example, ...params });
    return Array.from({ length: 32 }, (_, i) => mask.intervals?.(i, oneHead(32, 32)));
  };
  const oneDocument = { lengths: [32] };

  test.each([
    ['sliding-window', { window: 31 }, 'full', {}],
    ['sliding-window-causal', { window: 31 }, 'causal', {}],
    ['full-document', oneDocument, 'full', {}],
    ['causal-document', oneDocument, 'causal', {}],
    ['share-question', oneDocument, 'causal', {}],
    ['causal-blockwise', oneDocument, 'causal', {}],
    ['share-question', { lengths: [20, 12] }, 'causal', {}],
    ['causal-blockwise', { lengths: [20, 12] }, 'causal', {}],
    ['prefix-lm-causal', { prefix: 32 }, 'full', {}],
    ['prefix-lm-causal', { prefix: 1 }, 'causal', {}],
    ['block-causal-document', { block: 1 }, 'causal-document', {}],
    ['block-causal-document', { block: 32 }, 'full-document', {}],
  ])('%s of %j is %s', (name, params, other, otherParams) => {
    expect(seen(name, params)).toEqual(seen(other, otherParams));
  });
});
