/**
 * Blocks of keys in which some estimated score is above its query's limit. Integers of keys are kept plus 8, from 1 to 15, so that the
 * dot product of relaxed SIMD takes them as its unsigned side; what that adds, 8 times the sum of a query, is added to its limit.
 * 16 bits hold the sums: 256 terms of at most 7 * 15, beside biases and limits that are checked. Two queries go through 32 keys at a time, at first by
 * their first terms: where these and the norms of the rest cannot reach the limit, the rest is left out.
 */
import { dot, madd } from '../../runtime/wasm/assembly/vector.as';
import { EstimatedBlocksParams, KEYS, LARGEST, NONE, QUERY_GROUP, THREAD } from './params.generated.as';

/** Added to the integers of keys. */
const SHIFT: i32 = 8;
/** The most that a limit and a bias may be in units of the integers, so that sums of 16 bits hold them. */
const MOST_LIMIT: f32 = 10000;
const MOST_BIAS: f32 = 5000;
/** How far truncating the limit and the bias can move a comparison. */
const MARGIN: i32 = 2;
/** Below so many terms they are taken at once. */
const LEAST_TERMS: i32 = 32;

/** Sums of products of two queries with 32 keys, 16 bits each. */
export const SCRATCH_BYTES: usize = 2 * 2 * KEYS;

@inline
function depthOf(p: EstimatedBlocksParams): i32 {
  return (p.d + 3) & ~3;
}

/** The terms that are taken first, three eighths; all where they are few. */
@inline
function firstOf(p: EstimatedBlocksParams): i32 {
  const depth = depthOf(p);
  return depth < LEAST_TERMS ? depth : (3 * depth >> 5) << 2;
}

/** Keys of a block with those that fill it up. */
@inline
function keysOf(p: EstimatedBlocksParams): i32 {
  return (p.keyBlock + KEYS - 1) / KEYS * KEYS;
}

@inline
function blocksOf(p: EstimatedBlocksParams): i32 {
  return (p.m + p.keyBlock - 1) / p.keyBlock;
}

@inline
function rowOf(x: usize, batch: i32, tokens: i32, token: i32, heads: i32, head: i32, d: i32): usize {
  return x + (<usize>((batch * tokens + token) * heads + head) * <usize>d << 2);
}

/** The largest magnitude of a row. */
function largestOf(x: usize, d: i32): f32 {
  let most = f32x4.splat(0);
  let c: i32 = 0;
  for (; c + 4 <= d; c += 4) most = f32x4.max(most, f32x4.abs(v128.load(x + (<usize>c << 2))));
  let largest = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  for (; c < d; c++) largest = max(largest, abs(f32.load(x + (<usize>c << 2))));
  return largest;
}

@inline
function integerOf(x: f32, scale: f32): i32 {
  return scale > 0 ? <i32>nearest(x / scale) : 0;
}

/** Sixteen queries of a head. */
export function estimateQueries(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EstimatedBlocksParams>(params);
  const groups = (p.n + QUERY_GROUP - 1) / QUERY_GROUP;
  const first = task % groups * QUERY_GROUP;
  const row = task / groups;
  const depth = depthOf(p);
  const count = min(QUERY_GROUP, p.n - first);
  for (let r: i32 = 0; r < count; r++) {
    const i = first + r;
    const x = rowOf(p.q, row / p.h, p.n, i, p.h, row % p.h, p.d);
    let largest = largestOf(x, p.d);
    const other = r ^ 8;
    if (p.quantize == THREAD && other < count)
      largest = max(largest, largestOf(rowOf(p.q, row / p.h, p.n, first + other, p.h, row % p.h, p.d), p.d));
    const scale = largest / <f32>LARGEST;
    const at = <usize>(row * p.n + i) << 2;
    const inverse = <f32>1 / scale;
    f32.store(p.rowScales + at, scale);
    f32.store(p.rowInverses + at, inverse);
    f32.store(p.tops + at, inverse * f32.load(rowOf(p.limits, row / p.h, p.n, i, p.h, row % p.h, 1)));
    const to = p.rows + <usize>(row * p.n + i) * <usize>depth;
    const terms = firstOf(p);
    let sum: i32 = 0;
    let first: i32 = 0;
    let rest: i32 = 0;
    for (let c: i32 = 0; c < depth; c++) {
      const integer = c < p.d ? integerOf(f32.load(x + (<usize>c << 2)), scale) : 0;
      store<i8>(to + <usize>c, <i8>integer);
      sum += integer;
      if (c < terms) first = sum;
      else rest += integer * integer;
    }
    i32.store(p.rowSums + 2 * at, SHIFT * first);
    i32.store(p.rowSums + 2 * at, SHIFT * sum, 4);
    f32.store(p.rowNorms + at, <f32>Math.sqrt(<f64>rest));
  }
}

