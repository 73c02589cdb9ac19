/**
 * Exact softmax attention over a band of keys.
 *
 * `pack` lays keys and values out once per key/value head; each task of `attention` then takes a tile of 24 queries
 * through blocks of keys: scores transposed, [keys][24 queries], so that everything about the softmax is vertical, then
 * the weighted values with the scores as they lie. Scores carry log2(e), so weights are powers of two.
 *
 * How large scores can get, known from the norms of queries and keys, decides how a tile is computed:
 * - small: 2^score can neither overflow nor vanish, so there is no running maximum and nothing to rescale;
 * - ordinary: the usual running maximum;
 * - exceptional (huge, infinite or NaN inputs): plain float64 loops, so that such values propagate as they should.
 */
import { exp, log } from './scalar';
import { ADD, product, STORE, STORE_EXP, STORE_MAX } from './product';
import { bytesOf, loadElement, loadRow, storeRow } from './storage';
import { exp2, exp2Clamped, larger, largestLane, madd, storeTransposed } from './vector';

const TILE: i32 = 24;
const PANEL: i32 = 6;
const SLICE: i32 = 8;
/** Panels in a block: 336 keys, whose scores fill 32 KiB. */
const BLOCK_PANELS: i32 = 56;
/** Panels that one task of `pack` takes. */
const CHUNK_PANELS: i32 = 48;
const LARGEST_HEAD: i32 = 256;

const SMALL_SCORE: f32 = 60;
const SMALL_VALUE: f32 = 1e12;
const ORDINARY_SCORE: f32 = 1e29;
const ORDINARY_VALUE: f32 = 1e28;
/** Below every ordinary score: the running maximum before any key. */
const NO_MAXIMUM: f32 = -1e30;
const MASKED: f32 = -3e38;
const LN2: f64 = 0.6931471805599453;

/** Strides in elements. */
@unmanaged
class Operand {
  address: f64;
  dtype: f64;
  batch: f64;
  row: f64;
  head: f64;
  element: f64;
}

/** As the host writes it; all numbers float64. */
@unmanaged
class Params {
  batches: f64;
  n: f64;
  m: f64;
  h: f64;
  g: f64;
  d: f64;
  e: f64;
  scale: f64;
  left: f64;
  right: f64;
  out: f64;
  outDType: f64;
  lse: f64;
  packedKeys: f64;
  packedValues: f64;
  extremes: f64;
}

const OPERANDS: usize = 16 * 8;
const OPERAND_BYTES: usize = 6 * 8;

// @ts-ignore: decorator
@inline
function operand(params: usize, index: usize): Operand {
  return changetype<Operand>(params + OPERANDS + index * OPERAND_BYTES);
}

// @ts-ignore: decorator
@inline
function rowAddress(x: Operand, batch: i32, row: i32, head: i32): usize {
  const elements = <usize>batch * <usize>x.batch + <usize>row * <usize>x.row + <usize>head * <usize>x.head;
  return <usize>x.address + elements * bytesOf(<i32>x.dtype);
}

/**
 * Keys and values of one chunk of one head: keys to panels [d][6 keys], values to slices [keys][8 columns], both padded
 * with zeros; and the chunk's largest squared key norm and largest value magnitude, NaN if there is one.
 */
