import { describe, expect, test } from 'vitest';
import { causal, from, longNet, neighborhood, power, s2 } from '../masks/index';
import type { Intervals } from '../masks/intervals';
import type { Mask } from '../masks/mask';
import { expectedRandomField, keysOfMask, receptiveField } from './reach';
import { keysThrough, REACH_MASKS, type ReachMask, type ReachMaskName, type ReachParams } from './reach-masks';

const LAYERS = 32;

function fieldOf(name: ReachMaskName, given: Partial<ReachParams> = {}, layers = LAYERS): number[] {
  const mask: ReachMask = REACH_MASKS[name];
  const params = paramsOf(name, given);
  return receptiveField(keysThrough(mask, params), params.size, { layers, changes: mask.changes ?? false });
}

function paramsOf(name: ReachMaskName, given: Partial<ReachParams> = {}): ReachParams {
  const { defaults }: ReachMask = REACH_MASKS[name];
  return { window: 1, sink: 0, stride: 1, seed: 1, ...defaults, ...given };
}

const steps = (first: number, step: number, count: number) =>
  Array.from({ length: count }, (_, at) => first + step * at);

describe('exact counts', () => {
  test.each<[ReachMaskName, Partial<ReachParams>, number[]]>([
    ['power', {}, [10, 35, 75, 110, 126, 128]],
    ['power', { sink: 0, size: 64 }, [8, 26, 48, 61, 64]],
    ['power', { sink: 0 }, [9, 34, 74, 109, 125, 128]],
    ['power', { sink: 0, size: 256 }, [10, 43, 108, 183, 234, 253, 256]],
    ['power', { sink: 0, window: 3 }, [8, 29, 64, 99, 120, 127, 128]],
    ['sliding', {}, [...steps(10, 8, 15), 128]],
    ['sliding', { sink: 0 }, [...steps(9, 8, 15), 128]],
    ['sliding', { sink: 0, window: 8 }, [...steps(8, 7, 18), 128]],
    ['stride', {}, [10, 30, 50, 70, 90, 110, 126, 128]],
    ['stride', { stride: 40 }, [10, 30, 46, 61, 76, 91, 106, 120, 128]],
    ['dilated', {}, [10, 19, 28, 37, 46, 55, 64, 64]],
    ['longnet', {}, [8, 20, 41, 58, 75, 80, 80]],
  ])('%s with %j', (name, params, counts) => {
    expect(fieldOf(name, params)).toEqual(counts);
  });

  test('the first layers of masks with eight keys', () => {
    expect(fieldOf('dilated', { window: 16 }, 7)).toEqual(steps(8, 7, 7));
    expect(fieldOf('stride', { window: 3, sink: 0, stride: 16 }, 7)).toEqual(steps(10, 16, 7));
  });

  test('powers alone reach sums of binomials', () => {
    for (const bits of [6, 7, 8]) {
      const choose = (k: number) => steps(0, 1, k).reduce((product, t) => (product * (bits - t)) / (t + 1), 1);
      const sums = steps(1, 1, bits).map((k) => steps(0, 1, k + 1).reduce((sum, t) => sum + choose(t), 0));
      expect(fieldOf('power', { size: 2 ** bits, window: 1, sink: 0 })).toEqual(sums);
    }
  });
});

test.each<[ReachMaskName, triangle: number, square: number]>([
  ['power', 0.138, 0.07],
  ['sliding', 0.15, 0.075],
  ['dilated', 0.144, 0.073],
  ['stride', 0.129, 0.065],
  ['longnet', 0.099, 0.05],
])('%s sees that share of the causal pairs, and of all', (name, triangle, square) => {
  const seen = pairs(name);
  expect(seen / ((128 * 129) / 2)).toBeCloseTo(triangle, 3);
  expect(seen / 128 ** 2).toBeCloseTo(square, 3);
});

function pairs(name: ReachMaskName): number {
  const params = paramsOf(name);
  const keys = keysThrough(REACH_MASKS[name], params);
  return steps(0, 1, params.size).reduce((count, query) => count + keysIn(keys(0, query)).length, 0);
}

/** Runs, key by key. */
function keysIn(runs: Intervals): number[] {
  return runs.flatMap((start, at) => (at % 2 === 0 ? steps(start, 1, (runs[at + 1] as number) - start) : []));
}

test('few blocks see everything before them', () => {
  expect(fieldOf('power', { size: 3, window: 1, sink: 0 })).toEqual([3]);
  expect(fieldOf('power', { size: 5 })).toEqual([5]);
});

