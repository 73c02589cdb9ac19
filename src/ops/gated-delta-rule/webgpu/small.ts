/** The gated delta rule's small kernels: states copied from place to place, and the rule token by token. */

import { type Dispatch, type Kernel, type Region, variants } from '../../../runtime/webgpu/kernel';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import type { GatedDeltaRuleCall } from '../call';

const INVOCATIONS = 64;

const copyKernel = variants(
  ({ what }: { readonly what: 'zeros' | 'copy' | 'add' }): Kernel => ({
    name: `delta ${what}`,
    invocations: INVOCATIONS,
    operands: {
      ...(what !== 'zeros' && { x: { access: 'read', rank: 4 } }),
      out: { access: what === 'add' ? 'update' : 'write', rank: 4 },
    },
    numbers: { h: 'u32', d: 'u32', e: 'u32', own: 'u32', size: 'u32' },
    body: `
fn run(task: u32, lane: u32) {
  let at = task * ${INVOCATIONS} + lane;
  if (at >= numbers.size) { return; }
  let column = at % numbers.e;
  let row = at / numbers.e % numbers.d;
  let place = at / numbers.e / numbers.d;
  let batch = place / numbers.h;
  let head = place % numbers.h;
  ${what === 'zeros' ? 'let x = 0.0;' : 'let x = select(0.0, load_x(at_x(batch, head, row, min(column, numbers.own - 1))), column < numbers.own);'}
  let to = at_out(batch, head, row, column);
  store_out(to, ${what === 'add' ? 'load_out(to) + x' : 'x'});
}`,
  }),
);

/** States [b,h,d,columns] of any strides, zeros if undefined, to such of perhaps more columns, zeros, or fewer. */
export function copyStates(x: Region | undefined, out: Region): Dispatch {
  return onStates(x ? 'copy' : 'zeros', x, out);
}

/** Adds states to such of perhaps more columns. */
export function addStates(x: Region, out: Region): Dispatch {
  return onStates('add', x, out);
}

/** The states before the token, [b,h,d,e], among [b,t,h,d,e]. */
export function statesBefore({ storage, dtype, shape, offset }: Region, token: number, every: number): Region {
  const [b, times, h, d, e] = shape as [number, number, number, number, number];
  const strides = [times * h * d * e, d * e, e, 1];
  return { storage, dtype, shape: [b, h, d, e], strides, offset: offset + (token / every) * h * d * e };
}

function onStates(what: 'zeros' | 'copy' | 'add', x: Region | undefined, out: Region): Dispatch {
  const [b, h, d, e] = out.shape as [number, number, number, number];
  const size = b * h * d * e;
  return {
    kernel: copyKernel({ what }),
    operands: { ...(x && { x }), out },
    numbers: { h, d, e, own: x ? (x.shape[3] as number) : e, size },
    tasks: Math.ceil(size / INVOCATIONS),
    operations: size,
  };
}

/** Columns of a state that a workgroup takes, four to an invocation, and the groups its rows are dealt to. */
const COLUMNS = 64;
const QUADS = COLUMNS / 4;
const GROUPS = 8;

/** Tokens of a dispatch. */
const PART = 1024;

const recurrentKernel = variants(
  ({ isStated }: { readonly isStated: boolean }): Kernel => ({
    name: 'delta rule, recurrent',
    invocations: QUADS * GROUPS,
    alike: true,
    operands: {
      ...{
        q: { access: 'read', rank: 4 },
        k: { access: 'read', rank: 4 },
        v: { access: 'read', rank: 4, vector: true },
      },
      g: { access: 'read', rank: 3 },
      beta: { access: 'read', rank: 3 },
      ...(isStated && { initial: { access: 'read', rank: 4, vector: true } }),
      state: { access: 'update', rank: 4, vector: true },
      out: { access: 'write', rank: 4, vector: true },
    },
    numbers: { first: 'u32', past: 'u32', h: 'u32', d: 'u32', e: 'u32', scale: 'f32' },
    body: `
${functions('precise_exp')}
var<workgroup> known: array<vec4f, ${QUADS * GROUPS}>;
var<workgroup> results: array<vec4f, ${QUADS * GROUPS}>;
fn run(task: u32, lane: u32) {
  let across = (numbers.e + ${COLUMNS - 1}) / ${COLUMNS};
  let place = task / across;
  let batch = place / numbers.h;
  let head = place % numbers.h;
  let column = task % across * ${COLUMNS} + lane % ${QUADS} * 4;
  let is_column = column < numbers.e;
  for (var token = numbers.first; token < numbers.past; token++) {
    let decay = precise_exp(max(load_g(at_g(batch, token, head)), -1000.0));
    var part = vec4f();
    for (var r = lane / ${QUADS}; is_column && r < numbers.d; r += ${GROUPS}) {
      part = fma(vec4f(load_k(at_k(batch, token, head, r))), before(batch, head, token, r, column), part);
    }
    known[lane] = part;
    workgroupBarrier();
    part = vec4f();
    for (var group = 0u; group < ${GROUPS}; group++) { part += known[lane % ${QUADS} + group * ${QUADS}]; }
    var result = vec4f();
    if (is_column) {
      let value = load4_v(at_v(batch, token, head, column));
      let written = load_beta(at_beta(batch, token, head)) * (value - decay * part);
      for (var r = lane / ${QUADS}; r < numbers.d; r += ${GROUPS}) {
        let key = load_k(at_k(batch, token, head, r));
        let state = fma(vec4f(key), written, decay * before(batch, head, token, r, column));
        store4_state(at_state(batch, head, r, column), state, numbers.e - column);
        result = fma(vec4f(load_q(at_q(batch, token, head, r))), state, result);
      }
    }
    results[lane] = result;
    workgroupBarrier();
    if (lane < ${QUADS} && is_column) {
      result = vec4f();
      for (var group = 0u; group < ${GROUPS}; group++) { result += results[lane + group * ${QUADS}]; }
      store4_out(at_out(batch, token, head, column), numbers.scale * result, numbers.e - column);
    }
  }
}
/// Four columns of the state before a token; what lies past the row is arbitrary.
fn before(batch: u32, head: u32, token: u32, row: u32, column: u32) -> vec4f {
  if (token == 0) { return ${isStated ? 'load4_initial(at_initial(batch, head, row, column))' : 'vec4f()'}; }
  return load4_state(at_state(batch, head, row, column));
}`,
  }),
);

/** Results and last state, token by token; in parts of the tokens, since no task can be cut. */
export function recurrent(call: GatedDeltaRuleCall): Dispatch[] {
  const { q, k, v, g, beta, initialState, out, state, states, scale } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const e = v.shape[3] as number;
  const { every = n } = call;
  const dispatches: Dispatch[] = [];
  for (let first = 0, past: number; first < n; first = past) {
    const isBefore = first % every === 0;
    past = Math.min(n, first + PART, first - (first % every) + every);
    if (states && isBefore)
      dispatches.push(copyStates(first === 0 ? initialState : state, statesBefore(states, first, every)));
    dispatches.push({
      kernel: recurrentKernel({ isStated: initialState !== undefined }),
      operands: { q, k, v, g, beta, ...(initialState && { initial: initialState }), state, out },
      numbers: { first, past, h, d, e, scale },
      tasks: b * h * Math.ceil(e / COLUMNS),
      operations: 10 * b * (past - first) * h * d * e,
    });
  }
  return dispatches;
}
