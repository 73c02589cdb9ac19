/** Linear attention's small kernels: one decoded token, and what the gradients need beside the passes. */

import { type Dispatch, type Kernel, type Region, variants } from '../../../runtime/webgpu/kernel';
import type { Workspace } from '../../../runtime/webgpu/plan';
import { sizeOf } from '../../../tensor/shape';
import type { LinearAttentionBackwardCall, LinearAttentionStepCall } from '../call';

const INVOCATIONS = 64;

const quotientsKernel: Kernel = {
  name: 'linear quotients',
  invocations: INVOCATIONS,
  operands: {
    out: { access: 'read', rank: 4 },
    grad: { access: 'read', rank: 4 },
    denominator: { access: 'read' },
    result: { access: 'write' },
  },
  numbers: { n: 'u32', h: 'u32', e: 'u32', rows: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let row = task * ${INVOCATIONS} + lane;
  if (row >= numbers.rows) { return; }
  let head = row % numbers.h;
  let i = row / numbers.h % numbers.n;
  let batch = row / numbers.h / numbers.n;
  let denominator = load_denominator(row);
  let to = row * (numbers.e + 1);
  var sum = 0.0;
  for (var c = 0u; c < numbers.e; c++) {
    let x = load_grad(at_grad(batch, i, head, c)) / denominator;
    store_result(to + c, x);
    sum = fma(x, load_out(at_out(batch, i, head, c)), sum);
  }
  store_result(to + numbers.e, -sum);
}`,
};

/** Gradients [b,n,h,e + 1] by what is above and below the fractions of normalised outputs. */
export function quotients(
  { out, denominator }: NonNullable<LinearAttentionBackwardCall['normalised']>,
  grad: Region,
  result: Region,
): Dispatch {
  const [b, n, h, e] = out.shape as [number, number, number, number];
  const rows = b * n * h;
  return {
    kernel: quotientsKernel,
    operands: { out, grad, denominator, result },
    numbers: { n, h, e, rows },
    tasks: Math.ceil(rows / INVOCATIONS),
    operations: 4 * rows * e,
  };
}

const headSumsKernel: Kernel = {
  name: 'sums of heads',
  invocations: INVOCATIONS,
  operands: { x: { access: 'read' }, out: { access: 'write' } },
  numbers: { size: 'u32', columns: 'u32', repeats: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let at = task * ${INVOCATIONS} + lane;
  if (at >= numbers.size) { return; }
  let source = at / numbers.columns * numbers.repeats * numbers.columns + at % numbers.columns;
  var sum = 0.0;
  for (var head = 0u; head < numbers.repeats; head++) { sum += load_x(source + head * numbers.columns); }
  store_out(at, sum);
}`,
};

/** Sums over the heads that share one: [b,m,h,columns] to [b,m,g,columns]. */
export function headSums(x: Region, out: Region): Dispatch {
  const [, , g, columns] = out.shape as [number, number, number, number];
  const size = sizeOf(out.shape);
  return {
    kernel: headSumsKernel,
    operands: { x, out },
    numbers: { size, columns, repeats: (x.shape[2] as number) / g },
    tasks: Math.ceil(size / INVOCATIONS),
    operations: sizeOf(x.shape),
  };
}

const STEP_SHAPE = { h: 'u32', d: 'u32', k_heads: 'u32' } as const;

/** A head's sum of keys after a token, and the denominator from it. */
const stepSumsKernel = variants(
  ({ isInPlace }: { readonly isInPlace: boolean }): Kernel => ({
    name: 'linear step, sums',
    invocations: INVOCATIONS,
    operands: {
      q: { access: 'read', rank: 4 },
      k: { access: 'read', rank: 4 },
      decay: { access: 'read' },
      ...(isInPlace ? { sums: { access: 'update' } } : { sums: { access: 'read' }, next: { access: 'write' } }),
      denominator: { access: 'write' },
    },
    numbers: { ...STEP_SHAPE, epsilon: 'f32' },
    body: `
var<workgroup> parts: array<f32, ${INVOCATIONS}>;
fn run(task: u32, lane: u32) {
  let batch = task / numbers.h;
  let head = task % numbers.h;
  var part = 0.0;
  for (var r = lane; r < numbers.d; r += ${INVOCATIONS}) {
    let key = load_k(at_k(batch, 0, head * numbers.k_heads / numbers.h, r));
    let sum = fma(load_decay(head), load_sums(task * numbers.d + r), key);
    store_${isInPlace ? 'sums' : 'next'}(task * numbers.d + r, sum);
    part = fma(load_q(at_q(batch, 0, head, r)), sum, part);
  }
  parts[lane] = part;
  workgroupBarrier();
  if (lane > 0) { return; }
  var denominator = numbers.epsilon;
  for (var at = 0u; at < ${INVOCATIONS}; at++) { denominator += parts[at]; }
  store_denominator(task, denominator);
}`,
  }),
);

