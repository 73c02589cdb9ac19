/**
 * Blocks of keys in which some estimated score is above its query's limit. Integers of keys are kept plus 8, from 1 to 15, so that the
 * dot product of relaxed SIMD takes them as its unsigned side; what that adds, 8 times the sum of a query, is added to its limit.
 * 16 bits hold the sums: 256 terms of at most 7 * 15, beside biases and limits that are checked.
 *
 * Norms rule out most pairs: of a group of keys only the first are looked at, as many as a query could reach; of these, first terms and the
 * norms of the rest leave a few, whose scores are computed. Queries that could reach most come first, and neighbours among them go through
 * the keys together.
 */
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { blocksOf, depthOf, keysOf, rowDot, rowOf, typicalNorm } from './layout.as';
import { EstimatedBlocksParams, KEYS, NONE, PART } from './params.generated.as';

/** The most that a limit and a bias may be in units of the integers, so that sums of 16 bits hold them. */
const MOST_LIMIT: f32 = 10000;
const MOST_BIAS: f32 = 5000;
/** How far truncating and rounding can move a comparison. */
const MARGIN: i32 = 2;

/** What a task reads in its inner loops: numbers of the call, and where rows of its head and keys of that head's lie. */
@unmanaged
class Head {
  depth: i32;
  terms: i32;
  /** Keys of a block, with those that fill it up. */
  keys: i32;
  /** The norm of a typical query. */
  typical: f32;
  rows: usize;
  rowSums: usize;
  rowScales: usize;
  rowInverses: usize;
  rowLimits: usize;
  tops: usize;
  rowNorms: usize;
  rowReaches: usize;
  keyRows: usize;
  columns: usize;
  columnScales: usize;
  inverses: usize;
  columnNorms: usize;
  order: usize;
  extremes: usize;
  largestInverses: usize;
  products: usize;
  biases: usize;
  largestBiases: usize;
  reaches: usize;
}
const HEAD_BYTES: usize = 128;

/** Queries that are put in order together. */
const QUERIES: i32 = 512;
const ORDER: usize = HEAD_BYTES;
const NEEDS: usize = ORDER + 4 * <usize>QUERIES;
export const COMPARE_BYTES: usize = NEEDS + 4 * <usize>QUERIES;

/** The blocks of a block of queries; those with most keys come first. */
export function estimateBlocks(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EstimatedBlocksParams>(params);
  const a = p.queryBlocks - 1 - task % p.queryBlocks;
  const row = task / p.queryBlocks;
  const kept = p.kept + (<usize>((row * p.queryBlocks + a) * p.keyBlocks) << 2);
  const estimated = i32.load(p.spans + (<usize>a << 3));
  const seen = min(p.keyBlocks, i32.load(p.spans + (<usize>a << 3), 4));
  const pastAll = min((a + 1) * p.queryBlock, p.n);
  const isRounded = p.quantize != NONE;
  if (isRounded) findHead(p, row, scratch);
  for (let block: i32 = 0; block < p.keyBlocks; block++)
    i32.store(kept + (<usize>block << 2), block < seen && (block == 0 || block >= estimated) ? 1 : 0);
  for (let first = a * p.queryBlock; first < pastAll; first += QUERIES) {
    const past = min(first + QUERIES, pastAll);
    if (isRounded) orderQueries(first, past, scratch);
    // Whole are blocks of which all of these queries see all keys.
    const whole = min(p.m, first + p.m - p.n + 1) / p.keyBlock;
    for (let block: i32 = 1; block < min(estimated, seen); block++) {
      const at = kept + (<usize>block << 2);
      if (i32.load(at) != 0) continue;
      const isAbove = isRounded && block < whole
        ? isAboveInIntegers(past - first, block, scratch)
        : isAboveExactly(p, row, first, past, block, scratch);
      if (isAbove) i32.store(at, 1);
    }
  }
}

