/**
 * Local linear attention on a GPU, some heads and rows at a time: numbers of their pairs, [heads][rows][keys], lie in working
 * memory, and products of blocks go over them. Vectors of rows lie [tiles][columns][32 rows], so that a lane has a row of its
 * own where systems are solved; tiles whose systems are solved take no part in further iterations. Directly, a workgroup
 * has the matrix of one row.
 */
import { LARGEST_HEAD } from '../../runtime/wasm/params';
import { type Dispatch, type Kernel, type OperandSpec, type Region, variants } from '../../runtime/webgpu/kernel';
import {
  accumulate,
  elementsCode,
  memoryOf,
  quadsCode,
  rowsNumbers,
  rowsValues,
  type Source,
  unload,
} from '../../runtime/webgpu/kernels/block-product';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { clear, LANES } from '../../runtime/webgpu/kernels/product';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { type LocalLinearBackwardCall, type LocalLinearCall, type LocalLinearProblem, SECOND_TOLERANCE } from './call';

/** Rows and keys of a tile. */
const TILE = 32;
/** Pairs under way, at most, unless a tile of one head has more. */
const MOST_PAIRS = 2 ** 22;
/** Keys whose extremes a workgroup finds. */
const CHUNK = 64;
const BLOCK = { rows: 1, columns: 1 } as const;

const READ: OperandSpec = { access: 'read' };
const READ4: OperandSpec = { access: 'read', vector: true };
const ROWS: OperandSpec = { access: 'read', rank: 4, vector: true };
const WRITE: OperandSpec = { access: 'write' };
const UPDATE: OperandSpec = { access: 'update' };

const EXTENTS: NonNullable<Kernel['numbers']> = {
  ...{ n: 'u32', m: 'u32', h: 'u32', d: 'u32', stride: 'u32', rows: 'u32', tiles: 'u32', first_place: 'u32' },
  ...{ first_row: 'u32', causal: 'u32', key_heads: 'u32' },
};

/** Where a tile of the chunk at hand is, and what its rows see. */
const PLACES = `
struct Tile { at: u32, batch: u32, head: u32, group: u32, first: u32, past: u32 }
fn seen_by(i: u32) -> u32 {
  if (i >= numbers.n) { return 0; }
  if (numbers.causal == 0) { return numbers.m; }
  return u32(clamp(i32(i) + 1 + i32(numbers.m) - i32(numbers.n), 0, i32(numbers.m)));
}
fn tile_of(at: u32) -> Tile {
  let place = numbers.first_place + at / numbers.tiles;
  let first = numbers.first_row + at % numbers.tiles * ${TILE};
  // Keys that some row sees, in whole tiles.
  let seen = seen_by(min(first + ${TILE - 1}, numbers.n - 1));
  let past = select((seen + ${TILE - 1}) / ${TILE} * ${TILE}, 0, first >= numbers.n);
  let head = place % numbers.h;
  let batch = place / numbers.h;
  return Tile(at, batch, head, batch * numbers.key_heads + head * numbers.key_heads / numbers.h, first, past);
}
fn pair_of(tile: Tile, row: u32, key: u32) -> u32 { return (tile.at * ${TILE} + row) * numbers.stride + key; }
fn vector_of(tile: Tile, columns: u32, c: u32) -> u32 { return (tile.at * columns + c) * ${TILE}; }
fn is_number(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000) != 0x7f800000; }`;

/** What a kernel knows of a row of each system, one after the other in its buffer. */
const STATE = [
  'norm',
  'first_norm',
  'active',
  'iterations',
  'shrink',
  'scale',
  'lse',
  'is_single',
  'total',
  'constant',
  'sum',
] as const;
const STATES = STATE.map(
  (name, at) => `
fn ${name}_at(row: u32) -> u32 { return ${at} * numbers.rows + row; }`,
).join('');

/** Numbers of pairs from a vector of rows, and keys or values: of a tile of either. */
const pairsKernel = variants(
  (isStaged: boolean): Kernel => ({
    name: 'local linear attention: numbers of pairs',
    invocations: LANES,
    operands: { vector: READ4, y: ROWS, live: READ, pairs: { access: 'write', vector: true } },
    numbers: { ...EXTENTS, ...rowsNumbers('y'), columns: 'u32', key_tiles: 'u32', factor: 'f32' },
    body: `
${PLACES}
${elementsCode('y')}
${memoryOf(BLOCK, isStaged)}
fn of_vector(tile: Tile, c: u32, row: u32) -> vec4f {
  return select(vec4f(), load4_vector(vector_of(tile, numbers.columns, min(c, numbers.columns - 1)) + row), vec4<bool>(c < numbers.columns));
}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / numbers.key_tiles);
  let first_key = task % numbers.key_tiles * ${TILE};
  if (first_key >= tile.past || load_live(tile.at) == 0.0) { return; }
  ${clear('sum', BLOCK)}
  ${accumulate(
    'sum',
    BLOCK,
    'numbers.columns',
    { quad: (term, row) => `of_vector(tile, ${term}, ${row})` },
    {
      element: (key, term) =>
        `element_y(tile.batch, first_key + ${key}, first_key + ${key} < numbers.m, tile.head, ${term})`,
    },
    isStaged,
  )}
  ${unload(
    'sum',
    BLOCK,
    isStaged,
    (row, column, quad) => `store4_pairs(pair_of(tile, ${row}, first_key + ${column}), numbers.factor * ${quad}, 4);`,
  )}
}`,
  }),
);

type Sum = 'vector' | 'out';

