/** A thread's working memory in the backward pass: a pair of tiles of queries, and a block of the keys that they meet. */
import { STRETCHES_BYTES } from '../blocks.as';
import { BlockParams } from '../params.generated.as';
import { MODIFIER_BYTES } from '../score/modifier.as';
import { PAIR_SEGMENT_BYTES } from './walk.as';
import { LAYOUT_BYTES } from '../../../runtime/wasm/assembly/layout.as';
import { ACROSS } from '../../../runtime/wasm/assembly/product.as';
import { LARGEST_HEAD, PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';

export const PAIR: i32 = 2 * TILE;
/** Bytes from one key's numbers to the next: one for each query of a pair of tiles. */
export const ROW: usize = ACROSS;
export const PANEL_ROWS: usize = <usize>PANEL * ROW;
/** Panels in a block: 168 keys, whose weights fill 32 KiB. */
export const BLOCK_PANELS: i32 = 28;
const BLOCK_BYTES: usize = <usize>BLOCK_PANELS * PANEL_ROWS;
/** Bytes of a row's columns for each query of a pair. */
const COLUMNS_BYTES: usize = <usize>(PAIR * LARGEST_HEAD * 4);

export const QUERIES: usize = 0; // [6 slices][d][8], times scale and log2(e)
export const GRADIENTS: usize = QUERIES + COLUMNS_BYTES; // of out, [6 slices][e][8]
export const QUERY_ROWS: usize = GRADIENTS + COLUMNS_BYTES; // [slices of d][48][8]
export const GRADIENT_ROWS: usize = QUERY_ROWS + COLUMNS_BYTES; // [slices of e][48][8]
export const SUMS: usize = GRADIENT_ROWS + COLUMNS_BYTES; // of the queries' gradient, [slices of d][48][8]
export const WEIGHTS: usize = SUMS + COLUMNS_BYTES; // [168 keys][48], then the scores' gradient
export const LAYOUT: usize = WEIGHTS + BLOCK_BYTES;
export const LSES: usize = LAYOUT + LAYOUT_BYTES; // [48], times log2(e)
export const DELTAS: usize = LSES + ROW; // [48]: sum of out * gradOut, less the gradient of lse
export const PART: usize = DELTAS + ROW;
export const WALK: usize = PART + 64;
export const SEGMENTS: usize = WALK + 32;
export const KEYS: usize = SEGMENTS + <usize>BLOCK_PANELS * PAIR_SEGMENT_BYTES; // [168] i32: the keys of the current block
export const SLOPES: usize = (KEYS + <usize>(BLOCK_PANELS * PANEL * 4) + 15) & ~15; // [168 keys][48]: of the modifier
export const HALF: usize = SLOPES + BLOCK_BYTES; // [168 keys][24]: scores of one tile
export const HALF_SLOPES: usize = HALF + BLOCK_BYTES / 2;
/** A program and its derivative for each tile of a pair. */
export const MODIFIERS: usize = HALF_SLOPES + BLOCK_BYTES / 2;
export const TABLE_MODIFIER: usize = MODIFIERS + 4 * MODIFIER_BYTES;
export const RAW: usize = TABLE_MODIFIER + MODIFIER_BYTES; // [168 keys][48]: scores before they are modified
export const RAW_BYTES: usize = BLOCK_BYTES;
export const STRETCHES: usize = RAW + RAW_BYTES; // of each tile of a pair
export const ARGUMENTS: usize = (STRETCHES + 2 * STRETCHES_BYTES + 7) & ~7; // [12] f64, of machine code
/** What comes after is a hook's. */
export const BACKWARD_BYTES: usize = (ARGUMENTS + BlockParams.BYTES + 63) & ~63;

/** The part of the keys that a task owns, and the pair of tiles that meets it. */
@unmanaged
export class Part {
  batch: i32;
  /** The query head; the pair's first tile. */
  head: i32;
  tile: i32;
  /** Panels. */
  first: i32;
  past: i32;
  /** Bytes from a slice of all keys to the next. */
  sliceBytes: usize;
  /** Packed keys and values, and the sums of their gradients. */
  keyPanels: usize;
  keySlices: usize;
  valuePanels: usize;
  sumsK: usize;
  sumsV: usize;
  /** Sums of the gradients of tables; 0 for none. */
  sumsOfTables: usize;
}

@inline
export function hookOf<H>(scratch: usize): H {
  return changetype<H>(scratch + BACKWARD_BYTES);
}

@inline
export function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}