function findHead(p: EstimatedBlocksParams, row: i32, scratch: usize): void {
  const head = changetype<Head>(scratch);
  const rows = <usize>(row * p.n);
  const blocks = blocksOf(p);
  const keys = keysOf(p);
  const keyHead = row / p.h * p.g + row % p.h * p.g / p.h;
  const ofKeys = <usize>(keyHead * blocks * keys);
  const ofHead = <usize>(row * blocks * keys);
  head.depth = depthOf(p);
  head.terms = p.terms;
  head.keys = keys;
  head.typical = typicalNorm(p, row / p.h, row % p.h * p.g / p.h);
  head.rows = p.rows + rows * <usize>depthOf(p);
  head.rowSums = p.rowSums + (rows << 3);
  head.rowScales = p.rowScales + (rows << 2);
  head.rowInverses = p.rowInverses + (rows << 2);
  head.rowLimits = p.rowLimits + (rows << 2);
  head.tops = p.tops + (rows << 2);
  head.rowNorms = p.rowNorms + (rows << 2);
  head.rowReaches = p.rowReaches + (rows << 3);
  head.keyRows = p.keyRows + ofKeys * <usize>depthOf(p);
  head.columns = p.columns + ofKeys * <usize>p.terms;
  head.columnScales = p.columnScales + (ofKeys << 2);
  head.inverses = p.inverses + (ofKeys << 2);
  head.columnNorms = p.columnNorms + (ofKeys << 2);
  head.order = p.order + (ofKeys << 2);
  head.extremes = p.extremes + ofKeys / KEYS * 8;
  head.largestInverses = p.largestInverses + (<usize>(keyHead * blocks) << 2);
  head.products = p.products + (ofHead << 2);
  head.biases = p.biases + (ofHead << 2);
  head.largestBiases = p.largestBiases + (<usize>(row * blocks) << 2);
  head.reaches = p.reaches + ofHead / PART * 4;
}

/** Queries in the order in which a key of large norm reaches their limits. */
function orderQueries(first: i32, past: i32, scratch: usize): void {
  const head = changetype<Head>(scratch);
  const norm = f32.load(head.extremes);
  for (let i = first; i < past; i++) {
    const reach = head.rowReaches + (<usize>i << 3);
    const need = f32.load(reach) - norm * f32.load(reach, 4);
    f32.store(scratch + NEEDS + (<usize>(i - first) << 2), need);
    let place = i - first;
    for (; place > 0; place--) {
      const before = i32.load(scratch + ORDER + (<usize>(place - 1) << 2));
      if (!(f32.load(scratch + NEEDS + (<usize>(before - first) << 2)) > need)) break;
      i32.store(scratch + ORDER + (<usize>place << 2), before);
    }
    i32.store(scratch + ORDER + (<usize>place << 2), i);
  }
}

/** Queries go in pairs, as they lie in their order. */
function isAboveInIntegers(queries: i32, block: i32, scratch: usize): bool {
  const head = changetype<Head>(scratch);
  const keys = head.keys;
  const typical = head.typical;
  const rowReaches = head.rowReaches;
  for (let key = block * keys; key < (block + 1) * keys; key += KEYS) {
    const extremes = head.extremes + (<usize>key / KEYS << 3);
    const most = f32.load(extremes);
    const least = f32.load(extremes, 4);
    const reaches = head.reaches + (<usize>key / PART << 2);
    const reach0 = f32.load(reaches);
    const reach1 = f32.load(reaches, 4);
    const reach2 = f32.load(reaches, 8);
    const reach3 = f32.load(reaches, 12);
    const order = scratch + ORDER;
    for (let rank: i32 = 0; rank < queries; rank += 2) {
      const x = i32.load(order + (<usize>rank << 2));
      const y = i32.load(order + (<usize>min(rank + 1, queries - 1) << 2));
      const need = min(
        needOf(rowReaches + (<usize>x << 3), typical, most, least),
        needOf(rowReaches + (<usize>y << 3), typical, most, least),
      );
      // Later keys reach less. All go on where one is not a number.
      if (reach0 <= need) continue;
      const likely = reach1 <= need ? PART : reach2 <= need ? 2 * PART : reach3 <= need ? 3 * PART : 4 * PART;
      if (isPairAbove(head, x, y, block, key, key + likely)) return true;
    }
  }
  return false;
}

/** What a key's score must be at least, for a query of typical norm, so that this query could reach its limit. */
@inline
function needOf(reach: usize, typical: f32, most: f32, least: f32): f32 {
  const further = f32.load(reach, 4) - typical;
  return f32.load(reach) - further * (further < 0 ? least : most);
}

