/**
 * Attention of few queries and many keys, as in decoding: keys and values are read once, where they lie.
 *
 * The query heads that share a key/value head are rows against its keys, in groups of four. `decodeQueries` lays them out;
 * a task of `decode` takes a split of the keys, whose bounds do not depend on the threads, in blocks of 48: scores [keys][4],
 * weights in their place, then the weighted values; `decodeMerge` joins the splits. Rows that met what float32 cannot do
 * (huge, infinite or NaN scores or values) are computed anew in float64, so that such values propagate as they should.
 *
 * Of Parallax a group is two rows of q, then those of r: the weights of r's rows are those of q's times r's products.
 */
import { CHUNK, ROW_BYTES } from '../../expressions/params.generated.as';
import { loadRow, loadElement, bytesOf, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { exp, log } from '../../runtime/wasm/assembly/scalar.as';
import { UNSEEN } from '../../runtime/wasm/assembly/product.as';
import { exp2Clamped, larger, madd } from '../../runtime/wasm/assembly/vector.as';
import { BF16, F16, F32, LARGEST_HEAD, Operand, PANEL, TILE } from '../../runtime/wasm/params.generated.as';
import { I8 } from '../cache/params.generated.as';
import { DECODE_KEYS, DECODE_LIST_LENGTH, DECODE_ROW_LENGTH, DECODE_SEGMENT_LENGTH, DecodeParams } from './params.generated.as';
import { beginTile, Block, PROGRAM_SCRATCH, runProgram } from './program.as';

const NO_MAXIMUM: f32 = -1e30;
/** Beyond it scores and outputs are left to float64. */
const ORDINARY: f32 = 1e29;
const LN2: f64 = 0.6931471805599453;
const LOG2E: f64 = 1.4426950408889634;

/** Behind the sums of a group: of its four rows the maxima, the sums, and whether they are exceptional. */
const MAXIMA: usize = 0;
const SUMS: usize = 16;
const EXCEPTIONAL: usize = 32;
const STATE_BYTES: usize = 48;

// One worker's working memory.
const SCORES: usize = 0; // [48 + 2][4]
const KEY_ROWS: usize = SCORES + <usize>(DECODE_KEYS + 2) * 16; // [48][256], where rows are copied
const VALUE_ROWS: usize = KEY_ROWS + <usize>(DECODE_KEYS * LARGEST_HEAD * 4);
const FETCHED: usize = VALUE_ROWS + <usize>(DECODE_KEYS * LARGEST_HEAD * 4); // where keys and values are fetched from next: two each
const SINK: usize = FETCHED + 16;
const KEY_NUMBERS: usize = SINK + 16; // [24] i32
const QUERY_NUMBERS: usize = KEY_NUMBERS + ROW_BYTES; // [n] i32, in chunks
const MODIFIED: usize = QUERY_NUMBERS + CHUNK * 4; // [12 queries][24 keys]
const BLOCK: usize = (MODIFIED + CHUNK * ROW_BYTES + 15) & ~15;
const PROGRAM: usize = (BLOCK + offsetof<Block>() + 15) & ~15;
const DOUBLES: usize = (PROGRAM + PROGRAM_SCRATCH + 15) & ~15; // [256] f64
export const DECODE_BYTES: usize = DOUBLES + LARGEST_HEAD * 8;

// @ts-ignore: decorator
@inline
function fours(columns: i32): i32 {
  return (columns + 3) >> 2;
}

/** Rows against a key/value head, and their groups of four. */
// @ts-ignore: decorator
@inline
function groupsOf(p: DecodeParams): i32 {
  const rows = rowsOfGroup(p);
  return ((p.h / p.g) * p.n + rows - 1) / rows;
}

/** Rows of q in a group. */
// @ts-ignore: decorator
@inline
function rowsOfGroup(p: DecodeParams): i32 {
  return p.r.address ? 2 : 4;
}

// @ts-ignore: decorator
@inline
function partBytes(p: DecodeParams): usize {
  return <usize>fours(p.e) * 64 + STATE_BYTES;
}

// @ts-ignore: decorator
@inline
function queriesAt(p: DecodeParams, bg: i32): usize {
  return p.queries + <usize>(bg * groupsOf(p)) * (<usize>fours(p.d) * 64);
}

/** The sums of a key/value head and a split. */
// @ts-ignore: decorator
@inline
function partAt(p: DecodeParams, bg: i32, split: i32): usize {
  return p.parts + <usize>(bg * p.splits + split) * <usize>groupsOf(p) * partBytes(p);
}

// @ts-ignore: decorator
@inline
function rowOf(p: DecodeParams, batch: i32): usize {
  return p.rows + <usize>(batch * DECODE_ROW_LENGTH * 4);
}

// @ts-ignore: decorator
@inline
function listOf(p: DecodeParams, batch: i32, head: i32): usize {
  const list = i32.load(p.maps + (<usize>(batch * p.h + head) << 2));
  return p.lists + <usize>(list * DECODE_LIST_LENGTH * 4);
}

// @ts-ignore: decorator
@inline
function segmentAt(p: DecodeParams, at: i32): usize {
  return p.segments + <usize>(at * DECODE_SEGMENT_LENGTH * 4);
}

// @ts-ignore: decorator
@inline
function elementBytes(dtype: i32): usize {
  return dtype == I8 ? 1 : bytesOf(dtype);
}

/** The key/value head of a group. */
// @ts-ignore: decorator
@inline
function keyHead(p: DecodeParams, group: i32): i32 {
  return (group * p.keyHeads) / p.g;
}

/** Where row `key` of a group's head lies. */
// @ts-ignore: decorator
@inline
function keyRow(p: DecodeParams, x: Operand, batch: i32, key: i32, group: i32): usize {
  const head = keyHead(p, group);
  if (p.pages == 0)
    return x.address + (<usize>batch * x.batch + <usize>key * x.row + <usize>head * x.head) * bytesOf(x.dtype);
  const rows = p.pageRows;
  const page = <usize>i32.load(p.pages + (<usize>(batch * p.pagesOfRow + key / rows) << 2));
  return page + x.address + (<usize>(key % rows) * x.row + <usize>head * x.head) * elementBytes(x.dtype);
}

/** Where the scale of row `key` of a group's head in a cache lies; `scales` are bytes within a page. */
// @ts-ignore: decorator
@inline
function scaleAt(p: DecodeParams, scales: usize, batch: i32, key: i32, group: i32): usize {
  const rows = p.pageRows;
  const page = <usize>i32.load(p.pages + (<usize>(batch * p.pagesOfRow + key / rows) << 2));
  return page + scales + (<usize>(keyHead(p, group) * rows + (key % rows)) << 2);
}

/** The queries of a key/value head as groups of four rows, scaled: [columns of 4][row][4 columns]. */
export function decodeQueries(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DecodeParams>(params);
  const g = p.g;
  const d = p.d;
  const n = p.n;
  const q = p.q;
  const shared = p.h / g;
  const batch = task / g;
  const head = (task % g) * shared;
  const row = rowOf(p, batch);
  const factor = <f32>(i32.load(row, 4) ? p.scale : p.scale * LOG2E);
  const count = i32.load(row);
  const groupBytes = <usize>fours(d) * 64;
  const rows = rowsOfGroup(p);
  const to = queriesAt(p, task);
  memory.fill(to, 0, <usize>groupsOf(p) * groupBytes);
  for (let r: i32 = 0; r < shared * n; r++) {
    if (r % n >= count) continue;
    const place = to + <usize>(r / rows) * groupBytes + (<usize>(r % rows) << 4);
    layOutQuery(q, batch, r % n, head + r / n, d, factor, place, scratch + KEY_ROWS);
    if (p.r.address) layOutQuery(p.r, batch, r % n, head + r / n, d, 1, place + 32, scratch + KEY_ROWS);
  }
}

/** A row times a factor, four columns every 64 bytes. */
function layOutQuery(x: Operand, batch: i32, row: i32, head: i32, d: i32, factor: f32, to: usize, buffer: usize): void {
  const from = loadRow(rowAddress(x, batch, row, head), x.element, x.dtype, d, buffer);
  const factors = f32x4.splat(factor);
  let c: i32 = 0;
  for (; c + 4 <= d; c += 4, to += 64) v128.store(to, f32x4.mul(v128.load(from + (<usize>c << 2)), factors));
  for (; c < d; c++, to += 4) f32.store(to, f32.load(from + (<usize>c << 2)) * factor);
}

/** A split of the keys of some key/value heads. */
export function decode(params: usize, task: i32, scratch: usize): void {
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
  for (let head = first; head < past; head++) open(p, partAt(p, batch * g + head, split));
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
        addKeys(p, batch, head, key, count, words, partAt(p, batch * g + head, split), scratch);
      }
      key = next;
    }
  }
}

