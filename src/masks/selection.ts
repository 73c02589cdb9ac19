/** The mask of a single call: which blocks of keys each block of queries sees, from the elements of a tensor. */
import { BoundedMap } from '../bounded-map';
import { boundsOf, documentIds } from './documents';
import { KeyWords, keyWords, mergeWords } from './key-words';
import { type Extent, extentKey, type Mask, type Place, type SeenKeys, type Tiles } from './mask';

/** Blocks of tokens, which lie one after the other in slots. */
export interface Blocks {
  readonly count: number;
  /** The block of a token. */
  of(token: number): number;
  /** The first slot of a block; the number of slots at `count`. */
  start(block: number): number;
  /** The token in each slot; absent where slots are tokens. */
  readonly tokens?: Int32Array | undefined;
  /** Equal blocks have equal names. */
  readonly name: string;
}

/** The blocks of keys that a block of queries sees, whose number counts those of all heads and batches before it. */
export interface Choice {
  sees(row: number, block: number): boolean;
  /** Hands out runs of blocks, their first and one past their last, in any order; they may overlap. */
  eachRun(row: number, take: (first: number, past: number) => void): void;
}

/** The choice of each block of queries: [batches][heads][query blocks]. */
export interface Selected {
  /** Those of all heads, or of each of `heads`, equally many. */
  readonly queries: readonly Blocks[];
  readonly keys: readonly Blocks[];
  readonly batches: number;
  /** Divides the query heads; neighbouring ones share a choice. */
  readonly heads: number;
  readonly choice: Choice;
}

/** Lists [rows][width] of key blocks, -1 for none. */
export const chosenByLists = (lists: ArrayLike<number>, width: number): Choice => ({
  sees(row, block) {
    for (let at = row * width; at < (row + 1) * width; at++) if (lists[at] === block) return true;
    return false;
  },
  eachRun(row, take) {
    for (let at = row * width; at < (row + 1) * width; at++) {
      const block = lists[at] as number;
      if (block >= 0) take(block, block + 1);
    }
  },
});

/** Flags [rows][width], one for each key block, not 0 where it is seen. */
export const chosenByFlags = (flags: ArrayLike<number>, width: number): Choice => ({
  sees: (row, block) => flags[row * width + block] !== 0,
  eachRun(row, take) {
    const from = row * width;
    for (let block = 0; block < width; block++) {
      if (flags[from + block] === 0) continue;
      const first = block;
      while (block < width && flags[from + block] !== 0) block++;
      take(first, block);
    }
  },
});

/** Runs [...][2] of key blocks, of which those of a row are `offsets[row]` to before `offsets[row + 1]` by `offsetOf(row)`. */
export const chosenByRuns = (
  runs: ArrayLike<number>,
  offsets: ArrayLike<number>,
  offsetOf: (row: number) => number,
): Choice => ({
  sees(row, block) {
    const at = offsetOf(row);
    for (let run = offsets[at] as number; run < (offsets[at + 1] as number); run++)
      if ((runs[2 * run] as number) <= block && block < (runs[2 * run + 1] as number)) return true;
    return false;
  },
  eachRun(row, take) {
    const at = offsetOf(row);
    for (let run = offsets[at] as number; run < (offsets[at + 1] as number); run++)
      take(runs[2 * run] as number, runs[2 * run + 1] as number);
  },
});

/** Blocks of `size` tokens, of which the last may be short. */
export const blocksOf = (tokens: number, size: number): Blocks => ({
  count: Math.ceil(tokens / size),
  of: (token) => Math.floor(token / size),
  start: (block) => Math.min(block * size, tokens),
  name: `${size}`,
});

/** Blocks of these numbers of tokens, at least 1 each. */
export function blocksOfLengths(lengths: readonly number[]): Blocks {
  const bounds = boundsOf(lengths);
  const ids = documentIds(lengths);
  return {
    count: lengths.length,
    of: (token) => ids[token] as number,
    start: (block) => bounds[block] as number,
    name: lengths.join(),
  };
}

/** The regions of small grids: a network has few of them, and asks for each in every block. */
const kept = new BoundedMap<string, Blocks>(16);
/** Tokens of the largest grid whose regions are kept. */
const MOST_KEPT = 2 ** 16;

/** Regions of a row-major grid, in row-major order, and their tokens likewise; the last along an axis may be short. */
export function regionsOf(grid: readonly number[], region: readonly number[]): Blocks {
  const tokens = grid.reduce((product, length) => product * length, 1);
  const make = () => newRegions(tokens, grid, region);
  return tokens > MOST_KEPT ? make() : kept.get(`${grid}/${region}`, make);
}