/** Whether queries x and y have a score above their limits among some keys of a block. */
function isPairAbove(head: Head, x: i32, y: i32, block: i32, key: i32, past: i32): bool {
  if (!isWithin16Bits(head, x, block) || !isWithin16Bits(head, y, block)) {
    for (; key < past; key++) if (isKeyAbove(head, x, key) || isKeyAbove(head, y, key)) return true;
    return false;
  }
  const terms = <usize>head.terms;
  const step = <usize>head.keys << 2;
  const queryX = head.rows + <usize>x * <usize>head.depth;
  const queryY = head.rows + <usize>y * <usize>head.depth;
  const columns = head.columns + <usize>(block * head.keys) * terms;
  for (; key < past; key += 2 * PART) {
    let column = columns + (<usize>(key - block * head.keys) << 2);
    const end = queryX + terms;
    let a0 = i16x8.splat(0);
    let a1 = a0;
    let b0 = a0;
    let b1 = a0;
    if (past - key == PART) {
      for (let from = queryX, other = queryY; from < end; from += 4, other += 4, column += step) {
        const left = v128.load32_splat(from);
        const right = v128.load32_splat(other);
        let k = v128.load(column);
        a0 = i16x8.add(a0, pairs(k, left));
        b0 = i16x8.add(b0, pairs(k, right));
        k = v128.load(column, 16);
        a1 = i16x8.add(a1, pairs(k, left));
        b1 = i16x8.add(b1, pairs(k, right));
      }
      return isSuspectAbove(head, x, key, joined(a0, a1)) || isSuspectAbove(head, y, key, joined(b0, b1));
    }
    let a2 = a0;
    let a3 = a0;
    let b2 = a0;
    let b3 = a0;
    for (let from = queryX, other = queryY; from < end; from += 4, other += 4, column += step) {
      const left = v128.load32_splat(from);
      const right = v128.load32_splat(other);
      let k = v128.load(column);
      a0 = i16x8.add(a0, pairs(k, left));
      b0 = i16x8.add(b0, pairs(k, right));
      k = v128.load(column, 16);
      a1 = i16x8.add(a1, pairs(k, left));
      b1 = i16x8.add(b1, pairs(k, right));
      k = v128.load(column, 32);
      a2 = i16x8.add(a2, pairs(k, left));
      b2 = i16x8.add(b2, pairs(k, right));
      k = v128.load(column, 48);
      a3 = i16x8.add(a3, pairs(k, left));
      b3 = i16x8.add(b3, pairs(k, right));
    }
    if (isSuspectAbove(head, x, key, joined(a0, a1))) return true;
    if (isSuspectAbove(head, y, key, joined(b0, b1))) return true;
    if (isSuspectAbove(head, x, key + PART, joined(a2, a3))) return true;
    if (isSuspectAbove(head, y, key + PART, joined(b2, b3))) return true;
  }
  return false;
}

/** Whether 16 bits hold the limits and biases of a query and a block; not for what is not a number. */
@inline
function isWithin16Bits(head: Head, x: i32, block: i32): bool {
  const own = <usize>x << 2;
  const place = <usize>block << 2;
  return abs(f32.load(head.tops + own)) * f32.load(head.largestInverses + place) <= MOST_LIMIT &&
    f32.load(head.rowInverses + own) * f32.load(head.largestBiases + place) <= MOST_BIAS;
}

/** Sums of two products each: integers of keys, which are not negative, and of a query, signed. */
@inline
function pairs(k: v128, q: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(q, k);
  const even = i16x8.mul(i16x8.shr_s(i16x8.shl(q, 8), 8), v128.and(k, i16x8.splat(255)));
  return i16x8.add(even, i16x8.mul(i16x8.shr_s(q, 8), i16x8.shr_u(k, 8)));
}

/** Sums of neighbours. */
@inline
function joined(a: v128, b: v128): v128 {
  return i16x8.narrow_i32x4_s(i32x4.extadd_pairwise_i16x8_s(a), i32x4.extadd_pairwise_i16x8_s(b));
}