/** Keys that are taken at once from `key` on: of a cache within a page, whose heads lie one behind the other. */
// @ts-ignore: decorator
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
      end = from + (share - 8 & ~63);
    }
    store<usize>(to + (which << 3), from);
    store<usize>(to + (which << 3), end, 4);
  }
}

/** Begins the sums of a key/value head. */
function open(p: DecodeParams, part: usize): void {
  const bytes = partBytes(p);
  memory.fill(part, 0, <usize>groupsOf(p) * bytes);
  for (const end = part + <usize>groupsOf(p) * bytes; part < end; part += bytes)
    v128.store(part + bytes - STATE_BYTES + MAXIMA, f32x4.splat(NO_MAXIMUM));
}

/** Adds `count` keys from `key` on, which lie evenly, to the sums of a head. */
function addKeys(p: DecodeParams, batch: i32, head: i32, key: i32, count: i32, words: i32, part: usize, scratch: usize): void {
  const groups = groupsOf(p);
  const bytes = partBytes(p);
  const columns = fours(p.e);
  let keys = keyRow(p, p.k, batch, key, head);
  let values = keyRow(p, p.v, batch, key, head);
  let keyStep = p.k.row * elementBytes(p.k.dtype);
  let valueStep = p.v.row * elementBytes(p.v.dtype);
  const isKeyCopied = isCopied(p, p.k, p.d, groups) || hasSpecials(p.k, fours(p.d) << 2, keys, keyStep, count);
  const isValueCopied = isCopied(p, p.v, p.e, groups) || hasSpecials(p.v, columns << 2, values, valueStep, count);
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
  let queries = queriesAt(p, batch * p.g + head);
  for (let group: i32 = 0; group < groups; group++, queries += step, part += bytes) {
    const state = part + <usize>columns * 64;
    if (keyType == F32) scoresF32(queries, step, keys, keyStep, count, scratch);
    else if (keyType == BF16) scoresBF16(queries, step, keys, keyStep, count, scratch);
    else if (keyType == F16) scoresF16(queries, step, keys, keyStep, count, scratch);
    else scoresI8(queries, step, keys, keyStep, count, scratch);
    if (isInteger) scaleScores(count, keyScales, scratch);
    if (program) modifyScores(p, batch, head, group, key, count, scratch);
    if (words >= 0) hideUnseen(p, group, key, count, words, scratch);
    if (p.r.address) weighTilted(count, columns, part, state, scratch);
    else weighPlain(count, columns, part, state, scratch);
    if (isInteger) scaleScores(count, valueScales, scratch);
    if (valueType == F32) addF32(columns, values, valueStep, count, part, scratch);
    else if (valueType == BF16) addBF16(columns, values, valueStep, count, part, scratch);
    else if (valueType == F16) addF16(columns, values, valueStep, count, part, scratch);
    else addI8(columns, values, valueStep, count, part, scratch);
  }
}