/** Columns of a state that a workgroup takes, four to an invocation, and the groups its rows are dealt to. */
const STEP_COLUMNS = 64;
const STEP_QUADS = STEP_COLUMNS / 4;
const STEP_GROUPS = 8;

/** Some columns of a head's state after a token, and the token's outputs in them. */
const stepKernel = variants(
  ({ isInPlace, normalised }: Readonly<Record<'isInPlace' | 'normalised', boolean>>): Kernel => ({
    name: 'linear step',
    invocations: STEP_QUADS * STEP_GROUPS,
    alike: true,
    operands: {
      ...{
        q: { access: 'read', rank: 4 },
        k: { access: 'read', rank: 4 },
        v: { access: 'read', rank: 4, vector: true },
      },
      decay: { access: 'read' },
      ...(isInPlace
        ? { state: { access: 'update', rank: 4, vector: true } }
        : { state: { access: 'read', rank: 4, vector: true }, next: { access: 'write', rank: 4, vector: true } }),
      ...(normalised && { denominator: { access: 'read' } }),
      out: { access: 'write', rank: 4, vector: true },
    },
    numbers: { ...STEP_SHAPE, e: 'u32', v_heads: 'u32' },
    body: `
var<workgroup> parts: array<vec4f, ${STEP_QUADS * STEP_GROUPS}>;
fn run(task: u32, lane: u32) {
  let across = (numbers.e + ${STEP_COLUMNS - 1}) / ${STEP_COLUMNS};
  let place = task / across;
  let batch = place / numbers.h;
  let head = place % numbers.h;
  let k_head = head * numbers.k_heads / numbers.h;
  let column = task % across * ${STEP_COLUMNS} + lane % ${STEP_QUADS} * 4;
  let decay = load_decay(head);
  var part = vec4f();
  if (column < numbers.e) {
    let value = load4_v(at_v(batch, 0, head * numbers.v_heads / numbers.h, column));
    for (var r = lane / ${STEP_QUADS}; r < numbers.d; r += ${STEP_GROUPS}) {
      let at = at_state(batch, head, r, column);
      let state = fma(vec4f(load_k(at_k(batch, 0, k_head, r))), value, decay * load4_state(at));
      store4_${isInPlace ? 'state' : 'next'}(at, state, numbers.e - column);
      part = fma(vec4f(load_q(at_q(batch, 0, head, r))), state, part);
    }
  }
  parts[lane] = part;
  workgroupBarrier();
  if (lane >= ${STEP_QUADS} || column >= numbers.e) { return; }
  for (var group = 1u; group < ${STEP_GROUPS}; group++) { part += parts[lane + group * ${STEP_QUADS}]; }
  ${normalised ? 'part /= load_denominator(place);' : ''}
  store4_out(at_out(batch, 0, head, column), part, numbers.e - column);
}`,
  }),
);

/** One token: the states after it, and its outputs. */
export function stepDispatches(
  { q, k, v, out, initial, final, decay, epsilon, denominator }: LinearAttentionStepCall,
  workspace: Workspace,
): Dispatch[] {
  const [b, h, d, e] = initial.state.shape as [number, number, number, number];
  const [k_heads, v_heads] = [k.shape[2] as number, v.shape[2] as number];
  const decays = workspace.upload(Float32Array.from(decay));
  const normaliser = initial.keySum &&
    final.keySum &&
    epsilon !== undefined &&
    denominator && { sums: initial.keySum, next: final.keySum, epsilon, denominator };
  const dispatches: Dispatch[] = [];
  if (normaliser) {
    const { sums, next, denominator } = normaliser;
    const isInPlace = isSame(sums, next);
    dispatches.push({
      kernel: stepSumsKernel({ isInPlace }),
      operands: { q, k, decay: decays, sums, ...(!isInPlace && { next }), denominator },
      numbers: { h, d, k_heads, epsilon: normaliser.epsilon },
      tasks: b * h,
      operations: 4 * b * h * d,
    });
  }
  const isInPlace = isSame(initial.state, final.state);
  const across = Math.ceil(e / STEP_COLUMNS);
  dispatches.push({
    kernel: stepKernel({ isInPlace, normalised: normaliser !== undefined }),
    operands: {
      q,
      k,
      v,
      decay: decays,
      state: initial.state,
      ...(!isInPlace && { next: final.state }),
      out,
      ...(normaliser && { denominator: normaliser.denominator }),
    },
    numbers: { h, d, e, k_heads, v_heads },
    tasks: b * h * across,
    operations: 5 * b * h * d * e,
  });
  return dispatches;
}

const isSame = (a: Region, b: Region) => a.storage.buffer === b.storage.buffer && a.offset === b.offset;
