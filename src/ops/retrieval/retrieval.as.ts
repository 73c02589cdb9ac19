/** Attention of each query to the first and the last keys, and to those among the others that an index finds. */
import { exp2Clamped, madd } from '../../runtime/wasm/assembly/vector.as';
import { log } from '../../runtime/wasm/assembly/scalar.as';
import { LARGEST_HEAD } from '../../runtime/cpu/params.generated.as';
import { clearBlock, foundInBlock, layOutQuery, LOG2E, searchBlock } from './block.as';
import { cellsOf, centersOf, chainsOf, extendCells, nearestCenter } from './cells.as';
import { entryAt, entryOf, insert, intAt, keepBest, lastOf, placeOf, pushed, setEntry, setInt, sort } from './entries.as';
import { codeBytesOf, codesOf, columnsOf, isCopyOf, layOutWeights } from './codes.as';
import { extendGraph, GRAPH_BYTES } from './graph.as';
import { NEAREST_BYTES } from './nearest.as';
import { ExtendParams, FLAT, GRAPH, IVF, LEAST_BLOCK, RetrieveParams } from './params.generated.as';
import { BUFFER, openKeys, openValues, product, QUERY, Rows, rowAt, ROWS_END } from './rows.as';
import { marksBytes, openWalk, scored, SEARCH_END, searchGraph } from './search.as';

export { packIndexKeys, nearestOfQueries } from './nearest.as';
export { groupLists, findEntries, linkLists, connectKeys, joinKeys } from './graph.as';
export { measureColumns, encodeKeys } from './codes.as';
export { seedCells, assignCells, moveCells, chainCells } from './cells.as';

// A query's weights are fewer than a graph's candidates.
export const SCRATCH_BYTES: usize = NEAREST_BYTES > GRAPH_BYTES ? NEAREST_BYTES : GRAPH_BYTES;

// Working memory: what a query's copies of keys are multiplied with, or the sums of both parts.
const WEIGHTS: usize = SEARCH_END;
const WINDOW: usize = ROWS_END;
const RETRIEVED: usize = WINDOW + LARGEST_HEAD * 4;

/** Largest scores and sums of weights of the latest part that was attended to. */
let maximum: f32 = 0;
let total: f32 = 0;
/** Keys that the latest search has scored. */
let seenKeys: i32 = 0;
/** Whether the latest row has met an index of other keys. */
let isOfOthers: bool = false;
/** What entries must come before to be among the best of the latest search. */
let bound: u64 = 0;

/** Adds keys to the index of a head. */
export function extendIndex(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ExtendParams>(params);
  const g = p.keys.g;
  const words = (p.past - p.index.first + 31) >> 5;
  if (p.index.kind == GRAPH) extendGraph(p, task / g, task % g, p.marks + <usize>task * (<usize>words << 2), scratch);
  else extendCells(p, task / g, task % g, scratch);
}

/** Rows of a task are those of a head, one query after the other, then of the next head. */
export function retrieve(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RetrieveParams>(params);
  const n = p.n;
  const past = min((task + 1) * p.rowsOfTask, p.b * n * p.h);
  const beam = p.beams + <usize>task * <usize>p.beamBytes;
  for (let row = task * p.rowsOfTask; row < past;) {
    const head = row / n;
    const i = row % n;
    const count = min(min(p.block, past - row), n - i);
    clearBlock(scratch);
    if (count >= LEAST_BLOCK) lookAtAll(p, head, i, count, beam, scratch);
    for (let r: i32 = 0; r < count; r++) {
      const found = foundInBlock(r, p.topK, scratch);
      retrieveRow(p, head, i + r, task, beam + <usize>r * <usize>(2 * p.topK * 8), found, scratch);
    }
    row += count;
  }
}

/** Finds what consecutive queries retrieve; nothing where the first of them sees all keys. */
function lookAtAll(p: RetrieveParams, row: i32, i: i32, count: i32, lists: usize, scratch: usize): void {
  const h = p.h;
  const m = p.keys.m;
  const batch = row / h;
  const head = row % h;
  const last = p.causal ? m - p.n + i + 1 : m;
  const first = p.first;
  const limit = last - p.recent;
  if (limit - first <= p.topK) return;
  const keys = openKeys(p.keys, batch, head / (h / p.keys.g), scratch);
  searchBlock(p, keys, batch, head, i, count, first, limit, lists, scratch);
}