export function pack(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Params>(params);
  const k = operand(params, 1);
  const v = operand(params, 2);
  const m = <i32>p.m;
  const g = <i32>p.g;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const panels = (m + PANEL - 1) / PANEL;
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const head = task / chunks;
  const chunk = task % chunks;
  const first = chunk * CHUNK_PANELS;
  const last = min(first + CHUNK_PANELS, panels);

  let largestNorm: f32 = 0;
  const zeros = scratch + 6 * LARGEST_HEAD * 4;
  memory.fill(zeros, 0, LARGEST_HEAD * 4);
  for (let panel = first; panel < last; panel++) {
    const to = <usize>p.packedKeys + (<usize>head * panels + panel) * <usize>(d * PANEL * 4);
    let rows = scratch + 7 * LARGEST_HEAD * 4;
    for (let r: i32 = 0; r < PANEL; r++) {
      const j = panel * PANEL + r;
      let row = zeros;
      if (j < m) {
        const source = rowAddress(k, head / g, j, head % g);
        row = loadRow(source, <usize>k.element, <i32>k.dtype, d, scratch + r * LARGEST_HEAD * 4);
      }
      store<usize>(rows + (r << 2), row);
    }
    packPanel(rows, d, to);
    largestNorm = max(largestNorm, largestSquaredNorm(to, d));
  }

  const slices = (e + SLICE - 1) / SLICE;
  const sliceBytes = <usize>(panels * PANEL * SLICE * 4);
  const values = <usize>p.packedValues + <usize>(head * slices) * sliceBytes;
  // Magnitudes as integers, the sign bit shifted out: they order alike, and NaN stands above infinity.
  let largestValue = i32x4.splat(0);
  // One row's values with the columns up to the slice's end: the padding of `scratch` stays zero.
  memory.fill(scratch, 0, LARGEST_HEAD * 4);
  for (let j = first * PANEL; j < last * PANEL; j++) {
    let row = zeros;
    if (j < m) {
      row = loadRow(rowAddress(v, head / g, j, head % g), <usize>v.element, <i32>v.dtype, e, scratch);
      if (row != scratch && e % SLICE != 0) {
        memory.copy(scratch, row, <usize>e << 2);
        row = scratch;
      }
    }
    let to = values + (<usize>j << 5);
    for (let s: i32 = 0; s < slices; s++, row += 32, to += sliceBytes) {
      const left = v128.load(row);
      const right = v128.load(row, 16);
      v128.store(to, left);
      v128.store(to, right, 16);
      largestValue = i32x4.max_u(largestValue, i32x4.max_u(i32x4.shl(left, 1), i32x4.shl(right, 1)));
    }
  }

  const extremes = <usize>p.extremes + (<usize>task << 3);
  f32.store(extremes, largestNorm);
  f32.store(extremes, largestLane(i32x4.shr_u(largestValue, 1)), 4);
}

/** Of the six keys of a panel [d][6]; two steps of d, twelve floats, at a time. */
function largestSquaredNorm(panel: usize, d: i32): f32 {
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  for (const end = panel + <usize>(d >> 1) * 48; panel < end; panel += 48) {
    const x = v128.load(panel);
    const y = v128.load(panel, 16);
    const z = v128.load(panel, 32);
    a = madd(x, x, a);
    b = madd(y, y, b);
    c = madd(z, z, c);
  }
  // Keys 0 to 3 are a with the end of b and the start of c; keys 4 and 5 the start of b with the end of c.
  let four = f32x4.add(a, v128.shuffle<f32>(b, c, 2, 3, 4, 5));
  let two = f32x4.add(b, v128.shuffle<f32>(c, c, 2, 3, 2, 3));
  if (d & 1) {
    const x = v128.load(panel);
    const y = v128.load64_zero(panel, 16);
    four = madd(x, x, four);
    two = madd(y, y, two);
  }
  return largestLane(f32x4.max(four, v128.shuffle<f32>(two, two, 0, 1, 0, 1)));
}

/** Six rows of d floats to [d][6]. */
function packPanel(rows: usize, d: i32, to: usize): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const r4 = load<usize>(rows, 16);
  const r5 = load<usize>(rows, 20);
  let c: usize = 0;
  const end = <usize>d << 2;
  for (; c + 16 <= end; c += 16, to += 96) {
    storeTransposed(v128.load(r0 + c), v128.load(r1 + c), v128.load(r2 + c), v128.load(r3 + c), to, 24);
    const x = v128.load(r4 + c);
    const y = v128.load(r5 + c);
    const low = v128.shuffle<f32>(x, y, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(x, y, 2, 6, 3, 7);
    v128.store64_lane(to, low, 0, 16);
    v128.store64_lane(to, low, 1, 40);
    v128.store64_lane(to, high, 0, 64);
    v128.store64_lane(to, high, 1, 88);
  }
  for (; c < end; c += 4, to += 24) {
    f32.store(to, f32.load(r0 + c));
    f32.store(to, f32.load(r1 + c), 4);
    f32.store(to, f32.load(r2 + c), 8);
    f32.store(to, f32.load(r3 + c), 12);
    f32.store(to, f32.load(r4 + c), 16);
    f32.store(to, f32.load(r5 + c), 20);
  }
}

/** Keys that some query of a few sees, and keys that all of them see. */
@unmanaged
class Span {
  start: i32;
  end: i32;
  commonStart: i32;
  commonEnd: i32;
}
const SPAN_BYTES: usize = 16;

