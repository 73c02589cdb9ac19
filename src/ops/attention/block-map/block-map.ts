/**
 * A mask as attention kernels read it: for each tile of queries, the panels of keys that some of them see, in runs of equal
 * panels. Panels that no query of a tile sees are left out, those that all queries see are pattern 0, and equal partial panels
 * share a pattern. Built in time proportional to the tiles, without n x m of anything.
 */

import { BoundedMap } from '../../../bounded-map';
import { ParameterError } from '../../../errors';
import { IntegerList } from '../../../integer-list';
import { queriesFrom } from '../../../masks/area';
import type { Intervals } from '../../../masks/intervals';
import { type KeyWords, keyWords, wordsOf } from '../../../masks/key-words';
import { type Extent, type Mask, type Place, placesOf, type Tiles } from '../../../masks/mask';
import type { Steps } from '../../../runtime/turns';

/** Numbers of a run: the first panel, one past the last, the pattern. */
export const RUN_LENGTH = 3;

/** How a backend divides queries and keys. */
export interface Cut {
  /** Queries of a tile, at most 32. */
  readonly queries: number;
  /** Keys of a panel. */
  readonly keys: number;
  /** Numbers after the `words` of a pattern; `valid` has the bits of queries that exist, and the others see everything. */
  readonly trailer?: (words: Int32Array, valid: number) => readonly number[];
}

export interface BlockMap {
  /** Tiles of queries and panels of keys. */
  readonly tiles: number;
  readonly panels: number;
  /** The map of each head of each batch, [b * h]: heads that see the same share one. */
  readonly maps: Int32Array;
  /** The tiles of each map by their work (`byWork`), [maps][tiles]. */
  readonly order: Int32Array;
  /** The first run of each map and tile, and the number of runs, [maps][tiles][2]. */
  readonly tileRuns: Int32Array;
  readonly runs: Int32Array;
  /** A word for each key of each pattern, whose bit r says whether query r of the tile sees it; then the trailer. */
  readonly patterns: Int32Array;
  /** The query in each slot of the tiles and the key in each slot of the panels, -1 for none; absent if slots are queries and keys. */
  readonly queries?: Int32Array;
  readonly keys?: Int32Array;
  /** Pairs of a tile and a panel to compute, over all heads and batches. */
  readonly visited: number;
}

const KEPT = 8;

/**
 * Computes something once for each mask and key, shared by concurrent callers; the last few of each mask are kept, but not
 * failures, nor what all callers gave up.
 */
export function keptByMask<Value>(): (mask: Mask, key: string, make: () => Steps<Value>) => Steps<Value> {
  const known = new WeakMap<Mask, BoundedMap<string, Building<Value>>>();
  return function* (mask, key, make) {
    const gradKey = known.get(mask) ?? new BoundedMap<string, Building<Value>>(KEPT);
    known.set(mask, gradKey);
    const building = gradKey.get(key, () => new Building(make()));
    try {
      return yield* building.steps();
    } finally {
      if (building.isGivenUp) gradKey.delete(key, building);
    }
  };
}

/** Steps that several callers run together, each of whom gets the result. */
class Building<Value> {
  #left: Steps<Value> | undefined;
  #value: Value | undefined;
  #failure: { readonly error: unknown } | undefined;
  #takers = 0;

  constructor(steps: Steps<Value>) {
    this.#left = steps;
  }

  /** Whether there is no result, and nobody waits for one. */
  get isGivenUp(): boolean {
    return this.#failure !== undefined || (this.#left !== undefined && this.#takers === 0);
  }

