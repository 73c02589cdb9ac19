/**
 * Queries and keys in integers, and what bounds their scores. Keys of a group lie in the order of the most that their scores could be, for a
 * query of typical norm.
 */
import { blocksOf, depthOf, keysOf, rowDot, rowOf, SHIFT, typicalNorm } from './layout.as';
import { EstimatedBlocksParams, KEYS, LARGEST, NONE, PART, QUERY_GROUP, THREAD } from './params.generated.as';

/** By which bounds are raised, far beyond what rounding can do. */
const SLACK: f32 = 1e-5;

/** Bytes of a number for each key of a group. */
const GROUP_BYTES: usize = 4 * KEYS;
// What is known of a group of keys: their order, the most that scores could be, scales, norms of all integers, products.
const DANGERS: usize = GROUP_BYTES;
const SCALES: usize = 2 * GROUP_BYTES;
const NORMS: usize = 3 * GROUP_BYTES;
const PRODUCTS: usize = 4 * GROUP_BYTES;
/** The largest magnitudes of the four groups of keys that share a scale. */
const LARGEST_OF: usize = 5 * GROUP_BYTES;
export const PREPARE_BYTES: usize = LARGEST_OF + 16;

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
    const limit = f32.load(rowOf(p.limits, row / p.h, p.n, i, p.h, row % p.h, 1));
    f32.store(p.rowLimits + at, limit);
    f32.store(p.tops + at, inverse * limit);
    const to = p.rows + <usize>(row * p.n + i) * <usize>depth;
    const terms = p.terms;
    let sum: i32 = 0;
    let first: i32 = 0;
    let rest: i32 = 0;
    let all: i32 = 0;
    for (let c: i32 = 0; c < depth; c++) {
      const integer = c < p.d ? integerOf(f32.load(x + (<usize>c << 2)), scale) : 0;
      store<i8>(to + <usize>c, <i8>integer);
      sum += integer;
      all += integer * integer;
      if (c < terms) first = sum;
      else rest += integer * integer;
    }
    f32.store(p.rowReaches + 2 * at, limit - SLACK * abs(limit));
    f32.store(p.rowReaches + 2 * at, (1 + SLACK) * scale * <f32>Math.sqrt(<f64>all), 4);
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
  const shared = p.h / p.g;
  for (let own = head * shared; own < (head + 1) * shared; own++) {
    const products = p.products + (<usize>(((batch * p.h + own) * blocks + block) * keys) << 2);
    const center = p.center + (<usize>((batch * p.h + own) * p.d) << 2);
    for (let j: i32 = 0; j < count; j++)
      f32.store(products + (<usize>j << 2), rowDot(center, x + <usize>j * step, p.d));
  }
  if (p.quantize == NONE) return;
  const typical = typicalNorm(p, batch, head);
  f32.store(p.largestInverses + (<usize>task << 2), 0);
  for (let own = head * shared; own < (head + 1) * shared; own++)
    f32.store(p.largestBiases + (<usize>((batch * p.h + own) * blocks + block) << 2), 0);
  findLargest(p, x, step, count, scratch + LARGEST_OF);
  for (let from: i32 = 0; from < keys; from += KEYS) {
    // A short last block, which is compared key by key, may lack whole groups.
    const size = min(KEYS, count - from);
    const order = p.order + (<usize>(task * keys + from) << 2);
    if (size <= 0) {
      for (let s: i32 = 0; s < KEYS; s++) i32.store(order + (<usize>s << 2), p.keyBlock);
      continue;
    }
    orderKeys(p, task, x, step, from, size, typical, scratch);
    roundKeys(p, task, x, step, from, size, scratch);
    for (let own = head * shared; own < (head + 1) * shared; own++)
      boundKeys(p, task, (batch * p.h + own) * blocks + block, from, size, typical, scratch);
  }
}

/** The largest magnitudes of the keys of a block that share a scale. */
function findLargest(p: EstimatedBlocksParams, x: usize, step: usize, count: i32, to: usize): void {
  v128.store(to, f32x4.splat(0));
  for (let j: i32 = 0; j < count; j++) {
    const at = to + <usize>((j & 7) >> 1 << 2);
    f32.store(at, max(f32.load(at), largestOf(x + <usize>j * step, p.d)));
  }
}