// One worker's working memory.
const QUERIES: usize = 0; // [3 slices][d][8]
const SCORES: usize = QUERIES + TILE * LARGEST_HEAD * 4; // [336 keys][24]
const RESULT: usize = SCORES + BLOCK_PANELS * PANEL * TILE * 4; // [slices of e][24][8]
const ROWS: usize = RESULT + TILE * LARGEST_HEAD * 4; // 8 rows as loaded, then as stored
const LOWS: usize = ROWS + SLICE * LARGEST_HEAD * 4; // [24] i32: first key seen
const HIGHS: usize = LOWS + TILE * 4; // [24] i32: one past the last key seen
const SLICE_SPANS: usize = HIGHS + TILE * 4; // what each eight queries see
const GROUP_SPANS: usize = SLICE_SPANS + 4 * SPAN_BYTES; // what each six queries see
const TILE_SPAN: usize = GROUP_SPANS + 4 * SPAN_BYTES;
const MAXIMA: usize = TILE_SPAN + SPAN_BYTES; // [24]
const SUMS: usize = MAXIMA + TILE * 4; // [24]
const BLOCK: usize = SUMS + TILE * 4; // [24]: maxima or sums of the block at hand

/** One tile of 24 queries of one head; tiles with the most keys of a causal band come first. */
export function attention(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Params>(params);
  const n = <i32>p.n;
  const m = <i32>p.m;
  const h = <i32>p.h;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const tiles = (n + TILE - 1) / TILE;
  const batch = task / tiles / h;
  const head = (task / tiles) % h;
  const first = (tiles - 1 - (task % tiles)) * TILE;
  const rows = min(TILE, n - first);
  const group = <i32>((<i64>head * <i64>p.g) / h);

  layOutBand(p, first, rows, scratch);
  const seenByTile = changetype<Span>(scratch + TILE_SPAN);
  const bg = batch * <i32>p.g + group;
  const panels = (m + PANEL - 1) / PANEL;
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  let keyNorm: f32 = 0;
  let largestValue: f32 = 0;
  for (let chunk: i32 = 0; chunk < chunks; chunk++) {
    const extremes = <usize>p.extremes + (<usize>(bg * chunks + chunk) << 3);
    keyNorm = max(keyNorm, f32.load(extremes));
    largestValue = max(largestValue, f32.load(extremes, 4));
  }
  const queryNorm = packQueries(params, batch, first, rows, head, scratch);
  const bound: f32 = sqrt(queryNorm) * sqrt(keyNorm);

  if (!(bound <= ORDINARY_SCORE && largestValue <= ORDINARY_VALUE)) {
    for (let r: i32 = 0; r < rows; r++) exceptionalRow(params, batch, first + r, head, group, r, scratch);
    return;
  }

  memory.fill(scratch + RESULT, 0, <usize>(((e + SLICE - 1) / SLICE) * SLICE * TILE * 4));
  memory.fill(scratch + SUMS, 0, TILE * 4);
  const small = bound <= SMALL_SCORE && largestValue <= SMALL_VALUE;
  fill(scratch + MAXIMA, small ? 0 : NO_MAXIMUM);

  const slices = (e + SLICE - 1) / SLICE;
  const keys = <usize>p.packedKeys + <usize>(bg * panels) * <usize>(d * PANEL * 4);
  const sliceBytes = <usize>(panels * PANEL * SLICE * 4);
  const values = <usize>p.packedValues + <usize>(bg * slices) * sliceBytes;
  const lowest = seenByTile.start / PANEL;
  const highest = (seenByTile.end + PANEL - 1) / PANEL;
  const blocks = (highest - lowest + BLOCK_PANELS - 1) / BLOCK_PANELS;
  // Blocks of even size: a short last one would waste the accumulators' way to memory and back.
  for (let block: i32 = 0; block < blocks; block++) {
    const from = lowest + <i32>((<i64>(highest - lowest) * block) / blocks);
    const to = lowest + <i32>((<i64>(highest - lowest) * (block + 1)) / blocks);
    if (small) smallScores(keys, d, from, to, rows, scratch);
    else {
      ordinaryScores(keys, d, from, to, rows, scratch);
      rescale(rows, slices, scratch);
      exponentiate((to - from) * PANEL, rows, scratch);
    }
    weighValues(values, sliceBytes, slices, from * PANEL, to * PANEL, rows, scratch);
  }
  storeTile(params, batch, first, rows, head, scratch);
}