/** Sums over keys of numbers of pairs times rows of keys or values: a vector of rows, or the result. */
const sumKernel = variants(
  ({ to, isStaged }: { to: Sum; isStaged: boolean }): Kernel => ({
    name: `local linear attention: sums to ${to}`,
    invocations: LANES,
    operands: {
      ...{ pairs: READ, y: ROWS, live: READ },
      ...(to === 'vector' ? { vector: WRITE } : { out: { access: 'write', rank: 4, vector: true }, bad: READ }),
    },
    numbers: { ...EXTENTS, ...rowsNumbers('y'), columns: 'u32', blocks: 'u32', chunks: 'u32' },
    body: `
${PLACES}
${functions('not_a_number')}
${quadsCode('y')}
${memoryOf(BLOCK, isStaged)}
fn of_pairs(tile: Tile, row: u32, key: u32) -> f32 {
  return select(0.0, load_pairs(pair_of(tile, row, min(key, tile.past - 1))), key < tile.past);
}
/// What is no number has been seen to.
fn of_rows(tile: Tile, key: u32, column: u32) -> vec4f {
  let quad = quad_y(tile.batch, key, key < numbers.m, tile.head, column);
  return select(vec4f(), quad, (bitcast<vec4u>(quad) & vec4u(0x7f800000)) != vec4u(0x7f800000));
}
${
  to === 'out'
    ? `
/// Whether a row sees a value of a column that is no number.
fn sees_bad(tile: Tile, seen: u32, column: u32) -> bool {
  if (column >= numbers.columns) { return false; }
  for (var chunk = 0u; chunk * ${CHUNK} < seen; chunk++) {
    if (load_bad((tile.group * numbers.chunks + chunk) * numbers.columns + column) < f32(seen)) { return true; }
  }
  return false;
}`
    : ''
}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / numbers.blocks);
  let first_column = task % numbers.blocks * 32;
  if (load_live(tile.at) == 0.0) { return; }
  ${clear('sum', BLOCK)}
  ${accumulate(
    'sum',
    BLOCK,
    'tile.past',
    { element: (row, term) => `of_pairs(tile, ${row}, ${term})` },
    { quad: (term, column) => `of_rows(tile, ${term}, first_column + ${column})` },
    isStaged,
  )}
  ${unload(
    'sum',
    BLOCK,
    isStaged,
    (row, column, quad) => `{
    let sums = ${quad};
    let column_of_quad = first_column + ${column};
    ${
      to === 'vector'
        ? `for (var i = 0u; i < 4; i++) {
      if (column_of_quad + i < numbers.columns) { store_vector(vector_of(tile, numbers.columns, column_of_quad + i) + ${row}, sums[i]); }
    }`
        : `let i = tile.first + ${row};
    if (i < numbers.n && column_of_quad < numbers.columns) {
      var result = sums;
      let seen = seen_by(i);
      for (var c = 0u; c < 4; c++) {
        if (sees_bad(tile, seen, column_of_quad + c)) { result[c] = not_a_number(); }
        if (seen == 0) { result[c] = 0.0; }
      }
      store4_out(at_out(tile.batch, i, tile.head, column_of_quad), result, numbers.columns - column_of_quad);
    }`
    }
  }`,
  )}
}`,
  }),
);

/** Keys that tell what all have in common (tile.as.ts says why). */
const SAMPLES = 16;

/**
 * For some keys of a head: the keys less what all have in common, their largest squared norm then, and the first at which a
 * value of each column is no number.
 */
const chunkKernel: Kernel = {
  name: 'local linear attention: keys and extremes',
  invocations: CHUNK,
  operands: {
    ...{ k: { access: 'read', rank: 4 }, v: { access: 'read', rank: 4 } },
    ...{ keys: WRITE, common: WRITE, largest: WRITE, bad: WRITE },
  },
  numbers: { m: 'u32', d: 'u32', e: 'u32', key_heads: 'u32', chunks: 'u32' },
  body: `
var<workgroup> norms: array<f32, ${CHUNK}>;
var<workgroup> shared_part: array<f32, ${LARGEST_HEAD}>;
fn run(task: u32, lane: u32) {
  let group = task / numbers.chunks;
  let batch = group / numbers.key_heads;
  let head = group % numbers.key_heads;
  let first = task % numbers.chunks * ${CHUNK};
  for (var c = lane; c < numbers.d; c += ${CHUNK}) {
    var least = load_k(at_k(batch, 0, head, c));
    var most = least;
    for (var i = 1u; i < ${SAMPLES}; i++) {
      let x = load_k(at_k(batch, i * (numbers.m - 1) / ${SAMPLES - 1}, head, c));
      least = min(least, x);
      most = max(most, x);
    }
    let part = max(0.0, least) + min(0.0, most);
    shared_part[c] = part;
    if (first == 0) { store_common(group * numbers.d + c, part); }
  }
  workgroupBarrier();
  let key = first + lane;
  var norm = 0.0;
  if (key < numbers.m) {
    for (var c = 0u; c < numbers.d; c++) {
      let x = load_k(at_k(batch, key, head, c)) - shared_part[c];
      store_keys(((batch * numbers.m + key) * numbers.key_heads + head) * numbers.d + c, x);
      norm = fma(x, x, norm);
    }
  }
  norms[lane] = norm;
  workgroupBarrier();
  if (lane == 0) {
    for (var i = 1u; i < ${CHUNK}; i++) { norm = max(norm, norms[i]); }
    store_largest(task, norm);
  }
  for (var c = lane; c < numbers.e; c += ${CHUNK}) {
    var found = numbers.m;
    for (var i = 0u; i < ${CHUNK} && first + i < numbers.m; i++) {
      let bits = bitcast<u32>(load_v(at_v(batch, first + i, head, c)));
      if ((bits & 0x7f800000) == 0x7f800000) { found = first + i; break; }
    }
    store_bad(task * numbers.e + c, f32(found));
  }
}`,
};

