/**
 * The kernels of the gated delta rule in chunks of 32 tokens, after those of the CPU (../chunk.as.ts), whose
 * letters these are: with S the state before a chunk and G_i the sum of its log decays up to token i,
 *
 *   L_ij = e^(G_i - G_j) k_i k_j for j < i, P_ij = scale e^(G_i - G_j) q_i k_j for j <= i, T = (1 + L beta)^-1;
 *   errors y = T V - (T e^G K) S; results scale e^G Q S + P beta y; next state e^G_last S + (e^(G_last - G) K)^T beta y.
 *
 * So only the products with S go from chunk to chunk (`statesKernel`); all else is done for all chunks at once, most of it
 * by `combineKernel`. The two kernels that need workgroup memory anyway stage their factors in it whatever computes.
 * Differences of log decays are summed from token to token rather than subtracted, since float32 sums that are large have
 * lost what is small.
 */
import { type Kernel, type OperandSpec, u32s, variants } from '../../../runtime/webgpu/kernel';
import {
  accumulate,
  multiplied,
  productKernel,
  type Source,
  unload,
} from '../../../runtime/webgpu/kernels/block-product';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import { type Block, clear, type Factor, LANES } from '../../../runtime/webgpu/kernels/product';
import { chunkCode, STATES, stateCode, stateElements, stateQuads } from '../../../runtime/webgpu/kernels/states';

/** Tokens of a chunk. */
export const CHUNK = 32;
/** Columns of a tile. */
export const TILE = 64;

/** Factors of a chunk's tokens, rows of its gates. */
export const GATES = {
  one: 0,
  /** e^G. */
  fromStart: 1,
  /** e^(G_last - G). */
  toEnd: 2,
  beta: 3,
  /** toEnd beta. */
  write: 4,
  /** -e^G. */
  read: 5,
  /** scale e^G. */
  query: 6,
} as const;
export const GATE_ROWS = 7;

/** Matrices [32,32] between a chunk's tokens: T by rows, the others by columns, that is, [j][i]. */
export const PAIRS = { solve: 0, scores: 1, keys: 2, decays: 3, gradScores: 4, gradKeys: 5 } as const;
/** Those that the forward pass needs. */
export const FORWARD_PAIRS = 4;
export const BACKWARD_PAIRS = 6;

/** Log decays below this are as good as it: their exponential is 0. */
const LEAST_LOG = -1000;

const WIDE: Block = { rows: 1, columns: 2 };
const SQUARE: Block = { rows: 2, columns: 2 };
const ELEMENTS: OperandSpec = { access: 'read', rank: 4 };
const READ: OperandSpec = { access: 'read' };
const WRITE: OperandSpec = { access: 'write' };
const WRITE4: OperandSpec = { access: 'write', vector: true };
const UPDATE4: OperandSpec = { access: 'update', vector: true };
const RESULT: OperandSpec = { access: 'write', rank: 4, vector: true };

/** Where a round of `chunks` chunks begins, of n tokens, and of `places` that there is room for. */
const ROUND = { n: 'u32', h: 'u32', first: 'u32', chunks: 'u32', places: 'u32' } as const;
const roundCode = `
fn count_of(chunk: u32) -> u32 { return min(${CHUNK}u, numbers.n - numbers.first - chunk * ${CHUNK}); }
fn chunk_at(place: u32, chunk: u32) -> u32 { return place * numbers.places + chunk; }`;
const gateCode = `
fn gate(place: u32, chunk: u32, row: u32, token: u32) -> f32 {
  return load_gates((chunk_at(place, chunk) * ${GATE_ROWS} + row) * ${CHUNK} + token);
}`;
const pairCode = `
fn pair_at(place: u32, chunk: u32, kind: u32) -> u32 {
  return (chunk_at(place, chunk) * numbers.kinds + kind) * ${CHUNK * CHUNK};
}`;
const chunkOf = (tiles: { readonly columns?: string; readonly rows?: string } = {}) =>
  chunkCode({ length: `${CHUNK}u`, tile: TILE, ...tiles });