// Functions of their own, since the optimiser folds branches that differ by a constant into one that looks at it each time.

function scoresF32(queries: usize, bytes: usize, keys: usize, step: usize, count: i32, scratch: usize): void {
  scoreRows(queries, bytes, keys, step, count, F32, scratch);
}

function addF32(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  addValues(columns, values, step, count, part, F32, scratch);
}

function scoresBF16(queries: usize, bytes: usize, keys: usize, step: usize, count: i32, scratch: usize): void {
  scoreRows(queries, bytes, keys, step, count, BF16, scratch);
}

function addBF16(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  addValues(columns, values, step, count, part, BF16, scratch);
}

function scoresF16(queries: usize, bytes: usize, keys: usize, step: usize, count: i32, scratch: usize): void {
  scoreRows(queries, bytes, keys, step, count, F16, scratch);
}

function addF16(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  addValues(columns, values, step, count, part, F16, scratch);
}

function scoresI8(queries: usize, bytes: usize, keys: usize, step: usize, count: i32, scratch: usize): void {
  scoreRows(queries, bytes, keys, step, count, I8, scratch);
}

function addI8(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  addValues(columns, values, step, count, part, I8, scratch);
}

/** Whether rows are copied as float32: those that are not whole vectors side by side, and those that many queries would convert. */
// @ts-ignore: decorator
@inline
function isCopied(p: DecodeParams, x: Operand, columns: i32, groups: i32): bool {
  return x.element != 1 || (p.pages == 0 && columns % 4 != 0) || (x.dtype != F32 && groups > 2);
}

/** Whether there is an infinity or NaN among halves, which `widen` would make ordinary numbers of. */
function hasSpecials(x: Operand, columns: i32, from: usize, step: usize, count: i32): bool {
  if (x.dtype != F16) return false;
  let largest = i16x8.splat(0);
  const magnitude = i16x8.splat(0x7fff);
  for (let j: i32 = 0; j < count; j++, from += step) {
    let at = from;
    let c: i32 = 0;
    for (; c + 8 <= columns; c += 8, at += 16) largest = i16x8.max_u(largest, v128.and(v128.load(at), magnitude));
    if (c < columns) largest = i16x8.max_u(largest, v128.and(v128.load64_zero(at), magnitude));
  }
  return v128.any_true(i16x8.gt_u(largest, i16x8.splat(0x7bff)));
}

