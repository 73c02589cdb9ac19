import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gridAxes, type NeighborhoodParams } from '../masks/neighborhood';
import { axisKeys, type NeighborhoodAxis } from '../masks/neighborhood-axis';
import { isBlockSparse } from './block-sparse';
import { endToEndSpeedup, simulateGna } from './gna';
import type { GnaTiles } from './tile-counts';
import { tilesOfMenu } from './tile-menus';

const line = { length: 32_768, window: 2048 };

/** Stride to bound, on one axis. */
function lineSpeedup(stride: number, queryTile: number, keyTile: number): number {
  const setting = { grid: [line.length], window: line.window, stride };
  return simulateGna(setting, { queryTile: [queryTile], keyTile: [keyTile] }).speedup;
}

describe("the documentation's settings", () => {
  test('one axis', () => {
    expect(lineSpeedup(1, 128, 128)).toBeCloseTo(15.06, 2);
    expect(lineSpeedup(1, 256, 128)).toBeCloseTo(14.22, 2);
    for (const stride of [256, 2048]) expect(lineSpeedup(stride, 128, 128)).toBe(16);
    for (const stride of [256, 2048]) expect(lineSpeedup(stride, 256, 128)).toBe(16);
  });

  test('256 is the smallest stride that needs no mask on one axis', () => {
    for (const queryTile of [128, 256]) {
      const smallest = Array.from({ length: line.window }, (_, at) => at + 1).find((stride) =>
        isBlockSparse(gridAxes({ grid: [line.length], window: line.window, stride }), {
          queryTile: [queryTile],
          keyTile: [128],
          tiling: 'static',
        }),
      );
      expect(smallest).toBe(256);
    }
  });

  test.each([
    [[1, 1], 6.65, false],
    [[16, 16], 10.24, true],
  ] as const)('FLUX with stride %j on Hopper', (stride, speedup, perfect) => {
    const result = simulateGna({ grid: [256, 256], window: 80, stride }, tilesOfMenu('hopper', 2)[0] as GnaTiles);
    expect(result.speedup).toBeCloseTo(speedup, 2);
    expect(result.perfectlyBlockSparse).toBe(perfect);
    expect(result.flopSpeedup).toBeCloseTo(10.24, 2);
  });

  test.each([
    [[1, 1, 1], 3.6],
    [[16, 8, 8], 11.1],
  ] as const)('HunyuanVideo with stride %j on Hopper', (stride, speedup) => {
    const tiles = { queryTile: [2, 8, 8], keyTile: [2, 8, 8] };
    expect(simulateGna({ grid: [30, 48, 80], window: [18, 24, 24], stride }, tiles).speedup).toBeCloseTo(speedup, 1);
  });
});

test('the mean over tiles is kinder than the worst', () => {
  const setting = { grid: [30, 48, 80], window: [18, 24, 24] };
  const { speedup, meanSpeedup } = simulateGna(setting, { queryTile: [4, 8, 8], keyTile: [2, 8, 8] });
  expect(speedup).toBeCloseTo(3.27, 2);
  expect(meanSpeedup).toBeCloseTo(5.245, 3);
});

// The layers of Cosmos-Predict2 on 24 frames, whose windows take all of time.
test.each([
  [[24, 4, 16], 1, [1, 11, 5], 55],
  [[24, 12, 16], [1, 4, 1], [1, 1, 5], 18.3],
  [[24, 12, 24], [1, 4, 8], 1, 12.2],
  [[24, 20, 40], [1, 4, 8], 1, 4.4],
  [[24, 28, 56], [1, 4, 8], 1, 2.24],
])('Cosmos-Predict2 with window %j, stride %j, dilation %j', (window, stride, dilation, speedup) => {
  for (const queryTile of [
    [4, 4, 8],
    [8, 4, 8],
  ]) {
    const result = simulateGna({ grid: [24, 44, 80], window, stride, dilation }, { queryTile, keyTile: [4, 4, 8] });
    expect(result.flopSpeedup).toBeCloseTo(speedup, speedup < 5 ? 2 : 1);
    expect(result.speedup).toBeCloseTo(result.flopSpeedup, 12);
    expect(result.perfectlyBlockSparse).toBe(true);
  }
});

