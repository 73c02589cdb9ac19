/**
 * A mask as the attention kernels take it: for each tile of 24 queries the panels of six keys that some of them see, in
 * runs of panels that look alike. Panels that no query of a tile sees do not occur, those that all see are pattern 0,
 * and equal partial panels share one pattern. Built in time proportional to the tiles; never holds n x m of anything.
 */

import { ParameterError } from '../../errors';
import { queriesFrom } from '../../masks/area';
import { BoundedMap } from '../../masks/bounded-map';
import { type KeyWords, keyWords, wordsOf } from '../../masks/key-words';
import { type Extent, type Intervals, type Mask, type Place, placesOf } from '../../masks/mask';

export const QUERY_TILE = 24;
export const PANEL = 6;
const SLICE = 8;
const ALL = 2 ** QUERY_TILE - 1;

/** Numbers of a run: first panel, one past the last, pattern. */
export const RUN_LENGTH = 3;
/** Numbers of a pattern: six words of 24 bits, one a key, then which queries occur in them (`flagsOf`), then a pad. */
export const PATTERN_LENGTH = 8;

export interface BlockMap {
  /** Tiles of queries and panels of keys. */
  readonly tiles: number;
  readonly panels: number;
  /** The map of each head of each batch, [b * h]: heads that see alike share one. */
  readonly maps: Int32Array;
  /** Of each map, its tiles with the most work first, [maps][tiles]. */
  readonly order: Int32Array;
  /** Of each map and tile, its first run and the number of runs, [maps][tiles][2]. */
  readonly tileRuns: Int32Array;
  readonly runs: Int32Array;
  readonly patterns: Int32Array;
  /** The query in each slot of a tile and the key in each of a panel, -1 for none; absent where slots are these. */
  readonly queries?: Int32Array;
  readonly keys?: Int32Array;
  /** Pairs of a tile and a panel to compute, over all heads and batches. */
  readonly visited: number;
}

/** Bytes that `writeBlockMap` writes. */
export function blockMapBytes(map: BlockMap): number {
  return 4 * partsOf(map).reduce((sum, { length }) => sum + length, 0);
}

/** Writes the map to `address` in the heap; returns its part of the kernels' params (assembly/blocks.ts). */
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
const KEPT = 8;
const known = new WeakMap<Mask, BoundedMap<string, BlockMap>>();

/** The block map of a mask at these extents; worked out once for each mask and extents. */
export function blockMap(mask: Mask, extent: Extent): BlockMap {
  const byExtent = known.get(mask) ?? new BoundedMap<string, BlockMap>(KEPT);
  known.set(mask, byExtent);
  const { b, n, m, h, g } = extent;
  return byExtent.get([b, n, m, h, g].join(), () => build(mask, extent));
}

function build(mask: Mask, extent: Extent): BlockMap {
  const arrangement = mask.arrange?.(extent);
  const tiles = Math.ceil((arrangement?.queries.length ?? extent.n) / QUERY_TILE);
  const panels = Math.ceil((arrangement?.keys.length ?? extent.m) / PANEL);
  const builder = new Builder(mask.name, arrangement?.keys.length ?? extent.m);
  const maps = new Int32Array(extent.b * extent.h);
  const order: number[] = [];
  const work: number[] = [];
  const byVariant = new Map<number | string, number>();
  let at = 0;
  for (const place of placesOf(extent)) {
    const variant = mask.variant?.(place) ?? 0;
    let map = byVariant.get(variant);
    if (map === undefined) {
      map = byVariant.size;
      byVariant.set(variant, map);
      const first = map * tiles;
      for (let tile = 0; tile < tiles; tile++) {
        const from = tile * QUERY_TILE;
        if (arrangement) {
          const queries = arrangement.queries.subarray(from, from + QUERY_TILE);
          const words = arrangement.words(from, queries.length, place);
          builder.addWords(
            words,
            maskOf(queries.length, (r) => (queries[r] as number) >= 0),
          );
        } else builder.addQueries(mask, from, Math.min(QUERY_TILE, extent.n - from), place);
      }
      const panelsOf = builder.work.slice(first, first + tiles);
      work.push(panelsOf.reduce((sum, count) => sum + count, 0));
      for (const tile of byWork(panelsOf)) order.push(tile);
    }
    maps[at++] = map;
  }
  return {
    tiles,
    panels,
    maps,
    order: Int32Array.from(order),
    tileRuns: Int32Array.from(builder.tileRuns),
    runs: Int32Array.from(builder.runs),
    patterns: Int32Array.from(builder.patterns.numbers),
    ...(arrangement && {
      queries: padded(arrangement.queries, tiles * QUERY_TILE),
      keys: padded(arrangement.keys, panels * PANEL),
    }),
    visited: maps.reduce((sum, map) => sum + (work[map] as number), 0),
  };
}