/** Rows as float32, padded with zeros to whole vectors. */
function copyRows(x: Operand, length: i32, from: usize, step: usize, count: i32, to: usize): void {
  const dtype = x.dtype;
  const element = x.element;
  const columns = fours(length);
  const bytes = <usize>columns << 4;
  for (let j: i32 = 0; j < count; j++, from += step, to += bytes) {
    if (length % 4 != 0) v128.store(to + bytes - 16, f32x4.splat(0));
    if (dtype == I8) widenI8(from, columns, to);
    else {
      const row = loadRow(from, element, dtype, length, to);
      if (row != to) memory.copy(to, row, <usize>length << 2);
    }
  }
}

function widenI8(from: usize, columns: i32, to: usize): void {
  for (let c: i32 = 0; c < columns; c++) v128.store(to + (<usize>c << 4), four(from + (<usize>c << 2), I8));
}

/** Four columns in float32; `dtype` is a constant. */
// @ts-ignore: decorator
@inline
function four(at: usize, dtype: i32): v128 {
  if (dtype == F32) return v128.load(at);
  if (dtype == BF16) return i32x4.shl(v128.load16x4_u(at), 16);
  if (dtype == I8) return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at))));
  return widen(at);
}

/** Half to single: the fields moved, then times 2^112, which mends exponent and subnormals; of numbers. */
// @ts-ignore: decorator
@inline
function widen(at: usize): v128 {
  const fields = v128.and(i32x4.shl(v128.load16x4_s(at), 13), i32x4.splat(0x8fffe000));
  return f32x4.mul(fields, i32x4.splat(0x77800000));
}

// @ts-ignore: decorator
@inline
function columnBytes(dtype: i32): usize {
  return dtype == F32 ? 16 : dtype == I8 ? 4 : 8;
}

/** Scores of four queries against `count` keys, three at a time. */
// @ts-ignore: decorator
@inline
function scoreRows(queries: usize, bytes: usize, keys: usize, step: usize, count: i32, dtype: i32, scratch: usize): void {
  const past = queries + bytes;
  const last = keys + <usize>(count - 1) * step;
  let to = scratch + SCORES;
  let fetched = load<usize>(scratch + FETCHED);
  const end = load<usize>(scratch + FETCHED, 4);
  let sink: i64 = 0;
  for (let at = keys; at <= last; at += 3 * step, to += 48) {
    let k0 = at;
    let k1 = min(at + step, last);
    let k2 = min(at + 2 * step, last);
    let a0 = f32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let b0 = a0;
    let b1 = a0;
    let b2 = a0;
    let c0 = a0;
    let c1 = a0;
    let c2 = a0;
    let d0 = a0;
    let d1 = a0;
    let d2 = a0;
    for (let q = queries; q < past; q += 64) {
      const x0 = four(k0, dtype);
      const x1 = four(k1, dtype);
      const x2 = four(k2, dtype);
      let y = v128.load(q);
      a0 = madd(y, x0, a0);
      a1 = madd(y, x1, a1);
      a2 = madd(y, x2, a2);
      y = v128.load(q, 16);
      b0 = madd(y, x0, b0);
      b1 = madd(y, x1, b1);
      b2 = madd(y, x2, b2);
      y = v128.load(q, 32);
      c0 = madd(y, x0, c0);
      c1 = madd(y, x1, c1);
      c2 = madd(y, x2, c2);
      y = v128.load(q, 48);
      d0 = madd(y, x0, d0);
      d1 = madd(y, x1, d1);
      d2 = madd(y, x2, d2);
      k0 += columnBytes(dtype);
      k1 += columnBytes(dtype);
      k2 += columnBytes(dtype);
      sink ^= i64.load(fetched);
      fetched = min(fetched + 64, end);
    }
    v128.store(to, fourSums(a0, b0, c0, d0));
    v128.store(to, fourSums(a1, b1, c1, d1), 16);
    v128.store(to, fourSums(a2, b2, c2, d2), 32);
  }
  i64.store(scratch + SINK, sink);
  store<usize>(scratch + FETCHED, fetched);
}