describe('properties', () => {
  const anyAxis = fc
    .record({ window: fc.integer({ min: 2, max: 6 }), dilation: fc.integer({ min: 1, max: 3 }), causal: fc.boolean() })
    .chain(({ window, dilation, causal }) =>
      fc.record({
        length: fc.integer({ min: window * dilation, max: window * dilation + 9 }),
        window: fc.constant(window),
        stride: fc.integer({ min: 1, max: window }),
        dilation: fc.constant(dilation),
        causal: fc.constant(causal),
        queryTile: fc.integer({ min: 1, max: 6 }),
        keyTile: fc.integer({ min: 1, max: 6 }),
      }),
    );
  type AnyAxis = Parameters<Parameters<typeof anyAxis.map>[0]>[0];
  const anyGrid = fc.array(anyAxis, { minLength: 1, maxLength: 2 });

  const settingOf = (axes: readonly AnyAxis[]): NeighborhoodParams => ({
    grid: axes.map((axis) => axis.length),
    window: axes.map((axis) => axis.window),
    stride: axes.map((axis) => axis.stride),
    dilation: axes.map((axis) => axis.dilation),
    causal: axes.map((axis) => axis.causal),
  });
  const tilesOf = (axes: readonly AnyAxis[]): GnaTiles => ({
    queryTile: axes.map((axis) => axis.queryTile),
    keyTile: axes.map((axis) => axis.keyTile),
  });

  test('counts are those of going through every query and key', () => {
    fc.assert(
      fc.property(anyGrid, (axes) => {
        const result = simulateGna(settingOf(axes), tilesOf(axes));
        const counts = visitsByQueryTile(axes, (axis, index) => Math.floor(index / axis.queryTile));
        expect(result.visited).toBe(Math.max(...counts));
        expect(result.meanVisited).toBeCloseTo(counts.reduce((sum, count) => sum + count, 0) / counts.length, 9);
      }),
    );
  });

  test('so are those of the flattened grid', () => {
    const flat = fc.tuple(anyAxis, anyAxis, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }));
    fc.assert(
      fc.property(flat, ([a, b, queryTile, keyTile]) => {
        const result = simulateGna(settingOf([a, b]), { queryTile: [queryTile], keyTile: [keyTile] });
        const counts = visitsFlat([a, b], queryTile, keyTile);
        expect(result.visited).toBe(Math.max(...counts));
        expect(result.meanVisited).toBeCloseTo(counts.reduce((sum, count) => sum + count, 0) / counts.length, 9);
        expect(result.total).toBe(Math.ceil((a.length * b.length) / keyTile));
      }),
    );
  });

  test('bounds: dynamic tiling is no slower, tiles that divide the grid no faster than the window allows', () => {
    fc.assert(
      fc.property(anyGrid, (axes) => {
        const fixed = simulateGna(settingOf(axes), tilesOf(axes));
        const dynamic = simulateGna(settingOf(axes), { ...tilesOf(axes), tiling: 'dynamic' });
        expect(dynamic.visited).toBeLessThanOrEqual(fixed.visited);
        expect(fixed.meanVisited).toBeLessThanOrEqual(fixed.visited + 1e-9);
        const fewest = axes.reduce((product, axis) => product * Math.ceil(axis.window / axis.keyTile), 1);
        expect(dynamic.visited).toBeGreaterThanOrEqual(fewest);
        if (axes.every((axis) => axis.length % axis.keyTile === 0)) {
          expect(fixed.speedup).toBeLessThanOrEqual(fixed.flopSpeedup * (1 + 1e-12));
        }
      }),
    );
  });

  test('the order of axes does not matter', () => {
    fc.assert(
      fc.property(anyAxis, anyAxis, (a, b) => {
        const [forth, back] = [
          [a, b],
          [b, a],
        ].map((axes) => simulateGna(settingOf(axes), tilesOf(axes)));
        expect(forth?.visited).toBe(back?.visited);
        expect(forth?.total).toBe(back?.total);
      }),
    );
  });
});

test('a window of the whole grid is self attention', () => {
  const result = simulateGna({ grid: [6, 10], window: [6, 10] }, { queryTile: [4, 4], keyTile: [4, 4] });
  // Two by three query tiles of 16, each of which visits six key tiles of 16.
  expect(result.computedPairs).toBe(6 * 16 * 6 * 16);
  expect(result).toMatchObject({ visited: 6, total: 6, speedup: 1, flopSpeedup: 1, sparsity: 0 });
  expect(result.perfectlyBlockSparse).toBe(true);
});

test('end to end', () => {
  expect(endToEndSpeedup(10, 0)).toBe(1);
  expect(endToEndSpeedup(10, 1)).toBeCloseTo(10, 12);
  expect(endToEndSpeedup(900 / 81, 0.607)).toBeCloseTo(2.234, 2);
  for (const share of [-0.1, 1.1, Number.NaN]) {
    expect(() => endToEndSpeedup(2, share)).toThrow(`attentionShare must be a number from 0 to 1, got ${share}`);
  }
});

