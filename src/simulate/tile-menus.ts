/** Tile shapes of kernels that exist. */
import { ParameterError } from '../errors';
import type { GnaTiles } from './gna';

export const TILE_MENUS = ['saccade', 'blackwell', 'hopper', 'flex'] as const;

export type TileMenu = (typeof TILE_MENUS)[number];

/**
 * Queries and keys by the grid's rank, one axis first. Those of GPUs are the forward tiles of NATTEN's kernels, Hopper's
 * at head dimension 128; Saccade's are the 24 queries and the panels of 6 keys of its WebAssembly kernel.
 */
const MENUS: Readonly<Record<TileMenu, readonly (readonly string[])[]>> = {
  saccade: [['24|6'], ['4x6|2x3'], ['2x3x4|1x2x3']],
  blackwell: [
    ['256|128'],
    ['16x16|16x8', '16x16|8x16', '8x32|8x16', '8x32|4x32'],
    ['8x4x8|4x4x8', '8x4x8|2x8x8', '2x8x16|4x4x8', '2x8x16|2x8x8', '4x4x16|2x4x16', '2x16x8|2x8x8', '4x8x8|2x8x8'],
  ],
  hopper: [['128|128'], ['16x8|16x8'], ['4x4x8|4x4x8', '2x8x8|2x8x8']],
  flex: [['64|64'], ['8x8|8x8', '4x16|4x16', '4x16|8x8'], ['4x4x4|4x4x4', '2x4x8|2x4x8', '2x4x8|4x4x4']],
};

/** The tile shapes of a menu for grids of `rank` axes. */
export function tilesOfMenu(menu: TileMenu, rank: number): GnaTiles[] {
  const pairs = MENUS[menu][rank - 1];
  if (!pairs) {
    throw new ParameterError(`grid must have 1 to ${MENUS[menu].length} axes for the tiles of ${menu}, got ${rank}`);
  }
  return pairs.map((pair) => {
    const [queryTile = [], keyTile = []] = pair.split('|').map((tile) => tile.split('x').map(Number));
    return { queryTile, keyTile };
  });
}
