import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gridAxes, paramsOf } from '../../test/grids';
import { GRID_TILES, type NeighborhoodParams, neighborhood } from '../masks/neighborhood';
import { blockMap } from '../runtime/wasm/block-map';
import { sizeOf } from '../tensor/shape';
import { chooseTiles, countVisits } from './choose-tiles';

const presetOf = (setting: NeighborhoodParams) => GRID_TILES[setting.grid.length - 1]!;
const show = ({ queries, keys }: ReturnType<typeof chooseTiles>) => `${queries.join('x')} by ${keys.join('x')}`;

const settings = gridAxes.map((axes): NeighborhoodParams => {
  const { length, ...params } = paramsOf(axes, 'length', 'window', 'stride', 'dilation', 'causal');
  return { grid: length, ...params } as unknown as NeighborhoodParams;
});

test('what is counted is what the kernels visit', () => {
  fc.assert(
    fc.property(settings, (setting) => {
      const n = sizeOf(setting.grid);
      const tiles = chooseTiles(setting);
      const { visited } = blockMap(neighborhood(setting, tiles), { b: 1, n, m: n, h: 1, g: 1 });
      expect(countVisits(setting, tiles)).toBe(visited);
    }),
  );
});

test('tiles hold 24 queries and 6 keys and visit no more than the default', () => {
  fc.assert(
    fc.property(settings, (setting) => {
      const tiles = chooseTiles(setting);
      expect([sizeOf(tiles.queries), sizeOf(tiles.keys)]).toEqual([24, 6]);
      expect([tiles.queries.length, tiles.keys.length]).toEqual([setting.grid.length, setting.grid.length]);
      expect(countVisits(setting, tiles)).toBeLessThanOrEqual(countVisits(setting, presetOf(setting)));
    }),
  );
});

describe('tiles follow the window', () => {
  test.each<[NeighborhoodParams, tiles: string, visited: number, byDefault: number]>([
    [{ grid: [64, 64], window: 7 }, '4x6 by 2x3', 3864, 3864],
    [{ grid: [64, 64], window: 8, stride: 8 }, '3x8 by 3x2', 2816, 3136],
    [{ grid: [56, 56], window: 7, dilation: 8 }, '3x8 by 2x3', 2304, 3072],
    [{ grid: [24, 96], window: [24, 7] }, '24x1 by 6x1', 2688, 4464],
    [{ grid: [16, 256], window: [3, 31] }, '1x24 by 1x6', 4944, 7140],
    [{ grid: [12, 16, 16], window: [6, 8, 8] }, '3x2x4 by 3x1x2', 13_600, 16_380],
    [{ grid: [12, 16, 16], window: [6, 8, 8], stride: [6, 8, 8] }, '3x1x8 by 3x1x2', 8192, 14_112],
  ])('%j: %s', (setting, tiles, visited, byDefault) => {
    expect(show(chooseTiles(setting))).toBe(tiles);
    expect(countVisits(setting, chooseTiles(setting))).toBe(visited);
    expect(countVisits(setting, presetOf(setting))).toBe(byDefault);
  });
});

test('one axis has one shape', () => {
  expect(show(chooseTiles({ grid: [50], window: 5, dilation: 2 }))).toBe('24 by 6');
});

test('what does not fit is refused', () => {
  expect(() => chooseTiles({ grid: [4, 4], window: 5 })).toThrow('window on axis 0 must be an integer from 2 to 4');
});