describe('refused by name', () => {
  const good = { grid: [30, 48], window: [18, 24] };
  const tiles = { queryTile: [4, 8], keyTile: [2, 8] };
  test.each<[Partial<NeighborhoodParams>, Partial<GnaTiles>, string]>([
    [{ window: [31, 24] }, {}, 'window on axis 0 must be an integer from 2 to 30, the length of the grid, got 31'],
    [{ window: [18, 24, 24] }, {}, 'window must be one value or one for each of the 2 axes, got 3'],
    [{ stride: [1, 25] }, {}, 'stride on axis 1 must be an integer from 1 to 24, the window, got 25'],
    [{ dilation: 2 }, {}, 'dilation on axis 0 must be 1, since a window of 18 must fit into 30'],
    [{ grid: [] }, {}, 'grid must have 1 to 3 axes, got 0'],
    [{ grid: [30, 2.5] }, {}, 'length of the grid on axis 1 must be an integer from 2'],
    [{}, { queryTile: [4, 8, 8] }, 'queryTile must have 2 extents'],
    [{}, { keyTile: [2, 0] }, 'keyTile must be integer extents >= 1, got 0 at element 1'],
    [{}, { tiling: 'fixed' as never }, "tiling must be 'static' or 'dynamic', got 'fixed'"],
    [{}, { keyTile: [8] }, 'keyTile must have as many extents as queryTile 4x8, got 8'],
    [{}, { queryTile: [8], keyTile: [8], tiling: 'dynamic' }, "tiling must be 'static' where"],
    [
      { grid: [4096, 4096], window: 2048 },
      { queryTile: [1], keyTile: [1] },
      'tiles of 1 queries and 1 keys are too many to count on a flattened grid of 16777216 tokens',
    ],
  ])('%j, tiles %j', (setting, wrongTiles, message) => {
    expect(() => simulateGna({ ...good, ...setting }, { ...tiles, ...wrongTiles })).toThrow(message);
  });
});

/** For every query tile of every dilation group of one or two axes: the number of key tiles that it sees a key of. */
function visitsByQueryTile(
  axes: readonly (NeighborhoodAxis & { queryTile: number; keyTile: number })[],
  queryTileOf: (axis: NeighborhoodAxis & { queryTile: number }, index: number) => number,
): number[] {
  const perAxis = axes.map((axis) => {
    const tiles = new Map<string, Set<number>>();
    for (let x = 0; x < axis.length; x++) {
      const id = `${x % axis.dilation} ${queryTileOf(axis, Math.floor(x / axis.dilation))}`;
      const seen = tiles.get(id) ?? new Set();
      tiles.set(id, seen);
      const { first, count } = axisKeys(axis, x);
      const start = Math.floor(first / axis.dilation);
      for (let key = start; key < start + count; key++) seen.add(Math.floor(key / axis.keyTile));
    }
    return [...tiles.values()].map((seen) => seen.size);
  });
  return perAxis.reduce((counts, own) => counts.flatMap((count) => own.map((other) => count * other)), [1]);
}

/** The same where each dilation group of two axes is flattened. */
function visitsFlat(
  [a, b]: readonly [NeighborhoodAxis, NeighborhoodAxis],
  queryTile: number,
  keyTile: number,
): number[] {
  const tiles = new Map<string, Set<number>>();
  for (let x = 0; x < a.length; x++) {
    for (let y = 0; y < b.length; y++) {
      const rowLength = Math.ceil((b.length - (y % b.dilation)) / b.dilation);
      const flat = Math.floor(x / a.dilation) * rowLength + Math.floor(y / b.dilation);
      const id = `${x % a.dilation} ${y % b.dilation} ${Math.floor(flat / queryTile)}`;
      const seen = tiles.get(id) ?? new Set();
      tiles.set(id, seen);
      const [rows, columns] = [axisKeys(a, x), axisKeys(b, y)];
      for (let i = 0; i < rows.count; i++) {
        for (let j = 0; j < columns.count; j++) {
          const row = Math.floor(rows.first / a.dilation) + i;
          seen.add(Math.floor((row * rowLength + Math.floor(columns.first / b.dilation) + j) / keyTile));
        }
      }
    }
  }
  return [...tiles.values()].map((seen) => seen.size);
}