/** Attention of query i of a head. The best keys are at `beam` if so many were `found` there, else they are searched for. */
function retrieveRow(p: RetrieveParams, row: i32, i: i32, task: i32, beam: usize, found: i32, scratch: usize): void {
  const h = p.h;
  const n = p.n;
  const m = p.keys.m;
  const e = p.keys.e;
  const batch = row / h;
  const head = row % h;
  const group = head / (h / p.keys.g);
  const query = layOutQuery(p, batch, i, head, scratch + QUERY, scratch);
  const last = p.causal ? m - n + i + 1 : m;
  const first = min(p.first, last);
  let limit = max(first, last - p.recent);
  if (p.index.kind != FLAT) limit = max(first, min(limit, p.index.past));
  const keys = openKeys(p.keys, batch, group, scratch);
  const values = openValues(p.keys, batch, group, scratch);
  const most = p.attendedKeys;
  const attended = p.attended + <usize>task * (<usize>most << 3);
  const isAll = limit - first <= p.topK;
  isOfOthers = false;
  let seen: i32 = limit - first;
  if (isAll) found = 0;
  else if (found == p.topK) sort(beam, found);
  else {
    found = search(p, keys, query, batch, group, first, limit, p.marks + <usize>task * <usize>p.marksBytes, beam, scratch);
    seen = seenKeys;
  }
  i32.store(p.scanned + (<usize>((batch * h + head) * n + i) << 2), isOfOthers ? -1 : seen);
  let count = list(attended, 0, 0, isAll ? last : first);
  if (!isAll) count = list(attended, count, limit, last);
  attend(keys, values, query, attended, most, count, scratch + WINDOW, scratch);
  const windowMaximum = maximum;
  const windowTotal = total;
  for (let at: i32 = 0; at < found; at++)
    setInt(attended, at, first + placeOf(entryAt(beam, at)));
  attend(keys, values, query, attended, most, found, scratch + RETRIEVED, scratch);
  merge(p, (batch * n + i) * h + head, windowMaximum, windowTotal, e, scratch);
}

/** Writes the keys from `from` to before `past` behind `count` others; returns how many there are then. */
function list(to: usize, count: i32, from: i32, past: i32): i32 {
  for (let key = from; key < past; key++) setInt(to, count++, key);
  return count;
}

/** Entries of `topK` keys from `first` to before `limit`, in order; a search that finds fewer is followed by a look at all. */
function search(
  p: RetrieveParams,
  rows: Rows,
  query: usize,
  batch: i32,
  group: i32,
  first: i32,
  limit: i32,
  marks: usize,
  beam: usize,
  scratch: usize,
): i32 {
  const kind = p.index.kind;
  const topK = p.topK;
  bound = u64.MAX_VALUE;
  let count: i32 = 0;
  if (kind == GRAPH) count = searchKeys(p, rows, query, batch, group, first, limit, marks, beam, scratch);
  else if (kind == IVF) count = searchCells(p, rows, query, batch, group, first, limit, beam, scratch);
  if (count < topK) {
    count = 0;
    bound = u64.MAX_VALUE;
    for (let key = first; key < limit; key++) count = scoreKey(rows, query, first, key, beam, count, topK, scratch);
    seenKeys = limit - first;
  }
  keepBest(beam, count, topK);
  sort(beam, topK);
  return topK;
}

/** Those that a search of a graph finds, which are scored again by themselves. */
function searchKeys(
  p: RetrieveParams,
  rows: Rows,
  query: usize,
  batch: i32,
  group: i32,
  first: i32,
  limit: i32,
  marks: usize,
  beam: usize,
  scratch: usize,
): i32 {
  const d = rows.columns;
  const g = p.keys.g;
  const columns = columnsOf(p.index, batch, group, g, d);
  layOutWeights(query, columns, d, scratch + WEIGHTS);
  memory.fill(marks, 0, marksBytes(limit - first));
  const walk = openWalk(p.keys, p.index, batch, group, rows, limit, marks, scratch);
  const count = searchGraph(walk, scratch + WEIGHTS, false, beam, p.beam, scratch);
  seenKeys = scored;
  for (let at: i32 = 0; at < count; at++) {
    const place = placeOf(entryAt(beam, at));
    setEntry(beam, at, entryOf(product(query, rowAt(rows, first + place, scratch + BUFFER), d), place));
  }
  if (count > 0) {
    const place = placeOf(entryAt(beam, 0));
    const row = rowAt(rows, first + place, scratch + BUFFER);
    if (!isCopyOf(codesOf(p.index, batch, group, g, d) + <usize>place * codeBytesOf(d), row, columns, d, scratch + WEIGHTS))
      isOfOthers = true;
  }
  return count;
}

/** Adds a key to the best ones, if it is one; returns how many entries there are then. */
@inline
function scoreKey(rows: Rows, query: usize, first: i32, key: i32, beam: usize, count: i32, topK: i32, scratch: usize): i32 {
  const entry = entryOf(product(query, rowAt(rows, key, scratch + BUFFER), rows.columns), key - first);
  if (entry >= bound) return count;
  const after = pushed(beam, count, topK, entry);
  if (after <= count) bound = lastOf(beam, after);
  return after;
}