test('tokens by power with a window of themselves and a sink', () => {
  const keys = keysThrough(REACH_MASKS.power, paramsOf('power', { window: 1 }));
  expect(keysIn(keys(0, 3))).toEqual([0, 1, 2, 3]);
  expect(keysIn(keys(0, 5))).toEqual([0, 1, 3, 4, 5]);
});

describe('any mask', () => {
  const extent = (n: number, h = 1) => ({ b: 1, n, m: n, h, g: h });

  test('reaches what is known of it, in blocks of one token', () => {
    const reach = (mask: Mask) => receptiveField(keysOfMask(mask, extent(128)), 128, { layers: LAYERS });
    expect(reach(power({ block: 1, window: 5, sink: 1 }))).toEqual(fieldOf('power'));
    expect(reach(longNet())).toEqual(fieldOf('longnet'));
  });

  test('by a function, without intervals', () => {
    const near = from((_b, _h, q, k) => k <= q && q - k < 3);
    expect(receptiveField(keysOfMask(near, extent(10)), 10, { layers: 3 })).toEqual([3, 5, 7]);
  });

  test('both ways, from the middle', () => {
    const mask = neighborhood({ grid: [9, 9], window: 3 });
    expect(receptiveField(keysOfMask(mask, extent(81)), 81, { query: 40, layers: 5 })).toEqual([9, 25, 49, 81]);
  });

  test('of heads that differ, by all of them together', () => {
    const mask = s2({ block: 1, localBlocks: 1, verticalStride: 4 });
    const reach = (heads: number) => receptiveField(keysOfMask(mask, extent(16, heads)), 16, { layers: 1 });
    expect(reach(1)).toEqual([5]);
    expect(reach(4)).toEqual([16]);
  });

  test('that does not fit is refused', () => {
    expect(() => keysOfMask(neighborhood({ grid: [3, 3], window: 3 }), extent(8))).toThrow('needs 9 queries');
    expect(() => keysOfMask(causal(), { ...extent(8), m: 9 })).toThrow(
      'extent must have as many queries as keys, got 8 queries and 9 keys',
    );
  });
});

describe('stochastic masks', () => {
  test('both ways, every query and every key has exactly the window', () => {
    for (const window of [1, 6, 7]) {
      const keys = keysThrough(REACH_MASKS.stochastic, paramsOf('stochastic', { size: 20, window }));
      const rows = steps(0, 1, 20).map((query) => keysIn(keys(1, query)));
      rows.forEach((row, query) => {
        expect(row).toHaveLength(window);
        expect(row).toContain(query);
        expect(rows.filter((other) => other.includes(query))).toHaveLength(window);
      });
    }
  });

  test('the seed is the order', () => {
    const field = (seed: number) => fieldOf('stochastic', { seed });
    expect(field(7)).toEqual(field(7));
    expect(field(7)).not.toEqual(field(8));
  });

  const mean = (name: ReachMaskName, given: Partial<ReachParams>, layers: number) => {
    const fields = steps(1, 1, 16).map((seed) => fieldOf(name, { ...given, seed }, layers));
    return steps(0, 1, layers).map(
      (at) => fields.reduce((sum, field) => sum + (field[at] ?? (given.size as number)), 0) / fields.length,
    );
  };
  const expectNear = (counts: readonly number[], expected: readonly number[], tolerance: number) => {
    expect(counts.length).toBe(expected.length);
    counts.forEach((count, at) => {
      expect(Math.abs(count / (expected[at] as number) - 1)).toBeLessThan(tolerance);
    });
  };

  test.each([
    [1024, 32, [32, 653, 1024]],
    [2048, 64, [64, 1780, 2048]],
    [2048, 256, [256, 2048]],
    [4096, 16, [16, 249, 2548, 4096]],
  ])('%i tokens, window %i: the formula, and both ways as it says', (size, window, counts) => {
    const expected = expectedRandomField(size, window, counts.length);
    expectNear(expected, counts, 0.003);
    expectNear(mean('stochastic', { size, window }, counts.length), expected, 0.04);
  });

  test.each<[ReachMaskName, number, number, number[]]>([
    ['stochastic-causal-strict', 1024, 32, [32, 413, 866, 961, 986, 997]],
    ['stochastic-causal', 1024, 32, [63, 785, 977, 1002, 1010]],
    ['stochastic-causal', 4096, 16, [31, 435, 2252, 3293, 3628]],
    ['stochastic+sliding', 1024, 32, [92, 1020, 1024]],
    ['stochastic+sliding', 4096, 16, [46, 1174, 4041, 4096]],
  ])('%s, %i tokens, window %i', (name, size, window, counts) => {
    // Both sides are means over a few seeds, and the second and third layer tell them apart most.
    expectNear(mean(name, { size, window }, counts.length), counts, 0.16);
  });
});