/** Which keys the queries of a tile see, alone and together; lanes past the last query see all and are never stored. */
function layOutBand(p: Params, first: i32, rows: i32, scratch: usize): void {
  const n = <i32>p.n;
  const m = <i32>p.m;
  const far = <f64>(n + m);
  const left = <i32>(p.left < 0 ? far : min(p.left, far));
  const right = <i32>(p.right < 0 ? far : min(p.right, far));
  for (let r: i32 = 0; r < TILE; r++) {
    const aligned = first + r + m - n;
    const low = r < rows ? max(0, aligned - left) : 0;
    const high = r < rows ? min(m, aligned + right + 1) : m;
    i32.store(scratch + (r << 2), low, LOWS);
    i32.store(scratch + (r << 2), high, HIGHS);
  }
  for (let s: i32 = 0; s * SLICE < rows; s++)
    unite(scratch, s * SLICE, min(rows, (s + 1) * SLICE), scratch + SLICE_SPANS + <usize>s * SPAN_BYTES);
  for (let s: i32 = 0; s * PANEL < rows; s++)
    unite(scratch, s * PANEL, min(rows, (s + 1) * PANEL), scratch + GROUP_SPANS + <usize>s * SPAN_BYTES);
  unite(scratch, 0, rows, scratch + TILE_SPAN);
}

function unite(scratch: usize, first: i32, last: i32, to: usize): void {
  let start = i32.MAX_VALUE;
  let end: i32 = 0;
  let commonStart: i32 = 0;
  let commonEnd = i32.MAX_VALUE;
  for (let r = first; r < last; r++) {
    const low = i32.load(scratch + (r << 2), LOWS);
    const high = i32.load(scratch + (r << 2), HIGHS);
    if (low < high) {
      start = min(start, low);
      end = max(end, high);
    }
    commonStart = max(commonStart, low);
    commonEnd = min(commonEnd, high);
  }
  const span = changetype<Span>(to);
  span.start = min(start, end);
  span.end = end;
  span.commonStart = commonStart;
  span.commonEnd = commonEnd;
}

/** Scaled queries to [3 slices][d][8]; returns their largest squared norm. */
function packQueries(params: usize, batch: i32, first: i32, rows: i32, head: i32, scratch: usize): f32 {
  const p = changetype<Params>(params);
  const q = operand(params, 0);
  const d = <i32>p.d;
  const scale = f32x4.splat(<f32>(p.scale * 1.4426950408889634));
  let largest = f32x4.splat(0);
  for (let s: i32 = 0; s < rows; s += SLICE) {
    const to = scratch + QUERIES + <usize>(s * d * 4);
    const count = min(SLICE, rows - s);
    if (count < SLICE) memory.fill(to, 0, <usize>(d * SLICE * 4));
    for (let quad: i32 = 0; quad < count; quad += 4) {
      const lanes = to + (quad << 2);
      if (count - quad >= 4) {
        const r0 = queryRow(q, batch, first + s + quad, head, d, scratch + ROWS);
        const r1 = queryRow(q, batch, first + s + quad + 1, head, d, scratch + ROWS + LARGEST_HEAD * 4);
        const r2 = queryRow(q, batch, first + s + quad + 2, head, d, scratch + ROWS + 2 * LARGEST_HEAD * 4);
        const r3 = queryRow(q, batch, first + s + quad + 3, head, d, scratch + ROWS + 3 * LARGEST_HEAD * 4);
        let c: usize = 0;
        for (; c + 4 <= <usize>d; c += 4) {
          const at = c << 2;
          const x0 = v128.load(r0 + at);
          const x1 = v128.load(r1 + at);
          const x2 = v128.load(r2 + at);
          const x3 = v128.load(r3 + at);
          storeTransposed(x0, x1, x2, x3, lanes + (c << 5), 32);
        }
        for (; c < <usize>d; c++) {
          const at = c << 2;
          const to = lanes + (c << 5);
          f32.store(to, f32.load(r0 + at));
          f32.store(to, f32.load(r1 + at), 4);
          f32.store(to, f32.load(r2 + at), 8);
          f32.store(to, f32.load(r3 + at), 12);
        }
      } else {
        for (let r = quad; r < count; r++) {
          const row = queryRow(q, batch, first + s + r, head, d, scratch + ROWS);
          for (let c: i32 = 0; c < d; c++) f32.store(to + (c << 5) + (r << 2), f32.load(row + (c << 2)));
        }
      }
    }
    let left = f32x4.splat(0);
    let right = left;
    for (let at = to, end = to + <usize>(d * SLICE * 4); at < end; at += 32) {
      const x = f32x4.mul(v128.load(at), scale);
      const y = f32x4.mul(v128.load(at, 16), scale);
      v128.store(at, x);
      v128.store(at, y, 16);
      left = madd(x, x, left);
      right = madd(y, y, right);
    }
    largest = f32x4.max(largest, f32x4.max(left, right));
  }
  return largestLane(largest);
}