  *steps(): Steps<Value> {
    this.#takers++;
    try {
      while (this.#left) {
        const { done, value } = this.#left.next();
        if (!done) yield value;
        else {
          this.#value = value;
          this.#left = undefined;
        }
      }
    } catch (error) {
      this.#failure = { error };
      this.#left = undefined;
    } finally {
      this.#takers--;
    }
    if (this.#failure) throw this.#failure.error;
    return this.#value as Value;
  }
}

/** Tiles of a step that repeat earlier ones. */
const ALIKE = 64;

export function* buildBlockMap(mask: Mask, extent: Extent, cut: Cut): Steps<BlockMap> {
  const tiled = mask.tiles?.(extent, cut.queries);
  const arrangement = tiled ? undefined : mask.arrange?.(extent);
  const { queries, keys } = tiled ?? arrangement ?? {};
  const tiles = Math.ceil((queries?.length ?? extent.n) / cut.queries);
  const panels = Math.ceil((keys?.length ?? extent.m) / cut.keys);
  const builder = new Builder(mask.name, keys?.length ?? extent.m, cut);
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
      let alike = 0;
      for (let tile = 0; tile < tiles; tile++) {
        const from = tile * cut.queries;
        if (alike === ALIKE) {
          alike = 0;
          // As if each remaining place had its own map.
          yield (at + tile / tiles) / maps.length;
        }
        alike++;
        if (tiled) builder.addTile(tiled, tile, place, Math.min(cut.queries, extent.n - from));
        else if (arrangement) {
          const queries = arrangement.queries.subarray(from, from + cut.queries);
          const words = arrangement.words(from, queries.length, place);
          builder.addWords(
            words,
            maskOf(queries.length, (r) => (queries[r] as number) >= 0),
          );
          alike = ALIKE;
        } else if (builder.addQueries(mask, from, Math.min(cut.queries, extent.n - from), place)) alike = ALIKE;
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
    runs: builder.runs.all(),
    patterns: builder.patterns.numbers.all(),
    ...(queries && { queries: padded(queries, tiles * cut.queries) }),
    ...(keys && { keys: padded(keys, panels * cut.keys) }),
    visited: maps.reduce((sum, map) => sum + (work[map] as number), 0),
  };
}

/** Builds the map tile by tile. */
class Builder {
  readonly runs = new IntegerList();
  readonly tileRuns: number[] = [];
  readonly patterns: Patterns;
  /** Panels of each tile. */
  readonly work: number[] = [];
  /** After so many tiles, queries have advanced by a whole number of panels. */
  readonly #period: number;
  /** What the tiles of the last period saw, by tile modulo the period. */
  readonly #earlier: Seen[];
  /** The current tile: where its runs begin, its panels so far and the queries that exist. */
  #first = 0;
  #panels = 0;
  #valid = 0;
  /** The panel whose words are being collected, -1 for none, and these words. */
  #open = -1;
  readonly #words: Int32Array;

  constructor(
    readonly name: string,
    /** Number of keys. */
    readonly keys: number,
    readonly cut: Cut,
  ) {
    this.patterns = new Patterns(cut);
    this.#words = new Int32Array(cut.keys);
    this.#period = cut.keys / commonDivisor(cut.queries, cut.keys);
    this.#earlier = Array.from({ length: this.#period }, () => ({ rows: [], lowest: 0, highest: 0, slid: 0 }));
  }

  /** Adds a tile of the queries from `first`; returns whether the mask had to be asked what they see. */
  addQueries(mask: Mask, first: number, count: number, place: Place): boolean {
    const { intervals, slides } = mask;
    const { queries: size, keys } = this.cut;
    const step = this.#period * size;
    const earlier = this.#earlier[(first / size) % this.#period] as Seen;
    const follows = count === size && first >= step;
    const slid = earlier.slid + step;
    // No interval reaches an end, before or after sliding by a period: the tile is the earlier one, moved.
    if (follows && slides && earlier.lowest > 0 && earlier.highest + slid <= place.m) {
      earlier.slid = slid;
      this.#repeat(this.#period, step / keys);
      return false;
    }
    const queries = queriesFrom(first, count);
    const all = maskOf(count, () => true);
    if (!intervals) {
      this.addWords(keyWords(mask, queries, place), all);
      return true;
    }
    const byQuery = queries.map((i) => intervals(i, place));
    if (follows && sameRows(byQuery, earlier.rows, earlier.slid)) this.#repeat(this.#period, 0);
    else if (follows && sameRows(byQuery, earlier.rows, slid)) this.#repeat(this.#period, step / keys);
    else this.addWords(wordsOf(byQuery), all);
    earlier.rows = byQuery;
    // Empty rows are beyond an end.
    earlier.lowest = Math.min(...byQuery.map((row) => row[0] ?? 0));
    earlier.highest = Math.max(...byQuery.map((row) => row.at(-1) ?? 0));
    earlier.slid = 0;
    this.#checkKeys(earlier.lowest, earlier.highest);
    return true;
  }

  /** Throws a ParameterError for keys that do not exist, whose memory kernels would access. */
  #checkKeys(first: number, past: number): void {
    if (first >= 0 && past <= this.keys) return;
    const wrong = first < 0 ? first : past - 1;
    throw new ParameterError(`mask "${this.name}" must see keys from 0 to ${this.keys - 1}, got ${wrong}`);
  }

