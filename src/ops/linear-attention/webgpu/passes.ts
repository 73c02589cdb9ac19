/**
 * The kernels of linear attention. A pass goes along the rows, forward or in reverse, in chunks: `statesKernel` gives what
 * each chunk adds to the state, `prefixKernel` adds these up in order, so that each place holds the state before its
 * chunk, `scoresKernel` gives the weights within each chunk, and `outputsKernel` the outputs from all that.
 *
 * Positions count along the pass. With c rows in a chunk and `lead` 1, or 0 in reverse, where a row sees the state as the
 * row before it left it, with the decay applied already: a row at place l meets the state times decay^(l + lead), and
 * adds to the next one decay^(c - l - lead) times its product.
 */
import { type Kernel, type OperandSpec, variants } from '../../../runtime/webgpu/kernel';
import {
  accumulate,
  elementsCode,
  memoryOf,
  quadsCode,
  rowsNumbers,
  unload,
} from '../../../runtime/webgpu/kernels/block-product';
import { type Block, clear, LANES } from '../../../runtime/webgpu/kernels/product';

/** Rows of a chunk, and columns of a tile of states or outputs. */
export const CHUNK = 64;

const BLOCK: Block = { rows: 2, columns: 2 };

const ROWS: OperandSpec = { access: 'read', rank: 4, vector: true };
const ELEMENTS: OperandSpec = { access: 'read', rank: 4 };
/** [heads, places + 1, d, e], e a multiple of 4 with zeros in columns to spare; the last place is that after a round. */
const STATES = { places: 'u32', d: 'u32', e: 'u32' } as const;
const statesCode = `
fn state_at(head: u32, place: u32) -> u32 { return (head * (numbers.places + 1) + place) * numbers.d * numbers.e; }`;

/** Rows of the pass, and where this round of it begins; of all heads [b, h], the first one whose states are at hand. */
const PASS = {
  h: 'u32',
  n: 'u32',
  first_head: 'u32',
  first: 'u32',
  chunks: 'u32',
  origin: 'u32',
  step: 'u32',
  lead: 'u32',
} as const;
const rowCode = `
fn row_of(position: u32) -> u32 { return numbers.origin + numbers.step * position; }`;
/** Powers of each head's decay, [h, CHUNK + 1]. */
const powerCode = `
fn power(head: u32, exponent: u32) -> f32 { return load_powers(head * ${CHUNK + 1} + exponent); }`;

/** What each chunk adds to the state [d,e]; `chunk` rows each, which decay or, as many as one likes, do not. */
export const statesKernel = variants(
  ({ decays, isStaged }: Readonly<Record<'decays' | 'isStaged', boolean>>): Kernel => ({
    name: `linear states, ${decays ? 'decaying' : 'all'}`,
    invocations: LANES,
    alike: true,
    operands: {
      ...{ k: ROWS, v: ROWS, ...(decays && { powers: { access: 'read' } }) },
      states: { access: 'write', vector: true },
    },
    numbers: { ...PASS, ...STATES, chunk: 'u32', ...rowsNumbers('k'), ...rowsNumbers('v') },
    body: `
${memoryOf(BLOCK, isStaged)}
${quadsCode('k')}
${quadsCode('v')}
${statesCode}
${rowCode}
${decays ? powerCode : ''}
fn run(task: u32, lane: u32) {
  let across = (numbers.e + ${CHUNK - 1}) / ${CHUNK};
  let down = (numbers.d + ${CHUNK - 1}) / ${CHUNK};
  let first_column = task % across * ${CHUNK};
  let first_row = task / across % down * ${CHUNK};
  let chunk = task / (across * down) % numbers.chunks;
  let place = task / (across * down) / numbers.chunks;
  let batch = (numbers.first_head + place) / numbers.h;
  let head = (numbers.first_head + place) % numbers.h;
  let first = numbers.first + chunk * numbers.chunk;
  let count = min(numbers.chunk, numbers.n - first);
  ${clear('sum', BLOCK)}
  ${accumulate(
    'sum',
    BLOCK,
    'count',
    {
      quad: (l, column) =>
        `quad_k(batch, row_of(first + ${l}), ${l} < count, head, first_row + ${column})${decays ? ` * power(head, select(0, count - (${l}) - numbers.lead, ${l} < count))` : ''}`,
    },
    { quad: (l, column) => `quad_v(batch, row_of(first + ${l}), ${l} < count, head, first_column + ${column})` },
    isStaged,
  )}
  let to = state_at(place, chunk);
  ${unload(
    'sum',
    BLOCK,
    isStaged,
    (row, column, quad) => `
    if (first_row + ${row} < numbers.d && first_column + ${column} < numbers.e) {
      store4_states(to + (first_row + ${row}) * numbers.e + first_column + ${column}, ${quad}, 4);
    }`,
  )}
}`,
  }),
);