@inline
function integers(low: v128, high: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD)
    return i16x8.narrow_i32x4_s(i32x4.relaxed_trunc_f32x4_s(low), i32x4.relaxed_trunc_f32x4_s(high));
  return i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(low), i32x4.trunc_sat_f32x4_s(high));
}

/**
 * Whether a query's score is above its limit for one of eight keys. `sums` are of the first terms: those with which the norms of the rest
 * could reach the limit are computed.
 */
@inline
function isSuspectAbove(head: Head, x: i32, key: i32, sums: v128): bool {
  const own = <usize>x << 2;
  const top = f32x4.splat(f32.load(head.tops + own));
  const inverse = f32x4.splat(-f32.load(head.rowInverses + own));
  const norm = f32x4.splat(-f32.load(head.rowNorms + own));
  const at = <usize>key << 2;
  const inverses = head.inverses + at;
  const biases = head.biases + at;
  const norms = head.columnNorms + at;
  // What the sum of the first terms must be: the limit, less the bias of the key, less what the rest adds at most.
  let low = madd(v128.load(biases), inverse, f32x4.mul(v128.load(inverses), top));
  let high = madd(v128.load(biases, 16), inverse, f32x4.mul(v128.load(inverses, 16), top));
  low = madd(v128.load(norms), norm, low);
  high = madd(v128.load(norms, 16), norm, high);
  const sum = i16x8.splat(<i16>(i32.load(head.rowSums + 2 * own) - MARGIN));
  let suspects = i16x8.bitmask(i16x8.gt_s(sums, i16x8.add_sat_s(integers(low, high), sum)));
  for (; suspects != 0; suspects &= suspects - 1) if (isKeyAbove(head, x, key + ctz(suspects))) return true;
  return false;
}

/** Whether the score of a query and a key is above the query's limit. */
function isKeyAbove(head: Head, x: i32, key: i32): bool {
  const depth = <usize>head.depth;
  const own = <usize>x << 2;
  const at = <usize>key << 2;
  let row = head.rows + <usize>x * depth;
  let column = head.keyRows + <usize>key * depth;
  let sums = i16x8.splat(0);
  for (const end = row + depth; row < end; row += 16, column += 16)
    sums = i16x8.add(sums, pairs(v128.load(column), v128.load(row)));
  const fours = i32x4.extadd_pairwise_i16x8_s(sums);
  const sum =
    i32x4.extract_lane(fours, 0) + i32x4.extract_lane(fours, 1) + (i32x4.extract_lane(fours, 2) + i32x4.extract_lane(fours, 3)) -
    i32.load(head.rowSums + 2 * own, 4);
  const scale = f32.load(head.rowScales + own) * f32.load(head.columnScales + at);
  return scale * <f32>sum + f32.load(head.products + at) > f32.load(head.rowLimits + own);
}

/** Key by key, without keys after each query. */
function isAboveExactly(p: EstimatedBlocksParams, row: i32, from: i32, past: i32, block: i32, scratch: usize): bool {
  const batch = row / p.h;
  const keys = keysOf(p);
  const products = p.products + (<usize>((row * blocksOf(p) + block) * keys) << 2);
  const k = rowOf(p.k, batch, p.m, block * p.keyBlock, p.g, row % p.h * p.g / p.h, p.d);
  const head = changetype<Head>(scratch);
  for (let i = from; i < past; i++) {
    const count = min(p.keyBlock, min(p.m, i + p.m - p.n + 1) - block * p.keyBlock);
    if (p.quantize != NONE) {
      for (let key = block * keys; key < (block + 1) * keys; key++) {
        const isSeen = i32.load(head.order + (<usize>key << 2)) < count;
        if (isSeen && isKeyAbove(head, i, key)) return true;
      }
      continue;
    }
    const q = rowOf(p.q, batch, p.n, i, p.h, row % p.h, p.d);
    const limit = f32.load(rowOf(p.limits, batch, p.n, i, p.h, row % p.h, 1));
    for (let j: i32 = 0; j < count; j++) {
      const score = rowDot(q, k + (<usize>(j * p.g * p.d) << 2), p.d) + f32.load(products + (<usize>j << 2));
      if (score > limit) return true;
    }
  }
  return false;
}