  /** Adds a tile whose queries with a bit in `valid` exist, and see the key slots that `words` says. */
  addWords({ starts, words }: KeyWords, valid: number): void {
    this.#checkKeys(starts[0] ?? 0, starts.at(-1) ?? 0);
    this.#begin(valid);
    for (let at = 0; at + 1 < starts.length; at++)
      this.addKeys(starts[at] as number, starts[at + 1] as number, words[at] as number);
    this.#end();
  }

  /** Adds a tile of `count` queries that says what it sees. */
  addTile(tiles: Tiles, tile: number, place: Place, count: number): void {
    this.#begin(maskOf(count, () => true));
    if (tiles.see(tile, place, this)) this.#end();
    else this.#repeat(1, 0);
  }

  #begin(valid: number): void {
    this.#first = this.runs.length;
    this.#panels = 0;
    this.#valid = valid;
  }

  #end(): void {
    this.#close();
    this.tileRuns.push(this.#first / RUN_LENGTH, (this.runs.length - this.#first) / RUN_LENGTH);
    this.work.push(this.#panels);
  }

  /** Adds further key slots, which the queries of `word` see. */
  addKeys(start: number, end: number, word: number): void {
    if (word === 0) return;
    const size = this.cut.keys;
    for (let key = start; key < end; ) {
      const panel = Math.floor(key / size);
      const within = key - panel * size;
      if (within === 0 && end - key >= size) {
        this.#close();
        const past = Math.floor(end / size);
        if (word !== this.patterns.all) this.#fill(word, 0, size);
        this.#push(panel, past, word === this.patterns.all ? 0 : this.patterns.indexOf(this.#words, this.#valid));
        key = past * size;
        continue;
      }
      if (panel !== this.#open) {
        this.#close();
        this.#open = panel;
        this.#fill(0, 0, size);
      }
      const past = Math.min(size, within + end - key);
      this.#fill(word, within, past);
      key += past - within;
    }
  }

  /** Faster for so few than the array's own method. */
  #fill(word: number, first: number, past: number): void {
    for (let at = first; at < past; at++) this.#words[at] = word;
  }

  #close(): void {
    if (this.#open >= 0) this.#push(this.#open, this.#open + 1, this.patterns.indexOf(this.#words, this.#valid));
    this.#open = -1;
  }

  /** Adds a run, or extends the tile's last one if that ends here and has the same pattern. */
  #push(panel: number, past: number, pattern: number): void {
    this.#panels += past - panel;
    const runs = this.runs.reserve(RUN_LENGTH);
    const at = this.runs.length;
    if (at > this.#first && runs[at - 2] === panel && runs[at - 1] === pattern) {
      runs[at - 2] = past;
      return;
    }
    runs[at] = panel;
    runs[at + 1] = past;
    runs[at + 2] = pattern;
    this.runs.length += RUN_LENGTH;
  }

  /** Repeats the tile `tiles` before, with its panels moved by `panels`. */
  #repeat(tiles: number, panels: number): void {
    const first = this.tileRuns.at(-2 * tiles) as number;
    const count = this.tileRuns.at(1 - 2 * tiles) as number;
    this.work.push(this.work.at(-tiles) as number);
    if (panels === 0) {
      this.tileRuns.push(first, count);
      return;
    }
    this.tileRuns.push(this.runs.length / RUN_LENGTH, count);
    const runs = this.runs.reserve(count * RUN_LENGTH);
    for (let at = first * RUN_LENGTH; at < (first + count) * RUN_LENGTH; at += RUN_LENGTH) {
      runs[this.runs.length++] = (runs[at] as number) + panels;
      runs[this.runs.length++] = (runs[at + 1] as number) + panels;
      runs[this.runs.length++] = runs[at + 2] as number;
    }
  }
}

/** What a tile's queries see, and how far the tiles that repeat it have slid. */
interface Seen {
  rows: readonly Intervals[];
  lowest: number;
  highest: number;
  slid: number;
}

/** The distinct patterns. */
class Patterns {
  readonly numbers = new IntegerList();
  /** The word of keys that all queries see, as in pattern 0. */
  readonly all: number;
  readonly #trailer: Cut['trailer'];
  /** Numbers of a pattern, and how many of them are words. */
  readonly #length: number;
  readonly #words: number;
  #count = 0;
  /** The queries that exist, for each pattern, if that matters. */
  readonly #valid = new IntegerList();
  /** A hash table of patterns, -1 for none. */
  #table = new Int32Array(256).fill(-1);