/** A block of keys, and its products with the centers of the heads that share it. */
export function estimateKeys(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EstimatedBlocksParams>(params);
  const blocks = blocksOf(p);
  const block = task % blocks;
  const head = task / blocks % p.g;
  const batch = task / blocks / p.g;
  const keys = keysOf(p);
  const first = block * p.keyBlock;
  const count = min(p.keyBlock, p.m - first);
  const x = rowOf(p.k, batch, p.m, first, p.g, head, p.d);
  const step = <usize>(p.g * p.d) << 2;
  const scales = p.columnScales + (<usize>(task * keys) << 2);
  const inverses = p.inverses + (<usize>(task * keys) << 2);
  if (p.quantize != NONE) roundKeys(p, task, x, step, count);
  const shared = p.h / p.g;
  for (let own = head * shared; own < (head + 1) * shared; own++) {
    const at = (batch * p.h + own) * blocks + block;
    const products = p.products + (<usize>(at * keys) << 2);
    const biases = p.biases + (<usize>(at * keys) << 2);
    const center = p.center + (<usize>((batch * p.h + own) * p.d) << 2);
    let largest: f32 = 0;
    for (let j: i32 = 0; j < keys; j++) {
      // Keys that fill a block up are below any limit.
      let bias: f32 = -Infinity;
      if (j < count) {
        const product = rowDot(center, x + <usize>j * step, p.d);
        f32.store(products + (<usize>j << 2), product);
        if (p.quantize != NONE) {
          bias = product * f32.load(inverses + (<usize>j << 2));
          // Not a number counts as too large, and so does a group of zeros.
          largest = f32.load(scales + (<usize>j << 2)) > 0 ? max(largest, abs(bias)) : Infinity;
        }
      }
      f32.store(biases + (<usize>j << 2), bias);
    }
    f32.store(p.largestBiases + (<usize>at << 2), largest);
  }
}

function roundKeys(p: EstimatedBlocksParams, task: i32, x: usize, step: usize, count: i32): void {
  const keys = keysOf(p);
  const depth = depthOf(p);
  const scales = p.columnScales + (<usize>(task * keys) << 2);
  const inverses = p.inverses + (<usize>(task * keys) << 2);
  const columns = p.columns + <usize>(task * keys) * <usize>depth;
  for (let j: i32 = 0; j < count; j++)
    f32.store(inverses + (<usize>j << 2), largestOf(x + <usize>j * step, p.d));
  for (let j: i32 = 0; j < keys; j++) {
    let largest: f32 = j < count ? f32.load(inverses + (<usize>j << 2)) : 0;
    if (p.quantize == THREAD) {
      largest = 0;
      for (let other: i32 = 0; other < count; other++)
        if ((other & 7) >> 1 == (j & 7) >> 1) largest = max(largest, f32.load(inverses + (<usize>other << 2)));
    }
    f32.store(scales + (<usize>j << 2), largest / <f32>LARGEST);
  }
  memory.fill(columns, <u8>SHIFT, <usize>keys * <usize>depth);
  const terms = firstOf(p);
  const norms = p.columnNorms + (<usize>(task * keys) << 2);
  let largest: f32 = 0;
  for (let j: i32 = 0; j < keys; j++) {
    const scale = f32.load(scales + (<usize>j << 2));
    const inverse: f32 = scale > 0 ? <f32>1 / scale : 0;
    largest = max(largest, inverse);
    f32.store(inverses + (<usize>j << 2), inverse);
    let rest: i32 = 0;
    for (let c: i32 = 0; j < count && c < p.d; c++) {
      const integer = integerOf(f32.load(x + <usize>j * step + (<usize>c << 2)), scale);
      store<i8>(columns + (<usize>((c >> 2) * keys + j) << 2) + <usize>(c & 3), <i8>(integer + SHIFT));
      if (c >= terms) rest += integer * integer;
    }
    f32.store(norms + (<usize>j << 2), <f32>Math.sqrt(<f64>rest));
  }
  f32.store(p.largestInverses + (<usize>task << 2), largest);
}

