/**
 * Attention of few queries and many keys, as in decoding: keys and values are read once, where they lie.
 *
 * The query heads that share a key/value head are rows against its keys, in groups of four. `decodeQueries` lays them out;
 * a task of `decode` takes a split of the keys, whose bounds do not depend on the threads, in blocks of 48: scores [keys][4],
 * weights in their place, then the weighted values; `decodeMerge` joins the splits. Rows that met what float32 cannot do
 * (huge, infinite or NaN scores or values) are computed anew in float64, so that such values propagate as they should.
 */
import { I8 } from '../../cache/params.generated.as';
import { DECODE_KEYS, DecodeParams } from '../params.generated.as';
import {
  elementBytes, FETCHED, fours, groupsOf, hookOf, KEY_ROWS, keyRow, listOf, LOG2E, MAXIMA, NO_MAXIMUM, partAt, partBytes,
  queriesAt, rowOf, scaleAt, segmentAt, STATE_BYTES, VALUE_ROWS,
} from './memory.as';
import { addPairs, addValues, copyRows, haveSpecials, isCopied, PAIR_COLUMNS, scorePairs, scoreRows } from './rows.as';
import { hideUnseen, modifyScores, scaleScores, weigh } from './scores.as';
import { rowAddress } from '../../../runtime/wasm/assembly/layout.as';
import { BF16, F16, F32, Operand } from '../../../runtime/cpu/params.generated.as';
import { loadRow } from '../../../runtime/wasm/assembly/storage.as';

/** The queries of a key/value head as groups of four rows, scaled: [columns of 4][row][4 columns]. */
export function layOutQueries<H>(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DecodeParams>(params);
  const g = p.g;
  const d = p.d;
  const n = p.n;
  const q = p.q;
  const shared = p.h / g;
  const batch = task / g;
  const head = (task % g) * shared;
  const row = rowOf(p, batch);
  const factor = <f32>(hookOf<H>(0).hasScores && i32.load(row, 4) ? p.scale : p.scale * LOG2E);
  const count = i32.load(row);
  const groupBytes = <usize>fours(d) * 64;
  const hook = hookOf<H>(scratch);
  const rows = hook.queries;
  const to = queriesAt<H>(p, task);
  memory.fill(to, 0, <usize>groupsOf<H>(p) * groupBytes);
  for (let r: i32 = 0; r < shared * n; r++) {
    if (r % n >= count) continue;
    const place = to + <usize>(r / rows) * groupBytes + (<usize>(r % rows) << 4);
    layOutQuery(q, batch, r % n, head + r / n, d, factor, place, scratch + KEY_ROWS);
    hook.layOut(p, batch, r % n, head + r / n, place, scratch + KEY_ROWS);
  }
}

/** A row times a factor, four columns every 64 bytes. */
export function layOutQuery(x: Operand, batch: i32, row: i32, head: i32, d: i32, factor: f32, to: usize, buffer: usize): void {
  const from = loadRow(rowAddress(x, batch, row, head), x.element, x.dtype, d, buffer);
  const factors = f32x4.splat(factor);
  let c: i32 = 0;
  for (; c + 4 <= d; c += 4, to += 64) v128.store(to, f32x4.mul(v128.load(from + (<usize>c << 2)), factors));
  for (; c < d; c++, to += 4) f32.store(to, f32.load(from + (<usize>c << 2)) * factor);
}

/** A split of the keys of some key/value heads. */
export function addSplit<H>(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DecodeParams>(params);
  const g = p.g;
  const shared = p.h / g;
  const heads = p.headsOfTask;
  const ranges = (g + heads - 1) / heads;
  const split = task % p.splits;
  const batch = task / p.splits / ranges;
  const first = ((task / p.splits) % ranges) * heads;
  const past = min(first + heads, g);
  const list = listOf(p, batch, first * shared);
  let skip = split * p.splitKeys;
  let left = min(p.splitKeys, i32.load(list, 8) - skip);
  if (left <= 0) return;
  for (let head = first; head < past; head++) open<H>(p, partAt<H>(p, batch * g + head, split));
  for (let at = i32.load(list); left > 0; at++) {
    const segment = segmentAt(p, at);
    const keys = i32.load(segment, 4) - i32.load(segment);
    if (skip >= keys) {
      skip -= keys;
      continue;
    }
    let key = i32.load(segment) + skip;
    skip = 0;
    const end = min(i32.load(segment, 4), key + left);
    left -= end - key;
    const words = i32.load(segment, 8);
    for (; key < end; ) {
      const count = blockOf(p, key, end);
      const next = key + count;
      const fetched = next < end ? blockOf(p, next, end) : 0;
      for (let head = first; head < past; head++) {
        planFetch(p, batch, first, past, head, next, fetched, scratch + FETCHED);
        addKeys<H>(p, batch, head, key, count, words, partAt<H>(p, batch * g + head, split), scratch);
      }
      key = next;
    }
  }
}

/** Keys that are taken at once from `key` on: of a cache within a page, whose heads lie one behind the other. */
@inline
function blockOf(p: DecodeParams, key: i32, end: i32): i32 {
  return min(p.pages ? p.pageRows - (key % p.pageRows) : DECODE_KEYS, end - key);
}

/**
 * While a head is computed, its share of the next block is brought into the cache, in the order of memory: writes where keys
 * begin and end, and values. Nothing where heads do not fill their rows.
 */