/** The same for the keys of the cells whose centres have the largest products. */
function searchCells(
  p: RetrieveParams,
  rows: Rows,
  query: usize,
  batch: i32,
  group: i32,
  first: i32,
  limit: i32,
  beam: usize,
  scratch: usize,
): i32 {
  const index = p.index;
  const g = p.keys.g;
  const d = rows.columns;
  const topK = p.topK;
  const chains = chainsOf(index, batch, group, g);
  const cells = cellsOf(index, batch, group, g);
  const centers = centersOf(index, batch, group, g, d);
  const probes = beam + <usize>topK * 16;
  const most = p.probes;
  let probed: i32 = 0;
  for (let cell: i32 = 0; cell < index.starts; cell++) {
    const entry = entryOf(product(query, centers + <usize>cell * (<usize>d << 2), d), cell);
    if (insert(probes, probed, most, entry) >= 0) probed = min(probed + 1, most);
  }
  let count: i32 = 0;
  seenKeys = 0;
  for (let at: i32 = 0; at < probed; at++) {
    const cell = placeOf(entryAt(probes, at));
    let key = i32.load(cells + (<usize>cell << 2));
    // One key tells for all.
    if (seenKeys == 0 && key >= 0 && key < limit)
      isOfOthers = nearestCenter(rowAt(rows, key, scratch + BUFFER), centers, index.starts, d) != cell;
    for (; key >= 0; key = intAt(chains, key - first)) {
      if (key >= limit) continue;
      count = scoreKey(rows, query, first, key, beam, count, topK, scratch);
      seenKeys++;
    }
  }
  return count;
}

/** Attends to the keys of a list: the largest score, the sum of weights, and the weighted values, at `sums`. */
function attend(keys: Rows, values: Rows, query: usize, list: usize, most: i32, count: i32, sums: usize, scratch: usize): void {
  const weights = list + (<usize>most << 2);
  const columns = keys.columns;
  let largest: f32 = -Infinity;
  for (let at: i32 = 0; at < count; at++) {
    const key = intAt(list, at);
    const score = product(query, rowAt(keys, key, scratch + BUFFER), columns);
    f32.store(weights + (<usize>at << 2), score);
    largest = max(largest, score);
  }
  maximum = largest;
  total = 0;
  const bytes = <usize>values.columns << 2;
  memory.fill(sums, 0, bytes);
  for (let at: i32 = count; at % 4 != 0; at++) f32.store(weights + (<usize>at << 2), -Infinity);
  const four = f32x4.splat(largest);
  for (let at: usize = 0; at < <usize>count << 2; at += 16)
    v128.store(weights + at, exp2Clamped(f32x4.sub(v128.load(weights + at), four)));
  for (let at: i32 = 0; at < count; at++) {
    const weight = f32.load(weights + (<usize>at << 2));
    total += weight;
    addRow(rowAt(values, intAt(list, at), scratch + BUFFER), weight, sums, bytes);
  }
}

@inline
function addRow(row: usize, weight: f32, sums: usize, bytes: usize): void {
  const weights = f32x4.splat(weight);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(sums + at, madd(weights, v128.load(row + at), v128.load(sums + at)));
  for (; at < bytes; at += 4) f32.store(sums + at, f32.load(sums + at) + weight * f32.load(row + at));
}

/** Joins the window with what was retrieved by their log-sum-exps. */
function merge(p: RetrieveParams, row: i32, windowMaximum: f32, windowTotal: f32, e: i32, scratch: usize): void {
  const largest = max(windowMaximum, maximum);
  const byWindow = factorOf(windowMaximum, largest, windowTotal);
  const byRetrieved = factorOf(maximum, largest, total);
  const sum = windowTotal * byWindow + total * byRetrieved;
  f32.store(p.lse + (<usize>row << 2), <f32>((<f64>largest + log(<f64>sum) * LOG2E) / LOG2E));
  const out = p.out + <usize>row * (<usize>e << 2);
  for (let c: usize = 0; c < <usize>e << 2; c += 4) {
    const both = f32.load(scratch + WINDOW + c) * byWindow + f32.load(scratch + RETRIEVED + c) * byRetrieved;
    f32.store(out + c, both / sum);
  }
}

/** What a part counts, beside the largest score of both; a part without keys nothing. */
function factorOf(own: f32, largest: f32, total: f32): f32 {
  return total == 0 ? 0 : f32x4.extract_lane(exp2Clamped(f32x4.splat(own - largest)), 0);
}