// @ts-ignore: decorator
@inline
function queryRow(q: Operand, batch: i32, row: i32, head: i32, d: i32, buffer: usize): usize {
  return loadRow(rowAddress(q, batch, row, head), <usize>q.element, <i32>q.dtype, d, buffer);
}

/** Weights 2^score of the panels `from` to `to`, and their sums. */
function smallScores(keys: usize, d: i32, from: i32, to: i32, rows: i32, scratch: usize): void {
  fill(scratch + BLOCK, 0);
  const panelBytes = <usize>(d * PANEL * 4);
  let panel = keys + <usize>from * panelBytes;
  let scores = scratch + SCORES;
  for (let j = from * PANEL; j < to * PANEL; j += PANEL, panel += panelBytes, scores += PANEL * TILE * 4) {
    for (let s: usize = 0; s * SLICE < <usize>rows; s++) {
      const seen = changetype<Span>(scratch + SLICE_SPANS + s * SPAN_BYTES);
      const queries = scratch + QUERIES + s * (<usize>d << 5);
      const lane = s << 5;
      if (j >= seen.commonStart && j + PANEL <= seen.commonEnd) {
        product(panel, 24, queries, d, scores + lane, 96, STORE_EXP, scratch + BLOCK + lane);
      } else if (j < seen.end && j + PANEL > seen.start) {
        product(panel, 24, queries, d, scores + lane, 96, STORE, 0);
        weighMasked(scores + lane, j, lane, scratch);
        weighMasked(scores + lane + 16, j, lane + 16, scratch);
      } else fillScores(scores + lane, 0);
    }
  }
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) {
    const sum = scratch + SUMS + lane;
    v128.store(sum, f32x4.add(v128.load(sum), v128.load(scratch + BLOCK + lane)));
  }
}

/** The six scores of eight queries each. */
function fillScores(scores: usize, value: f32): void {
  const x = f32x4.splat(value);
  for (const end = scores + PANEL * TILE * 4; scores < end; scores += 96) {
    v128.store(scores, x);
    v128.store(scores, x, 16);
  }
}

/** Weights of four queries and the six keys from j, 0 where the key is not seen. */
function weighMasked(scores: usize, j: i32, lane: usize, scratch: usize): void {
  const low = v128.load(scratch + LOWS + lane);
  const high = v128.load(scratch + HIGHS + lane);
  let sum = v128.load(scratch + BLOCK + lane);
  for (let r: i32 = 0; r < PANEL; r++, scores += 96) {
    const key = i32x4.splat(j + r);
    const seen = v128.and(i32x4.ge_s(key, low), i32x4.lt_s(key, high));
    const weight = v128.and(exp2(v128.load(scores)), seen);
    v128.store(scores, weight);
    sum = f32x4.add(sum, weight);
  }
  v128.store(scratch + BLOCK + lane, sum);
}

/** Scores of the panels `from` to `to`, very low where the key is not seen, and their maxima. */
function ordinaryScores(keys: usize, d: i32, from: i32, to: i32, rows: i32, scratch: usize): void {
  fill(scratch + BLOCK, NO_MAXIMUM);
  const panelBytes = <usize>(d * PANEL * 4);
  let panel = keys + <usize>from * panelBytes;
  let scores = scratch + SCORES;
  for (let j = from * PANEL; j < to * PANEL; j += PANEL, panel += panelBytes, scores += PANEL * TILE * 4) {
    for (let s: usize = 0; s * SLICE < <usize>rows; s++) {
      const seen = changetype<Span>(scratch + SLICE_SPANS + s * SPAN_BYTES);
      const queries = scratch + QUERIES + s * (<usize>d << 5);
      const lane = s << 5;
      if (j >= seen.commonStart && j + PANEL <= seen.commonEnd) {
        product(panel, 24, queries, d, scores + lane, 96, STORE_MAX, scratch + BLOCK + lane);
      } else if (j < seen.end && j + PANEL > seen.start) {
        product(panel, 24, queries, d, scores + lane, 96, STORE, 0);
        mask(scores + lane, j, lane, scratch);
        mask(scores + lane + 16, j, lane + 16, scratch);
      } else fillScores(scores + lane, MASKED);
    }
  }
}