/** Scales and norms of a group of keys, and their order by the most that their scores could be. */
function orderKeys(
  p: EstimatedBlocksParams, task: i32, x: usize, step: usize, from: i32, size: i32, typical: f32, scratch: usize,
): void {
  const blocks = blocksOf(p);
  const keys = keysOf(p);
  const shared = p.h / p.g;
  const first = (task / blocks / p.g * p.h + task / blocks % p.g * shared) * blocks + task % blocks;
  for (let j: i32 = 0; j < size; j++) {
    const at = <usize>j << 2;
    const key = x + <usize>(from + j) * step;
    const largest = p.quantize == THREAD ? f32.load(scratch + LARGEST_OF + <usize>(((from + j) & 7) >> 1 << 2)) : largestOf(key, p.d);
    const scale = largest / <f32>LARGEST;
    let all: i32 = 0;
    for (let c: i32 = 0; c < p.d; c++) {
      const integer = integerOf(f32.load(key + (<usize>c << 2)), scale);
      all += integer * integer;
    }
    const norm = scale * <f32>Math.sqrt(<f64>all);
    let most: f32 = -Infinity;
    for (let own: i32 = 0; own < shared; own++)
      most = max(most, f32.load(p.products + (<usize>((first + own * blocks) * keys + from + j) << 2)));
    f32.store(scratch + SCALES + at, scale);
    f32.store(scratch + NORMS + at, norm);
    const danger = most + typical * norm;
    f32.store(scratch + DANGERS + at, danger);
    let place = j;
    for (; place > 0; place--) {
      const before = i32.load(scratch + (<usize>(place - 1) << 2));
      if (!(f32.load(scratch + DANGERS + (<usize>before << 2)) < danger)) break;
      i32.store(scratch + (<usize>place << 2), before);
    }
    i32.store(scratch + (<usize>place << 2), j);
  }
}

/** Key of a group at a place in its order; behind the last it is that one again, which changes nothing. */
@inline
function keyAt(scratch: usize, place: i32, size: i32): i32 {
  return i32.load(scratch + (<usize>min(place, size - 1) << 2));
}

/** The integers of a group of keys in their order, with what belongs to them. */
function roundKeys(p: EstimatedBlocksParams, task: i32, x: usize, step: usize, from: i32, size: i32, scratch: usize): void {
  const keys = keysOf(p);
  const depth = depthOf(p);
  const terms = p.terms;
  const columns = p.columns + <usize>(task * keys) * <usize>terms;
  const at = <usize>(task * keys + from) << 2;
  const extremes = p.extremes + (at / KEYS << 1);
  let most: f32 = 0;
  let least: f32 = Infinity;
  let largest = f32.load(p.largestInverses + (<usize>task << 2));
  for (let s: i32 = 0; s < KEYS; s++) {
    const j = keyAt(scratch, s, size);
    const own = at + (<usize>s << 2);
    const scale = f32.load(scratch + SCALES + (<usize>j << 2));
    const inverse: f32 = scale > 0 ? <f32>1 / scale : 0;
    const row = p.keyRows + <usize>(task * keys + from + s) * <usize>depth;
    let rest: i32 = 0;
    for (let c: i32 = 0; c < depth; c++) {
      const integer = c < p.d ? integerOf(f32.load(x + <usize>(from + j) * step + (<usize>c << 2)), scale) : 0;
      const shifted = <i8>(integer + SHIFT);
      store<i8>(row + <usize>c, shifted);
      if (c < terms) store<i8>(columns + (<usize>((c >> 2) * keys + from + s) << 2) + <usize>(c & 3), shifted);
      else rest += integer * integer;
    }
    i32.store(p.order + own, from + j);
    f32.store(p.columnScales + own, scale);
    f32.store(p.inverses + own, inverse);
    f32.store(p.columnNorms + own, <f32>Math.sqrt(<f64>rest));
    largest = max(largest, inverse);
    const norm = f32.load(scratch + NORMS + (<usize>j << 2));
    most = max(most, norm);
    least = min(least, norm);
  }
  f32.store(p.largestInverses + (<usize>task << 2), largest);
  f32.store(extremes, (1 + SLACK) * most);
  f32.store(extremes, (1 - SLACK) * least, 4);
}

/** A group's products with the center of a head, in its order, those over the scales, and what scores are at most. */
function boundKeys(
  p: EstimatedBlocksParams, task: i32, place: i32, from: i32, size: i32, typical: f32, scratch: usize,
): void {
  const keys = keysOf(p);
  const at = <usize>(place * keys + from) << 2;
  memory.copy(scratch + PRODUCTS, p.products + at, <usize>size << 2);
  let largest = f32.load(p.largestBiases + (<usize>place << 2));
  let reach: f32 = -Infinity;
  for (let s: i32 = KEYS - 1; s >= 0; s--) {
    const j = keyAt(scratch, s, size);
    const own = <usize>s << 2;
    const product = f32.load(scratch + PRODUCTS + (<usize>j << 2));
    const bias = product * f32.load(p.inverses + (<usize>(task * keys + from) << 2) + own);
    const most = typical * f32.load(scratch + NORMS + (<usize>j << 2));
    f32.store(p.products + at + own, product);
    f32.store(p.biases + at + own, bias);
    // Not a number counts as too large, and so does a group of zeros.
    largest = f32.load(scratch + SCALES + (<usize>j << 2)) > 0 ? max(largest, abs(bias)) : Infinity;
    reach = max(reach, product + most + SLACK * (abs(product) + most));
    if (s % PART == 0) f32.store(p.reaches + (at + own) / PART, reach);
  }
  f32.store(p.largestBiases + (<usize>place << 2), largest);
}