/** Rows of an operand that begins with the round, and of one that holds all tokens. */
const ofRound = (name: string): { element(row: string, term: string): string } => ({
  element: (row, term) => `element_${name}(batch, chunk * ${CHUNK} + ${row}, ${row} < count, head, ${term})`,
});
const ofAll = (name: string): { element(row: string, term: string): string } => ({
  element: (row, term) => `element_${name}(batch, first + ${row}, ${row} < count, head, ${term})`,
});
/** Their columns by tokens, of all of them. */
const tokens = (name: string, column: string, gate = ''): Source => ({
  quad: (token, at) =>
    `quad_${name}(batch, first + ${token}, ${token} < count, head, ${column} + ${at})${gate && ` * gate(place, chunk, ${gate}, ${token})`}`,
});

/** Gates and matrices of each chunk. */
export const pairsKernel: Kernel = productKernel({
  name: 'delta pairs',
  block: WIDE,
  isStaged: true,
  rows: { q: 'elements', k: 'elements' },
  operands: { g: { access: 'read', rank: 3 }, beta: { access: 'read', rank: 3 }, gates: WRITE, pairs: WRITE4 },
  numbers: { ...ROUND, kinds: 'u32', scale: 'f32' },
  body: [
    functions('precise_exp'),
    roundCode,
    pairCode,
    `
var<workgroup> logs: array<f32, ${CHUNK}>;
var<workgroup> betas: array<f32, ${CHUNK}>;
// Decays, then T.
var<workgroup> square: array<f32, ${CHUNK * CHUNK}>;
var<workgroup> system: array<f32, ${CHUNK * CHUNK}>;
fn run(task: u32, lane: u32) {
  ${chunkOf()}
  let token = lane % ${CHUNK};
  if (lane < ${CHUNK}) {
    let is_token = token < count;
    let row = first + select(0, token, is_token);
    logs[token] = select(0, max(load_g(at_g(batch, row, head)), ${LEAST_LOG}.0), is_token);
    betas[token] = select(0, load_beta(at_beta(batch, row, head)), is_token);
  }
  workgroupBarrier();
  var before = 0.0;
  var between = 0.0;
  for (var i = 0u; i < ${CHUNK}; i++) {
    before += select(0, logs[i], i <= token);
    between += select(0, logs[i], i > token);
    if (i / ${CHUNK / 2} == lane / ${CHUNK}) { square[token * ${CHUNK} + i] = select(0, precise_exp(between), i >= token); }
  }
  if (lane < ${CHUNK}) {
    let at = chunk_at(place, chunk) * ${GATE_ROWS * CHUNK} + token;
    let from_start = precise_exp(before);
    let to_end = precise_exp(between);
    store_gates(at + ${GATES.one * CHUNK}, 1);
    store_gates(at + ${GATES.fromStart * CHUNK}, from_start);
    store_gates(at + ${GATES.toEnd * CHUNK}, to_end);
    store_gates(at + ${GATES.beta * CHUNK}, betas[token]);
    store_gates(at + ${GATES.write * CHUNK}, to_end * betas[token]);
    store_gates(at + ${GATES.read * CHUNK}, -from_start);
    store_gates(at + ${GATES.query * CHUNK}, numbers.scale * from_start);
  }
  ${multiplied(
    WIDE,
    true,
    'numbers.k_width',
    [ofAll('k'), { halves: [ofAll('k'), ofAll('q')] }],
    (row, column, quad) => `
    let i = ${column} % ${CHUNK};
    let at = ${row} * ${CHUNK} + i;
    let decays = vec4f(square[at], square[at + 1], square[at + 2], square[at + 3]);
    let to = pair_at(place, chunk, 0) + at;
    if (${column} >= ${CHUNK}) { store4_pairs(to + ${PAIRS.scores * CHUNK * CHUNK}, numbers.scale * decays * ${quad}, 4); }
    else {
      let later = vec4u(i) + vec4u(0, 1, 2, 3) > vec4u(${row});
      let keys = select(vec4f(), decays * ${quad}, later);
      store4_pairs(to + ${PAIRS.keys * CHUNK * CHUNK}, keys, 4);
      store4_pairs(to + ${PAIRS.decays * CHUNK * CHUNK}, decays, 4);
      for (var c = 0u; c < 4; c++) { system[at + c] = keys[c] * betas[${row}]; }
    }`,
  )}
  workgroupBarrier();
  // A column of T each, from the top.
  if (lane < ${CHUNK}) {
    for (var i = 0u; i < ${CHUNK}; i++) {
      var x = select(0.0, 1.0, i == lane);
      for (var j = 0u; j < i; j++) { x = fma(-system[j * ${CHUNK} + i], square[j * ${CHUNK} + lane], x); }
      square[i * ${CHUNK} + lane] = x;
    }
  }
  workgroupBarrier();
  for (var at = 4 * lane; at < ${CHUNK * CHUNK}; at += ${4 * LANES}) {
    let quad = vec4f(square[at], square[at + 1], square[at + 2], square[at + 3]);
    store4_pairs(pair_at(place, chunk, ${PAIRS.solve}) + at, quad, 4);
  }
}`,
  ],
});