/** Makes very low the scores of four queries and the six keys from j that are not seen. */
function mask(scores: usize, j: i32, lane: usize, scratch: usize): void {
  const low = v128.load(scratch + LOWS + lane);
  const high = v128.load(scratch + HIGHS + lane);
  let largest = v128.load(scratch + BLOCK + lane);
  for (let r: i32 = 0; r < PANEL; r++, scores += 96) {
    const key = i32x4.splat(j + r);
    const seen = v128.and(i32x4.ge_s(key, low), i32x4.lt_s(key, high));
    const score = v128.bitselect(v128.load(scores), f32x4.splat(MASKED), seen);
    v128.store(scores, score);
    largest = larger(largest, score);
  }
  v128.store(scratch + BLOCK + lane, largest);
}

/** Takes the block's maxima into the running ones; where a maximum moved, shrinks what was summed under the old one. */
function rescale(rows: i32, slices: i32, scratch: usize): void {
  for (let row: i32 = 0; row < rows; row += 4) {
    const lane = <usize>row << 2;
    const old = v128.load(scratch + MAXIMA + lane);
    const maximum = larger(old, v128.load(scratch + BLOCK + lane));
    if (!v128.any_true(f32x4.gt(maximum, old))) continue;
    const factor = exp2Clamped(f32x4.sub(old, maximum));
    v128.store(scratch + MAXIMA + lane, maximum);
    v128.store(scratch + SUMS + lane, f32x4.mul(v128.load(scratch + SUMS + lane), factor));
    const f0 = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    const f1 = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    const f2 = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    const f3 = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    let result = scratch + RESULT + <usize>(row * SLICE * 4);
    for (let s: i32 = 0; s < slices; s++, result += TILE * SLICE * 4) {
      scaleRow(result, f0);
      scaleRow(result + 32, f1);
      scaleRow(result + 64, f2);
      scaleRow(result + 96, f3);
    }
  }
}

// @ts-ignore: decorator
@inline
function scaleRow(row: usize, factor: v128): void {
  v128.store(row, f32x4.mul(v128.load(row), factor));
  v128.store(row, f32x4.mul(v128.load(row, 16), factor), 16);
}

/** Scores of `keys` keys to weights 2^(score - maximum), and their sums. */
function exponentiate(keys: i32, rows: i32, scratch: usize): void {
  const lanes = <usize>((rows + SLICE - 1) / SLICE) << 5;
  for (let lane: usize = 0; lane < lanes; lane += 32) {
    const m0 = v128.load(scratch + MAXIMA + lane);
    const m1 = v128.load(scratch + MAXIMA + lane + 16);
    let sum0 = f32x4.splat(0);
    let sum1 = sum0;
    let scores = scratch + SCORES + lane;
    for (const end = scores + <usize>keys * 96; scores < end; scores += 96) {
      const w0 = exp2Clamped(f32x4.sub(v128.load(scores), m0));
      const w1 = exp2Clamped(f32x4.sub(v128.load(scores, 16), m1));
      v128.store(scores, w0);
      v128.store(scores, w1, 16);
      sum0 = f32x4.add(sum0, w0);
      sum1 = f32x4.add(sum1, w1);
    }
    const sums = scratch + SUMS + lane;
    v128.store(sums, f32x4.add(v128.load(sums), sum0));
    v128.store(sums, f32x4.add(v128.load(sums, 16), sum1), 16);
  }
}

/** result += weights^T values, for the block of keys `from` to `to`; six queries at a time, over the keys they see. */
function weighValues(
  values: usize,
  sliceBytes: usize,
  slices: i32,
  from: i32,
  to: i32,
  rows: i32,
  scratch: usize,
): void {
  let result = scratch + RESULT;
  for (let s: i32 = 0; s < slices; s++, values += sliceBytes, result += TILE * SLICE * 4) {
    let span = scratch + GROUP_SPANS;
    for (let row: usize = 0; row < <usize>rows; row += PANEL, span += SPAN_BYTES) {
      const first = max(from, changetype<Span>(span).start);
      const count = min(to, changetype<Span>(span).end) - first;
      if (count <= 0) continue;
      const weights = scratch + SCORES + <usize>(first - from) * 96 + (row << 2);
      product(weights, 96, values + (<usize>first << 5), count, result + (row << 5), 32, ADD, 0);
    }
  }
}