/** What workgroups of a row share. */
const REDUCE = `
var<workgroup> parts: array<f32, ${LANES}>;
fn sum_of(x: f32, lane: u32) -> f32 {
  workgroupBarrier();
  parts[lane] = x;
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { parts[lane] += parts[lane + half]; }
  }
  workgroupBarrier();
  return parts[0];
}
fn largest_of(x: f32, lane: u32) -> f32 {
  workgroupBarrier();
  parts[lane] = x;
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { parts[lane] = max(parts[lane], parts[lane + half]); }
  }
  workgroupBarrier();
  return parts[0];
}`;

/** Weights of a row that sum to 1, in the place of its scores, its log-sum-exp, and whether one of them is all. */
const softmaxKernel: Kernel = {
  name: 'local linear attention: weights',
  invocations: LANES,
  operands: { weights: UPDATE, state: UPDATE },
  numbers: EXTENTS,
  body: `
${functions('precise_exp', 'precise_log', 'not_a_number')}
${PLACES}
${STATES}
${REDUCE}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / ${TILE});
  let i = tile.first + task % ${TILE};
  let seen = seen_by(i);
  let first = pair_of(tile, task % ${TILE}, 0);
  var most = -3.4028234e38;
  var odd = 0.0;
  for (var key = lane; key < seen; key += ${LANES}) {
    let score = load_weights(first + key);
    if (is_number(score)) { most = max(most, score); } else { odd = 1.0; }
  }
  most = largest_of(most, lane);
  odd = largest_of(odd, lane);
  var sum = 0.0;
  for (var key = lane; key < seen; key += ${LANES}) { sum += precise_exp(load_weights(first + key) - most); }
  sum = sum_of(sum, lane);
  for (var key = lane; key < tile.past; key += ${LANES}) {
    var weight = 0.0;
    if (key < seen) { weight = select(precise_exp(load_weights(first + key) - most) / sum, not_a_number(), odd > 0.0); }
    store_weights(first + key, weight);
  }
  if (lane == 0) {
    store_state(lse_at(task), select(most + precise_log(sum), not_a_number(), odd > 0.0));
    store_state(is_single_at(task), f32(sum == 1.0));
  }
}`,
};

const VECTORS = { means: READ, right: UPDATE, solution: UPDATE, direction: UPDATE } as const;

/** Whether a tile has systems left to solve. */
const NEXT = `
  if (lane == 0) { atomicStore(&left, 0); }
  workgroupBarrier();
  if (goes_on) { atomicStore(&left, 1); }
  workgroupBarrier();
  if (lane == 0) { store_live(tile.at, f32(atomicLoad(&left))); }`;

const RIDGE = `
fn ridge_of(tile: Tile, i: u32) -> f32 {
  if (numbers.has_rows == 0 || i >= numbers.n) { return numbers.ridge; }
  return load_ridges(at_ridges(tile.batch, i, tile.head));
}`;
const RIDGES: OperandSpec = { access: 'read', rank: 3 };
const RIDGE_NUMBERS = { ridge: 'f32', has_rows: 'u32' } as const;

/**
 * Systems begin: forward from the mean of the keys less the query, backward from sums with keys from their mean. Right sides
 * are divided by their largest number, since squares of small ones would be lost, and for conjugate gradients systems by
 * ridges above 1, so that nothing overflows.
 */
const startKernel = variants(
  (isForward: boolean): Kernel => ({
    name: `local linear attention: systems ${isForward ? 'forward' : 'backward'}`,
    invocations: TILE,
    operands: {
      ...{ ...VECTORS, state: UPDATE, live: WRITE, ridges: RIDGES },
      ...(isForward && { q: ROWS, common: READ, lse: WRITE }),
    },
    numbers: { ...EXTENTS, ...RIDGE_NUMBERS, direct: 'u32', ...(isForward && { ...rowsNumbers('q'), scale: 'f32' }) },
    body: `
${functions('not_a_number')}
${PLACES}
${STATES}
${RIDGE}
${isForward ? elementsCode('q') : ''}
var<workgroup> left: atomic<u32>;
fn run(task: u32, lane: u32) {
  let tile = tile_of(task);
  let row = task * ${TILE} + lane;
  let i = tile.first + lane;
  var largest = 0.0;
  ${isForward ? 'var score = 0.0;' : ''}
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    ${
      isForward
        ? `let part = load_common(tile.group * numbers.d + c);
    let query = element_q(tile.batch, i, i < numbers.n, tile.head, c);
    let right = load_means(at) - (query - part);
    score = fma(query, part, score);`
        : 'let right = fma(-load_state(total_at(row)), load_means(at), load_right(at));'
    }
    store_right(at, right);
    largest = max(largest, abs(right));
  }
  if (largest == 0.0) { largest = 1.0; }
  var norm = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let right = load_right(at) / largest;
    store_right(at, right);
    store_solution(at, 0.0);
    store_direction(at, right);
    norm = fma(right, right, norm);
  }
  // Some GPUs take inverses of larger numbers, which are not normal, for 0.
  let shrink = select(1.0 / clamp(ridge_of(tile, i), 1.0, 8.5e37), 1.0, numbers.direct != 0);
  let goes_on = seen_by(i) > 0 && norm > 0.0;
  store_state(norm_at(row), norm);
  store_state(first_norm_at(row), norm);
  store_state(active_at(row), f32(goes_on));
  store_state(iterations_at(row), 0.0);
  store_state(shrink_at(row), shrink);
  store_state(scale_at(row), largest * shrink);
  ${
    isForward
      ? `if (i < numbers.n) {
    let lse = load_state(lse_at(row));
    let of_sums = select(not_a_number(), fma(numbers.scale, score, lse), is_number(lse));
    store_lse((tile.batch * numbers.n + i) * numbers.h + tile.head, select(of_sums, -numbers.infinity, seen_by(i) == 0));
  }`
      : ''
  }
  ${NEXT}
}`,
  }),
);