/** Which tensors hold the state before the first row or after the last: its own columns, and a further one, the sum of keys. */
export interface Ends {
  readonly state: boolean;
  readonly keySum: boolean;
}

/** What chunks add to states becomes the states before them; an invocation an element. */
export const prefixKernel = variants(
  ({ initial, final }: Readonly<Record<'initial' | 'final', Ends>>): Kernel => ({
    name: 'linear prefix',
    invocations: LANES,
    operands: {
      ...{ powers: { access: 'read' }, states: { access: 'update' } },
      ...(initial.state && { initial: { access: 'read', rank: 4 } }),
      ...(initial.keySum && { initial_sum: { access: 'read' } }),
      ...(final.state && { final: { access: 'write' } }),
      ...(final.keySum && { final_sum: { access: 'write' } }),
    },
    // `own` are a state's columns without a normaliser's; the last chunk has `last` rows and the others `chunk`.
    numbers: {
      ...STATES,
      h: 'u32',
      first_head: 'u32',
      chunks: 'u32',
      chunk: 'u32',
      last: 'u32',
      own: 'u32',
      is_first: 'u32',
      is_last: 'u32',
    },
    body: `
${statesCode}
${powerCode}
fn run(task: u32, lane: u32) {
  let size = numbers.d * numbers.e;
  let blocks = (size + ${LANES - 1}) / ${LANES};
  let place = task / blocks;
  let at = task % blocks * ${LANES} + lane;
  if (at >= size) { return; }
  let whole = numbers.first_head + place;
  let head = whole % numbers.h;
  let row = at / numbers.e;
  let column = at % numbers.e;
  var state = 0.0;
  if (numbers.is_first == 0) { state = load_states(state_at(place, numbers.places) + at); }
  ${initial.state ? 'else if (column < numbers.own) { state = load_initial(at_initial(whole / numbers.h, head, row, column)); }' : ''}
  ${initial.keySum ? 'else if (column == numbers.own) { state = load_initial_sum(whole * numbers.d + row); }' : ''}
  for (var chunk = 0u; chunk < numbers.chunks; chunk++) {
    let to = state_at(place, chunk) + at;
    let added = load_states(to);
    store_states(to, state);
    state = fma(power(head, select(numbers.chunk, numbers.last, chunk + 1 == numbers.chunks)), state, added);
  }
  store_states(state_at(place, numbers.places) + at, state);
  ${final.state ? 'if (numbers.is_last == 1 && column < numbers.own) { store_final((whole * numbers.d + row) * numbers.own + column, state); }' : ''}
  ${final.keySum ? 'if (numbers.is_last == 1 && column == numbers.own) { store_final_sum(whole * numbers.d + row, state); }' : ''}
}`,
  }),
);

/** Weights within chunks, [heads, places, key, query]: products of queries and keys times decays, 0 for later keys. */
export const scoresKernel = variants(
  ({ isStaged }: { readonly isStaged: boolean }): Kernel => ({
    name: 'linear scores',
    invocations: LANES,
    alike: true,
    operands: { q: ELEMENTS, k: ELEMENTS, powers: { access: 'read' }, scores: { access: 'write', vector: true } },
    numbers: { ...PASS, ...rowsNumbers('q'), ...rowsNumbers('k') },
    body: `
${memoryOf(BLOCK, isStaged)}
${elementsCode('q')}
${elementsCode('k')}
${rowCode}
${powerCode}
fn run(task: u32, lane: u32) {
  let chunk = task % numbers.chunks;
  let place = task / numbers.chunks;
  let batch = (numbers.first_head + place) / numbers.h;
  let head = (numbers.first_head + place) % numbers.h;
  let first = numbers.first + chunk * ${CHUNK};
  let count = min(${CHUNK}u, numbers.n - first);
  ${clear('score', BLOCK)}
  ${accumulate(
    'score',
    BLOCK,
    'numbers.q_width',
    { element: (row, term) => `element_k(batch, row_of(first + ${row}), ${row} < count, head, ${term})` },
    { element: (row, term) => `element_q(batch, row_of(first + ${row}), ${row} < count, head, ${term})` },
    isStaged,
  )}
  ${unload(
    'score',
    BLOCK,
    isStaged,
    (row, column, quad) => `
    var weights = vec4f();
    for (var c = 0u; c < 4; c++) {
      weights[c] = select(0, power(head, select(0, ${column} + c - ${row}, ${column} + c >= ${row})), ${column} + c >= ${row});
    }
    store4_scores((task * ${CHUNK} + ${row}) * ${CHUNK} + ${column}, ${quad} * weights, 4);`,
  )}
}`,
  }),
);

export interface OutputsVariant {
  readonly causal: boolean;
  /** Whether outputs are divided by q times the state's last column, plus epsilon. */
  readonly normalised: boolean;
  /** Whether q meets the state's columns instead of its rows. */
  readonly transposed: boolean;
  readonly isStaged: boolean;
}