@inline
function rowDot(a: usize, b: usize, d: i32): f32 {
  const whole = d & ~3;
  let sum: f32 = whole > 0 ? dot(a, b, <usize>whole << 2) : 0;
  for (let c = whole; c < d; c++) sum += f32.load(a + (<usize>c << 2)) * f32.load(b + (<usize>c << 2));
  return sum;
}

/** The blocks of a block of queries; those with most keys come first. */
export function estimateBlocks(params: usize, task: i32, scratch: usize): void {
  const p = changetype<EstimatedBlocksParams>(params);
  const a = p.queryBlocks - 1 - task % p.queryBlocks;
  const row = task / p.queryBlocks;
  const kept = p.kept + (<usize>((row * p.queryBlocks + a) * p.keyBlocks) << 2);
  const estimated = i32.load(p.spans + (<usize>a << 3));
  const seen = min(p.keyBlocks, i32.load(p.spans + (<usize>a << 3), 4));
  const first = a * p.queryBlock;
  const past = min(first + p.queryBlock, p.n);
  for (let block: i32 = 0; block < p.keyBlocks; block++) {
    const isKept = block < seen && (block == 0 || block >= estimated || isAbove(p, row, first, past, block, scratch));
    i32.store(kept + (<usize>block << 2), isKept ? 1 : 0);
  }
}

function isAbove(p: EstimatedBlocksParams, row: i32, first: i32, past: i32, block: i32, scratch: usize): bool {
  // Only where all of these queries see all of the keys.
  const isWhole = (block + 1) * p.keyBlock <= min(p.m, first + p.m - p.n + 1);
  if (p.quantize != NONE && isWhole) return isAboveInIntegers(p, row, first, past, block, scratch);
  for (let i = first; i < past; i++) if (isAboveExactly(p, row, i, block)) return true;
  return false;
}

/** Queries go in pairs that share a scale, as far as they do. */
function isAboveInIntegers(p: EstimatedBlocksParams, row: i32, first: i32, past: i32, block: i32, scratch: usize): bool {
  const keys = keysOf(p);
  const depth = <usize>depthOf(p);
  const terms = <usize>firstOf(p);
  const blocks = blocksOf(p);
  const at = (row / p.h * p.g + row % p.h * p.g / p.h) * blocks + block;
  const own = <usize>(row * p.n) << 2;
  const tops = p.tops + own;
  const rowInverses = p.rowInverses + own;
  const rowNorms = p.rowNorms + own;
  const rows = p.rows + <usize>(row * p.n) * depth;
  const columns = p.columns + <usize>(at * keys) * depth;
  const rowSums = p.rowSums + 2 * own;
  const inverses = p.inverses + (<usize>(at * keys) << 2);
  const biases = p.biases + (<usize>((row * blocks + block) * keys) << 2);
  const norms = p.columnNorms + (<usize>(at * keys) << 2);
  const mostTop = MOST_LIMIT / f32.load(p.largestInverses + (<usize>at << 2));
  const mostInverse = MOST_BIAS / f32.load(p.largestBiases + (<usize>(row * blocks + block) << 2));
  const isThread = p.quantize == THREAD;
  for (let i = first; i < past; i++) {
    const isSecond = (i & 8) != 0;
    if (isSecond && i - 8 >= first) continue;
    const other = !isSecond && i + 8 < past ? i + 8 : i;
    const topX = f32.load(tops + (<usize>i << 2));
    const topY = f32.load(tops + (<usize>other << 2));
    const inverseX = f32.load(rowInverses + (<usize>i << 2));
    const inverseY = f32.load(rowInverses + (<usize>other << 2));
    // Whether 16 bits hold limits and biases; not for what is not a number.
    let found = max(abs(topX), abs(topY)) <= mostTop && max(inverseX, inverseY) <= mostInverse ? BELOW : NEAR;
    const norm = max(f32.load(rowNorms + (<usize>i << 2)), f32.load(rowNorms + (<usize>other << 2)));
    const x = rows + <usize>i * depth;
    const y = rows + <usize>other * depth;
    for (let key: i32 = 0; key < keys && found == BELOW; key += KEYS) {
      const column = columns + (<usize>key << 2);
      const bias = biases + (<usize>key << 2);
      const scale = inverses + (<usize>key << 2);
      let sumX = rowSums + (<usize>i << 3);
      let sumY = rowSums + (<usize>other << 3);
      multiply(x, y, column, keys, terms, scratch, true);
      if (terms < depth) {
        const rest = norms + (<usize>key << 2);
        found = compare(isThread, scratch, sumX, sumY, bias, rest, norm, inverseX, inverseY, scale, topX, topY, MARGIN + 1);
        if (found == BELOW) continue;
        multiply(x + terms, y + terms, column + terms * <usize>keys, keys, depth - terms, scratch, false);
        sumX += 4;
        sumY += 4;
      }
      found = compare(isThread, scratch, sumX, sumY, bias, 0, 0, inverseX, inverseY, scale, topX, topY, MARGIN);
      if (found == ABOVE) return true;
    }
    if (found != BELOW && (isAboveExactly(p, row, i, block) || isAboveExactly(p, row, other, block))) return true;
  }
  return false;
}