/** How a sum reads a state: not at all, by its rows, or by its columns. */
export type StateUse = 'none' | 'rows' | 'columns';

/** Numbers of a term of `combineKernel`. */
const termNumbers = <Name extends string>(name: Name) =>
  ({
    ...u32s(`${name}_first`, `${name}_gate`, `${name}_kind`, `${name}_term`, `${name}_row`),
    [`${name}_sign`]: 'f32',
  }) as const;

/**
 * For each chunk: rows a, times a gate, times the state `shift` slots on, plus one or two matrices between its tokens times
 * rows x or z, times a gate. An operand's rows begin at its `_first`; a matrix has strides and a sign.
 */
export const combineKernel = variants(
  ({ state, isStaged }: { readonly state: StateUse; readonly isStaged: boolean }): Kernel =>
    productKernel({
      name: `delta products, state ${state}`,
      block: WIDE,
      isStaged,
      rows: { ...(state !== 'none' && { a: 'elements' }), x: 'quads', z: 'quads' },
      operands: {
        ...(state !== 'none' && { states: { access: 'read', vector: true } }),
        pairs: READ,
        gates: READ,
        out: RESULT,
      },
      numbers: {
        ...ROUND,
        ...u32s('kinds', 'width', 'out_first', 'terms'),
        ...(state !== 'none' && { ...STATES, ...u32s('shift', 'a_first', 'a_gate') }),
        ...termNumbers('x'),
        ...termNumbers('z'),
      },
      body: [
        ...[roundCode, gateCode, pairCode, state === 'none' ? '' : stateCode],
        ...[
          state === 'rows' ? stateQuads('numbers.a_width') : '',
          state === 'columns' ? stateElements('numbers.d') : '',
        ],
        `
fn run(task: u32, lane: u32) {
  ${chunkOf({ columns: 'numbers.width' })}
  let pairs = pair_at(place, chunk, 0);
  ${clear('sum', WIDE)}
  ${
    state === 'none'
      ? ''
      : `
  let state = state_at(place, chunk + numbers.shift);
  ${accumulate(
    'sum',
    WIDE,
    'numbers.a_width',
    {
      element: (row, term) =>
        `element_a(batch, numbers.a_first + chunk * ${CHUNK} + ${row}, ${row} < count, head, ${term}) * gate(place, chunk, numbers.a_gate, ${row})`,
    },
    state === 'rows'
      ? { quad: (term, column) => `state_quad(state, ${term}, first_column + ${column})` }
      : { element: (row, term) => `state_element(state, first_column + ${row}, ${term})` },
    isStaged,
  )}`
  }
  ${accumulate(
    'sum',
    WIDE,
    'numbers.terms',
    { element: (row, term) => `pair(pairs, ${row}, ${term})` },
    { quad: (term, column) => `rows_quad(${term}, batch, chunk, place, count, head, first_column + ${column})` },
    isStaged,
  )}
  ${unload(
    'sum',
    WIDE,
    isStaged,
    (row, column, quad) => `
    if (${row} < count && first_column + ${column} < numbers.width) {
      let to = at_out(batch, numbers.out_first + chunk * ${CHUNK} + ${row}, head, first_column + ${column});
      store4_out(to, ${quad}, numbers.width - first_column - ${column});
    }`,
  )}
}
/// A matrix, or two side by side, and the rows that belong to them, one below the other.
fn pair(pairs: u32, row: u32, term: u32) -> f32 {
  if (term < ${CHUNK}) {
    return numbers.x_sign * load_pairs(pairs + numbers.x_kind * ${CHUNK * CHUNK} + term * numbers.x_term + row * numbers.x_row);
  }
  let token = term - ${CHUNK};
  return numbers.z_sign * load_pairs(pairs + numbers.z_kind * ${CHUNK * CHUNK} + token * numbers.z_term + row * numbers.z_row);
}
fn rows_quad(term: u32, batch: u32, chunk: u32, place: u32, count: u32, head: u32, column: u32) -> vec4f {
  let token = term % ${CHUNK};
  let row = chunk * ${CHUNK} + token;
  if (term < ${CHUNK}) {
    return quad_x(batch, numbers.x_first + row, token < count, head, column) * gate(place, chunk, numbers.x_gate, token);
  }
  return quad_z(batch, numbers.z_first + row, token < count, head, column) * gate(place, chunk, numbers.z_gate, token);
}`,
      ],
    }),
);