/** The sum of each vector's lanes. */
// @ts-ignore: decorator
@inline
function fourSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/** Each key's numbers times its scale. */
function scaleScores(count: i32, scales: usize, scratch: usize): void {
  for (let j: i32 = 0; j < count; j++) {
    const at = scratch + SCORES + (<usize>j << 4);
    v128.store(at, f32x4.mul(v128.load(at), v128.load32_splat(scales + (<usize>j << 2))));
  }
}

/** Keys whose bit is not set in their word are hidden from that query. */
function hideUnseen(p: DecodeParams, group: i32, key: i32, count: i32, words: i32, scratch: usize): void {
  const n = p.n;
  const rows = rowsOfGroup(p);
  for (let j: i32 = 0; j < count; j++) {
    const word = i32.load(p.words + (<usize>(words * PANEL + ((key + j) % PANEL)) << 2));
    for (let r: i32 = 0; r < rows; r++) {
      if (!((word >> ((group * rows + r) % n)) & 1)) f32.store(scratch + SCORES + (<usize>(j * 4 + r) << 2), UNSEEN);
    }
  }
}

/** What the row's program makes of the scores: its lanes are keys, its rows the queries of a head. */
function modifyScores(p: DecodeParams, batch: i32, head: i32, group: i32, key: i32, count: i32, scratch: usize): void {
  const row = rowOf(p, batch);
  const program = i32.load(row, 4);
  const block = changetype<Block>(scratch + BLOCK);
  const n = p.n;
  const shared = p.h / p.g;
  block.queries = scratch + KEY_NUMBERS;
  block.keys = scratch + QUERY_NUMBERS;
  block.scores = scratch + MODIFIED;
  block.out = scratch + MODIFIED;
  block.batch = batch;
  block.tables = i32.load(row, 8);
  block.scratch = scratch + PROGRAM;
  for (let first: i32 = 0; first < count; first += TILE) {
    const keys = min(TILE, count - first);
    for (let j: i32 = 0; j < TILE; j++) i32.store(scratch + KEY_NUMBERS + (<usize>j << 2), key + first + min(j, keys - 1));
    // Rows of one head after the other.
    for (let r: i32 = 0; r < 4; ) {
      const at = group * 4 + r;
      if (at >= shared * n) break;
      const rows = min(4 - r, n - (at % n));
      block.head = head * shared + at / n;
      block.rows = rows;
      for (let i: i32 = 0; i < rows; i++) {
        i32.store(scratch + QUERY_NUMBERS + (<usize>i << 2), (at % n) + i);
        for (let j: i32 = 0; j < keys; j++)
          f32.store(scratch + MODIFIED + <usize>i * ROW_BYTES + (<usize>j << 2), f32.load(scratch + SCORES + (<usize>((first + j) * 4 + r + i) << 2)));
      }
      beginTile(program, block);
      runProgram(program, block);
      for (let i: i32 = 0; i < rows; i++) {
        for (let j: i32 = 0; j < keys; j++)
          f32.store(scratch + SCORES + (<usize>((first + j) * 4 + r + i) << 2), <f32>LOG2E * f32.load(scratch + MODIFIED + <usize>i * ROW_BYTES + (<usize>j << 2)));
      }
      r += rows;
    }
  }
}

function weighPlain(count: i32, columns: i32, part: usize, state: usize, scratch: usize): void {
  weigh(count, columns, part, state, false, scratch);
}

function weighTilted(count: i32, columns: i32, part: usize, state: usize, scratch: usize): void {
  weigh(count, columns, part, state, true, scratch);
}

