/** A thread's working memory in the forward pass. */
import { BLOCK_PANELS, BlockParams, MOST_TOGETHER, PACKED_BYTES } from '../params.generated.as';
import { SEGMENT_BYTES, STRETCHES_BYTES } from '../blocks.as';
import { LAYOUT_BYTES } from '../../../runtime/wasm/assembly/layout.as';
import { LARGEST_HEAD, PANEL, TILE } from '../../../runtime/cpu/params.generated.as';
import { MODIFIER_BYTES } from '../score/modifier.as';

// What the tiles of a task share:
export const SCORES: usize = 0; // [336 keys][24]
export const LAYOUT: usize = SCORES + BLOCK_PANELS * PANEL * TILE * 4; // also one row of the result
export const BLOCK: usize = LAYOUT + LAYOUT_BYTES; // [24]: maxima or sums of the current block
export const SEGMENTS: usize = BLOCK + TILE * 4;
export const STRETCHES: usize = SEGMENTS + <usize>BLOCK_PANELS * SEGMENT_BYTES;
export const KEYS: usize = (STRETCHES + STRETCHES_BYTES + 15) & ~15; // [336] i32: the keys of the current block
export const SINGLE: usize = KEYS + <usize>(BLOCK_PANELS * PANEL * 4); // [24]: one key's scores
export const ARGUMENTS: usize = (SINGLE + TILE * 4 + 7) & ~7; // [12] f64, of machine code
export const FETCHED: usize = ARGUMENTS + BlockParams.BYTES; // a byte for each panel; many panels share one, which matters little
export const FETCHED_BYTES: i32 = 8192;
export const TILES: usize = (FETCHED + <usize>FETCHED_BYTES + 63) & ~63;
// and what each tile has to itself.
export const QUERIES: usize = 0; // [3 slices][d][8]
export const RESULT: usize = QUERIES + TILE * LARGEST_HEAD * 4; // [slices of e][24][8]
export const MAXIMA: usize = RESULT + TILE * LARGEST_HEAD * 4; // [24]
export const SUMS: usize = MAXIMA + TILE * 4; // [24]
const STATE: usize = SUMS + TILE * 4;
export const WALK: usize = STATE + 16;
export const MODIFIER: usize = WALK + 16;
export const TILE_BYTES: usize = (MODIFIER + MODIFIER_BYTES + 63) & ~63;
/** Keys and then values of one head, where the task packs them: in place of tiles that would go together. */
export const PACKED: usize = TILES + TILE_BYTES;
const END: usize = (max(TILES + <usize>MOST_TOGETHER * TILE_BYTES, PACKED + <usize>PACKED_BYTES + 64) + 63) & ~63;
/** A hook has as many bytes again for each tile, and what comes after is its own. */
const HOOK: usize = END - TILES;
export const FORWARD_BYTES: usize = END;
export const AFTER_HOOKS: usize = END + <usize>MOST_TOGETHER * TILE_BYTES;

/** The tile being computed. */
@unmanaged
export class State {
  tile: i32;
  rows: i32;
  /** Scores are so small that there is no running maximum. */
  isSmall: bool;
  /** Its result is written already. */
  isDone: bool;
}

@inline
export function stateOf(own: usize): State {
  return changetype<State>(own + STATE);
}

@inline
export function hookOf<H>(own: usize): H {
  return changetype<H>(own + HOOK);
}