/** Workgroup memory of the kernel below beside the slabs: the errors of a chunk, as terms of a product. */
const errors: Factor = (term, quad) => `errors[(${term}) * ${TILE / 4} + ${quad}]`;

/**
 * From chunk to chunk, some columns of the state: rows y = u + sign w state, then the next state = e^G_last state + (gate
 * k)^T y. In reverse, from the slot after each chunk to that before it, where what is to be added lies already.
 */
export const statesKernel = variants(
  ({ isReverse }: { readonly isReverse: boolean }): Kernel =>
    productKernel({
      name: `delta states${isReverse ? ', reverse' : ''}`,
      block: WIDE,
      isStaged: true,
      rows: { w: 'elements', u: 'quads', k: 'quads' },
      operands: { gates: READ, states: UPDATE4, y: RESULT },
      numbers: { ...ROUND, ...STATES, ...u32s('width', 'k_gate', 'y_first'), sign: 'f32' },
      body: [
        `var<workgroup> errors: array<vec4f, ${CHUNK * (TILE / 4)}>;`,
        ...[roundCode, gateCode, stateCode, stateQuads('numbers.d')],
        `
fn run(task: u32, lane: u32) {
  let across = (numbers.e + ${TILE - 1}) / ${TILE};
  let first_column = task % across * ${TILE};
  let place = task / across;
  let batch = place / numbers.h;
  let head = place % numbers.h;
  for (var turn = 0u; turn < numbers.chunks; turn++) {
    let chunk = ${isReverse ? 'numbers.chunks - 1 - turn' : 'turn'};
    let state = state_at(place, chunk${isReverse ? ' + 1' : ''});
    let next = state_at(place, chunk${isReverse ? '' : ' + 1'});
    let first = numbers.first + chunk * ${CHUNK};
    let count = count_of(chunk);
    ${clear('sum', WIDE)}
    ${accumulate(
      'sum',
      WIDE,
      'numbers.d',
      ofRound('w'),
      { quad: (term, column) => `state_quad(state, ${term}, first_column + ${column})` },
      true,
    )}
    ${unload(
      'sum',
      WIDE,
      true,
      (row, column, quad) => `
      let rest = quad_u(batch, chunk * ${CHUNK} + ${row}, ${row} < count, head, first_column + ${column});
      let error = fma(vec4f(numbers.sign), ${quad}, rest);
      errors[${row} * ${TILE / 4} + ${column} / 4] = error;
      if (${row} < count && first_column + ${column} < numbers.width) {
        let to = at_y(batch, numbers.y_first + chunk * ${CHUNK} + ${row}, head, first_column + ${column});
        store4_y(to, error, numbers.width - first_column - ${column});
      }`,
    )}
    let decay = gate(place, chunk, ${GATES.fromStart}, ${CHUNK - 1});
    for (var first_row = 0u; first_row < numbers.d; first_row += ${TILE}) {
      ${clear('added', SQUARE)}
      ${accumulate('added', SQUARE, 'count', tokens('k', 'first_row', 'numbers.k_gate'), { held: errors }, true)}
      ${unload(
        'added',
        SQUARE,
        true,
        (row, column, quad) => `
        if (first_row + ${row} < numbers.d && first_column + ${column} < numbers.e) {
          let at = (first_row + ${row}) * numbers.e + first_column + ${column};
          let added = ${quad}${isReverse ? ' + load4_states(next + at)' : ''};
          store4_states(next + at, fma(vec4f(decay), load4_states(state + at), added), 4);
        }`,
      )}
    }
    storageBarrier();
    workgroupBarrier();
  }
}`,
      ],
    }),
);

