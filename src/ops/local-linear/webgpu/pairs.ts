/** Numbers of pairs on a GPU, and what rows sum over them. */
import { type Kernel, type OperandSpec, variants } from '../../../runtime/webgpu/kernel';
import {
  accumulate,
  multiplied,
  productKernel,
  type Reading,
  type Source,
  unload,
} from '../../../runtime/webgpu/kernels/block-product';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import { clear, LANES } from '../../../runtime/webgpu/kernels/product';
import { BLOCK, CHUNK, EXTENTS, PLACES, READ, READ4, TILE, tileKernel, UPDATE, WRITE } from './tile';

/** What this room's kernels of products share. */
const product = (name: string, isStaged: boolean) =>
  ({ name: `local linear attention: ${name}`, block: BLOCK, isStaged, alike: false }) as const;

/** Numbers of pairs from a vector of rows, and keys or values: of a tile of either. */
export const pairsKernel = variants(
  (isStaged: boolean): Kernel =>
    productKernel({
      ...product('numbers of pairs', isStaged),
      rows: { y: 'elements' },
      operands: { vector: READ4, live: READ, pairs: { access: 'write', vector: true } },
      numbers: { ...EXTENTS, columns: 'u32', key_tiles: 'u32', factor: 'f32' },
      body: [
        PLACES,
        `
fn of_vector(tile: Tile, c: u32, row: u32) -> vec4f {
  return select(vec4f(), load4_vector(vector_of(tile, numbers.columns, min(c, numbers.columns - 1)) + row), vec4<bool>(c < numbers.columns));
}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / numbers.key_tiles);
  let first_key = task % numbers.key_tiles * ${TILE};
  if (first_key >= tile.past || load_live(tile.at) == 0.0) { return; }
  ${multiplied(
    BLOCK,
    isStaged,
    'numbers.columns',
    [
      { quad: (term, row) => `of_vector(tile, ${term}, ${row})` },
      {
        element: (key, term) =>
          `element_y(tile.batch, first_key + ${key}, first_key + ${key} < numbers.m, tile.head, ${term})`,
      },
    ],
    (row, column, quad) => `store4_pairs(pair_of(tile, ${row}, first_key + ${column}), numbers.factor * ${quad}, 4);`,
  )}
}`,
      ],
    }),
);

const SEES_BAD = `
/// Whether a row sees a value of a column that is not finite.
fn sees_bad(tile: Tile, seen: u32, column: u32) -> bool {
  if (column >= numbers.columns) { return false; }
  for (var chunk = 0u; chunk * ${CHUNK} < seen; chunk++) {
    if (load_bad((tile.group * numbers.chunks + chunk) * numbers.columns + column) < f32(seen)) { return true; }
  }
  return false;
}`;

export type Sum = 'vector' | 'out';

/** Sums over keys of numbers of pairs times rows of keys or values: a vector of rows, or the result. */
export const sumKernel = variants(
  ({ to, isStaged }: { to: Sum; isStaged: boolean }): Kernel =>
    productKernel({
      ...product(`sums to ${to}`, isStaged),
      rows: { y: 'quads' },
      operands: {
        pairs: READ,
        live: READ,
        ...(to === 'vector' ? { vector: WRITE } : { out: { access: 'write', rank: 4, vector: true }, bad: READ }),
      },
      numbers: { ...EXTENTS, columns: 'u32', blocks: 'u32', chunks: 'u32' },
      body: [
        PLACES,
        functions('not_a_number'),
        `
fn of_pairs(tile: Tile, row: u32, key: u32) -> f32 {
  return select(0.0, load_pairs(pair_of(tile, row, min(key, tile.past - 1))), key < tile.past);
}
/// Zeros for what is not finite, which sees_bad tells of.
fn of_rows(tile: Tile, key: u32, column: u32) -> vec4f {
  let quad = quad_y(tile.batch, key, key < numbers.m, tile.head, column);
  return select(vec4f(), quad, (bitcast<vec4u>(quad) & vec4u(0x7f800000)) != vec4u(0x7f800000));
}
${to === 'out' ? SEES_BAD : ''}
fn run(task: u32, lane: u32) {
  let tile = tile_of(task / numbers.blocks);
  let first_column = task % numbers.blocks * 32;
  if (load_live(tile.at) == 0.0) { return; }
  ${multiplied(
    BLOCK,
    isStaged,
    'tile.past',
    [
      { element: (row, term) => `of_pairs(tile, ${row}, ${term})` },
      { quad: (term, column) => `of_rows(tile, ${term}, first_column + ${column})` },
    ],
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
      ],
    }),
);

/** Weights of a row that sum to 1, in place of its scores, its log-sum-exp, and whether one of them is all. */
export const softmaxKernel = tileKernel({
  name: 'weights',
  of: 'row',
  parts: ['reduce'],
  operands: { weights: UPDATE, state: UPDATE },
  needs: ['precise_exp', 'precise_log', 'not_a_number'],
  run: `
  let seen = seen_by(i);
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
  }`,
});

/**
 * For each pair of a row: weights times what their numbers differ from their mean by, and what these add up to; or weights
 * times 1 less these differences.
 */
export const centreKernel = variants(
  (isFactor: boolean): Kernel =>
    tileKernel({
      name: `${isFactor ? 'factors' : 'differences'} of pairs`,
      of: 'row',
      skips: true,
      parts: ['reduce'],
      operands: { weights: READ, products: READ, pairs: WRITE, live: READ, ...(!isFactor && { state: UPDATE }) },
      run: `
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
  }`,
    }),
);

/** For each pair of a row, from products: the scores' gradient and what it adds up to, p E and p F (backward.as.ts has the formulas). */
export const combineKernel = tileKernel({
  name: 'gradients of pairs',
  of: 'row',
  parts: ['reduce'],
  operands: { weights: UPDATE, products: UPDATE, by_second: UPDATE, by_first: READ, state: UPDATE },
  run: `
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
  if (lane == 0) { store_state(total_at(task), total); }`,
});

/** The gradient of a tile of keys or values gets what a chunk of rows gives: sums of numbers of pairs times rows. */
export const keysKernel = variants(({ ofKeys, isStaged }: { ofKeys: boolean; isStaged: boolean }): Kernel => {
  const terms = ofKeys
    ? ([
        ['scores', 'q', '* numbers.scale'],
        ['errors', 'first', '* -1.0'],
        ['factors', 'second', '* -1.0'],
      ] as const)
    : ([['factors', 'grad', '']] as const);
  const operands: Record<string, OperandSpec> = { out: { access: 'update', rank: 4, vector: true } };
  const read: Record<string, Reading> = {};
  for (const [pairs, rows] of terms) {
    operands[pairs] = READ4;
    read[rows] = 'quads';
  }
  return productKernel({
    ...product(`gradient of ${ofKeys ? 'keys' : 'values'}`, isStaged),
    rows: read,
    operands,
    numbers: { ...EXTENTS, columns: 'u32', blocks: 'u32', key_tiles: 'u32', scale: 'f32', is_first: 'u32' },
    body: [
      PLACES,
      `
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
    ],
  });
});
