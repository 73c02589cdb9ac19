/** The block maps of the wasm kernels: tiles of 24 queries, panels of six keys, and where they lie in the heap. */
import type { Extent, Mask } from '../../masks/mask';
import { type BlockMap, buildBlockMap, type Cut, extentKey, keptByMask } from '../../runtime/block-map';
import { atOnce, type Steps } from '../../runtime/turns';

export const QUERY_TILE = 24;
export const PANEL = 6;
const SLICE = 8;

/** Numbers of a pattern: six words of 24 bits, one a key, then which queries occur in them (`flagsOf`), then a pad. */
export const PATTERN_LENGTH = 8;

const CUT: Cut = {
  queries: QUERY_TILE,
  keys: PANEL,
  trailer: (full, words, valid) => [flagsOf(full, words, valid), 0],
};

const kept = keptByMask<BlockMap>();

/** The block map of a mask at these extents; worked out once for each mask and extents. */
export function blockMapSteps(mask: Mask, extent: Extent): Steps<BlockMap> {
  return kept(mask, extentKey(extent), () => buildBlockMap(mask, extent, CUT));
}

/** The same, worked out at once. */
export function blockMap(mask: Mask, extent: Extent): BlockMap {
  return atOnce(blockMapSteps(mask, extent));
}

/** Bytes that `writeBlockMap` writes. */
export function blockMapBytes(map: BlockMap): number {
  return 4 * partsOf(map).reduce((sum, { length }) => sum + length, 0);
}

/** Writes the map to `address` in the heap; returns its part of the kernels' params (blocks.as.ts). */
export function writeBlockMap(map: BlockMap, memory: WebAssembly.Memory, address: number): number[] {
  let at = address;
  const addresses = partsOf(map).map((part) => {
    if (part.length === 0) return 0;
    new Int32Array(memory.buffer, at, part.length).set(part);
    at += part.byteLength;
    return at - part.byteLength;
  });
  return [map.tiles, map.panels, ...addresses];
}

/** In the order of the kernels' params. */
function partsOf({ maps, order, tileRuns, runs, patterns, queries, keys }: BlockMap): Int32Array[] {
  return [maps, order, tileRuns, runs, patterns, queries ?? NONE, keys ?? NONE];
}

const NONE = new Int32Array(0);

/** Bits 0 to 2: all keys are seen by the slice of eight queries; 3 to 5: some; 6 to 9: some, by the group of six. */
function flagsOf(full: readonly number[], words: readonly number[], valid: number): number {
  const every = full.reduce((all, word) => all & word, -1);
  const some = words.reduce((any, word) => any | word, 0) & valid;
  let flags = 0;
  for (let s = 0; s < QUERY_TILE / SLICE; s++) {
    const slice = (2 ** SLICE - 1) << (s * SLICE);
    if ((every & slice) === slice) flags |= 1 << s;
    if (some & slice) flags |= 8 << s;
  }
  for (let group = 0; group < QUERY_TILE / PANEL; group++) {
    if (some & ((2 ** PANEL - 1) << (group * PANEL))) flags |= 64 << group;
  }
  return flags;
}
