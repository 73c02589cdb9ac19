/**
 * The kernels of linear attention. A pass goes along the rows, forward or in reverse, in chunks: `statesKernel` gives what
 * each chunk adds to the state, `prefixKernel` adds these up in order, so that each place holds the state before its
 * chunk, `scoresKernel` gives the weights within each chunk, and `outputsKernel` the outputs from all that.
 *
 * Positions count along the pass. With c rows in a chunk and `lead` 1, or 0 in reverse, where a row sees the state as the
 * row before it left it, with the decay applied already: a row at place l meets the state times decay^(l + lead), and
 * adds to the next one decay^(c - l - lead) times its product.
 */
import { type Kernel, type OperandSpec, u32s, variants } from '../../../runtime/webgpu/kernel';
import {
  accumulate,
  multiplied,
  productKernel,
  type Source,
  unload,
} from '../../../runtime/webgpu/kernels/block-product';
import { type Block, clear, LANES } from '../../../runtime/webgpu/kernels/product';
import { chunkCode, STATES, stateCode, stateElements, stateQuads } from '../../../runtime/webgpu/kernels/states';

/** Rows of a chunk, and columns of a tile of states or outputs. */
export const CHUNK = 64;

const BLOCK: Block = { rows: 2, columns: 2 };

const READ: OperandSpec = { access: 'read' };
const READ4: OperandSpec = { access: 'read', vector: true };
const WRITE4: OperandSpec = { access: 'write', vector: true };

/** Rows of the pass, and where this round of it begins; of all heads [b, h], the first one whose states are at hand. */
const PASS = u32s('h', 'n', 'first_head', 'first', 'chunks', 'origin', 'step', 'lead');
const rowCode = `
fn row_of(position: u32) -> u32 { return numbers.origin + numbers.step * position; }`;
/** Powers of each head's decay, [h, CHUNK + 1]. */
const powerCode = `
fn power(head: u32, exponent: u32) -> f32 { return load_powers(head * ${CHUNK + 1} + exponent); }`;

const chunkOf = (length: string, tiles: { readonly columns?: string; readonly rows?: string } = {}) =>
  chunkCode({ length, firstHead: 'numbers.first_head', tile: CHUNK, ...tiles });

/** Columns of an operand by the chunk's rows, and rows by columns, each perhaps times a factor. */
const quads = (name: string, column: string, factor = (_row: string) => ''): Source => ({
  quad: (row, at) =>
    `quad_${name}(batch, row_of(first + ${row}), ${row} < count, head, ${column} + ${at})${factor(row)}`,
});
const elements = (name: string, factor = (_row: string) => ''): Source => ({
  element: (row, term) => `element_${name}(batch, row_of(first + ${row}), ${row} < count, head, ${term})${factor(row)}`,
});

/** What each chunk adds to the state [d,e]; `chunk` rows each, which decay or, as many as one likes, do not. */
export const statesKernel = variants(
  ({ decays, isStaged }: Readonly<Record<'decays' | 'isStaged', boolean>>): Kernel => {
    const decay = (row: string) => ` * power(head, select(0, count - (${row}) - numbers.lead, ${row} < count))`;
    return productKernel({
      name: `linear states, ${decays ? 'decaying' : 'all'}`,
      block: BLOCK,
      isStaged,
      rows: { k: 'quads', v: 'quads' },
      operands: { ...(decays && { powers: READ }), states: WRITE4 },
      numbers: { ...PASS, ...STATES, chunk: 'u32' },
      body: [
        ...[stateCode, rowCode, decays ? powerCode : ''],
        `
fn run(task: u32, lane: u32) {
  ${chunkOf('numbers.chunk', { columns: 'numbers.e', rows: 'numbers.d' })}
  let to = state_at(place, chunk);
  ${multiplied(
    BLOCK,
    isStaged,
    'count',
    [quads('k', 'first_row', decays ? decay : undefined), quads('v', 'first_column')],
    (row, column, quad) => `
    if (first_row + ${row} < numbers.d && first_column + ${column} < numbers.e) {
      store4_states(to + (first_row + ${row}) * numbers.e + first_column + ${column}, ${quad}, 4);
    }`,
  )}
}`,
      ],
    });
  },
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
      powers: READ,
      states: { access: 'update' },
      ...(initial.state && { initial: { access: 'read', rank: 4 } }),
      ...(initial.keySum && { initial_sum: READ }),
      ...(final.state && { final: { access: 'write' } }),
      ...(final.keySum && { final_sum: { access: 'write' } }),
    },
    // `own` are a state's columns without a normaliser's; the last chunk has `last` rows and the others `chunk`.
    numbers: { ...STATES, ...u32s('h', 'first_head', 'chunks', 'chunk', 'last', 'own', 'is_first', 'is_last') },
    body: `
${stateCode}
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
  ({ isStaged }: { readonly isStaged: boolean }): Kernel =>
    productKernel({
      name: 'linear scores',
      block: BLOCK,
      isStaged,
      rows: { q: 'elements', k: 'elements' },
      operands: { powers: READ, scores: WRITE4 },
      numbers: PASS,
      body: [
        ...[rowCode, powerCode],
        `
fn run(task: u32, lane: u32) {
  ${chunkOf(`${CHUNK}u`)}
  ${multiplied(
    BLOCK,
    isStaged,
    'numbers.q_width',
    [elements('k'), elements('q')],
    (row, column, quad) => `
    var weights = vec4f();
    for (var c = 0u; c < 4; c++) {
      weights[c] = select(0, power(head, select(0, ${column} + c - ${row}, ${column} + c >= ${row})), ${column} + c >= ${row});
    }
    store4_scores((task * ${CHUNK} + ${row}) * ${CHUNK} + ${column}, ${quad} * weights, 4);`,
  )}
}`,
      ],
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
  ({ causal, normalised, transposed, isStaged }: OutputsVariant): Kernel =>
    productKernel({
      name: `linear outputs, ${causal ? 'causal' : 'all'}`,
      block: BLOCK,
      isStaged,
      rows: { q: 'elements', ...(causal && { v: 'quads' }) },
      operands: {
        states: READ4,
        ...(causal && { powers: READ, scores: READ4 }),
        out: { access: 'write', rank: 4, vector: true },
        ...(normalised && { denominator: { access: 'write' } }),
      },
      numbers: { ...PASS, ...STATES, width: 'u32', ...(normalised && { epsilon: 'f32' }) },
      body: [
        ...[
          causal ? powerCode : '',
          rowCode,
          stateCode,
          transposed ? stateElements('numbers.width') : stateQuads('numbers.q_width'),
        ],
        normalised ? `var<workgroup> shared_denominators: array<f32, ${CHUNK}>;` : '',
        `
fn run(task: u32, lane: u32) {
  ${chunkOf(`${CHUNK}u`, { columns: 'numbers.width' })}
  let state = state_at(place, ${causal ? 'chunk' : 'numbers.places'});
  ${causal ? `let scores = (place * numbers.chunks + chunk) * ${CHUNK * CHUNK};` : ''}
  ${normalised ? denominators(causal) : ''}
  ${clear('sum', BLOCK)}
  ${accumulate(
    'sum',
    BLOCK,
    'numbers.q_width',
    elements('q', causal ? (row) => ` * power(head, min(${row} + numbers.lead, ${CHUNK}u))` : undefined),
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
          quads('v', 'first_column'),
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
      ],
    }),
);

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
