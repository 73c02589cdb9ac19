/** The mask of a single call: which blocks of keys each block of queries sees, from the elements of a tensor. */
import { BoundedMap } from '../bounded-map';
import { KeyWords, keyWords, mergeWords } from './key-words';
import { type Extent, extentKey, type Mask, type Place, type SeenKeys, type Tiles } from './mask';

/** Blocks of tokens, which lie one after the other in slots. */
export interface Blocks {
  readonly count: number;
  /** The block of each token. */
  readonly of: Int32Array;
  /** The first slot of each block, then the number of slots. */
  readonly starts: Int32Array;
  /** The token in each slot; absent where slots are tokens. */
  readonly tokens?: Int32Array | undefined;
  /** Equal blocks have equal names. */
  readonly name: string;
}

/** The blocks of keys for each row and block of queries: [batches][heads][query blocks][width]. */
export interface Selected {
  readonly queries: Blocks;
  readonly keys: Blocks;
  readonly batches: number;
  /** Divides the query heads; neighbouring ones share a row. */
  readonly heads: number;
  readonly width: number;
  /** Numbers of key blocks, -1 for none; or, as `flags`, one for each key block that is not 0 where it is seen. */
  readonly values: ArrayLike<number>;
  readonly areFlags: boolean;
}

/** Blocks of `size` tokens, of which the last may be short. */
export function blocksOf(tokens: number, size: number): Blocks {
  const count = Math.ceil(tokens / size);
  const starts = new Int32Array(count + 1).map((_, block) => Math.min(block * size, tokens));
  const of = new Int32Array(tokens);
  for (let block = 0; block < count; block++) of.fill(block, starts[block], starts[block + 1]);
  return { count, of, starts, name: `${size}` };
}

/** Regions of a row-major grid, in row-major order, and their tokens likewise; the last along an axis may be short. */
export function regionsOf(grid: readonly number[], region: readonly number[]): Blocks {
  const tokens = grid.reduce((product, length) => product * length, 1);
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
  return { count, of, starts, tokens: slots, name: `${region.join('x')} of ${grid.join('x')}` };
}

/** What `mask` and the selection both see. */
export function selection(mask: Mask, selected: Selected): Mask {
  const { queries, keys, heads, batches, width, values, areFlags } = selected;
  const rowOf = ({ batch, head, h }: Place) => (batches === 1 ? 0 : batch * heads) + Math.floor((head * heads) / h);
  const placeOf = (place: Place, block: number) => (rowOf(place) * queries.count + block) * width;
  return {
    name: `a selection of ${mask.name}`,
    sees(i, j, place) {
      if (!mask.sees(i, j, place)) return false;
      const first = placeOf(place, queries.of[i] as number);
      const block = keys.of[j] as number;
      if (areFlags) return values[first + block] !== 0;
      for (let at = first; at < first + width; at++) if (values[at] === block) return true;
      return false;
    },
    words(of, place) {
      const marks = new Marks(selected);
      for (let r = 0; r < of.length; r++) marks.add(placeOf(place, queries.of[of[r] as number] as number), 1 << r);
      const found = new KeyWords();
      for (let key = 0; key < place.m; key++) found.push(key, marks.words[keys.of[key] as number] as number);
      found.push(place.m, 0);
      return mergeWords(keyWords(mask, of, place), found, (a, b) => a & b);
    },
    variant: (place) => (mask.variant ? `${rowOf(place)} ${mask.variant(place)}` : rowOf(place)),
    tiles: (extent, size) => new SelectedTiles(mask, selected, placeOf, extent, size),
  };
}

/** Which queries of a tile see each block of keys: bits of a word. */
class Marks {
  readonly words: Int32Array;
  /** A bit for each block that some of them see. */
  readonly touched: Int32Array;

  constructor(readonly selected: Selected) {
    const { count } = selected.keys;
    this.words = new Int32Array(count);
    this.touched = new Int32Array(Math.ceil(count / 32));
  }

  /** Marks what a block of queries sees; its elements begin at `first`. */
  add(first: number, bits: number): void {
    const { values, width, areFlags } = this.selected;
    const { words, touched } = this;
    for (let at = 0; at < width; at++) {
      const value = values[first + at] as number;
      if (areFlags ? value === 0 : value < 0) continue;
      const block = areFlags ? at : value;
      words[block]! |= bits;
      touched[block >> 5]! |= 1 << (block & 31);
    }
  }
}

class SelectedTiles implements Tiles {
  readonly queries: Int32Array | undefined;
  readonly keys: Int32Array | undefined;
  readonly #marks: Marks;
  /** The keys that tiles see, by variant of the mask and tile. */
  readonly #seen: Map<number | string, KeyWords[]>;
  /** The previous tile: where the elements of its block of queries are (-1 for several), its number of queries, what the mask sees. */
  #last = { place: -1, count: 0, seen: new KeyWords() };

  constructor(
    readonly mask: Mask,
    readonly selected: Selected,
    readonly placeOf: (place: Place, block: number) => number,
    readonly extent: Extent,
    readonly size: number,
  ) {
    const { queries, keys } = selected;
    this.queries = queries.tokens;
    this.keys = keys.tokens;
    this.#marks = new Marks(selected);
    this.#seen = seenByTiles(mask, [extentKey(extent), size, queries.name, keys.name].join());
  }

  see(tile: number, place: Place, taker: SeenKeys): boolean {
    const { queries } = this.selected;
    const first = tile * this.size;
    const past = Math.min(first + this.size, this.extent.n);
    const seen = this.#seenByMask(tile, first, past, place);
    let block = queries.of[queries.tokens ? (queries.tokens[first] as number) : first] as number;
    const from = this.placeOf(place, block);
    const isOne = past <= (queries.starts[block + 1] as number);
    const last = this.#last;
    const isRepeated = isOne && last.place === from && last.count === past - first && sameWords(seen, last.seen);
    this.#last = { place: isOne ? from : -1, count: past - first, seen };
    if (isRepeated) return false;
    for (let slot = first; slot < past; block++) {
      const end = Math.min(past, queries.starts[block + 1] as number);
      this.#marks.add(this.placeOf(place, block), bitsOf(slot - first, end - first));
      slot = end;
    }
    this.#addMarked(seen, taker);
    return true;
  }

  /** Adds the marked keys that the mask sees too, and clears the marks. */
  #addMarked(seen: KeyWords, taker: SeenKeys): void {
    const { words, touched } = this.#marks;
    const { starts } = this.selected.keys;
    let change = 0;
    // Neighbours that look alike are handed out together.
    let [start, end, word] = [0, 0, 0];
    for (let at = 0; at < touched.length; at++) {
      for (let rest = touched[at] as number; rest !== 0; rest &= rest - 1) {
        const block = 32 * at + 31 - Math.clz32(rest & -rest);
        const marked = words[block] as number;
        words[block] = 0;
        if (starts[block] !== end || marked !== word) {
          change = addBoth(taker, start, end, word, seen, change);
          start = starts[block] as number;
          word = marked;
        }
        end = starts[block + 1] as number;
      }
      touched[at] = 0;
    }
    addBoth(taker, start, end, word, seen, change);
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