/** One step of conjugate gradients, from the weighted sums of the keys' products with the direction and what these add up to. */
const stepKernel: Kernel = {
  name: 'local linear attention: conjugate gradients',
  invocations: TILE,
  operands: { ...VECTORS, image: UPDATE, state: UPDATE, live: UPDATE, ridges: RIDGES },
  numbers: { ...EXTENTS, ...RIDGE_NUMBERS, tolerance: 'f32' },
  body: `
${PLACES}
${STATES}
${RIDGE}
var<workgroup> left: atomic<u32>;
var<workgroup> is_live: f32;
fn run(task: u32, lane: u32) {
  if (lane == 0) { is_live = load_live(task); }
  if (workgroupUniformLoad(&is_live) == 0.0) { return; }
  let tile = tile_of(task);
  let row = task * ${TILE} + lane;
  let shrink = load_state(shrink_at(row));
  let ridge = shrink * ridge_of(tile, tile.first + lane);
  let total = load_state(total_at(row));
  var curvature = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let direction = load_direction(at);
    let image = fma(ridge, direction, shrink * fma(-total, load_means(at), load_image(at)));
    store_image(at, image);
    curvature = fma(direction, image, curvature);
  }
  let before = load_state(norm_at(row));
  // Where rounding leaves no curvature there is no way on.
  let is_active = load_state(active_at(row)) > 0.0 && curvature > 0.0;
  let alpha = before / curvature;
  var norm = before;
  if (is_active) {
    norm = 0.0;
    for (var c = 0u; c < numbers.d; c++) {
      let at = vector_of(tile, numbers.d, c) + lane;
      let direction = load_direction(at);
      store_solution(at, fma(alpha, direction, load_solution(at)));
      let rest = load_right(at) - alpha * load_image(at);
      store_right(at, rest);
      norm = fma(rest, rest, norm);
    }
    store_state(norm_at(row), norm);
    store_state(iterations_at(row), load_state(iterations_at(row)) + 1.0);
  }
  let goes_on = is_active && norm > numbers.tolerance * numbers.tolerance * load_state(first_norm_at(row));
  store_state(active_at(row), f32(goes_on));
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    store_direction(at, select(0.0, fma(norm / before, load_direction(at), load_right(at)), goes_on));
  }
  ${NEXT}
}`,
};

/** Of a row the lower half of the keys' covariance and the ridge, its Cholesky factor in its place, and the solution. */
const directKernel: Kernel = {
  name: 'local linear attention: Cholesky factors',
  invocations: LANES,
  operands: {
    ...{ weights: READ, k: ROWS, means: READ, right: READ, ridges: RIDGES },
    ...{ matrix: UPDATE, solution: UPDATE, state: UPDATE },
  },
  numbers: { ...EXTENTS, ...RIDGE_NUMBERS, ...rowsNumbers('k') },
  body: `
${PLACES}
${STATES}
${RIDGE}
${elementsCode('k')}
var<workgroup> x: array<f32, ${LARGEST_HEAD}>;
var<workgroup> diagonal: array<f32, ${LARGEST_HEAD}>;
var<workgroup> is_active: f32;
var<workgroup> pivot: f32;
fn barrier() { storageBarrier(); workgroupBarrier(); }
fn run(task: u32, lane: u32) {
  if (lane == 0) { is_active = load_state(active_at(task)); }
  if (workgroupUniformLoad(&is_active) == 0.0) { return; }
  let tile = tile_of(task / ${TILE});
  let own = task % ${TILE};
  let i = tile.first + own;
  let d = numbers.d;
  let entry = task * (d * (d + 1) / 2);
  let ridge = ridge_of(tile, i);
  let seen = seen_by(i);
  for (var a = lane / 16; a < d; a += ${LANES / 16}) {
    let mean = load_means(vector_of(tile, d, a) + own);
    for (var c = lane % 16; c <= a; c += 16) {
      let other = load_means(vector_of(tile, d, c) + own);
      var sum = 0.0;
      for (var key = 0u; key < seen; key++) {
        let w = load_weights(pair_of(tile, own, key));
        // A weight of 0 takes nothing, not even what is no number.
        if (w == 0.0) { continue; }
        let left = element_k(tile.batch, key, true, tile.head, a) - mean;
        sum = fma(w * left, element_k(tile.batch, key, true, tile.head, c) - other, sum);
      }
      if (a == c) {
        sum += ridge;
        diagonal[a] = sum;
      }
      store_matrix(entry + a * (a + 1) / 2 + c, sum);
    }
  }
  for (var c = lane; c < d; c += ${LANES}) { x[c] = load_right(vector_of(tile, d, c) + own); }
  barrier();
  for (var c = 0u; c < d; c++) {
    if (lane == 0) {
      let found = load_matrix(entry + c * (c + 1) / 2 + c);
      pivot = select(0.0, sqrt(found), found > f32(d) * 1.1920929e-7 * diagonal[c]);
    }
    let root = workgroupUniformLoad(&pivot);
    // A pivot that rounding may have made.
    if (root == 0.0) {
      if (lane == 0) { store_state(norm_at(task), numbers.infinity); }
      return;
    }
    for (var a = c + lane; a < d; a += ${LANES}) {
      let at = entry + a * (a + 1) / 2 + c;
      store_matrix(at, select(load_matrix(at) / root, root, a == c));
    }
    barrier();
    for (var a = c + 1 + lane / 16; a < d; a += ${LANES / 16}) {
      let row = entry + a * (a + 1) / 2;
      let factor = load_matrix(row + c);
      for (var b = c + 1 + lane % 16; b <= a; b += 16) {
        store_matrix(row + b, fma(-factor, load_matrix(entry + b * (b + 1) / 2 + c), load_matrix(row + b)));
      }
    }
    if (lane == 0) { x[c] /= root; }
    barrier();
    let value = x[c];
    for (var a = c + 1 + lane; a < d; a += ${LANES}) { x[a] = fma(-value, load_matrix(entry + a * (a + 1) / 2 + c), x[a]); }
  }
  for (var past = d; past > 0; past--) {
    let c = past - 1;
    let row = entry + c * (c + 1) / 2;
    workgroupBarrier();
    if (lane == 0) { x[c] /= load_matrix(row + c); }
    workgroupBarrier();
    let value = x[c];
    for (var b = lane; b < c; b += ${LANES}) { x[b] = fma(-value, load_matrix(row + b), x[b]); }
  }
  workgroupBarrier();
  for (var c = lane; c < d; c += ${LANES}) { store_solution(vector_of(tile, d, c) + own, x[c]); }
  if (lane == 0) { store_state(norm_at(task), 0.0); }
}`,
};

