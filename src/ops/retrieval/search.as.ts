/** Searches of graphs of keys, which go on from the best keys that they have seen. */
import { codeBytesOf, codeProduct, codesOf } from './codes.as';
import { entryAt, entryOf, entryOfWhole, intAt, mergeInto, placeOf, setEntry, sort } from './entries.as';
import { FOLLOWED, Index, Keys, MOST_DEGREE } from './params.generated.as';
import { BUFFER, distance, ROWS_END, Rows, rowAt } from './rows.as';

/** What a search looks at. Numbers of params are converted once. */
@unmanaged
export class Walk {
  rows: Rows;
  edges: usize;
  entries: usize;
  codes: usize;
  codeBytes: usize;
  /** A bit for each key: whether it is to be passed over. */
  marks: usize;
  first: i32;
  limit: i32;
  degree: i32;
  starts: i32;
}
const WALK_BYTES: usize = 64;

// Working memory: such an object, and entries of keys that were not seen before.
const WALK: usize = ROWS_END;
const FRESH: usize = WALK + WALK_BYTES;
/** What comes after is a kernel's. */
export const SEARCH_END: usize = FRESH + <usize>(FOLLOWED * MOST_DEGREE) * 8;

/** Keys that the latest search has scored. */
export let scored: i32 = 0;
/** What was read only so that memory is asked for before it is needed. */
let touched: i32 = 0;

@inline
export function edgesOf(index: Index, batch: i32, head: i32, g: i32): usize {
  return index.edges + <usize>((batch * g + head) * index.capacity) * (<usize>index.degree << 2);
}

@inline
export function entriesOf(index: Index, batch: i32, head: i32, g: i32): usize {
  return index.entries + <usize>((batch * g + head) * index.starts) * 4;
}

/** A search of the keys of a head before `limit`. */
export function openWalk(keys: Keys, index: Index, batch: i32, head: i32, rows: Rows, limit: i32, marks: usize, scratch: usize): Walk {
  const walk = changetype<Walk>(scratch + WALK);
  walk.rows = rows;
  walk.edges = edgesOf(index, batch, head, keys.g);
  walk.entries = entriesOf(index, batch, head, keys.g);
  walk.codes = codesOf(index, batch, head, keys.g, keys.d);
  walk.codeBytes = codeBytesOf(keys.d);
  walk.marks = marks;
  walk.first = index.first;
  walk.limit = limit;
  walk.degree = index.degree;
  walk.starts = index.starts;
  return walk;
}

@inline
export function marksBytes(keys: i32): usize {
  return <usize>((keys + 31) >> 5) << 2;
}

@inline
export function isNew(marks: usize, key: i32): bool {
  const word = marks + (<usize>(key >> 5) << 2);
  const bits = i32.load(word);
  const bit = 1 << (key & 31);
  if (bits & bit) return false;
  i32.store(word, bits | bit);
  return true;
}

/**
 * Entries at `list` of up to `beam` keys in order: by the products of their copies with the weights of a query, or by their distance
 * from a row. It follows the edges of the best ones, some at a time, and ends when those of all were followed. Keys that are marked
 * are passed over. Returns their number.
 */
export function searchGraph(walk: Walk, query: usize, byDistance: bool, list: usize, beam: i32, scratch: usize): i32 {
  const fresh = scratch + FRESH;
  let count: i32 = 0;
  let next: i32 = 0;
  let more = addNew(walk, walk.entries, walk.starts, fresh, 0);
  scored = 0;
  while (true) {
    scored += more;
    if (byDistance) scoreByDistance(walk, query, fresh, more, scratch);
    else scoreByCodes(walk, query, fresh, more);
    if (count == beam) more = keepBefore(fresh, more, entryAt(list, count - 1));
    sort(fresh, more);
    next = min(next, mergeInto(list, count, beam, fresh, more));
    count = min(count + more, beam);
    more = 0;
    let followed: i32 = 0;
    for (; next < count && followed < FOLLOWED; next++) {
      const entry = entryAt(list, next);
      if (entry & 1) continue;
      setEntry(list, next, entry | 1);
      const row = walk.edges + <usize>placeOf(entry) * (<usize>walk.degree << 2);
      more = addNew(walk, row, walk.degree, fresh, more);
      followed++;
    }
    if (followed == 0) return count;
  }
}

/** Adds the places of those keys of a list that were not marked behind `count` others, and marks them; returns how many there are then. */
@inline
function addNew(walk: Walk, keys: usize, most: i32, to: usize, count: i32): i32 {
  const first = walk.first;
  const limit = walk.limit;
  const marks = walk.marks;
  for (let at: i32 = 0; at < most; at++) {
    const key = intAt(keys, at);
    if (key < 0) break;
    if (key >= limit) continue;
    const word = marks + (<usize>((key - first) >> 5) << 2);
    const bits = i32.load(word);
    const bit = 1 << ((key - first) & 31);
    i32.store(word, bits | bit);
    setEntry(to, count, <u64>(key - first));
    count += i32((bits & bit) == 0);
  }
  return count;
}

function scoreByDistance(walk: Walk, row: usize, list: usize, count: i32, scratch: usize): void {
  const rows = walk.rows;
  const first = walk.first;
  for (let at: i32 = 0; at < count; at++) {
    const place = <i32>entryAt(list, at);
    const from = distance(row, rowAt(rows, first + place, scratch + BUFFER), rows.columns);
    setEntry(list, at, entryOf(-from, place));
  }
}

function scoreByCodes(walk: Walk, weights: usize, list: usize, count: i32): void {
  const codes = walk.codes;
  const bytes = walk.codeBytes;
  // So that many copies are on their way from memory at a time.
  let sum: i32 = 0;
  for (let at: i32 = 0; at < count; at++) sum ^= i32.load(codes + <usize>entryAt(list, at) * bytes);
  touched = sum;
  for (let at: i32 = 0; at < count; at++) {
    const place = <i32>entryAt(list, at);
    setEntry(list, at, entryOfWhole(codeProduct(codes + <usize>place * bytes, weights, bytes), place));
  }
}

/** Keeps those entries that come before another; returns their number. */
function keepBefore(list: usize, count: i32, bound: u64): i32 {
  let kept: i32 = 0;
  for (let at: i32 = 0; at < count; at++) {
    const entry = entryAt(list, at);
    setEntry(list, kept, entry);
    kept += i32(entry < bound);
  }
  return kept;
}