const BELOW: i32 = 0;
const NEAR: i32 = 1;
const ABOVE: i32 = 2;

/** Sums [2][32] of the products of some terms of two queries and 32 keys, beside what is there unless they are the first. */
function multiply(x: usize, y: usize, column: usize, keys: i32, terms: usize, to: usize, isFirst: bool): void {
  const step = <usize>keys << 2;
  for (let half: usize = 0; half < 2; half++, column += 64, to += 32) {
    let a0 = i16x8.splat(0);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let b0 = a0;
    let b1 = a0;
    let b2 = a0;
    let b3 = a0;
    let from = column;
    for (let c: usize = 0; c < terms; c += 4, from += step) {
      const left = v128.load32_splat(x + c);
      const right = v128.load32_splat(y + c);
      let k = v128.load(from);
      a0 = i16x8.add(a0, pairs(k, left));
      b0 = i16x8.add(b0, pairs(k, right));
      k = v128.load(from, 16);
      a1 = i16x8.add(a1, pairs(k, left));
      b1 = i16x8.add(b1, pairs(k, right));
      k = v128.load(from, 32);
      a2 = i16x8.add(a2, pairs(k, left));
      b2 = i16x8.add(b2, pairs(k, right));
      k = v128.load(from, 48);
      a3 = i16x8.add(a3, pairs(k, left));
      b3 = i16x8.add(b3, pairs(k, right));
    }
    put(to, joined(a0, a1), isFirst);
    put(to + 16, joined(a2, a3), isFirst);
    put(to + 64, joined(b0, b1), isFirst);
    put(to + 80, joined(b2, b3), isFirst);
  }
}

@inline
function put(to: usize, sums: v128, isFirst: bool): void {
  v128.store(to, isFirst ? sums : i16x8.add(sums, v128.load(to)));
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

/** Eight floats times a factor, as integers of 16 bits. */
@inline
function truncated(from: usize, factor: v128): v128 {
  return integers(f32x4.mul(v128.load(from), factor), f32x4.mul(v128.load(from, 16), factor));
}

@inline
function integers(low: v128, high: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD)
    return i16x8.narrow_i32x4_s(i32x4.relaxed_trunc_f32x4_s(low), i32x4.relaxed_trunc_f32x4_s(high));
  return i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(low), i32x4.trunc_sat_f32x4_s(high));
}

/** The same, and what the rest of the terms adds at most, if there is a rest. */
@inline
function mostOf(biases: usize, factor: v128, rest: usize, norm: v128, at: usize): v128 {
  if (rest == 0) return truncated(biases + at, factor);
  const low = madd(v128.load(biases + at), factor, f32x4.mul(v128.load(rest + at), norm));
  const high = madd(v128.load(biases + at, 16), factor, f32x4.mul(v128.load(rest + at, 16), norm));
  return integers(low, high);
}

/**
 * Whether a sum of two queries, with the bias of its key, is above the query's limit over the key's scale, or less than `margin`
 * below it. `rest` are norms of terms that keys have beside those of the sums, and `norm` is that of the queries.
 */
