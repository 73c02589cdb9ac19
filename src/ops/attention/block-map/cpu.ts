/** Block maps for the CPU: tiles of 24 queries, panels of six keys, and their copies in the heap. */
import { type Extent, extentKey, type Mask } from '../../../masks/mask';
import type { HeapMemory } from '../../../runtime/cpu/heap';
import { PANEL, SLICE, TILE } from '../../../runtime/cpu/params';
import { atOnce, type Steps } from '../../../runtime/turns';
import { FULL, SEEN, SEEN_BY_GROUP } from '../params';
import { type BlockMap, buildBlockMap, type Cut, keptByMask } from './block-map';

const CUT: Cut = {
  queries: TILE,
  keys: PANEL,
  trailer: (words, valid) => [flagsOf(words, valid), 0],
};

const kept = keptByMask<BlockMap>();

/** The block map of a mask at these extents; worked out once for each mask and extents, but for masks of a single call. */
export function blockMapSteps(mask: Mask, extent: Extent): Steps<BlockMap> {
  if (mask.isPassing) return buildBlockMap(mask, extent, CUT);
  return kept(mask, extentKey(extent), () => buildBlockMap(mask, extent, CUT));
}

/** The same, worked out at once. */
export function blockMap(mask: Mask, extent: Extent): BlockMap {
  return atOnce(blockMapSteps(mask, extent));
}

/** Bytes that `writeBlockMap` writes. */
export function blockMapBytes(map: BlockMap): number {
  return PARTS.reduce((sum, part) => sum + (map[part]?.byteLength ?? 0), 0);
}

/** Writes the map to `address` in the heap; returns its part of the kernels' params. */
export function writeBlockMap(map: BlockMap, memory: HeapMemory, address: number) {
  let at = address;
  const addresses = { maps: 0, order: 0, tileRuns: 0, runs: 0, patterns: 0, queries: 0, keys: 0 };
  for (const name of PARTS) {
    const part = map[name];
    if (!part?.length) continue;
    new Int32Array(memory.buffer, at, part.length).set(part);
    addresses[name] = at;
    at += part.byteLength;
  }
  return { tiles: map.tiles, panels: map.panels, ...addresses };
}

const PARTS = ['maps', 'order', 'tileRuns', 'runs', 'patterns', 'queries', 'keys'] as const;

function flagsOf(words: Int32Array, valid: number): number {
  let [every, some] = [-1, 0];
  for (let key = 0; key < words.length; key++) {
    every &= words[key] as number;
    some |= (words[key] as number) & valid;
  }
  let flags = 0;
  for (let s = 0; s < TILE / SLICE; s++) {
    const slice = (2 ** SLICE - 1) << (s * SLICE);
    if ((every & slice) === slice) flags |= FULL << s;
    if (some & slice) flags |= SEEN << s;
  }
  for (let group = 0; group < TILE / PANEL; group++) {
    if (some & ((2 ** PANEL - 1) << (group * PANEL))) flags |= SEEN_BY_GROUP << group;
  }
  return flags;
}
