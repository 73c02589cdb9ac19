/**
 * A graph of keys for queries that are not distributed as keys are. It is made from the lists of the keys nearest to each query of
 * the prompt: the best key of a list and the others see each other, of which each key keeps those that no kept one is nearer to,
 * and then the nearest. Keys with few edges, such as those in no list, search the graph for their neighbours.
 */
import { codeBytesOf, codesOf, columnsOf, encode } from './codes.as';
import { entryAt, entryOf, insert, intAt, keepBest, placeOf, pushed, scoreOf, setEntry, setInt, sort } from './entries.as';
import { BuildParams, CANDIDATES, DRAWN, ENTRIES, ExtendParams, LINKING_BEAM } from './params.generated.as';
import { BUFFER, distance, openKeys, QUERY, Rows, rowAt, SECOND } from './rows.as';
import { edgesOf, entriesOf, isNew, marksBytes, openWalk, SEARCH_END, searchGraph } from './search.as';

const LIST: usize = SEARCH_END; // entries of candidates
export const GRAPH_BYTES: usize = LIST + <usize>(2 * CANDIDATES) * 8;

/** Spreads products over the integers: 2^32 over the golden ratio. */
const DRAW: i32 = <i32>0x9e3779b1;

/** How many edges a row has. */
@inline
function edgesIn(row: usize, degree: i32): i32 {
  let count: i32 = 0;
  while (count < degree && intAt(row, count) >= 0) count++;
  return count;
}

/** The edges that each key is to have if it can. */
@inline
export function leastDegree(degree: i32): i32 {
  return (3 * degree + 3) / 4;
}

/** Best keys and uses of lists, by key. */
export function groupLists(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const keys = p.index.past - p.index.first;
  const neighbors = p.neighbors;
  const count = p.count;
  const lists = p.lists;
  const bestStarts = p.bestStarts;
  const usedStarts = p.usedStarts;
  memory.fill(bestStarts, 0, <usize>(keys + 1) << 2);
  memory.fill(usedStarts, 0, <usize>(keys + 1) << 2);
  for (let query: i32 = 0; query < count; query++) {
    const list = lists + <usize>query * (<usize>neighbors << 2);
    for (let at: i32 = 0; at < neighbors; at++) {
      const key = intAt(list, at);
      if (key < 0) break;
      const counter = (at == 0 ? bestStarts : usedStarts) + (<usize>key << 2);
      i32.store(counter, i32.load(counter) + 1);
    }
  }
  toStarts(bestStarts, keys);
  toStarts(usedStarts, keys);
  // Filled from the ends, each place then is where its key's begin.
  for (let query = count - 1; query >= 0; query--) {
    const list = lists + <usize>query * (<usize>neighbors << 2);
    const best = i32.load(list);
    if (best < 0) continue;
    put(bestStarts, p.best, best, query);
    for (let at: i32 = 1; at < neighbors; at++) {
      const key = intAt(list, at);
      if (key < 0) break;
      put(usedStarts, p.used, key, best);
    }
  }
}

/** Counts to where each key's end. */
function toStarts(counts: usize, keys: i32): void {
  let sum: i32 = 0;
  for (let key: i32 = 0; key <= keys; key++) {
    const at = counts + (<usize>key << 2);
    sum += i32.load(at);
    i32.store(at, sum);
  }
}

@inline
function put(starts: usize, values: usize, key: i32, value: i32): void {
  const at = starts + (<usize>key << 2);
  const place = i32.load(at) - 1;
  i32.store(at, place);
  setInt(values, place, value);
}

/** The keys that are in most lists; none where lists make no edges, so that searches find nothing and all keys are looked at. */
export function findEntries(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const first = p.index.first;
  const keys = p.index.past - first;
  const list = scratch + LIST;
  const hasEdges = p.isOfKeys || p.neighbors > 1;
  let count: i32 = 0;
  for (let key: i32 = 0; key < keys && hasEdges; key++) {
    const best = p.bestStarts + (<usize>key << 2);
    const used = p.usedStarts + (<usize>key << 2);
    const lists = i32.load(best, 4) - i32.load(best) + i32.load(used, 4) - i32.load(used);
    if (lists > 0 && insert(list, count, ENTRIES, entryOf(<f32>lists, key)) >= 0) count = min(count + 1, ENTRIES);
  }
  const to = entriesOf(p.index, p.batch, p.head, p.keys.g);
  for (let at: i32 = 0; at < ENTRIES; at++)
    setInt(to, at, at < count ? first + placeOf(entryAt(list, at)) : -1);
}