function newRegions(tokens: number, grid: readonly number[], region: readonly number[]): Blocks {
  const counts = grid.map((length, axis) => Math.ceil(length / (region[axis] as number)));
  const count = counts.reduce((product, regions) => product * regions, 1);
  const of = new Int32Array(tokens);
  const starts = new Int32Array(count + 1);
  for (let token = 0; token < tokens; token++) {
    let [rest, block, step] = [token, 0, 1];
    for (let axis = grid.length - 1; axis >= 0; axis--) {
      const length = grid[axis] as number;
      block += step * Math.floor((rest % length) / (region[axis] as number));
      step *= counts[axis] as number;
      rest = Math.floor(rest / length);
    }
    of[token] = block;
    starts[block + 1]!++;
  }
  for (let block = 0; block < count; block++) starts[block + 1]! += starts[block] as number;
  const next = starts.slice();
  const slots = new Int32Array(tokens);
  of.forEach((block, token) => {
    slots[next[block]!++] = token;
  });
  return {
    count,
    of: (token) => of[token] as number,
    start: (block) => starts[block] as number,
    tokens: slots,
    name: `${region.join('x')} of ${grid.join('x')}`,
  };
}

/** What `mask` and the selection both see. */
export function selection(mask: Mask, selected: Selected): Mask {
  const { queries: allQueries, keys: allKeys, heads, batches, choice } = selected;
  const ownHead = ({ head, h }: Place) => Math.floor((head * heads) / h);
  const headOf = (place: Place) => (batches === 1 ? 0 : place.batch * heads) + ownHead(place);
  const blocksAt = (place: Place): BlocksOfHead => {
    const at = ownHead(place);
    const [queries, keys] = [allQueries, allKeys].map((all) => all[all.length === 1 ? 0 : at]) as [Blocks, Blocks];
    return { queries, keys, rowOf: (block) => headOf(place) * queries.count + block };
  };
  return {
    name: `a selection of ${mask.name}`,
    sees(i, j, place) {
      const { queries, keys, rowOf } = blocksAt(place);
      return mask.sees(i, j, place) && choice.sees(rowOf(queries.of(i)), keys.of(j));
    },
    words(of, place) {
      const { queries, keys, rowOf } = blocksAt(place);
      const ends = new Ends();
      for (let r = 0; r < of.length; r++) ends.add(choice, rowOf(queries.of(of[r] as number)), 1 << r);
      const words = new Int32Array(keys.count);
      ends.eachRun((first, past, word) => words.fill(word, first, past));
      const found = new KeyWords();
      for (let key = 0; key < place.m; key++) found.push(key, words[keys.of(key)] as number);
      found.push(place.m, 0);
      return mergeWords(keyWords(mask, of, place), found, (a, b) => a & b);
    },
    variant: (place) => (mask.variant ? `${headOf(place)} ${mask.variant(place)}` : headOf(place)),
    isPassing: true,
    tiles: (extent, size) => new SelectedTiles(mask, selected, blocksAt, extent, size),
  };
}

/** The blocks of a head, and the number of the choice of a block of its queries. */
interface BlocksOfHead {
  readonly queries: Blocks;
  readonly keys: Blocks;
  rowOf(block: number): number;
}

/** The most blocks of keys: their ends and 32 members in a word. */
export const MOST_BLOCKS = 2 ** 26 - 1;

/** The ends of the runs of key blocks that the blocks of queries in a tile see. */
class Ends {
  /** block * 64 + 2 * member, plus 1 where a run begins. */
  #ends = new Uint32Array(256);
  #length = 0;
  /** The bits of the queries of each block of queries, and how many runs of it the current block is in. */
  readonly #bits: number[] = [];
  readonly #depths = new Int32Array(32);
  #isSorted = true;

  clear(): void {
    this.#length = 0;
    this.#bits.length = 0;
    this.#isSorted = true;
  }