/** Scores to weights 2^(score - maximum) in their place, with their sums; what was summed before shrinks as maxima move. */
// @ts-ignore: decorator
@inline
function weigh(count: i32, columns: i32, part: usize, state: usize, isTilted: bool, scratch: usize): void {
  const scores = scratch + SCORES;
  const end = scores + (<usize>count << 4);
  const old = v128.load(state, MAXIMA);
  let maxima = old;
  let exceptional = v128.load(state, EXCEPTIONAL);
  for (let at = scores; at < end; at += 16) {
    const x = v128.load(at);
    maxima = larger(maxima, isTilted ? v128.shuffle<f32>(x, x, 0, 1, 0, 1) : x);
    // NaN is not less either.
    const isOrdinary = f32x4.lt(f32x4.abs(x), f32x4.splat(ORDINARY));
    let isHidden = v128.or(f32x4.eq(x, f32x4.splat(UNSEEN)), f32x4.eq(x, f32x4.splat(-Infinity)));
    if (isTilted) isHidden = v128.and(isHidden, i64x2(-1, 0));
    exceptional = v128.or(exceptional, v128.not(v128.or(isOrdinary, isHidden)));
  }
  v128.store(state, exceptional, EXCEPTIONAL);
  let sum = v128.load(state, SUMS);
  if (v128.any_true(f32x4.gt(maxima, old))) {
    const factor = exp2Clamped(f32x4.sub(old, maxima));
    v128.store(state, maxima, MAXIMA);
    sum = f32x4.mul(sum, factor);
    const f0 = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    const f1 = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    const f2 = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    const f3 = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    for (const past = part + <usize>columns * 64; part < past; part += 64) {
      v128.store(part, f32x4.mul(v128.load(part), f0));
      v128.store(part, f32x4.mul(v128.load(part, 16), f1), 16);
      v128.store(part, f32x4.mul(v128.load(part, 32), f2), 32);
      v128.store(part, f32x4.mul(v128.load(part, 48), f3), 48);
    }
  }
  for (let at = scores; at < end; at += 16) {
    const score = v128.load(at);
    const own = isTilted ? v128.shuffle<f32>(score, score, 0, 1, 0, 1) : score;
    let weight = exp2Clamped(f32x4.sub(own, maxima));
    if (isTilted) weight = f32x4.mul(weight, v128.shuffle<f32>(score, f32x4.splat(1), 4, 5, 2, 3));
    v128.store(at, weight);
    sum = f32x4.add(sum, weight);
  }
  v128.store(state, sum, SUMS);
}

/** Adds the weighted values to the sums, twelve columns at a time. */
// @ts-ignore: decorator
@inline
function addValues(columns: i32, values: usize, step: usize, count: i32, part: usize, dtype: i32, scratch: usize): void {
  let c: i32 = 0;
  for (; c + 3 <= columns; c += 3) addColumns(3, c, values, step, count, part, dtype, scratch);
  if (columns - c == 2) addColumns(2, c, values, step, count, part, dtype, scratch);
  else if (columns - c == 1) addColumns(1, c, values, step, count, part, dtype, scratch);
}

// @ts-ignore: decorator
@inline
function addColumns(
  width: i32,
  c: i32,
  values: usize,
  step: usize,
  count: i32,
  part: usize,
  dtype: i32,
  scratch: usize,
): void {
  const sums = part + <usize>c * 64;
  let at = values + <usize>c * columnBytes(dtype);
  let fetched = load<usize>(scratch + FETCHED, 8);
  const endOfFetch = load<usize>(scratch + FETCHED, 12);
  let sink: i64 = 0;
  const zero = f32x4.splat(0);
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let a2 = v128.load(sums, 32);
  let a3 = v128.load(sums, 48);
  let b0 = width > 1 ? v128.load(sums, 64) : zero;
  let b1 = width > 1 ? v128.load(sums, 80) : zero;
  let b2 = width > 1 ? v128.load(sums, 96) : zero;
  let b3 = width > 1 ? v128.load(sums, 112) : zero;
  let c0 = width > 2 ? v128.load(sums, 128) : zero;
  let c1 = width > 2 ? v128.load(sums, 144) : zero;
  let c2 = width > 2 ? v128.load(sums, 160) : zero;
  let c3 = width > 2 ? v128.load(sums, 176) : zero;
  let weights = scratch + SCORES;
  for (const end = weights + (<usize>count << 4); weights < end; weights += 16, at += step) {
    const x = four(at, dtype);
    const y = width > 1 ? four(at + columnBytes(dtype), dtype) : zero;
    const z = width > 2 ? four(at + 2 * columnBytes(dtype), dtype) : zero;
    let w = v128.load32_splat(weights);
    a0 = madd(w, x, a0);
    if (width > 1) b0 = madd(w, y, b0);
    if (width > 2) c0 = madd(w, z, c0);
    w = v128.load32_splat(weights, 4);
    a1 = madd(w, x, a1);
    if (width > 1) b1 = madd(w, y, b1);
    if (width > 2) c1 = madd(w, z, c1);
    w = v128.load32_splat(weights, 8);
    a2 = madd(w, x, a2);
    if (width > 1) b2 = madd(w, y, b2);
    if (width > 2) c2 = madd(w, z, c2);
    w = v128.load32_splat(weights, 12);
    a3 = madd(w, x, a3);
    if (width > 1) b3 = madd(w, y, b3);
    if (width > 2) c3 = madd(w, z, c3);
    sink ^= i64.load(fetched);
    fetched = min(fetched + 64, endOfFetch);
  }
  i64.store(scratch + SINK, sink);
  store<usize>(scratch + FETCHED, fetched, 8);
  v128.store(sums, a0);
  v128.store(sums, a1, 16);
  v128.store(sums, a2, 32);
  v128.store(sums, a3, 48);
  if (width > 1) {
    v128.store(sums, b0, 64);
    v128.store(sums, b1, 80);
    v128.store(sums, b2, 96);
    v128.store(sums, b3, 112);
  }
  if (width > 2) {
    v128.store(sums, c0, 128);
    v128.store(sums, c1, 144);
    v128.store(sums, c2, 160);
    v128.store(sums, c3, 176);
  }
}