/** The edges of some keys from lists. */
export function linkLists(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const first = index.first;
  const keys = index.past - first;
  const degree = index.degree;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const edges = edgesOf(index, p.batch, p.head, p.keys.g);
  const marks = p.marks + <usize>task * marksBytes(keys);
  memory.fill(marks, 0, marksBytes(keys));
  const tasks = p.tasks;
  for (let key = task; key < keys; key += tasks) {
    isNew(marks, key);
    const count = addCandidates(p, rows, first, key, marks, scratch);
    clearCandidates(p, key, marks);
    const kept = min(count, CANDIDATES);
    keepBest(scratch + LIST, count, kept);
    sort(scratch + LIST, kept);
    const row = edges + <usize>key * (<usize>degree << 2);
    if (!p.isOfKeys) keepApart(rows, first, scratch + LIST, kept, row, degree, degree, scratch);
    else {
      keepApart(rows, first, scratch + LIST, kept, row, max(1, degree - DRAWN), degree, scratch);
      for (let at: i32 = 0; at < DRAWN; at++) {
        const drawn = <i32>(<u32>((key * DRAWN + at + 1) * DRAW) % <u32>keys);
        if (drawn != key) addEdge(row, first + drawn, degree);
      }
    }
  }
}

/** The keys that share a list with a key as one of both is best there, as entries by distance. */
function addCandidates(p: BuildParams, rows: Rows, first: i32, key: i32, marks: usize, scratch: usize): i32 {
  const own = rowAt(rows, first + key, scratch + QUERY);
  let count: i32 = 0;
  const neighbors = p.neighbors;
  const best = p.bestStarts + (<usize>key << 2);
  for (let at = i32.load(best); at < i32.load(best, 4); at++) {
    const list = p.lists + <usize>intAt(p.best, at) * (<usize>neighbors << 2);
    for (let place: i32 = 1; place < neighbors; place++) {
      const other = intAt(list, place);
      if (other < 0) break;
      if (isNew(marks, other)) count = addCandidate(rows, own, first, other, count, scratch);
    }
  }
  const used = p.usedStarts + (<usize>key << 2);
  for (let at = i32.load(used); at < i32.load(used, 4); at++) {
    const other = intAt(p.used, at);
    if (isNew(marks, other)) count = addCandidate(rows, own, first, other, count, scratch);
  }
  return count;
}

@inline
function addCandidate(rows: Rows, own: usize, first: i32, other: i32, count: i32, scratch: usize): i32 {
  const from = distance(own, rowAt(rows, first + other, scratch + BUFFER), rows.columns);
  return pushed(scratch + LIST, count, CANDIDATES, entryOf(-from, other));
}

function clearCandidates(p: BuildParams, key: i32, marks: usize): void {
  clear(marks, key);
  const neighbors = p.neighbors;
  const best = p.bestStarts + (<usize>key << 2);
  for (let at = i32.load(best); at < i32.load(best, 4); at++) {
    const list = p.lists + <usize>intAt(p.best, at) * (<usize>neighbors << 2);
    for (let place: i32 = 1; place < neighbors; place++) clear(marks, max(intAt(list, place), 0));
  }
  const used = p.usedStarts + (<usize>key << 2);
  for (let at = i32.load(used); at < i32.load(used, 4); at++) clear(marks, intAt(p.used, at));
}

@inline
function clear(marks: usize, key: i32): void {
  i32.store(marks + (<usize>(key >> 5) << 2), 0);
}

/**
 * Writes up to `most` candidates, in order of their distance and overwritten, as edges: those that are nearer to the key than to all
 * that are kept, then the nearest of the others; -1 up to `degree`.
 */
function keepApart(rows: Rows, first: i32, list: usize, count: i32, row: usize, most: i32, degree: i32, scratch: usize): void {
  let kept: i32 = 0;
  let left: i32 = 0;
  for (let at: i32 = 0; at < count && kept < most; at++) {
    const entry = entryAt(list, at);
    const other = first + placeOf(entry);
    const x = rowAt(rows, other, scratch + BUFFER);
    const from = -scoreOf(entry);
    let isKept = true;
    for (let each: i32 = 0; each < kept && isKept; each++) {
      const y = rowAt(rows, intAt(row, each), scratch + SECOND);
      isKept = !(distance(x, y, rows.columns) < from);
    }
    if (isKept) setInt(row, kept++, other);
    else setEntry(list, left++, entry);
  }
  for (let at: i32 = 0; at < left && kept < most; at++) setInt(row, kept++, first + placeOf(entryAt(list, at)));
  for (; kept < degree; kept++) setInt(row, kept, -1);
}

/** What keys with few edges find by a search of the graph. */
export function connectKeys(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const first = index.first;
  const keys = index.past - first;
  const degree = index.degree;
  const least = leastDegree(degree);
  const edges = edgesOf(index, p.batch, p.head, p.keys.g);
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const bytes = marksBytes(keys);
  const marks = p.marks + <usize>task * bytes;
  const walk = openWalk(p.keys, index, p.batch, p.head, rows, index.past, marks, scratch);
  const list = scratch + LIST;
  const tasks = p.tasks;
  for (let key = task; key < keys; key += tasks) {
    const found = p.found + <usize>key * (<usize>degree << 2);
    if (edgesIn(edges + <usize>key * (<usize>degree << 2), degree) >= least) {
      i32.store(found, -1);
      continue;
    }
    memory.fill(marks, 0, bytes);
    isNew(marks, key);
    const own = rowAt(rows, first + key, scratch + QUERY);
    const count = searchGraph(walk, own, true, list, LINKING_BEAM, scratch);
    withoutBits(list, count);
    keepApart(rows, first, list, count, found, least, degree, scratch);
  }
}