  /** Adds what a block of queries sees, whose queries in the tile are `bits`. */
  add(choice: Choice, row: number, bits: number): void {
    const member = 2 * this.#bits.length;
    let last = this.#length === 0 ? 0 : (this.#ends[this.#length - 1] as number) >>> 6;
    this.#bits.push(bits);
    choice.eachRun(row, (first, past) => {
      if (first >= past) return;
      if (first < last) this.#isSorted = false;
      last = past;
      if (this.#length + 2 > this.#ends.length) {
        const longer = new Uint32Array(2 * this.#ends.length);
        longer.set(this.#ends);
        this.#ends = longer;
      }
      this.#ends[this.#length++] = (first << 6) + member + 1;
      this.#ends[this.#length++] = (past << 6) + member;
    });
  }

  /** Hands out runs of blocks in order, with the bits of the queries that see them. */
  eachRun(take: (first: number, past: number, word: number) => void): void {
    const ends = this.#ends;
    const length = this.#length;
    if (!this.#isSorted) ends.subarray(0, length).sort();
    const [bits, depths] = [this.#bits, this.#depths];
    let first = 0;
    let word = 0;
    for (let at = 0; at < length; ) {
      const block = (ends[at] as number) >>> 6;
      let next = word;
      for (; at < length && (ends[at] as number) >>> 6 === block; at++) {
        const member = ((ends[at] as number) >> 1) & 31;
        depths[member]! += (ends[at] as number) & 1 ? 1 : -1;
        if ((depths[member] as number) > 0) next |= bits[member] as number;
        else next &= ~(bits[member] as number);
      }
      if (next === word) continue;
      if (word !== 0) take(first, block, word);
      first = block;
      word = next;
    }
  }
}

class SelectedTiles implements Tiles {
  readonly queries: Int32Array | undefined;
  readonly keys: Int32Array | undefined;
  readonly #ends = new Ends();
  /** The keys that tiles see, by variant of the mask and tile. */
  readonly #seen: Map<number | string, KeyWords[]>;
  /** The previous tile: its choice (-1 for several), its number of queries, what the mask sees. */
  #last = { row: -1, count: 0, seen: new KeyWords() };

  constructor(
    readonly mask: Mask,
    readonly selected: Selected,
    readonly blocksAt: (place: Place) => BlocksOfHead,
    readonly extent: Extent,
    readonly size: number,
  ) {
    // Those of several heads have no order of their own.
    const [queries, keys] = [selected.queries[0] as Blocks, selected.keys[0] as Blocks];
    this.queries = queries.tokens;
    this.keys = keys.tokens;
    this.#seen = seenByTiles(mask, [extentKey(extent), size, queries.name, keys.name].join());
  }

  see(tile: number, place: Place, taker: SeenKeys): boolean {
    const { choice } = this.selected;
    const { queries, keys, rowOf } = this.blocksAt(place);
    const first = tile * this.size;
    const past = Math.min(first + this.size, this.extent.n);
    const seen = this.#seenByMask(tile, first, past, place);
    let block = queries.of(queries.tokens ? (queries.tokens[first] as number) : first);
    const row = rowOf(block);
    const isOne = past <= queries.start(block + 1);
    const last = this.#last;
    const isRepeated = isOne && last.row === row && last.count === past - first && sameWords(seen, last.seen);
    this.#last = { row: isOne ? row : -1, count: past - first, seen };
    if (isRepeated) return false;
    const ends = this.#ends;
    ends.clear();
    for (let slot = first; slot < past; block++) {
      const end = Math.min(past, queries.start(block + 1));
      ends.add(choice, rowOf(block), bitsOf(slot - first, end - first));
      slot = end;
    }
    let change = 0;
    ends.eachRun((from, to, word) => {
      change = addBoth(taker, keys.start(from), keys.start(to), word, seen, change);
    });
    return true;
  }

  #seenByMask(tile: number, first: number, past: number, place: Place): KeyWords {
    const variant = this.mask.variant?.(place) ?? 0;
    const tiles = this.#seen.get(variant) ?? [];
    this.#seen.set(variant, tiles);
    tiles[tile] ??= inSlots(
      keyWords(this.mask, this.queries?.subarray(first, past) ?? range(first, past), place),
      this.keys,
    );
    return tiles[tile];
  }
}

/** Adds the keys of a word that `seen` has too, from change `change` on; returns the change at the last key. */
function addBoth(
  taker: SeenKeys,
  start: number,
  end: number,
  word: number,
  { starts, words }: KeyWords,
  change: number,
): number {
  let at = change;
  for (; at < starts.length && (starts[at] as number) < end; at++) {
    const from = Math.max(start, starts[at] as number);
    const past = Math.min(end, starts[at + 1] ?? end);
    if (from < past) taker.addKeys(from, past, word & (words[at] as number));
  }
  return Math.max(0, at - 1);
}

const known = new WeakMap<Mask, BoundedMap<string, Map<number | string, KeyWords[]>>>();
const KEPT = 8;

/** The keys that tiles of a mask see, by extent and tiles; the last few are kept. */
function seenByTiles(mask: Mask, key: string): Map<number | string, KeyWords[]> {
  const byKey = known.get(mask) ?? new BoundedMap<string, Map<number | string, KeyWords[]>>(KEPT);
  known.set(mask, byKey);
  return byKey.get(key, () => new Map());
}

/** The words of keys as those of the slots in which they are. */
function inSlots(words: KeyWords, keys: Int32Array | undefined): KeyWords {
  if (!keys) return words;
  const ofKeys = new Int32Array(keys.length);
  words.starts.forEach((start, at) => {
    ofKeys.fill(words.words[at] as number, start, words.starts[at + 1]);
  });
  const result = new KeyWords();
  for (let slot = 0; slot < keys.length; slot++) result.push(slot, ofKeys[keys[slot] as number] as number);
  result.push(keys.length, 0);
  return result;
}

function sameWords(a: KeyWords, b: KeyWords): boolean {
  return (
    a.starts.length === b.starts.length &&
    a.starts.every((start, at) => start === b.starts[at] && a.words[at] === b.words[at])
  );
}

/** The bits from `first` to before `past`, of 32. */
const bitsOf = (first: number, past: number) => (-1 >>> (32 - (past - first))) << first;

const range = (first: number, past: number) => Array.from({ length: past - first }, (_, at) => first + at);