/** To each chunk's slot: (gate q)^T x, over its tokens. */
export const outerKernel = variants(
  ({ isStaged }: { readonly isStaged: boolean }): Kernel =>
    productKernel({
      name: 'delta outer products',
      block: SQUARE,
      isStaged,
      rows: { q: 'quads', x: 'quads' },
      operands: { gates: READ, states: WRITE4 },
      numbers: { ...ROUND, ...STATES, q_gate: 'u32' },
      body: [
        ...[roundCode, gateCode, stateCode],
        `
fn run(task: u32, lane: u32) {
  ${chunkOf({ columns: 'numbers.e', rows: 'numbers.d' })}
  ${multiplied(
    SQUARE,
    isStaged,
    'count',
    [tokens('q', 'first_row', 'numbers.q_gate'), tokens('x', 'first_column')],
    (row, column, quad) => `
    if (first_row + ${row} < numbers.d && first_column + ${column} < numbers.e) {
      store4_states(state_at(place, chunk) + (first_row + ${row}) * numbers.e + first_column + ${column}, ${quad}, 4);
    }`,
  )}
}`,
      ],
    }),
);

/** The gradients with respect to P and -L, times what makes them factors of keys and queries. */
export const gradPairsKernel = variants(
  ({ isStaged }: { readonly isStaged: boolean }): Kernel =>
    productKernel({
      name: 'delta gradients of pairs',
      block: WIDE,
      isStaged,
      rows: { y: 'elements', grad_out: 'elements', w: 'elements' },
      operands: { gates: READ, pairs: UPDATE4 },
      numbers: { ...ROUND, kinds: 'u32', scale: 'f32' },
      body: [
        ...[roundCode, gateCode, pairCode],
        `
fn run(task: u32, lane: u32) {
  ${chunkOf()}
  ${multiplied(
    WIDE,
    isStaged,
    'numbers.y_width',
    [ofRound('y'), { halves: [ofAll('grad_out'), ofAll('w')] }],
    (row, column, quad) => `
    let i = ${column} % ${CHUNK};
    let at = ${row} * ${CHUNK} + i;
    let decays = load4_pairs(pair_at(place, chunk, ${PAIRS.decays}) + at);
    let product = ${quad} * decays * gate(place, chunk, ${GATES.beta}, ${row});
    if (${column} < ${CHUNK}) { store4_pairs(pair_at(place, chunk, ${PAIRS.gradScores}) + at, numbers.scale * product, 4); }
    else {
      let later = vec4u(i) + vec4u(0, 1, 2, 3) > vec4u(${row});
      store4_pairs(pair_at(place, chunk, ${PAIRS.gradKeys}) + at, select(vec4f(), -product, later), 4);
    }`,
  )}
}`,
      ],
    }),
);