function storeTile(params: usize, batch: i32, first: i32, rows: i32, head: i32, scratch: usize): void {
  const p = changetype<Params>(params);
  const e = <i32>p.e;
  const dtype = <i32>p.outDType;
  const slices = (e + SLICE - 1) / SLICE;
  for (let r: i32 = 0; r < rows; r++) {
    const at = (<usize>batch * <usize>p.n + <usize>(first + r)) * <usize>p.h + <usize>head;
    const out = <usize>p.out + at * <usize>e * bytesOf(dtype);
    const row = dtype == 0 && e % SLICE == 0 ? out : scratch + ROWS;
    const sum = f32.load(scratch + SUMS + (r << 2));
    const inverse = f32x4.splat(sum > 0 ? 1 / sum : 0);
    let result = scratch + RESULT + (<usize>r << 5);
    for (let s: i32 = 0; s < slices; s++, result += TILE * SLICE * 4) {
      v128.store(row + (s << 5), f32x4.mul(v128.load(result), inverse));
      v128.store(row + (s << 5), f32x4.mul(v128.load(result, 16), inverse), 16);
    }
    if (row != out) storeRow(row, out, dtype, e);
    const maximum = <f64>f32.load(scratch + MAXIMA + (r << 2));
    const lse = sum > 0 ? <f32>(maximum * LN2 + log(<f64>sum)) : -Infinity;
    f32.store(<usize>p.lse + (at << 2), lse);
  }
}

function fill(vectors: usize, value: f32): void {
  const x = f32x4.splat(value);
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) v128.store(vectors + lane, x);
}

/** One query in float64, in the order of the definition; infinities and NaN take their course. */
function exceptionalRow(params: usize, batch: i32, i: i32, head: i32, group: i32, r: i32, scratch: usize): void {
  const p = changetype<Params>(params);
  const q = operand(params, 0);
  const k = operand(params, 1);
  const v = operand(params, 2);
  const d = <i32>p.d;
  const e = <i32>p.e;
  const low = i32.load(scratch + (r << 2), LOWS);
  const high = i32.load(scratch + (r << 2), HIGHS);
  const query = rowAddress(q, batch, i, head);
  const sums = scratch + RESULT;
  memory.fill(sums, 0, <usize>e << 3);

  let largest: f64 = -Infinity;
  for (let j = low; j < high; j++) {
    largest = max(largest, p.scale * dot(q, query, k, rowAddress(k, batch, j, group), d));
  }
  let total: f64 = 0;
  for (let j = low; j < high; j++) {
    const weight = exp(p.scale * dot(q, query, k, rowAddress(k, batch, j, group), d) - largest);
    total += weight;
    let value = rowAddress(v, batch, j, group);
    for (let c: i32 = 0; c < e; c++, value += <usize>v.element * bytesOf(<i32>v.dtype)) {
      const at = sums + (c << 3);
      f64.store(at, f64.load(at) + weight * <f64>loadElement(value, <i32>v.dtype));
    }
  }

  const dtype = <i32>p.outDType;
  const at = (<usize>batch * <usize>p.n + <usize>i) * <usize>p.h + <usize>head;
  const row = scratch + ROWS;
  for (let c: i32 = 0; c < e; c++) {
    f32.store(row + (c << 2), low < high ? <f32>(f64.load(sums + (c << 3)) / total) : 0);
  }
  storeRow(row, <usize>p.out + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(<usize>p.lse + (at << 2), low < high ? <f32>(largest + log(total)) : -Infinity);
}

function dot(q: Operand, query: usize, k: Operand, key: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: i32 = 0; c < d; c++) {
    sum += <f64>loadElement(query, <i32>q.dtype) * <f64>loadElement(key, <i32>k.dtype);
    query += <usize>q.element * bytesOf(<i32>q.dtype);
    key += <usize>k.element * bytesOf(<i32>k.dtype);
  }
  return sum;
}

/** Bytes of working memory that a worker needs. */
export function scratchBytes(): i32 {
  return <i32>((BLOCK + TILE * 4 + 63) & ~63);
}
