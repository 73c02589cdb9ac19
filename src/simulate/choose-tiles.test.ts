import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gridAxes, paramsOf } from '../../test/grids';
import { gridAxes as axesOf, GRID_TILES, type NeighborhoodParams, neighborhood } from '../masks/neighborhood';
import type { TileShapes } from '../masks/neighborhood-tiles';
import { RUN_LENGTH } from '../ops/attention/block-map/block-map';
import { blockMap } from '../ops/attention/block-map/cpu';
import { PATTERN_LENGTH } from '../ops/attention/params';
import { PANEL, TILE } from '../runtime/cpu/params';
import { sizeOf } from '../tensor/shape';
import { chooseTiles, countTiles, tileCandidates } from './choose-tiles';

const presetOf = (setting: NeighborhoodParams) => GRID_TILES[setting.grid.length - 1]!;
const show = ({ queries, keys, padding }: TileShapes) =>
  [`${queries.join('x')} by ${keys.join('x')}`, padding ? [`padded ${padding.join('x')}`] : []].flat().join(' ');

const settings = gridAxes.map((axes): NeighborhoodParams => {
  const { length, ...params } = paramsOf(axes, 'length', 'window', 'stride', 'dilation', 'causal');
  return { grid: length, ...params } as unknown as NeighborhoodParams;
});

/** The parts of a setting's map that kernels compute: a third of a tile for scores, a quarter for values. */
function computed(setting: NeighborhoodParams, tiles: TileShapes): number {
  const n = sizeOf(setting.grid);
  const { runs, patterns } = blockMap(neighborhood(setting, tiles), { b: 1, n, m: n, h: 1, g: 1 });
  let sum = 0;
  for (let at = 0; at < runs.length; at += RUN_LENGTH) {
    const [first, past, pattern] = runs.subarray(at, at + RUN_LENGTH) as unknown as [number, number, number];
    const words = patterns.subarray(pattern * PATTERN_LENGTH, pattern * PATTERN_LENGTH + PANEL);
    const seen = words.reduce((any, word) => any | word, 0);
    const share = (size: number) => {
      const parts = Array.from({ length: TILE / size }, (_, part) => (seen >> (part * size)) & (2 ** size - 1));
      return parts.filter(Boolean).length / parts.length;
    };
    sum += ((past - first) * (share(8) + share(6))) / 2;
  }
  return sum;
}

test('what is counted is what the kernels compute, if their parts are boxes, and else no less', () => {
  fc.assert(
    fc.property(settings, fc.nat(), (setting, choice) => {
      const candidates = tileCandidates(setting.grid.length);
      for (const tiles of [chooseTiles(setting), candidates[choice % candidates.length]!]) {
        // Beyond the grid there is nothing to see, though a full tile says otherwise.
        const isWhole = axesOf(setting).every(
          ({ length, dilation }, at) => length % (dilation * tiles.queries[at]!) === 0,
        );
        const counted = countTiles(setting, tiles);
        if (isWhole) expect(counted).toBeGreaterThanOrEqual(computed(setting, tiles) - 1e-9);
        if (isWhole && [8, 6].every((size) => isBox(tiles.queries, size))) {
          expect(counted).toBeCloseTo(computed(setting, tiles), 9);
        }
      }
    }),
  );
  expect(isBox([12, 2], 8) && isBox([12, 2], 6)).toBe(true);
  const setting = { grid: [24, 16], window: 7 };
  const tiles = { queries: [12, 2], keys: [3, 2], padding: [0, 1] };
  expect(countTiles(setting, tiles)).toBeCloseTo(computed(setting, tiles), 9);
});

/** Whether consecutive queries of a tile, `size` at a time, fill a box: whole rows of a box, or a part of one row. */
function isBox(tile: readonly number[], size: number): boolean {
  const below = tile.map((_, at) => sizeOf(tile.slice(at + 1)));
  return below.some((row, at) => size % row === 0 && tile[at]! % (size / row) === 0);
}

test('tiles hold 24 queries and 6 keys and compute no more than the default', () => {
  fc.assert(
    fc.property(settings, (setting) => {
      const tiles = chooseTiles(setting);
      expect([sizeOf(tiles.queries), sizeOf(tiles.keys)]).toEqual([24, 6]);
      expect([tiles.queries.length, tiles.keys.length]).toEqual([setting.grid.length, setting.grid.length]);
      expect(countTiles(setting, tiles)).toBeLessThanOrEqual(countTiles(setting, presetOf(setting)));
    }),
  );
});

describe('tiles follow the window', () => {
  test.each<[NeighborhoodParams, tiles: string, computed: number, byDefault: number]>([
    [{ grid: [64, 64], window: 7 }, '8x3 by 2x3 padded 1x0', 2354, 2884],
    [{ grid: [64, 64], window: 8, stride: 8 }, '3x8 by 3x2', 2368, 3136],
    [{ grid: [56, 56], window: 7, dilation: 8 }, '3x8 by 2x3', 1856, 2880],
    [{ grid: [24, 96], window: [24, 7] }, '24x1 by 6x1', 2688, 4464],
    [{ grid: [16, 256], window: [3, 31] }, '1x24 by 1x6 padded 0x3', 3308, 4590],
    [{ grid: [12, 16, 16], window: [6, 8, 8] }, '6x2x2 by 3x1x2', 12_240, 13_755],
    [{ grid: [12, 16, 16], window: [6, 8, 8], stride: [6, 8, 8] }, '3x1x8 by 3x1x2', 8192, 12_432],
  ])('%j: %s', (setting, tiles, computed, byDefault) => {
    expect(show(chooseTiles(setting))).toBe(tiles);
    expect(countTiles(setting, chooseTiles(setting))).toBe(computed);
    expect(countTiles(setting, presetOf(setting))).toBe(byDefault);
  });
});

test('one axis has one shape', () => {
  expect(show(chooseTiles({ grid: [50], window: 5, dilation: 2 }))).toBe('24 by 6');
});

test('what does not fit is refused', () => {
  expect(() => chooseTiles({ grid: [4, 4], window: 5 })).toThrow('window on axis 0 must be an integer from 2 to 4');
});
