/**
 * The gated delta rule on the GPU, by chunks of tokens in rounds of at most `MOST_PLACES` chunks, so that what is kept of
 * them is little however long the sequence is. Backward, the state before each round is kept, and what a round needs is
 * computed again, from the last round to the first (passes.ts). With Z = P^T dO, w the gradient with respect to what is
 * written, times beta, dS and dS' those by the states before and after a chunk:
 *
 *   w = T^T beta Z + (T^T beta e^(G_last - G) K) dS', dS = e^G_last dS' + (scale e^G Q)^T dO - (e^G K)^T w;
 *   dV = w, dq = scale e^G dO S^T + N k, read = -e^G w S^T + M k, write = e^(G_last - G) beta y dS'^T + M^T k + N^T q;
 *   dk = read + write, dG = q dq + k (read - write), dbeta = y (Z + e^(G_last - G) K dS' - L^T w).
 */

import type { Dispatch, Region } from '../../../runtime/webgpu/kernel';
import { rowsDispatch } from '../../../runtime/webgpu/kernels/block-product';
import type { Plan, Workspace } from '../../../runtime/webgpu/plan';
import type { GatedDeltaRuleBackwardCall, GatedDeltaRuleCall, GatedDeltaRuleInputs } from '../call';
import {
  BACKWARD_PAIRS,
  CHUNK,
  combineKernel,
  FORWARD_PAIRS,
  GATE_ROWS,
  GATES,
  gatesKernel,
  gradPairsKernel,
  joinKernel,
  outerKernel,
  PAIRS,
  pairsKernel,
  statesKernel,
  TILE,
} from './passes';
import { addStates, copyStates, recurrent, statesBefore } from './small';

/** States of a head that are kept at once. */
const MOST_PLACES = 128;
/** The most bytes of a round's states, and of whatever else it keeps, if one chunk for each head takes less. */
const ROUND_BYTES = 2 ** 26;

export function planGatedDeltaRule(call: GatedDeltaRuleCall, workspace: Workspace): Plan {
  const { q, out, state, states: wanted, form } = call;
  if (form === 'recurrent') return { dispatches: recurrent(call) };
  const problem = problemOf(call, FORWARD_PAIRS, workspace);
  const { rounds, states, errors, e, every } = problem;
  return {
    dispatches: rounds.flatMap((round, at) => [
      opened(problem, rounds[at - 1]),
      ...(wanted && round.first % every === 0
        ? [copyStates(slot(problem, states, 0, e), statesBefore(wanted, round.first, every))]
        : []),
      ...statesOf(problem, round),
      combine(problem, round, {
        state: { use: 'rows', states, shift: 0, rows: q, first: round.first, gate: 'query' },
        terms: [{ pairs: 'scores', rows: errors, first: 0, gate: 'beta' }],
        out,
        first: round.first,
      }),
      ...(round.isLast ? [copyStates(slot(problem, states, round.chunks, e), state)] : []),
    ]),
  };
}

export function planGatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, workspace: Workspace): Plan {
  const { gradState, gradStates: given, gradInitialState, totals } = call;
  const problem = problemOf(call, BACKWARD_PAIRS, workspace);
  const { b, h, d, e, rounds, states, made, places, every } = problem;
  const gradStates = workspace.scratch(states.shape);
  const gradients = {
    states: gradStates,
    gradWrites: made(e),
    reading: made(d),
    writing: made(d),
    logs: workspace.scratch([b * h, places, CHUNK]),
  };
  // The states before rounds.
  const kept = rounds.map(() => workspace.scratch([b, h, d, e]));
  const forwards = rounds.flatMap((round, at) => [
    opened(problem, rounds[at - 1]),
    copyStates(slot(problem, states, 0, e), kept[at] as Region),
    ...statesOf(problem, round),
  ]);
  const backwards = rounds.map((round, at) => [
    // The last round's are there still.
    ...(round.isLast ? [] : [copyStates(kept[at], slot(problem, states, 0)), ...statesOf(problem, round)]),
    copyStates(round.isLast ? gradState : slot(problem, gradStates, 0), slot(problem, gradStates, round.chunks)),
    ...gradientsOf(problem, round, call, gradients),
    ...(given && round.first % every === 0
      ? [addStates(statesBefore(given, round.first, every), slot(problem, gradStates, 0))]
      : []),
    ...(totals && round.first % every === 0
      ? [copyStates(slot(problem, gradStates, 0, e), statesBefore(totals, round.first, every))]
      : []),
  ]);
  const initial = gradInitialState ? [copyStates(slot(problem, gradStates, 0, e), gradInitialState)] : [];
  return { dispatches: [...forwards, ...backwards.reverse().flat(), ...initial] };
}