function planFetch(p: DecodeParams, batch: i32, first: i32, past: i32, head: i32, key: i32, count: i32, to: usize): void {
  const sink = to + 16;
  for (let which: usize = 0; which < 2; which++) {
    const x = which == 0 ? p.k : p.v;
    const columns = which == 0 ? p.d : p.e;
    let from = sink;
    let end = sink;
    const isFilled = p.pages != 0 || (x.element == 1 && x.head == <usize>columns && x.row == <usize>(columns * (past - first)));
    if (count > 0 && isFilled) {
      const size = elementBytes(x.dtype);
      const begin = keyRow(p, x, batch, key, p.pages ? head : first);
      const bytes = <usize>count * x.row * size;
      const share = p.pages ? bytes : bytes / <usize>(past - first);
      from = p.pages ? begin : begin + <usize>(head - first) * share;
      end = from + share;
    }
    store<usize>(to + (which << 3), from);
    store<usize>(to + (which << 3), end, 4);
  }
}

/** Begins the sums of a key/value head. */
function open<H>(p: DecodeParams, part: usize): void {
  const bytes = partBytes(p);
  memory.fill(part, 0, <usize>groupsOf<H>(p) * bytes);
  for (const end = part + <usize>groupsOf<H>(p) * bytes; part < end; part += bytes)
    v128.store(part + bytes - STATE_BYTES + MAXIMA, f32x4.splat(NO_MAXIMUM));
}

/** Adds `count` keys from `key` on, which lie evenly, to the sums of a head. */
function addKeys<H>(p: DecodeParams, batch: i32, head: i32, key: i32, count: i32, words: i32, part: usize, scratch: usize): void {
  const groups = groupsOf<H>(p);
  const bytes = partBytes(p);
  const columns = fours(p.e);
  let keys = keyRow(p, p.k, batch, key, head);
  let values = keyRow(p, p.v, batch, key, head);
  let keyStep = p.k.row * elementBytes(p.k.dtype);
  let valueStep = p.v.row * elementBytes(p.v.dtype);
  const isKeyCopied = isCopied(p, p.k, p.d, groups) || haveSpecials(p.k, fours(p.d) << 2, keys, keyStep, count);
  const isValueCopied = isCopied(p, p.v, p.e, groups) || haveSpecials(p.v, columns << 2, values, valueStep, count);
  if (isKeyCopied) {
    copyRows(p.k, p.d, keys, keyStep, count, scratch + KEY_ROWS);
    keys = scratch + KEY_ROWS;
    keyStep = <usize>fours(p.d) << 4;
  }
  if (isValueCopied) {
    copyRows(p.v, p.e, values, valueStep, count, scratch + VALUE_ROWS);
    values = scratch + VALUE_ROWS;
    valueStep = <usize>columns << 4;
  }
  const keyType = isKeyCopied ? F32 : p.k.dtype;
  const valueType = isValueCopied ? F32 : p.v.dtype;
  const isInteger = p.k.dtype == I8;
  const keyScales = isInteger ? scaleAt(p, p.keyScales, batch, key, head) : 0;
  const valueScales = isInteger ? scaleAt(p, p.valueScales, batch, key, head) : 0;
  const program = i32.load(rowOf(p, batch), 4);
  const step = <usize>fours(p.d) * 64;
  // The last group of plain attention may have two rows only.
  const arePairs = hookOf<H>(0).queries == 4 && (columns << 2) % PAIR_COLUMNS == 0;
  let queries = queriesAt<H>(p, batch * p.g + head);
  for (let group: i32 = 0; group < groups; group++, queries += step, part += bytes) {
    const state = part + <usize>columns * 64;
    const isPair = arePairs && (p.h / p.g) * p.n - 4 * group <= 2;
    if (isPair) scoreInPairs(keyType, queries, fours(p.d) << 2, keys, keyStep, count, scratch);
    else if (keyType == F32) scoreRows<f32>(queries, fours(p.d) << 2, keys, keyStep, count, scratch);
    else if (keyType == BF16) scoreRows<u16>(queries, fours(p.d) << 2, keys, keyStep, count, scratch);
    else if (keyType == F16) scoreRows<i16>(queries, fours(p.d) << 2, keys, keyStep, count, scratch);
    else scoreRows<i8>(queries, fours(p.d) << 2, keys, keyStep, count, scratch);
    if (isInteger) scaleScores(count, keyScales, scratch);
    if (hookOf<H>(0).hasScores && program) modifyScores(p, batch, head, group, key, count, scratch);
    if (words >= 0) hideUnseen<H>(p, group, key, count, words, scratch);
    weigh<H>(count, columns, part, state, scratch);
    if (isInteger) scaleScores(count, valueScales, scratch);
    if (isPair) addInPairs(valueType, columns << 2, values, valueStep, count, part, scratch);
    else if (valueType == F32) addValues<f32>(columns << 2, values, valueStep, count, part, scratch);
    else if (valueType == BF16) addValues<u16>(columns << 2, values, valueStep, count, part, scratch);
    else if (valueType == F16) addValues<i16>(columns << 2, values, valueStep, count, part, scratch);
    else addValues<i8>(columns << 2, values, valueStep, count, part, scratch);
  }
}

function scoreInPairs(type: i32, queries: usize, columns: i32, keys: usize, step: usize, count: i32, scratch: usize): void {
  if (type == F32) scorePairs<f32>(queries, columns, keys, step, count, scratch);
  else if (type == BF16) scorePairs<u16>(queries, columns, keys, step, count, scratch);
  else if (type == F16) scorePairs<i16>(queries, columns, keys, step, count, scratch);
  else scorePairs<i8>(queries, columns, keys, step, count, scratch);
}

function addInPairs(type: i32, columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  if (type == F32) addPairs<f32>(columns, values, step, count, part, scratch);
  else if (type == BF16) addPairs<u16>(columns, values, step, count, part, scratch);
  else if (type == F16) addPairs<i16>(columns, values, step, count, part, scratch);
  else addPairs<i8>(columns, values, step, count, part, scratch);
}