/** Entries whose caller's bit is cleared. */
@inline
function withoutBits(list: usize, count: i32): void {
  for (let at: i32 = 0; at < count; at++) setEntry(list, at, entryAt(list, at) & ~1);
}

/** Edges between keys and what they found, where there is room, and one to each key that has none. */
export function joinKeys(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const first = index.first;
  const keys = index.past - first;
  const degree = index.degree;
  const edges = edgesOf(index, p.batch, p.head, p.keys.g);
  const uses = p.usedStarts; // no longer needed: edges to each key
  memory.fill(uses, 0, <usize>keys << 2);
  for (let at = edges; at < edges + <usize>keys * (<usize>degree << 2); at += 4)
    if (i32.load(at) >= 0) addUse(uses, i32.load(at) - first, 1);
  const least = leastDegree(degree);
  for (let key: i32 = 0; key < keys; key++) {
    const found = p.found + <usize>key * (<usize>degree << 2);
    const own = edges + <usize>key * (<usize>degree << 2);
    for (let at: i32 = 0; at < edgesIn(found, degree); at++) {
      const other = intAt(found, at);
      if (addEdge(own, other, least)) addUse(uses, other - first, 1);
      if (addEdge(edges + <usize>(other - first) * (<usize>degree << 2), first + key, degree)) addUse(uses, key, 1);
    }
    if (i32.load(found) < 0 || intAt(uses, key) > 0) continue;
    const nearest = edges + <usize>(i32.load(found) - first) * (<usize>degree << 2);
    addUse(uses, replaceEdge(nearest, degree, first + key, first, uses) - first, -1);
    addUse(uses, key, 1);
  }
}

@inline
function addUse(uses: usize, key: i32, change: i32): void {
  const at = uses + (<usize>key << 2);
  i32.store(at, i32.load(at) + change);
}

/** Adds an edge to a row with fewer than `limit`; whether it was added. */
function addEdge(row: usize, to: i32, limit: i32): bool {
  for (let at: i32 = 0; at < limit; at++) {
    const edge = intAt(row, at);
    if (edge == to) return false;
    if (edge >= 0) continue;
    setInt(row, at, to);
    return true;
  }
  return false;
}

/** Puts an edge in the place of the last whose key has others, else of the last; returns the key that it led to. */
function replaceEdge(row: usize, degree: i32, to: i32, first: i32, uses: usize): i32 {
  let at = degree - 1;
  while (uses && at > 0 && intAt(uses, intAt(row, at) - first) < 2) at--;
  if (at == 0) at = degree - 1;
  const was = intAt(row, at);
  setInt(row, at, to);
  return was;
}

/** Drops entries from key `past` on, which were taken back. */
function dropEntries(entries: usize, starts: i32, past: i32): void {
  let kept: i32 = 0;
  for (let at: i32 = 0; at < starts; at++) {
    const entry = intAt(entries, at);
    if (entry < past && entry >= 0) setInt(entries, kept++, entry);
  }
  for (; kept < starts; kept++) setInt(entries, kept, -1);
}

/** Adds the keys that come, one after the other, to the graph of a head: each finds its neighbours, and is found by the nearest. */
export function extendGraph(p: ExtendParams, batch: i32, head: i32, marks: usize, scratch: usize): void {
  const index = p.index;
  const first = index.first;
  const degree = index.degree;
  const g = p.keys.g;
  const edges = edgesOf(index, batch, head, g);
  const entries = entriesOf(index, batch, head, g);
  const rows = openKeys(p.keys, batch, head, scratch);
  const columns = columnsOf(index, batch, head, g, rows.columns);
  const codes = codesOf(index, batch, head, g, rows.columns);
  const walk = openWalk(p.keys, index, batch, head, rows, index.past, marks, scratch);
  const list = scratch + LIST;
  dropEntries(entries, index.starts, index.past);
  for (let key = index.past; key < p.past; key++) {
    const own = rowAt(rows, key, scratch + QUERY);
    encode(own, columns, rows.columns, codes + <usize>(key - first) * codeBytesOf(rows.columns));
    memory.fill(marks, 0, marksBytes(key - first));
    walk.limit = key;
    const count = searchGraph(walk, own, true, list, LINKING_BEAM, scratch);
    withoutBits(list, count);
    const row = edges + <usize>(key - first) * (<usize>degree << 2);
    keepApart(rows, first, list, count, row, leastDegree(degree), degree, scratch);
    // A graph without entries stays one.
    if (i32.load(entries) < 0) continue;
    let isFound = addEdge(entries, key, index.starts);
    for (let at: i32 = 0; at < edgesIn(row, degree); at++) {
      const other = edges + <usize>(intAt(row, at) - first) * (<usize>degree << 2);
      if (addEdge(other, key, degree)) isFound = true;
    }
    if (isFound || i32.load(row) < 0) continue;
    const nearest = edges + <usize>(i32.load(row) - first) * (<usize>degree << 2);
    // Where the last is none there is room, and the edge was there before tokens were taken back.
    if (intAt(nearest, degree - 1) >= 0) replaceEdge(nearest, degree, key, first, 0);
  }
}