@inline
function compare(
  isThread: bool, from: usize, sumX: usize, sumY: usize, biases: usize, rest: usize, norm: f32, inverseX: f32, inverseY: f32,
  inverses: usize, topX: f32, topY: f32, margin: i32,
): i32 {
  const factor = f32x4.splat(inverseX);
  const norms = f32x4.splat(norm);
  let c0 = mostOf(biases, factor, rest, norms, 0);
  let c1 = mostOf(biases, factor, rest, norms, 32);
  let c2 = mostOf(biases, factor, rest, norms, 64);
  let c3 = mostOf(biases, factor, rest, norms, 96);
  const found = compareRow(isThread, from, i32.load(sumX), c0, c1, c2, c3, inverses, topX, margin);
  if (inverseX != inverseY) {
    const factor = f32x4.splat(inverseY);
    c0 = mostOf(biases, factor, rest, norms, 0);
    c1 = mostOf(biases, factor, rest, norms, 32);
    c2 = mostOf(biases, factor, rest, norms, 64);
    c3 = mostOf(biases, factor, rest, norms, 96);
  }
  return max(found, compareRow(isThread, from + 64, i32.load(sumY), c0, c1, c2, c3, inverses, topY, margin));
}

@inline
function compareRow(
  isThread: bool, from: usize, sum: i32, c0: v128, c1: v128, c2: v128, c3: v128, inverses: usize, limit: f32, margin: i32,
): i32 {
  const top = f32x4.splat(limit);
  const least = i16x8.splat(<i16>(sum - margin));
  const most = i16x8.splat(<i16>(sum + MARGIN));
  const a = i16x8.add_sat_s(v128.load(from), c0);
  const b = i16x8.add_sat_s(v128.load(from, 16), c1);
  const c = i16x8.add_sat_s(v128.load(from, 32), c2);
  const d = i16x8.add_sat_s(v128.load(from, 48), c3);
  // Lanes of equal keys mod 8 share a scale: the largest decides.
  if (isThread)
    return place(i16x8.max_s(i16x8.max_s(a, b), i16x8.max_s(c, d)), truncated(inverses, top), least, most);
  return max(
    max(place(a, truncated(inverses, top), least, most), place(b, truncated(inverses + 32, top), least, most)),
    max(place(c, truncated(inverses + 64, top), least, most), place(d, truncated(inverses + 96, top), least, most)),
  );
}

@inline
function place(x: v128, limit: v128, least: v128, most: v128): i32 {
  if (!v128.any_true(i16x8.gt_s(x, i16x8.add(limit, least)))) return BELOW;
  return v128.any_true(i16x8.gt_s(x, i16x8.add(limit, most))) ? ABOVE : NEAR;
}

/** Key by key, without keys after the query. */
function isAboveExactly(p: EstimatedBlocksParams, row: i32, i: i32, block: i32): bool {
  const blocks = blocksOf(p);
  const keys = keysOf(p);
  const depth = depthOf(p);
  const batch = row / p.h;
  const head = row % p.h * p.g / p.h;
  const limit = f32.load(p.limits + (<usize>((batch * p.n + i) * p.h + row % p.h) << 2));
  const first = block * p.keyBlock;
  const count = min(p.keyBlock, min(p.m, i + p.m - p.n + 1) - first);
  const at = ((batch * p.g + head) * blocks + block) * keys;
  const products = p.products + (<usize>((row * blocks + block) * keys) << 2);
  if (p.quantize == NONE) {
    const q = rowOf(p.q, batch, p.n, i, p.h, row % p.h, p.d);
    for (let j: i32 = 0; j < count; j++) {
      const k = rowOf(p.k, batch, p.m, first + j, p.g, head, p.d);
      if (rowDot(q, k, p.d) + f32.load(products + (<usize>j << 2)) > limit) return true;
    }
    return false;
  }
  const x = p.rows + <usize>(row * p.n + i) * <usize>depth;
  const columns = p.columns + <usize>at * <usize>depth;
  const scale = f32.load(p.rowScales + (<usize>(row * p.n + i) << 2));
  for (let j: i32 = 0; j < count; j++) {
    let sum: i32 = 0;
    for (let c: i32 = 0; c < p.d; c++) {
      const integer = <i32>load<u8>(columns + (<usize>((c >> 2) * keys + j) << 2) + <usize>(c & 3));
      sum += <i32>load<i8>(x + <usize>c) * (integer - SHIFT);
    }
    const own = scale * f32.load(p.columnScales + (<usize>(at + j) << 2));
    if (own * <f32>sum + f32.load(products + (<usize>j << 2)) > limit) return true;
  }
  return false;
}