/** A call's extents, and the memory that all its rounds use. */
interface Problem extends GatedDeltaRuleInputs {
  readonly b: number;
  readonly n: number;
  readonly h: number;
  readonly d: number;
  readonly e: number;
  readonly every: number;
  readonly places: number;
  readonly rounds: readonly Round[];
  /** Whether factors go through workgroup memory. */
  readonly isStaged: boolean;
  /** Matrices of a chunk. */
  readonly kinds: number;
  /** [heads, places + 1, d, e up to a multiple of 4]. */
  readonly states: Region;
  readonly gates: Region;
  readonly pairs: Region;
  /** Rows of a round: the errors, and what they and their gradients are made of. */
  readonly errors: Region;
  readonly factors: Region;
  readonly rests: Region;
  /** Memory for the rows of a round, [b, tokens, h, columns]. */
  made(columns: number): Region;
}

interface Round {
  /** Its first token. */
  readonly first: number;
  readonly chunks: number;
  /** Where its last chunk ends, at the latest. */
  readonly past: number;
  readonly isLast: boolean;
}

function problemOf(inputs: GatedDeltaRuleInputs, kinds: number, workspace: Workspace): Problem {
  const [b, n, h, d] = inputs.q.shape as [number, number, number, number];
  const e = inputs.v.shape[3] as number;
  const every = Math.min(n, inputs.every ?? n);
  const wide = Math.ceil(e / 4) * 4;
  const heads = b * h;
  const chunks = Math.ceil(every / CHUNK);
  const largest = Math.max(d * wide, kinds * CHUNK ** 2, CHUNK * Math.max(d, e));
  const most = Math.max(1, Math.min(MOST_PLACES, Math.floor(ROUND_BYTES / (heads * largest * 4))));
  const places = Math.min(chunks, most);
  const rounds: Round[] = [];
  for (let first = 0; first < n; ) {
    const past = Math.min(n, first - (first % every) + every, first + places * CHUNK);
    rounds.push({ first, past, chunks: Math.ceil((past - first) / CHUNK), isLast: past === n });
    first = past;
  }
  const made = (columns: number) => workspace.scratch([b, places * CHUNK, h, columns]);
  return {
    ...inputs,
    b,
    n,
    h,
    d,
    e,
    every,
    places,
    rounds,
    kinds,
    made,
    isStaged: !workspace.device.isSoftware,
    states: workspace.scratch([heads, places + 1, d, wide]),
    gates: workspace.scratch([heads, places, GATE_ROWS, CHUNK]),
    pairs: workspace.scratch([heads, places, kinds, CHUNK, CHUNK]),
    errors: made(e),
    factors: made(d),
    rests: made(e),
  };
}

/** The states in one slot, [b,h,d,columns]; without `columns` with those to spare. */
function slot({ b, h, d, places }: Problem, states: Region, at: number, columns = states.shape[3] as number): Region {
  const wide = states.shape[3] as number;
  const head = (places + 1) * d * wide;
  return { ...states, shape: [b, h, d, columns], strides: [h * head, head, wide, 1], offset: at * d * wide };
}

/** The state before a round, from the end of the last one, to the first slot. */
function opened(problem: Problem, last: Round | undefined): Dispatch {
  const { states, initialState } = problem;
  return copyStates(last ? slot(problem, states, last.chunks) : initialState, slot(problem, states, 0));
}

const roundNumbers = ({ h, places, kinds, d, states, scale }: Problem, { first, past, chunks }: Round) => ({
  n: past,
  h,
  first,
  chunks,
  places,
  kinds,
  d,
  e: states.shape[3] as number,
  scale,
});

