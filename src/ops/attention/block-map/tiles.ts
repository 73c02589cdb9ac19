/**
 * The map of a mask in WGSL, as attention's forward and backward kernels read it.
 *
 *   const map = yield* tileMap(call.mask, extent, { queries: 64, keys: 32 });           // or .., 'keys') for the other side
 *   kernel:   { operands: { .., map: TILES.operand }, numbers: { .., ...TILES.numbers }, body: tilesCode(map) + .. }
 *   dispatch: { operands: { .., map: tilesOf(map, workspace) }, numbers: { .., ...map.numbers }, .. }
 *
 * The code depends only on the cut, which belongs to the kernel's variant, so one pipeline serves every mask and extent. The words
 * stay on the device as long as the map is used. A row is a query head of a batch, batch * h + head; an owner is a tile of
 * queries (or, by keys, a panel), which has runs of panels (of tiles):
 *
 *   TILE, PANEL, PARTS          queries of a tile, keys of a panel, parts of 32 queries that a tile has
 *   owner_of(row, at)           the owner at an index of the row's order, in which those with much work come first
 *   span_of(row, owner)         its Span: runs from `first` to before `past`, and how many `others` are in them
 *   run_at(i)                   Run i: panels (tiles) `first` to before `past`, and whether all of it is seen (`is_full`)
 *   pattern_of(run, part)       what a part of the tile sees of the run's panels
 *   seen_word(pattern, key)     bit r: whether query r of the part sees that key of the panel
 *   query_at(slot), key_at(slot)   the query in slot tile * TILE + r, the key in slot panel * PANEL + c; -1 for none
 *
 * An owner without runs has nothing to compute. Nobody sees keys that do not exist, so a panel with such keys is not full;
 * queries that do not exist see everything. All results are uniform if the arguments are, so barriers may depend on them.
 */

import { type OperandSpec, type Region, u32s } from '../../../runtime/webgpu/kernel';
import type { Workspace } from '../../../runtime/webgpu/plan';
import type { TileCut, TileMap } from './webgpu';

/** What a kernel with a map declares. */
export const TILES = {
  operand: { access: 'read' } satisfies OperandSpec as OperandSpec,
  numbers: u32s(
    'map_owners',
    'map_order',
    'map_spans',
    'map_runs',
    'map_patterns',
    'map_queries',
    'map_keys',
    'map_n',
    'map_m',
  ),
};

/** The words of maps of single calls. */
const passing = new WeakMap<TileMap, Region>();

/** The map's words on the device, for the operand `map`. */
export function tilesOf(map: TileMap, workspace: Workspace): Region {
  if (!map.isPassing) return workspace.keep(map, 'words', () => map.words);
  const region = passing.get(map) ?? workspace.upload(map.words);
  passing.set(map, region);
  return region;
}

/** For the head of a body. */
export function tilesCode({ queries, keys }: TileCut): string {
  const parts = Math.ceil(queries / 32);
  return `
const TILE = ${queries}u;
const PANEL = ${keys}u;
const PARTS = ${parts}u;

struct Span { first: u32, past: u32, others: u32 }
struct Run { first: u32, past: u32, is_full: bool, at: u32 }

fn owner_of(row: u32, at: u32) -> u32 {
  return u32(load_map(numbers.map_order + u32(load_map(row)) * numbers.map_owners + at));
}
fn span_of(row: u32, owner: u32) -> Span {
  let at = numbers.map_spans + 3 * (u32(load_map(row)) * numbers.map_owners + owner);
  return Span(u32(load_map(at)), u32(load_map(at + 1)), u32(load_map(at + 2)));
}
fn run_at(i: u32) -> Run {
  let at = numbers.map_runs + ${2 + parts} * i;
  let patterns = ${Array.from({ length: parts }, (_, part) => `load_map(at + ${2 + part})`).join(' | ')};
  return Run(u32(load_map(at)), u32(load_map(at + 1)), patterns == 0, at);
}
fn pattern_of(run: Run, part: u32) -> i32 { return load_map(run.at + 2 + part); }
fn seen_word(pattern: i32, key: u32) -> u32 {
  if (pattern < 0) { return 0; }
  return u32(load_map(numbers.map_patterns + u32(pattern) * PANEL + key));
}
fn query_at(slot: u32) -> i32 {
  if (numbers.map_queries > 0) { return load_map(numbers.map_queries + slot); }
  return select(-1, i32(slot), slot < numbers.map_n);
}
fn key_at(slot: u32) -> i32 {
  if (numbers.map_keys > 0) { return load_map(numbers.map_keys + slot); }
  return select(-1, i32(slot), slot < numbers.map_m);
}`;
}