/** Outputs [width] of a chunk of queries, from the state before it and, if causal, from the chunk's scores and values. */
export const outputsKernel = variants(
  ({ causal, normalised, transposed, isStaged }: OutputsVariant): Kernel => ({
    name: `linear outputs, ${causal ? 'causal' : 'all'}`,
    invocations: LANES,
    alike: true,
    operands: {
      ...{ q: ELEMENTS, states: { access: 'read', vector: true } },
      ...(causal && { v: ROWS, powers: { access: 'read' }, scores: { access: 'read', vector: true } }),
      out: { access: 'write', rank: 4, vector: true },
      ...(normalised && { denominator: { access: 'write' } }),
    },
    numbers: {
      ...{ ...PASS, ...STATES, width: 'u32', ...rowsNumbers('q') },
      ...(causal && rowsNumbers('v')),
      ...(normalised && { epsilon: 'f32' }),
    },
    body: `
${memoryOf(BLOCK, isStaged)}
${elementsCode('q')}
${causal ? quadsCode('v') + powerCode : ''}
${rowCode}
${statesCode}
${transposed ? stateElement : stateQuad}
${normalised ? `var<workgroup> shared_denominators: array<f32, ${CHUNK}>;` : ''}
fn run(task: u32, lane: u32) {
  let across = (numbers.width + ${CHUNK - 1}) / ${CHUNK};
  let first_column = task % across * ${CHUNK};
  let chunk = task / across % numbers.chunks;
  let place = task / across / numbers.chunks;
  let batch = (numbers.first_head + place) / numbers.h;
  let head = (numbers.first_head + place) % numbers.h;
  let first = numbers.first + chunk * ${CHUNK};
  let count = min(${CHUNK}u, numbers.n - first);
  let state = state_at(place, ${causal ? 'chunk' : 'numbers.places'});
  ${causal ? `let scores = (place * numbers.chunks + chunk) * ${CHUNK * CHUNK};` : ''}
  ${normalised ? denominators(causal) : ''}
  ${clear('sum', BLOCK)}
  ${accumulate(
    'sum',
    BLOCK,
    'numbers.q_width',
    {
      element: (row, term) =>
        `element_q(batch, row_of(first + ${row}), ${row} < count, head, ${term})${causal ? ` * power(head, min(${row} + numbers.lead, ${CHUNK}u))` : ''}`,
    },
    transposed
      ? { element: (row, term) => `state_element(state, first_column + ${row}, ${term})` }
      : { quad: (term, column) => `state_quad(state, ${term}, first_column + ${column})` },
    isStaged,
  )}
  ${
    causal
      ? accumulate(
          'sum',
          BLOCK,
          'count',
          { quad: (l, column) => `load4_scores(scores + (${l}) * ${CHUNK} + ${column})` },
          { quad: (l, column) => `quad_v(batch, row_of(first + ${l}), ${l} < count, head, first_column + ${column})` },
          isStaged,
        )
      : ''
  }
  ${unload(
    'sum',
    BLOCK,
    isStaged,
    (row, column, quad) => `
    if (${row} < count && first_column + ${column} < numbers.width) {
      let to = at_out(batch, row_of(first + ${row}), head, first_column + ${column});
      store4_out(to, ${quad}${normalised ? ` / shared_denominators[${row}]` : ''}, numbers.width - first_column - ${column});
    }`,
  )}
}`,
  }),
);

/** Four columns of a row of the state, or one; zeros where it has none. */
const stateQuad = `
fn state_quad(state: u32, row: u32, column: u32) -> vec4f {
  let is_quad = row < numbers.q_width && column < numbers.e;
  return select(vec4f(), load4_states(state + select(0, row * numbers.e + column, is_quad)), vec4<bool>(is_quad));
}`;
const stateElement = `
fn state_element(state: u32, row: u32, column: u32) -> f32 {
  let is_element = row < numbers.width && column < numbers.e;
  return select(0.0, load_states(state + select(0, row * numbers.e + column, is_element)), is_element);
}`;

/** A query's each: sums of keys are the state's last column, scores are sums already. */
const denominators = (causal: boolean) => `
  var sum = 0.0;
  for (var feature = 0u; feature < numbers.q_width; feature++) {
    let key_sum = load_states(state + feature * numbers.e + numbers.width);
    sum = fma(element_q(batch, row_of(first + lane), lane < count, head, feature), key_sum, sum);
  }
  ${causal ? `sum *= power(head, min(lane + numbers.lead, ${CHUNK}u));` : ''}
  ${causal ? `for (var l = 0u; l < count; l++) { sum += load_scores(scores + l * ${CHUNK} + lane); }` : ''}
  let denominator = sum + numbers.epsilon;
  if (lane < count && first_column == 0) {
    store_denominator((batch * numbers.n + first + lane) * numbers.h + head, denominator);
  }
  shared_denominators[lane] = denominator;
  workgroupBarrier();`;