/** From the state in the round's first slot: gates, matrices, errors, and the states in the other slots. */
function statesOf(problem: Problem, round: Round): Dispatch[] {
  const { q, k, v, g, beta, b, h, d, e, gates, pairs, factors, rests, errors, states } = problem;
  const numbers = roundNumbers(problem, round);
  const tasks = b * h * round.chunks;
  const { first } = round;
  return [
    rowsDispatch({
      kernel: pairsKernel,
      operands: { q, k, g, beta, gates, pairs },
      numbers: { ...numbers },
      tasks,
      operations: tasks * CHUNK ** 2 * (4 * d + 2 * CHUNK),
    }),
    combine(problem, round, { terms: [{ pairs: 'solve', rows: k, first, gate: 'fromStart' }], out: factors, first: 0 }),
    combine(problem, round, { terms: [{ pairs: 'solve', rows: v, first, gate: 'one' }], out: rests, first: 0 }),
    rowsDispatch({
      kernel: statesKernel({ isReverse: false }),
      operands: { w: factors, u: rests, k, gates, states, y: errors },
      numbers: {
        ...numbers,
        width: e,
        sign: -1,
        k_gate: GATES.write,
        y_first: 0,
      },
      ...sequential(problem, round),
    }),
  ];
}

interface Gradients {
  readonly states: Region;
  readonly gradWrites: Region;
  readonly reading: Region;
  readonly writing: Region;
  readonly logs: Region;
}

/**
 * All gradients of a round, from the states in its slots and from the gradient with respect to the last of them in the
 * last.
 */
function gradientsOf(
  problem: Problem,
  round: Round,
  { gradOut, gradQ, gradK, gradV, gradG, gradBeta }: GatedDeltaRuleBackwardCall,
  { states: gradStates, gradWrites, reading, writing, logs }: Gradients,
): Dispatch[] {
  const { q, k, b, h, d, e, gates, pairs, factors, rests, errors, states, isStaged } = problem;
  const numbers = roundNumbers(problem, round);
  const tasks = b * h * round.chunks;
  const { first } = round;
  const outs = { rows: gradOut, first };
  const keys = { rows: k, first };
  const writes = { rows: gradV, first };
  return [
    combine(problem, round, {
      terms: [{ ...outs, pairs: 'scores', isTransposed: true, gate: 'one' }],
      out: gradWrites,
      first: 0,
    }),
    combine(problem, round, {
      terms: [{ pairs: 'solve', isTransposed: true, rows: gradWrites, first: 0, gate: 'beta' }],
      out: rests,
      first: 0,
    }),
    combine(problem, round, {
      terms: [{ ...keys, pairs: 'solve', isTransposed: true, gate: 'write' }],
      out: factors,
      first: 0,
    }),
    rowsDispatch({
      kernel: outerKernel({ isStaged }),
      operands: { q, x: gradOut, gates, states: gradStates },
      numbers: { ...numbers, q_gate: GATES.query },
      tasks: tasks * tilesOf(d) * tilesOf(e),
      operations: 2 * tasks * tilesOf(d) * tilesOf(e) * TILE ** 2 * CHUNK,
    }),
    rowsDispatch({
      kernel: statesKernel({ isReverse: true }),
      operands: { w: factors, u: rests, k, gates, states: gradStates, y: gradV },
      numbers: {
        ...numbers,
        width: e,
        sign: 1,
        k_gate: GATES.read,
        y_first: first,
      },
      ...sequential(problem, round),
    }),
    rowsDispatch({
      kernel: gradPairsKernel({ isStaged }),
      operands: { y: errors, grad_out: gradOut, w: gradV, gates, pairs },
      numbers: { ...numbers },
      tasks,
      operations: 4 * tasks * CHUNK ** 2 * e,
    }),
    combine(problem, round, {
      state: { ...outs, use: 'columns', states, shift: 0, gate: 'query' },
      terms: [{ ...keys, pairs: 'gradScores', gate: 'one' }],
      out: gradQ,
      first,
    }),
    combine(problem, round, {
      state: { ...writes, use: 'columns', states, shift: 0, gate: 'read' },
      terms: [{ ...keys, pairs: 'gradKeys', gate: 'one' }],
      out: reading,
      first: 0,
    }),
    combine(problem, round, {
      state: { rows: errors, first: 0, use: 'columns', states: gradStates, shift: 1, gate: 'write' },
      terms: [
        { ...keys, pairs: 'gradKeys', isTransposed: true, gate: 'one' },
        { rows: q, first, pairs: 'gradScores', isTransposed: true, gate: 'one' },
      ],
      out: writing,
      first: 0,
    }),
    combine(problem, round, {
      state: { ...keys, use: 'rows', states: gradStates, shift: 1, gate: 'toEnd' },
      terms: [
        { ...outs, pairs: 'scores', isTransposed: true, gate: 'one' },
        { ...writes, pairs: 'keys', isTransposed: true, sign: -1, gate: 'one' },
      ],
      out: gradWrites,
      first: 0,
    }),
    {
      kernel: joinKernel,
      operands: { q, k, by_q: gradQ, reading, writing, by_k: gradK, logs },
      numbers,
      tasks,
      operations: 6 * tasks * CHUNK * d,
    },
    {
      kernel: gatesKernel,
      operands: {
        y: errors,
        by_write: gradWrites,
        logs,
        states,
        grad_states: gradStates,
        by_g: gradG,
        by_beta: gradBeta,
      },
      numbers: { ...numbers, width: e },
      tasks,
      operations: 2 * tasks * (d * e + CHUNK * e),
    },
  ];
}