/** The results of a query head of a batch, from its splits. */
export function decodeMerge(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DecodeParams>(params);
  const g = p.g;
  const h = p.h;
  const n = p.n;
  const e = p.e;
  const shared = h / g;
  const batch = task / h;
  const head = task % h;
  const list = listOf(p, batch, head);
  const keys = i32.load(list, 8);
  const splits = (keys + p.splitKeys - 1) / p.splitKeys;
  const queries = i32.load(rowOf(p, batch));
  const columns = fours(e);
  const bytes = partBytes(p);
  const splitBytes = <usize>groupsOf(p) * bytes;
  const row = scratch + KEY_ROWS;
  const dtype = p.out.dtype;
  const tilted = scratch + VALUE_ROWS;
  const isTilted = p.r.address != 0;
  const rows = rowsOfGroup(p);
  for (let i: i32 = 0; i < n; i++) {
    const r = (head % shared) * n + i;
    const at = (<usize>(batch * n) + <usize>i) * <usize>h + <usize>head;
    const lane = <usize>(r % rows) << 2;
    const first = partAt(p, batch * g + head / shared, 0) + <usize>(r / rows) * bytes;
    const past = i < queries ? first + <usize>splits * splitBytes : first;
    let maximum = NO_MAXIMUM;
    let isExceptional = false;
    for (let part = first; part < past; part += splitBytes) {
      const state = part + <usize>columns * 64 + lane;
      maximum = max(maximum, f32.load(state, MAXIMA));
      if (i32.load(state, EXCEPTIONAL) || (isTilted && i32.load(state + 8, EXCEPTIONAL))) isExceptional = true;
    }
    const sum = mergeRow(first, past, splitBytes, columns, lane, maximum, row);
    const inverse: f32 = sum > 0 ? 1 / sum : 0;
    let isOrdinary = scaleRow(row, columns, inverse);
    let level: f32 = 0;
    if (isTilted) {
      level = inverse * mergeRow(first, past, splitBytes, columns, lane + 8, maximum, tilted);
      isOrdinary &= scaleRow(tilted, columns, inverse);
    }
    if (isExceptional || !isOrdinary) {
      exceptionalRow(p, batch, head, i, at, scratch);
      continue;
    }
    f32.store(p.lse + (at << 2), sum > 0 ? <f32>(<f64>maximum * LN2 + log(<f64>sum)) : -Infinity);
    if (isTilted) {
      storeMeans(p, at, row, level);
      for (let c: usize = 0; c < <usize>columns << 4; c += 16)
        v128.store(row + c, f32x4.sub(f32x4.mul(v128.load(row + c), f32x4.splat(1 + level)), v128.load(tilted + c)));
    }
    storeRow(row, p.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  }
}

/** Adds up a row's splits under a common maximum, to [columns of 4][4]; returns the sum of its weights. */
function mergeRow(first: usize, past: usize, step: usize, columns: i32, lane: usize, maximum: f32, row: usize): f32 {
  let sum: f32 = 0;
  memory.fill(row, 0, <usize>columns << 4);
  for (let part = first; part < past; part += step) {
    // The maxima of r's rows are those of q's.
    const state = part + <usize>columns * 64 + lane;
    const factor = exp2Clamped(f32x4.splat(f32.load(state, MAXIMA) - maximum));
    sum += f32x4.extract_lane(factor, 0) * f32.load(state, SUMS);
    let sums = part + (lane << 2);
    for (let c: i32 = 0; c < columns; c++, sums += 64) {
      const place = row + (<usize>c << 4);
      v128.store(place, madd(factor, v128.load(sums), v128.load(place)));
    }
  }
  return sum;
}

/** A row times a factor; whether float32 did for it. */
function scaleRow(row: usize, columns: i32, factor: f32): bool {
  let isOrdinary = i32x4.splat(-1);
  for (const past = row + (<usize>columns << 4); row < past; row += 16) {
    const x = v128.load(row);
    isOrdinary = v128.and(isOrdinary, f32x4.lt(f32x4.abs(x), f32x4.splat(ORDINARY)));
    v128.store(row, f32x4.mul(x, f32x4.splat(factor)));
  }
  return i32x4.all_true(isOrdinary);
}

/** What the backward pass wants of a row, if there is to be one. */
function storeMeans(p: DecodeParams, at: usize, row: usize, level: f32): void {
  if (!p.mean) return;
  storeRow(row, p.mean + at * (<usize>p.e << 2), F32, p.e);
  f32.store(p.level + (at << 2), level);
}

/** One query in float64, in the order of the definition; infinities and NaN take their course. */
function exceptionalRow(p: DecodeParams, batch: i32, head: i32, i: i32, at: usize, scratch: usize): void {
  const e = p.e;
  const shared = p.h / p.g;
  const r = (head % shared) * p.n + i;
  const group = head / shared;
  const list = listOf(p, batch, head);
  const program = i32.load(rowOf(p, batch), 4);
  const isTilted = p.r.address != 0;
  const sums = scratch + DOUBLES;
  const row = scratch + KEY_ROWS;
  memory.fill(sums, 0, <usize>e << 3);
  let largest: f64 = -Infinity;
  let total: f64 = 0;
  let level: f64 = 0;
  let seesAny = false;
  // Twice over the keys: first for the largest score, then for the sums; of Parallax once more, for the tilted ones.
  const passes = isTilted ? 3 : 2;
  for (let pass: i32 = 0; pass < passes; pass++) {
    if (pass == 2) {
      level = seesAny ? level / total : 0;
      divideSums(sums, seesAny ? total : 1, e, row);
      storeMeans(p, at, row, <f32>level);
      memory.fill(sums, 0, <usize>e << 3);
    }
    for (let at = i32.load(list); at < i32.load(list, 4); at++) {
      const segment = segmentAt(p, at);
      const words = i32.load(segment, 8);
      for (let key = i32.load(segment); key < i32.load(segment, 4); key++) {
        if (words >= 0 && !((i32.load(p.words + (<usize>(words * PANEL + (key % PANEL)) << 2)) >> i) & 1)) continue;
        let score = p.scale * dot(p, p.q, batch, head, i, key);
        if (program) {
          f32.store(scratch + SCORES + (<usize>(r & 3) << 2), <f32>score);
          modifyScores(p, batch, group, r >> 2, key, 1, scratch);
          score = <f64>f32.load(scratch + SCORES + (<usize>(r & 3) << 2)) / LOG2E;
          // A modifier hides keys by -Infinity, and whatever their values are.
          if (score == -Infinity) continue;
        }
        if (pass == 0) {
          largest = max(largest, score);
          seesAny = true;
          continue;
        }
        let weight = exp(score - largest);
        if (pass == 1) total += weight;
        if (isTilted) {
          const product = dot(p, p.r, batch, head, i, key);
          if (pass == 1) level += weight * product;
          else weight *= 1 + level - product;
        }
        const value = keyRow(p, p.v, batch, key, group);
        for (let c: i32 = 0; c < e; c++) {
          const sum = sums + (<usize>c << 3);
          f64.store(sum, f64.load(sum) + weight * elementOf(p, p.v, p.valueScales, value, c, batch, key, group));
        }
      }
    }
  }
  divideSums(sums, seesAny ? total : 1, e, row);
  const dtype = p.out.dtype;
  storeRow(row, p.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(p.lse + (at << 2), seesAny ? <f32>(largest + log(total)) : -Infinity);
}

function divideSums(sums: usize, total: f64, e: i32, to: usize): void {
  for (let c: i32 = 0; c < e; c++) f32.store(to + (<usize>c << 2), <f32>(f64.load(sums + (<usize>c << 3)) / total));
}

/** Column `c` of the row at `row`. */
function elementOf(p: DecodeParams, x: Operand, scales: usize, row: usize, c: i32, batch: i32, key: i32, head: i32): f64 {
  if (x.dtype == I8) return <f64>load<i8>(row + <usize>c) * <f64>f32.load(scaleAt(p, scales, batch, key, head));
  return <f64>loadElement(row + <usize>c * x.element * bytesOf(x.dtype), x.dtype);
}

/** Of a query's row of q or r and a key. */
function dot(p: DecodeParams, q: Operand, batch: i32, head: i32, i: i32, key: i32): f64 {
  const group = head / (p.h / p.g);
  const query = rowAddress(q, batch, i, head);
  const row = keyRow(p, p.k, batch, key, group);
  let sum: f64 = 0;
  for (let c: i32 = 0; c < p.d; c++) {
    const x = <f64>loadElement(query + <usize>c * q.element * bytesOf(q.dtype), q.dtype);
    sum += x * elementOf(p, p.k, p.keyScales, row, c, batch, key, group);
  }
  return sum;
}
