/** Tile shapes of existing kernels. */
import { checkChoice, show } from '../check';
import { ParameterError } from '../errors';
import { GRID_TILES } from '../masks/neighborhood';
import type { GnaTiles } from './tile-counts';

export const TILE_MENUS = ['saccade', 'blackwell', 'hopper', 'flex'] as const;

/** Whose tiles: Saccade's on the CPU, NATTEN's on Blackwell or Hopper, or FlexAttention's. */
export type TileMenu = (typeof TILE_MENUS)[number];

/** Queries and keys of the forward tiles of NATTEN's kernels, Hopper's at head dimension 128, by the grid's rank. */
const GPU_MENUS: Readonly<Record<Exclude<TileMenu, 'saccade'>, readonly (readonly string[])[]>> = {
  blackwell: [
    ['256|128'],
    ['16x16|16x8', '16x16|8x16', '8x32|8x16', '8x32|4x32'],
    ['8x4x8|4x4x8', '8x4x8|2x8x8', '2x8x16|4x4x8', '2x8x16|2x8x8', '4x4x16|2x4x16', '2x16x8|2x8x8', '4x8x8|2x8x8'],
  ],
  hopper: [['128|128'], ['16x8|16x8'], ['4x4x8|4x4x8', '2x8x8|2x8x8']],
  flex: [['64|64'], ['8x8|8x8', '4x16|4x16', '4x16|8x8'], ['4x4x4|4x4x4', '2x4x8|2x4x8', '2x4x8|4x4x4']],
};

/** The tile shapes of a menu for grids of `rank` axes, 1 to 3. */
export function tilesOfMenu(menu: TileMenu, rank: number): GnaTiles[] {
  if (menu === undefined) throw new ParameterError(`menu must be one of ${TILE_MENUS.join(', ')}, got undefined`);
  checkChoice('menu', menu, TILE_MENUS);
  const own = typeof rank === 'number' ? GRID_TILES[rank - 1] : undefined;
  if (!own) throw new ParameterError(`grid must have 1 to ${GRID_TILES.length} axes, got ${show(rank)}`);
  if (menu === 'saccade') return [{ queryTile: own.queries, keyTile: own.keys }];
  return (GPU_MENUS[menu][rank - 1] as readonly string[]).map((pair) => {
    const [queryTile = [], keyTile = []] = pair.split('|').map((tile) => tile.split('x').map(Number));
    return { queryTile, keyTile };
  });
}
