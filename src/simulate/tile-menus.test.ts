import { expect, test } from 'vitest';
import { sizeOf } from '../tensor/shape';
import { TILE_MENUS, type TileMenu, tilesOfMenu } from './tile-menus';

const SIZES: Record<TileMenu, [queries: number, keys: number]> = {
  saccade: [24, 6],
  blackwell: [256, 128],
  hopper: [128, 128],
  flex: [64, 64],
};

test.each(TILE_MENUS)('the tiles of %s hold as many queries and keys whatever the rank', (menu) => {
  for (const rank of [1, 2, 3]) {
    for (const { queryTile, keyTile } of tilesOfMenu(menu, rank)) {
      expect([queryTile.length, keyTile.length]).toEqual([rank, rank]);
      expect([sizeOf(queryTile), sizeOf(keyTile)]).toEqual(SIZES[menu]);
    }
  }
});

test('other ranks are refused', () => {
  expect(() => tilesOfMenu('hopper', 4)).toThrow('grid must have 1 to 3 axes, got 4');
});