/** How well a tile's systems were solved: Infinity where rounding the solution leaves no digit of the weights. */
const RESIDUAL = `
fn residual_of(tile: Tile, row: u32, size: f32) -> f32 {
  let first = load_state(first_norm_at(row));
  // Of what is no number, or sees no key, nothing is solved.
  if (!(is_number(first) && first > 0.0) || seen_by(tile.first + row % ${TILE}) == 0) { return 0.0; }
  var keys = 0.0;
  for (var chunk = 0u; chunk < numbers.chunks; chunk++) {
    let norm = load_largest(tile.group * numbers.chunks + chunk);
    if (is_number(norm)) { keys = max(keys, norm); }
  }
  let residual = sqrt(load_state(norm_at(row)) / first);
  // A single key that counts is the mean, and nothing is rounded.
  let is_single = load_state(is_single_at(row)) > 0.0;
  let is_right = is_number(residual) && (is_single || sqrt(size) * sqrt(keys) * 1.1920929e-7 <= 0.0625);
  return select(numbers.infinity, residual, is_right);
}`;

/** What a row's system came to. */
const solutionKernel: Kernel = {
  name: 'local linear attention: solutions',
  invocations: TILE,
  operands: {
    ...{ vector: UPDATE, state: READ, live: WRITE, largest: READ },
    ...{ solution: WRITE, residual: WRITE, iterations: WRITE },
  },
  numbers: { ...EXTENTS, chunks: 'u32' },
  body: `
${functions('not_a_number')}
${PLACES}
${STATES}
${RESIDUAL}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task);
  let row = task * ${TILE} + lane;
  let i = tile.first + lane;
  let to = (tile.batch * numbers.n + i) * numbers.h + tile.head;
  let is_solvable = is_number(load_state(first_norm_at(row)));
  let scale = load_state(scale_at(row));
  var size = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let x = scale * load_vector(at);
    store_vector(at, x);
    size = fma(x, x, size);
    if (i < numbers.n) { store_solution(to * numbers.d + c, select(not_a_number(), x, is_solvable)); }
  }
  if (lane == 0) { store_live(tile.at, 1.0); }
  if (i < numbers.n) {
    store_residual(to, residual_of(tile, row, size));
    store_iterations(to, load_state(iterations_at(row)));
  }
}`,
};

/**
 * For each pair of a row: weights times what their numbers differ from their mean, and what that adds up to, or weights times 1 less
 * these differences.
 */
const centreKernel = variants(
  (isFactor: boolean): Kernel => ({
    name: `local linear attention: ${isFactor ? 'factors' : 'differences'} of pairs`,
    invocations: LANES,
    operands: { weights: READ, products: READ, pairs: WRITE, live: READ, ...(!isFactor && { state: UPDATE }) },
    numbers: EXTENTS,
    body: `
${PLACES}
${STATES}
${REDUCE}
var<workgroup> is_live: f32;
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / ${TILE});
  if (lane == 0) { is_live = load_live(tile.at); }
  if (workgroupUniformLoad(&is_live) == 0.0) { return; }
  let first = pair_of(tile, task % ${TILE}, 0);
  var sum = 0.0;
  for (var key = lane; key < tile.past; key += ${LANES}) {
    let w = load_weights(first + key);
    // A weight of 0 takes nothing, not even what is no number.
    if (w != 0.0) { sum = fma(w, load_products(first + key), sum); }
  }
  let mean = sum_of(sum, lane);
  var total = 0.0;
  for (var key = lane; key < tile.past; key += ${LANES}) {
    let w = load_weights(first + key);
    let difference = load_products(first + key) - mean;
    let number = select(w * ${isFactor ? '(1.0 - difference)' : 'difference'}, 0.0, w == 0.0);
    store_pairs(first + key, number);
    total += number;
  }
  ${
    isFactor
      ? ''
      : `total = sum_of(total, lane);
  if (lane == 0) { store_state(total_at(task), total); }`
  }
}`,
  }),
);

/** After the second system: what the gradients need of each row, and the gradient by its ridge. */
const secondKernel: Kernel = {
  name: 'local linear attention: second solutions',
  invocations: TILE,
  operands: {
    ...{ vector: UPDATE, first: READ, state: UPDATE, largest: READ, ridges: RIDGES },
    ...{ by_ridge: WRITE, residual: WRITE },
  },
  numbers: { ...EXTENTS, ...RIDGE_NUMBERS, chunks: 'u32', counts: 'f32' },
  body: `
${PLACES}
${STATES}
${RIDGE}
${RESIDUAL}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task);
  let row = task * ${TILE} + lane;
  let i = tile.first + lane;
  let to = (tile.batch * numbers.n + i) * numbers.h + tile.head;
  let scale = load_state(scale_at(row));
  var by_ridge = 0.0;
  var size = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let u = scale * load_vector(at);
    store_vector(at, u);
    by_ridge = fma(u, load_first(at), by_ridge);
    size = fma(u, u, size);
  }
  let of_ridge = ridge_of(tile, i) * by_ridge;
  store_state(constant_at(row), numbers.counts * of_ridge);
  // Without what the ridge takes, the scores' gradients add up to this, with it to 0.
  store_state(sum_at(row), (numbers.counts - 1.0) * of_ridge);
  if (i < numbers.n) {
    store_by_ridge(to, by_ridge);
    store_residual(to, residual_of(tile, row, size));
  }
}`,
};