  constructor({ queries, keys, trailer }: Cut) {
    this.all = maskOf(queries, () => true);
    this.#trailer = trailer;
    const full = new Int32Array(keys).fill(this.all);
    this.#words = keys;
    this.#length = keys + (trailer?.(full, this.all).length ?? 0);
    this.indexOf(full, this.all);
  }

  /** The pattern of a panel's words. Queries that do not exist see everything, so that a short tile can be full. */
  indexOf(words: Int32Array, valid: number): number {
    const spare = this.all & ~valid;
    // With a trailer the existing queries matter too: equal words of a short and a whole tile are different patterns.
    const key = this.#trailer ? valid : this.all;
    let hash = key;
    for (let at = 0; at < words.length; at++) hash = mixed(hash, (words[at] as number) | spare);
    const numbers = this.numbers.reserve(this.#length);
    const valids = this.#valid.reserve(1);
    const table = this.#table;
    let place = hash & (table.length - 1);
    for (; table[place] !== -1; place = (place + 1) & (table.length - 1)) {
      const pattern = table[place] as number;
      let isSame = valids[pattern] === key;
      for (let at = 0; isSame && at < words.length; at++)
        isSame = numbers[pattern * this.#length + at] === ((words[at] as number) | spare);
      if (isSame) return pattern;
    }
    const pattern = this.#count++;
    table[place] = pattern;
    valids[pattern] = key;
    const { length } = this.numbers;
    for (let at = 0; at < words.length; at++) numbers[length + at] = (words[at] as number) | spare;
    const more = this.#trailer?.(numbers.subarray(length, length + words.length), valid) ?? [];
    for (let at = 0; at < more.length; at++) numbers[length + words.length + at] = more[at] as number;
    this.numbers.length += this.#length;
    this.#valid.length++;
    if (2 * this.#count > table.length) this.#grow();
    return pattern;
  }

  #grow(): void {
    const table = new Int32Array(4 * this.#table.length).fill(-1);
    const [numbers, valids] = [this.numbers.all(), this.#valid.all()];
    for (let pattern = 0; pattern < this.#count; pattern++) {
      let hash = valids[pattern] as number;
      for (let at = 0; at < this.#words; at++) hash = mixed(hash, numbers[pattern * this.#length + at] as number);
      let place = hash & (table.length - 1);
      while (table[place] !== -1) place = (place + 1) & (table.length - 1);
      table[place] = pattern;
    }
    this.#table = table;
  }
}

function mixed(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1);
  return product ^ (product >>> 15);
}

/** The bits below `count` that `has` admits. */
function maskOf(count: number, has: (bit: number) => boolean): number {
  let mask = 0;
  for (let bit = 0; bit < count; bit++) if (has(bit)) mask |= 1 << bit;
  return mask;
}

/**
 * Tile numbers, first those with more than half of the maximum of panels, then those with more than a quarter, and so on: the
 * last ones are short, so that threads end together. Within each group in descending order, since later tiles of causal masks
 * have more, and neighbours, which see the same keys, stay together.
 */
export function byWork(panels: ArrayLike<number>): number[] {
  let most = 1;
  for (let tile = 0; tile < panels.length; tile++) most = Math.max(most, panels[tile] as number);
  const byHalvings: number[][] = [];
  for (let tile = panels.length - 1; tile >= 0; tile--) {
    const halvings = Math.floor(Math.log2(most / Math.max(1, panels[tile] as number)));
    byHalvings[halvings] ??= [];
    byHalvings[halvings].push(tile);
  }
  return byHalvings.flat();
}

/** Slots, padded with empty ones. */
export function padded(slots: Int32Array, length: number): Int32Array {
  const result = new Int32Array(length).fill(-1);
  result.set(slots);
  return result;
}

/** Whether each query of a tile sees what the same query of another tile does, `moved` keys further on. */
function sameRows(a: readonly Intervals[], b: readonly Intervals[], moved: number): boolean {
  return (
    a.length === b.length &&
    a.every((row, r) => {
      const other = b[r] as Intervals;
      return row.length === other.length && row.every((key, at) => key === (other[at] as number) + moved);
    })
  );
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