/** Adds tiles one after the other. */
class Builder {
  constructor(
    readonly name: string,
    /** Keys that there are. */
    readonly keys: number,
  ) {}

  readonly runs: number[] = [];
  readonly tileRuns: number[] = [];
  readonly patterns = new Patterns();
  /** Panels of each tile. */
  readonly work: number[] = [];
  /** The intervals of the last tile's queries. */
  #rows: readonly Intervals[] = [];
  #lowest = 0;
  #highest = 0;
  /** How far these tiles have slid since the ends were asked for. */
  #slid = 0;

  /** A tile of the queries from `first`. */
  addQueries(mask: Mask, first: number, count: number, place: Place): void {
    const { intervals, slides } = mask;
    const follows = count === QUERY_TILE && first > 0;
    const slid = this.#slid + QUERY_TILE;
    // Intervals that touch neither end nor pass the last key one tile further on: nothing new to ask for.
    if (follows && slides && this.#lowest > 0 && this.#highest + slid <= place.m) {
      this.#slid = slid;
      this.#repeat(QUERY_TILE / PANEL);
      return;
    }
    const queries = queriesFrom(first, count);
    const all = maskOf(count, () => true);
    if (!intervals) {
      this.addWords(keyWords(mask, queries, place), all);
      return;
    }
    const byQuery = queries.map((i) => intervals(i, place));
    if (follows && sameRows(byQuery, this.#rows, this.#slid)) this.#repeat(0);
    else if (follows && sameRows(byQuery, this.#rows, slid)) this.#repeat(QUERY_TILE / PANEL);
    else this.addWords(wordsOf(byQuery), all);
    this.#rows = byQuery;
    // A query that sees nothing lies beyond an end.
    this.#lowest = Math.min(...byQuery.map((row) => row[0] ?? 0));
    this.#highest = Math.max(...byQuery.map((row) => row.at(-1) ?? 0));
    this.#slid = 0;
    this.#checkKeys(this.#lowest, this.#highest);
  }

  /** Throws a ParameterError for keys that there are not: kernels would read and write elsewhere. */
  #checkKeys(first: number, past: number): void {
    if (first >= 0 && past <= this.keys) return;
    const wrong = first < 0 ? first : past - 1;
    throw new ParameterError(`mask "${this.name}" must see keys from 0 to ${this.keys - 1}, got ${wrong}`);
  }

  /** A tile whose queries with a bit in `valid` exist and see what `words` says, in key slots. */
  addWords({ starts, words }: KeyWords, valid: number): void {
    this.#checkKeys(starts[0] ?? 0, starts.at(-1) ?? 0);
    const from = this.runs.length;
    const partial = new Array<number>(PANEL).fill(0);
    let open = -1;
    let work = 0;
    const add = (panel: number, past: number, pattern: number) => {
      work += past - panel;
      const last = this.runs.length - RUN_LENGTH;
      if (last >= from && this.runs[last + 1] === panel && this.runs[last + 2] === pattern) this.runs[last + 1] = past;
      else this.runs.push(panel, past, pattern);
    };
    const close = () => {
      if (open >= 0) add(open, open + 1, this.patterns.indexOf(partial, valid));
      open = -1;
    };
    for (let at = 0; at + 1 < starts.length; at++) {
      const word = words[at] as number;
      if (word === 0) continue;
      const end = starts[at + 1] as number;
      for (let key = starts[at] as number; key < end; ) {
        const panel = Math.floor(key / PANEL);
        if (key % PANEL === 0 && end - key >= PANEL) {
          close();
          const past = Math.floor(end / PANEL);
          add(panel, past, this.patterns.indexOf(partial.fill(word), valid));
          key = past * PANEL;
          continue;
        }
        if (panel !== open) {
          close();
          open = panel;
          partial.fill(0);
        }
        partial[key % PANEL] = word;
        key++;
      }
    }
    close();
    this.tileRuns.push(from / RUN_LENGTH, (this.runs.length - from) / RUN_LENGTH);
    this.work.push(work);
  }

  /** The last tile once more, its panels moved by `panels`. */
  #repeat(panels: number): void {
    const first = this.tileRuns.at(-2) as number;
    const count = this.tileRuns.at(-1) as number;
    this.work.push(this.work.at(-1) as number);
    if (panels === 0) {
      this.tileRuns.push(first, count);
      return;
    }
    this.tileRuns.push(this.runs.length / RUN_LENGTH, count);
    for (let at = first * RUN_LENGTH; at < (first + count) * RUN_LENGTH; at += RUN_LENGTH) {
      this.runs.push(
        (this.runs[at] as number) + panels,
        (this.runs[at + 1] as number) + panels,
        this.runs[at + 2] as number,
      );
    }
  }
}

/** The patterns that occur, each once. */
class Patterns {
  readonly numbers: number[] = [];
  /** By hash, the patterns with that hash. */
  #found = new Map<number, number[]>();

  constructor() {
    this.indexOf(new Array(PANEL).fill(ALL), ALL);
  }

  /** The pattern of six words; queries that do not exist see everything, so that a tile's rest can be full. */
  indexOf(words: readonly number[], valid: number): number {
    const spare = ALL & ~valid;
    let hash = 0;
    for (const word of words) hash = (Math.imul(hash, 0x9e3779b1) ^ (word | spare)) | 0;
    const candidates = this.#found.get(hash) ?? [];
    // Whose queries exist matters too: a short tile's pattern is not that of a whole one, though their words are equal.
    const numbers = words.map((word) => word | spare);
    numbers.push(flagsOf(numbers, words, valid), 0);
    for (const candidate of candidates) {
      if (numbers.every((number, at) => this.numbers[candidate * PATTERN_LENGTH + at] === number)) return candidate;
    }
    const index = this.numbers.length / PATTERN_LENGTH;
    this.numbers.push(...numbers);
    candidates.push(index);
    this.#found.set(hash, candidates);
    return index;
  }
}

/** Bits 0 to 2: all keys are seen by the slice of eight queries; 3 to 5: some; 6 to 9: some, by the group of six. */
function flagsOf(full: readonly number[], words: readonly number[], valid: number): number {
  const every = full.reduce((all, word) => all & word, ALL);
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

function maskOf(count: number, has: (bit: number) => boolean): number {
  let mask = 0;
  for (let bit = 0; bit < count; bit++) if (has(bit)) mask |= 1 << bit;
  return mask;
}

/** Tile numbers, most panels first; among equals the later first, as causal masks have more there. */
function byWork(panels: readonly number[]): number[] {
  return panels.map((_, tile) => tile).sort((a, b) => (panels[b] as number) - (panels[a] as number) || b - a);
}

function padded(slots: Int32Array, length: number): Int32Array {
  const result = new Int32Array(length).fill(-1);
  result.set(slots);
  return result;
}

/** Whether each query of a tile sees what the one in its place in another tile does, `moved` keys further on. */
function sameRows(a: readonly Intervals[], b: readonly Intervals[], moved: number): boolean {
  return (
    a.length === b.length &&
    a.every((row, r) => {
      const other = b[r] as Intervals;
      return row.length === other.length && row.every((key, at) => key === (other[at] as number) + moved);
    })
  );
}