/** For each pair of a row, from products: the scores' gradient and what it adds up to, p E and p F (backward.as.ts has the formulas). */
const combineKernel: Kernel = {
  name: 'local linear attention: gradients of pairs',
  invocations: LANES,
  operands: { weights: UPDATE, products: UPDATE, by_second: UPDATE, by_first: READ, state: UPDATE },
  numbers: EXTENTS,
  body: `
${PLACES}
${STATES}
${REDUCE}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / ${TILE});
  let first = pair_of(tile, task % ${TILE}, 0);
  var error_mean = 0.0;
  var factor_mean = 0.0;
  for (var at = first + lane; at < first + tile.past; at += ${LANES}) {
    let w = load_weights(at);
    error_mean = fma(w, load_products(at) - load_by_second(at), error_mean);
    factor_mean = fma(w, load_by_first(at), factor_mean);
  }
  error_mean = sum_of(error_mean, lane);
  factor_mean = sum_of(factor_mean, lane);
  let constant = load_state(constant_at(task));
  var total = 0.0;
  for (var at = first + lane; at < first + tile.past; at += ${LANES}) {
    let w = load_weights(at);
    let error = load_products(at) - load_by_second(at) - error_mean;
    let factor = 1.0 + (factor_mean - load_by_first(at));
    let by_score = w * fma(error, factor, constant);
    store_weights(at, w * factor);
    store_products(at, w * error);
    store_by_second(at, by_score);
    total += by_score;
  }
  total = sum_of(total, lane);
  if (lane == 0) { store_state(total_at(task), total); }
}`,
};

/** Vectors of rows into tensors: scale times sums with keys from their means, plus another vector; and that by itself. */
const queriesKernel: Kernel = {
  name: 'local linear attention: gradient of queries',
  invocations: TILE,
  operands: { sums: READ, vector: READ, means: READ, common: READ, state: READ, out: WRITE, second: WRITE },
  numbers: { ...EXTENTS, scale: 'f32' },
  body: `
${PLACES}
${STATES}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task);
  let i = tile.first + lane;
  if (i >= numbers.n) { return; }
  let to = ((tile.batch * numbers.n + i) * numbers.h + tile.head) * numbers.d;
  let total = load_state(total_at(task * ${TILE} + lane));
  let expected = load_state(sum_at(task * ${TILE} + lane));
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let mean = load_means(at);
    let sum = fma(-total, mean, load_sums(at)) + expected * (mean + load_common(tile.group * numbers.d + c));
    store_out(to + c, fma(numbers.scale, sum, load_vector(at)));
    store_second(to + c, load_vector(at));
  }
}`,
};

/** A vector of rows from a tensor [b, n, h, columns]. */
const loadKernel: Kernel = {
  name: 'local linear attention: rows to vectors',
  invocations: TILE,
  operands: { x: ROWS, vector: WRITE, live: WRITE },
  numbers: { ...EXTENTS, ...rowsNumbers('x') },
  body: `
${PLACES}
${elementsCode('x')}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task);
  let i = tile.first + lane;
  for (var c = 0u; c < numbers.x_own; c++) {
    store_vector(vector_of(tile, numbers.x_own, c) + lane, element_x(tile.batch, i, i < numbers.n, tile.head, c));
  }
  if (lane == 0) { store_live(task, 1.0); }
}`,
};

/** The gradient of a tile of keys or values gets what a chunk of rows gives: sums of numbers of pairs times rows. */
const keysKernel = variants(({ ofKeys, isStaged }: { ofKeys: boolean; isStaged: boolean }): Kernel => {
  const terms = ofKeys
    ? ([
        ['scores', 'q', '* numbers.scale'],
        ['errors', 'first', '* -1.0'],
        ['factors', 'second', '* -1.0'],
      ] as const)
    : ([['factors', 'grad', '']] as const);
  const operands: Record<string, OperandSpec> = { out: { access: 'update', rank: 4, vector: true } };
  for (const [pairs, rows] of terms) Object.assign(operands, { [pairs]: READ4, [rows]: ROWS });
  const numbers = Object.assign({}, ...terms.map(([, rows]) => rowsNumbers(rows)));
  return {
    name: `local linear attention: gradient of ${ofKeys ? 'keys' : 'values'}`,
    invocations: LANES,
    operands,
    numbers: { ...EXTENTS, ...numbers, columns: 'u32', blocks: 'u32', key_tiles: 'u32', scale: 'f32', is_first: 'u32' },
    body: `
${PLACES}
${terms.map(([, rows]) => quadsCode(rows)).join('\n')}
${memoryOf(BLOCK, isStaged)}
fn run(task: u32, lane: u32) {
  let first_column = task % numbers.blocks * 32;
  let first_key = task / numbers.blocks % numbers.key_tiles * ${TILE};
  let group = task / numbers.blocks / numbers.key_tiles;
  ${clear('sum', BLOCK)}
  for (var at = 0u; at < numbers.rows / ${TILE}; at++) {
    let tile = tile_of(at);
    if (tile.group != group || first_key >= tile.past) { continue; }
    ${terms
      .map(([pairs, rows, factor]) =>
        accumulate(
          'sum',
          BLOCK,
          `${TILE}u`,
          {
            quad: (term, key) => `load4_${pairs}(pair_of(tile, ${term}, first_key + ${key}))${factor}`,
          } satisfies Source,
          {
            quad: (term, column) =>
              `quad_${rows}(tile.batch, tile.first + ${term}, tile.first + ${term} < numbers.n, tile.head, first_column + ${column})`,
          },
          isStaged,
        ),
      )
      .join('\n')}
  }
  ${unload(
    'sum',
    BLOCK,
    isStaged,
    (row, column, quad) => `{
    let sums = ${quad};
    let key = first_key + ${row};
    let of_column = first_column + ${column};
    if (key < numbers.m && of_column < numbers.columns) {
      let at = at_out(group / numbers.key_heads, key, group % numbers.key_heads, of_column);
      var before = vec4f();
      if (numbers.is_first == 0) { before = load4_out(at); }
      store4_out(at, before + sums, numbers.columns - of_column);
    }
  }`,
  )}
}`,
  };
});