/** Rows of a round or, from its first token on, of the whole sequence, times a gate. */
interface Rows {
  readonly rows: Region;
  readonly first: number;
  readonly gate: keyof typeof GATES;
}

interface Combination {
  readonly state?: Rows & { readonly use: 'rows' | 'columns'; readonly states: Region; readonly shift: 0 | 1 };
  /** One or two: a matrix, perhaps transposed, times rows. */
  readonly terms: readonly (Rows & {
    readonly pairs: keyof typeof PAIRS;
    readonly isTransposed?: boolean;
    readonly sign?: number;
  })[];
  readonly out: Region;
  /** The row of `out` that is the round's first. */
  readonly first: number;
}

function combine(problem: Problem, round: Round, { state, terms, out, first }: Combination): Dispatch {
  const { b, h, d, e, pairs, gates, isStaged } = problem;
  const width = out.shape[3] as number;
  const [x, z = x] = terms as [Combination['terms'][number], Combination['terms'][number]?];
  const tasks = b * h * round.chunks * tilesOf(width);
  return rowsDispatch({
    kernel: combineKernel({ state: state?.use ?? 'none', isStaged }),
    operands: { ...(state && { a: state.rows, states: state.states }), pairs, x: x.rows, z: z.rows, gates, out },
    numbers: {
      ...roundNumbers(problem, round),
      width,
      out_first: first,
      terms: terms.length * CHUNK,
      ...(state && {
        shift: state.shift,
        a_first: state.first,
        a_gate: GATES[state.gate],
      }),
      ...termNumbers('x', x),
      ...termNumbers('z', z),
    },
    tasks,
    operations: 2 * tasks * CHUNK * TILE * ((state?.use === 'rows' ? d : state ? e : 0) + CHUNK * terms.length),
  });
}

function termNumbers(
  name: string,
  { first, gate, pairs, isTransposed = false, sign = 1 }: Combination['terms'][number],
) {
  // T lies by rows, the others by columns.
  const [term, row] = (pairs === 'solve') !== isTransposed ? [1, CHUNK] : [CHUNK, 1];
  const numbers = { first, gate: GATES[gate], kind: PAIRS[pairs], sign, term, row };
  return Object.fromEntries(Object.entries(numbers).map(([what, value]) => [`${name}_${what}`, value]));
}

function sequential({ b, h, d, states }: Problem, { chunks }: Round): Pick<Dispatch, 'tasks' | 'operations'> {
  const tasks = b * h * tilesOf(states.shape[3] as number);
  return { tasks, operations: 4 * tasks * chunks * CHUNK * TILE * d };
}

const tilesOf = (columns: number) => Math.ceil(columns / TILE);
