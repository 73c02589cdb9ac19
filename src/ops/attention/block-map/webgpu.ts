/**
 * A mask as the GPU's attention kernels read it: the block map in one array of 32-bit words, for tiles of any size, by queries
 * (what each tile of queries sees) or by keys (which tiles see each panel of keys).
 *
 * A word holds 32 queries, so a tile of more has a few parts, each with a pattern of its own, and is one merged list of
 * runs. Both sides share patterns: bit r of word c of part p says whether query 32 p + r of the tile sees key c of the
 * panel.
 */
import { type Extent, extentKey, type Mask } from '../../../masks/mask';
import { partOf, type Steps } from '../../../runtime/turns';
import { type BlockMap, buildBlockMap, byWork, keptByMask, padded, RUN_LENGTH } from './block-map';

/** Queries of a tile and keys of a panel: 1 to 32 queries, or a multiple of 32. */
export interface TileCut {
  readonly queries: number;
  readonly keys: number;
}

/** Whose list of runs the map is: a tile of queries has runs of panels, a panel of keys runs of tiles. */
export type Side = 'queries' | 'keys';

export interface TileMap {
  readonly cut: TileCut;
  /** Patterns of a run. */
  readonly parts: number;
  /** Tiles of queries, or panels of keys. */
  readonly owners: number;
  /** Pairs of a tile and a panel to compute, over all heads and batches. */
  readonly visited: number;
  /** The most of them that one owner has. */
  readonly most: number;
  /** Whether it serves a single call. */
  readonly isPassing: boolean;
  /** All of it, as block-map/tiles.ts reads it. */
  readonly words: Int32Array;
  /** Where in it the parts begin, and extents. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** What a part of a tile that sees nothing of a panel has in place of a pattern. */
const NO_PATTERN = -1;

const WORD = 32;

const TILES_OF_STEP = 16;

const kept = keptByMask<TileMap>();

/** The map of a mask at these extents, worked out once for each, but for masks of a single call. */
export function tileMap(mask: Mask, extent: Extent, cut: TileCut, side: Side = 'queries'): Steps<TileMap> {
  if (mask.isPassing) return build(mask, extent, cut, side);
  const key = [extentKey(extent), cut.queries, cut.keys, side].join();
  return kept(mask, key, () => build(mask, extent, cut, side));
}

function* build(mask: Mask, extent: Extent, cut: TileCut, side: Side): Steps<TileMap> {
  const map = yield* partOf(
    buildBlockMap(mask, extent, { queries: Math.min(WORD, cut.queries), keys: cut.keys }),
    0,
    2,
  );
  const parts = Math.ceil(cut.queries / WORD);
  const tiles = Math.ceil(map.tiles / parts);
  const count = map.maps.reduce((most, at) => Math.max(most, at), 0) + 1;
  const lists = new Lists(parts);
  for (let at = 0; at < count; at++) {
    const columns = Array.from({ length: side === 'keys' ? map.panels : 0 }, (): number[] => []);
    for (let tile = 0; tile < tiles; tile++) {
      const runs = mergedRuns(map, at, tile * parts, parts);
      if (side === 'queries') lists.add(runs);
      else addToColumns(columns, runs, tile, parts);
      if (tile % TILES_OF_STEP === 0) yield (1 + (at + tile / tiles) / count) / 2;
    }
    for (const runs of columns) lists.add(runs);
  }
  const owners = side === 'queries' ? tiles : map.panels;
  const order: number[] = [];
  for (let at = 0; at < count; at++) order.push(...byWork(lists.work.slice(at * owners, (at + 1) * owners)));
  const { words, places } = joined({
    maps: map.maps,
    order,
    spans: lists.spans,
    runs: lists.runs,
    patterns: map.patterns,
    queries: map.queries ? padded(map.queries, tiles * cut.queries) : [],
    keys: map.keys ?? [],
  });
  const work = Array.from({ length: count }, (_, at) => sum(lists.work.slice(at * owners, (at + 1) * owners)));
  return {
    cut,
    parts,
    owners,
    words,
    isPassing: mask.isPassing === true,
    visited: map.maps.reduce((total, at) => total + (work[at] as number), 0),
    most: lists.work.reduce((most, others) => Math.max(most, others), 0),
    numbers: {
      map_owners: owners,
      map_order: places.order,
      map_spans: places.spans,
      map_runs: places.runs,
      map_patterns: places.patterns,
      // Slots are queries and keys themselves where there is no arrangement.
      map_queries: map.queries ? places.queries : 0,
      map_keys: map.keys ? places.keys : 0,
      map_n: extent.n,
      map_m: extent.m,
    },
  };
}

/** Runs one after the other, flat: first, one past the last, and the pattern of each part. */
type Runs = readonly number[];

/** The runs of `parts` tiles of the block map from `first` on, as one tile's. */
function mergedRuns(map: BlockMap, which: number, first: number, parts: number): Runs {
  const lists: Int32Array[] = [];
  for (let tile = first; tile < Math.min(first + parts, map.tiles); tile++) {
    const at = 2 * (which * map.tiles + tile);
    const [begin, count] = [map.tileRuns[at] as number, map.tileRuns[at + 1] as number];
    lists.push(map.runs.subarray(begin * RUN_LENGTH, (begin + count) * RUN_LENGTH));
  }
  if (parts === 1) return Array.from(lists[0] as Int32Array);
  const merged: number[] = [];
  const next = lists.map(() => 0);
  for (let panel = 0; ; ) {
    let [start, end] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    lists.forEach((runs, part) => {
      while ((runs[(next[part] as number) + 1] ?? Number.POSITIVE_INFINITY) <= panel) next[part]! += RUN_LENGTH;
      start = Math.min(start, Math.max(panel, runs[next[part] as number] ?? Number.POSITIVE_INFINITY));
    });
    if (start === Number.POSITIVE_INFINITY) return merged;
    // What does not exist sees everything, so that a short tile can be full.
    const patterns = new Array<number>(parts).fill(0);
    lists.forEach((runs, part) => {
      const at = next[part] as number;
      const from = runs[at] ?? Number.POSITIVE_INFINITY;
      patterns[part] = from <= start ? (runs[at + 2] as number) : NO_PATTERN;
      end = Math.min(end, from <= start ? (runs[at + 1] as number) : from);
    });
    pushRun(merged, start, end, patterns);
    panel = end;
  }
}

/** Adds the runs of a tile to those that its panels have, which are runs of tiles. */
function addToColumns(columns: readonly number[][], runs: Runs, tile: number, parts: number): void {
  for (let at = 0; at < runs.length; at += 2 + parts) {
    const patterns = runs.slice(at + 2, at + 2 + parts);
    for (let panel = runs[at] as number; panel < (runs[at + 1] as number); panel++)
      pushRun(columns[panel] as number[], tile, tile + 1, patterns);
  }
}

/** Appends a run, or makes the last one longer. */
function pushRun(runs: number[], first: number, past: number, patterns: readonly number[]): void {
  const last = runs.length - 2 - patterns.length;
  const follows = last >= 0 && runs[last + 1] === first && patterns.every((x, part) => runs[last + 2 + part] === x);
  if (follows) runs[last + 1] = past;
  else runs.push(first, past, ...patterns);
}

/** The runs of all owners. */
class Lists {
  readonly runs: number[] = [];
  /** For each owner its first run, one past its last, and the panels or tiles in them. */
  readonly spans: number[] = [];
  readonly work: number[] = [];

  constructor(readonly parts: number) {}

  add(runs: Runs): void {
    const length = 2 + this.parts;
    const first = this.runs.length / length;
    let work = 0;
    for (let at = 0; at < runs.length; at += length) work += (runs[at + 1] as number) - (runs[at] as number);
    for (const number of runs) this.runs.push(number);
    this.spans.push(first, first + runs.length / length, work);
    this.work.push(work);
  }
}

/** Arrays one after the other, and where each begins. */
function joined<Name extends string>(
  arrays: Readonly<Record<Name, ArrayLike<number>>>,
): { words: Int32Array; places: Record<Name, number> } {
  const places = {} as Record<Name, number>;
  let length = 0;
  for (const name in arrays) {
    places[name] = length;
    length += arrays[name].length;
  }
  const words = new Int32Array(length);
  for (const name in arrays) words.set(arrays[name], places[name]);
  return { words, places };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