/** Memory of the rows under way, the chunks these are cut into, and the passes over a chunk that both directions share. */
function chunked(call: LocalLinearProblem, tolerance: number, workspace: Workspace) {
  const { q, k, v, ridge, ridgeRows, causal, solver, maxIterations } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const keyTiles = Math.ceil(m / TILE);
  const keyChunks = Math.ceil(m / CHUNK);
  const stride = keyTiles * TILE;
  const matrix = solver === 'direct' ? (d * (d + 1)) / 2 : 0;
  const most = Math.max(1, Math.floor(MOST_PAIRS / (Math.max(stride, matrix) * TILE)));
  const tiles = Math.min(Math.ceil(n / TILE), most);
  const places = Math.min(b * h, Math.max(1, Math.floor(most / tiles)));
  const all = places * tiles;
  const rows = all * TILE;
  const isStaged = !workspace.device.isSoftware;
  const vector = (columns: number) => workspace.scratch([rows * columns]);
  const pairs = () => workspace.scratch([rows * stride]);
  const live = workspace.scratch([all]);
  const state = workspace.scratch([STATE.length * rows]);
  const [largest, bad] = [workspace.scratch([b * g * keyChunks]), workspace.scratch([b * g * keyChunks * e])];
  const [keys, common] = [workspace.scratch([b, m, g, d]), workspace.scratch([b * g * d])];
  const [means, image] = [vector(d), vector(d)];
  const solving = { right: vector(d), solution: vector(d), direction: vector(d) };
  const ridges = { ridges: ridgeRows ?? { ...largest, shape: [1, 1, 1], strides: [1, 1, 1] } };
  const ofRidge = { ridge, has_rows: Number(ridgeRows !== undefined) };
  const matrices = matrix > 0 ? workspace.scratch([rows * matrix]) : undefined;
  const extremes: Dispatch = {
    kernel: chunkKernel,
    operands: { k, v, keys, common, largest, bad },
    numbers: { m, d, e, key_heads: g, chunks: keyChunks },
    tasks: b * g * keyChunks,
    operations: b * g * m * (2 * d + e),
  };

  /** Dispatches over the rows from one on of the heads from one on. */
  const passesOver = (firstPlace: number, firstRow: number) => {
    const held = Math.min(places, b * h - firstPlace) * tiles;
    const extents = {
      ...{ n, m, h, d, stride, rows: held * TILE, tiles, first_place: firstPlace, first_row: firstRow },
      ...{ causal: Number(causal), key_heads: g },
    };
    const pass = (
      kernel: Kernel,
      operands: Readonly<Record<string, Region>>,
      tasks: number,
      numbers: Readonly<Record<string, number>>,
      operations: number,
    ): Dispatch => ({ kernel, operands, numbers: { ...extents, ...numbers }, tasks, operations });
    const ofPairs = (vector: Region, y: Region, pairs: Region, factor = 1) => {
      const columns = y.shape[3] as number;
      const numbers = { ...rowsValues('y', y), columns, key_tiles: keyTiles, factor };
      const operands = { vector, y, live, pairs };
      return pass(pairsKernel(isStaged), operands, held * keyTiles, numbers, 2 * held * TILE * m * columns);
    };
    const sum = (to: Sum, pairs: Region, y: Region, outputs: Readonly<Record<string, Region>>) => {
      const columns = y.shape[3] as number;
      const blocks = Math.ceil(columns / 32);
      const numbers = { ...rowsValues('y', y), columns, blocks, chunks: keyChunks };
      const operands = { pairs, y, live, ...outputs };
      return pass(sumKernel({ to, isStaged }), operands, held * blocks, numbers, 2 * held * TILE * m * columns);
    };
    const overRows = (kernel: Kernel, operands: Readonly<Record<string, Region>>) =>
      pass(kernel, operands, held * TILE, {}, held * TILE * m * 20);
    return {
      ...{ held, pass, ofPairs, sum, overRows },
      /** A work group for each tile. */
      overTiles: (
        kernel: Kernel,
        operands: Readonly<Record<string, Region>>,
        numbers: Readonly<Record<string, number>> = {},
      ) => pass(kernel, operands, held, numbers, held * TILE * (d + e) * 4),
      /** From right sides, or forward from queries, to solutions. */
      solve: (
        weights: Region,
        products: Region,
        pairs: Region,
        start: Kernel,
        forward: Readonly<Record<string, Region>>,
        numbers: Readonly<Record<string, number>>,
      ) => {
        const operands = { ...solving, means, state, live };
        const own = { ...operands, ...ridges, ...forward };
        const started = pass(
          start,
          own,
          held,
          { ...numbers, ...ofRidge, direct: Number(solver === 'direct') },
          held * TILE * d * 8,
        );
        if (matrices) {
          const { right, solution } = solving;
          const own = { weights, k: keys, means, right, solution, state, matrix: matrices, ...ridges };
          const operations = held * TILE * (m * d * (d + 1) + d ** 3 / 3);
          return [started, pass(directKernel, own, held * TILE, { ...ofRidge, ...rowsValues('k', keys) }, operations)];
        }
        const iteration = [
          ofPairs(solving.direction, keys, products),
          overRows(centreKernel(false), { weights, products, pairs, live, state }),
          sum('vector', pairs, keys, { vector: image }),
          pass(stepKernel, { ...operands, ...ridges, image }, held, { ...ofRidge, tolerance }, held * TILE * d * 10),
        ];
        return [started, ...Array.from({ length: maxIterations }, () => iteration).flat()];
      },
    };
  };
  const chunks: ReturnType<typeof passesOver>[] = [];
  for (let place = 0; place < b * h; place += places) {
    for (let row = 0; row < n; row += tiles * TILE) chunks.push(passesOver(place, row));
  }
  return {
    ...{
      b,
      n,
      m,
      h,
      g,
      d,
      e,
      keyTiles,
      keyChunks,
      isStaged,
      vector,
      pairs,
      live,
      state,
      largest,
      bad,
      means,
      image,
      solving,
      keys,
      common,
    },
    ...{ ridges, ofRidge, extremes, chunks },
  };
}