/** Keys' gradients as what reads and what writes by them give them, and each token's part of that by the log decays. */
export const joinKernel: Kernel = {
  name: 'delta gradients with respect to keys',
  invocations: LANES,
  operands: {
    q: ELEMENTS,
    k: ELEMENTS,
    by_q: ELEMENTS,
    reading: ELEMENTS,
    writing: ELEMENTS,
    by_k: { access: 'write', rank: 4 },
    logs: { access: 'write' },
  },
  numbers: { ...ROUND, d: 'u32' },
  body: `
var<workgroup> parts: array<f32, ${LANES}>;
${roundCode}
fn run(task: u32, lane: u32) {
  ${chunkOf()}
  let local = chunk * ${CHUNK} + lane / 2;
  let row = numbers.first + local;
  var sum = 0.0;
  if (row < numbers.n) {
    for (var c = lane % 2; c < numbers.d; c += 2) {
      let reads = load_reading(at_reading(batch, local, head, c));
      let writes = load_writing(at_writing(batch, local, head, c));
      sum = fma(load_q(at_q(batch, row, head, c)), load_by_q(at_by_q(batch, row, head, c)), sum);
      sum = fma(load_k(at_k(batch, row, head, c)), reads - writes, sum);
      store_by_k(at_by_k(batch, row, head, c), reads + writes);
    }
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (lane % 2 == 0) { store_logs(chunk_at(place, chunk) * ${CHUNK} + lane / 2, parts[lane] + parts[lane + 1]); }
}`,
};

/** Gradients with respect to the log decays, sums over all later tokens, and by the strengths. */
export const gatesKernel: Kernel = {
  name: 'delta gradients with respect to gates',
  invocations: LANES,
  operands: {
    y: ELEMENTS,
    by_write: ELEMENTS,
    logs: { access: 'read' },
    states: { access: 'read' },
    grad_states: { access: 'read' },
    by_g: { access: 'write', rank: 3 },
    by_beta: { access: 'write', rank: 3 },
  },
  numbers: { ...ROUND, ...STATES, width: 'u32' },
  body: `
var<workgroup> parts: array<f32, ${LANES}>;
var<workgroup> halves: array<f32, ${LANES}>;
${roundCode}
${stateCode}
fn run(task: u32, lane: u32) {
  ${chunkOf()}
  let local = chunk * ${CHUNK} + lane / 2;
  let row = numbers.first + local;
  let state = state_at(place, chunk + 1);
  var part = 0.0;
  for (var at = lane; at < numbers.d * numbers.e; at += ${LANES}) {
    part = fma(load_states(state + at), load_grad_states(state + at), part);
  }
  parts[lane] = part;
  var half = 0.0;
  if (row < numbers.n) {
    for (var c = lane % 2; c < numbers.width; c += 2) {
      half = fma(load_y(at_y(batch, local, head, c)), load_by_write(at_by_write(batch, local, head, c)), half);
    }
  }
  halves[lane] = half;
  workgroupBarrier();
  if (lane % 2 == 1 || row >= numbers.n) { return; }
  store_by_beta(at_by_beta(batch, row, head), halves[lane] + halves[lane + 1]);
  var sum = 0.0;
  for (var at = 0u; at < ${LANES}; at++) { sum += parts[at]; }
  for (var at = count; at > lane / 2; at--) { sum += load_logs(chunk_at(place, chunk) * ${CHUNK} + at - 1); }
  store_by_g(at_by_g(batch, row, head), sum);
}`,
};