export function planLocalLinear(call: LocalLinearCall, workspace: Workspace): Plan {
  const { q, v, out, lse, solution, residual, iterations, scale, tolerance } = call;
  const { vector, pairs, chunks, extremes, live, state, largest, bad, means, solving, keys, common, keyChunks, d } =
    chunked(call, tolerance, workspace);
  const [weights, products, factors, queries] = [pairs(), pairs(), pairs(), vector(d)];
  const dispatches = chunks.flatMap(({ overTiles, overRows, ofPairs, sum, solve }) => [
    overTiles(loadKernel, { x: q, vector: queries, live }, rowsValues('x', q)),
    ofPairs(queries, keys, weights, scale),
    overRows(softmaxKernel, { weights, state }),
    sum('vector', weights, keys, { vector: means }),
    ...solve(weights, products, factors, startKernel(true), { q, common, lse }, { ...rowsValues('q', q), scale }),
    overTiles(
      solutionKernel,
      { ...{ vector: solving.solution, state, live, largest }, ...{ solution, residual, iterations } },
      { chunks: keyChunks },
    ),
    ofPairs(solving.solution, keys, products),
    overRows(centreKernel(true), { weights, products, pairs: factors, live }),
    sum('out', factors, v, { out, bad }),
  ]);
  return { dispatches: [extremes, ...dispatches] };
}

export function planLocalLinearBackward(call: LocalLinearBackwardCall, workspace: Workspace): Plan {
  const { q, v, gradOut, solution, gradQ, gradK, gradV, gradRidgeRows, residual, scale, stopGradRidge } = call;
  const made = chunked(call, call.tolerance * SECOND_TOLERANCE, workspace);
  const { b, n, h, g, d, e, vector, pairs, chunks, extremes, live, state, largest, means, image, solving } = made;
  const { ridges, ofRidge, keyChunks, keyTiles, isStaged, m, keys, common } = made;
  const [weights, products, bySecond, byFirst] = [pairs(), pairs(), pairs(), pairs()];
  const [rows, first] = [vector(Math.max(d, e)), vector(d)];
  const second = workspace.scratch([b, n, h, d]);
  const byRidge = gradRidgeRows ?? workspace.scratch([b * n * h]);
  const dispatches = chunks.flatMap(({ overTiles, overRows, ofPairs, sum, solve, pass, held }, at) => {
    const toKeys = (
      ofKeys: boolean,
      out: Region,
      operands: Readonly<Record<string, Region>>,
      ofRows: Readonly<Record<string, Region>>,
    ) => {
      const columns = ofKeys ? d : e;
      const blocks = Math.ceil(columns / 32);
      const numbers = Object.assign({}, ...Object.entries(ofRows).map(([name, x]) => rowsValues(name, x)));
      return pass(
        keysKernel({ ofKeys, isStaged }),
        { out, ...operands, ...ofRows },
        b * g * keyTiles * blocks,
        { ...numbers, columns, blocks, key_tiles: keyTiles, scale, is_first: Number(at === 0) },
        2 * held * TILE * m * columns * (ofKeys ? 3 : 1),
      );
    };
    return [
      overTiles(loadKernel, { x: q, vector: rows, live }, rowsValues('x', q)),
      ofPairs(rows, keys, weights, scale),
      overRows(softmaxKernel, { weights, state }),
      sum('vector', weights, keys, { vector: means }),
      overTiles(loadKernel, { x: gradOut, vector: rows, live }, rowsValues('x', gradOut)),
      ofPairs(rows, v, products),
      overRows(centreKernel(false), { weights, products, pairs: bySecond, live, state }),
      sum('vector', bySecond, keys, { vector: solving.right }),
      ...solve(weights, byFirst, bySecond, startKernel(false), {}, {}),
      overTiles(loadKernel, { x: solution, vector: first, live }, rowsValues('x', solution)),
      overTiles(
        secondKernel,
        {
          ...{ vector: solving.solution, first, state, largest, ...ridges },
          ...{ by_ridge: byRidge, residual },
        },
        { ...ofRidge, chunks: keyChunks, counts: Number(!stopGradRidge) },
      ),
      ofPairs(solving.solution, keys, bySecond),
      ofPairs(first, keys, byFirst),
      overRows(combineKernel, { weights, products, by_second: bySecond, by_first: byFirst, state }),
      sum('vector', bySecond, keys, { vector: image }),
      overTiles(
        queriesKernel,
        { ...{ sums: image, vector: solving.solution, means, common, state }, ...{ out: gradQ, second } },
        { scale },
      ),
      toKeys(true, gradK, { scores: bySecond, errors: products, factors: weights }, { q, first: solution, second }),
      toKeys(false, gradV, { factors: weights }, { grad: gradOut }),
    ];
  });
  return { dispatches: [extremes, ...dispatches] };
}
