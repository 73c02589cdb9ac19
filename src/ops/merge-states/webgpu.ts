/** States of parts to the state of all, and the gradients. */
import { flat, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from '../../runtime/webgpu/kernels/vectors';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { EXPONENTIALS } from '../reduce/webgpu';
import type { MergeBackwardCall, MergeCall, State } from './reference';

/** Parts of a dispatch: no device has fewer than eight bindings. */
const LSES = 6;
const OUTS = 3;

/** e^(lse - shift) over the sum, 0 for parts that saw no key. */
const WEIGHT = `
fn weight(lse: f32, shift: f32, sum: f32) -> f32 {
  return select(precise_exp(lse - shift) / sum, 0.0, bitcast<u32>(lse) == 0xff800000);
}`;

interface Group {
  readonly count: number;
  /** Whether it begins, or goes on from what others left. */
  readonly isFirst: boolean;
}

const of = (count: number, text: (part: number) => string, between: string) =>
  Array.from({ length: count }, (_, part) => text(part)).join(between);
const operandsOf = <Spec>(count: number, name: string, spec: Spec) =>
  Object.fromEntries(Array.from({ length: count }, (_, part) => [`${name}${part}`, spec]));

/** Sums of exponentials after a shift, from which weights add up to 1 whatever is lost in their logarithm. */
const sumKernel = variants(
  ({ count, isFirst }: Group): Kernel => ({
    name: 'log-sum-exps of states',
    invocations: VECTOR_INVOCATIONS,
    operands: {
      sums: { access: isFirst ? 'write' : 'update' },
      lse: { access: 'write' },
      ...operandsOf(count, 'lse', { access: 'read' }),
    },
    numbers: { rows: 'u32' },
    body: `
${functions('precise_exp', 'precise_log')}${EXPONENTIALS}
fn run(task: u32, lane: u32) {
  let row = task * ${VECTOR_INVOCATIONS} + lane;
  if (row >= numbers.rows) { return; }
  var state = ${isFirst ? 'vec2u(bitcast<u32>(-LARGEST), 0)' : 'bitcast<vec2u>(vec2f(load_sums(2 * row), load_sums(2 * row + 1)))'};
  ${of(count, (part) => `state = sum_of_exponentials(state, exponential_of(load_lse${part}(row)));`, '\n  ')}
  let sum = bitcast<vec2f>(state);
  store_sums(2 * row, sum.x);
  store_sums(2 * row + 1, sum.y);
  store_lse(row, sum.x + precise_log(sum.y));
}`,
  }),
);

const outKernel = variants(
  ({ count, isFirst }: Group): Kernel => ({
    name: 'states by their shares',
    invocations: VECTOR_INVOCATIONS,
    operands: {
      out: isFirst ? WRITE : { access: 'update', vector: true },
      sums: { access: 'read' },
      ...operandsOf(count, 'out', READ),
      ...operandsOf(count, 'lse', { access: 'read' }),
    },
    numbers: { size: 'u32', columns: 'u32' },
    body: `
${functions('precise_exp')}${WEIGHT}
${of(
  count,
  (part) => `
fn weight${part}(i: u32) -> f32 {
  let row = i / numbers.columns;
  return weight(load_lse${part}(row), load_sums(2 * row), load_sums(2 * row + 1));
}
fn added${part}(i: u32) -> vec4f {
  let weights = select(
    vec4f(weight${part}(i), weight${part}(i + 1), weight${part}(i + 2), weight${part}(i + 3)),
    vec4f(weight${part}(i)),
    numbers.columns % 4 == 0);
  return select(load4_out${part}(i) * weights, vec4f(0.0), weights == vec4f(0.0));
}`,
  '',
)}
${overVectors(`store4_out(i, ${isFirst ? '' : 'load4_out(i) + '}${of(count, (part) => `added${part}(i)`, ' + ')}, numbers.size - i);`)}`,
  }),
);

/** The groups in which parts go. */
const groupsOf = (parts: readonly State[], most: number) =>
  Array.from({ length: Math.ceil(parts.length / most) }, (_, at) => parts.slice(at * most, (at + 1) * most));

const regionsOf = (parts: readonly State[], name: 'out' | 'lse') =>
  Object.fromEntries(parts.map((part, at) => [`${name}${at}`, flat(part[name])]));

export function planMergeStates(call: MergeCall, workspace: Workspace): Plan {
  const [out, lse] = [flat(call.out), flat(call.lse)];
  const [size, rows] = [call.out.size, call.lse.size];
  const sums = workspace.scratch([2 * rows]);
  return {
    dispatches: [
      ...groupsOf(call.parts, LSES).map((parts, at) => ({
        kernel: sumKernel({ count: parts.length, isFirst: at === 0 }),
        operands: { sums, lse, ...regionsOf(parts, 'lse') },
        numbers: { rows },
        tasks: Math.ceil(rows / VECTOR_INVOCATIONS),
        operations: 20 * rows * parts.length,
      })),
      ...groupsOf(call.parts, OUTS).map((parts, at) => ({
        kernel: outKernel({ count: parts.length, isFirst: at === 0 }),
        operands: { out, sums, ...regionsOf(parts, 'out'), ...regionsOf(parts, 'lse') },
        numbers: { size, columns: size / rows },
        tasks: vectorTasks(size),
        operations: 8 * size * parts.length,
      })),
    ],
  };
}

interface Given {
  readonly hasOut: boolean;
  readonly hasLse: boolean;
  readonly team: Team;
}

const backwardKernel = variants(
  ({ hasOut, hasLse, team }: Given): Kernel =>
    rowKernel({
      name: 'gradient of merged states',
      team,
      operands: {
        own: READ,
        ownLse: { access: 'read' },
        lse: { access: 'read' },
        ...(hasOut && { out: READ, gradOut: READ }),
        ...(hasLse && { gradLse: { access: 'read' } }),
        ownGradOut: WRITE,
        ownGradLse: { access: 'write' },
      },
      needs: ['precise_exp'],
      head: WEIGHT,
      each: (over) => `
  let share = weight(load_ownLse(row), load_lse(row), 1.0);
  var inner = vec2f(0.0);
  ${over(
    hasOut
      ? `let grad = load4_gradOut(i);
    inner.x += total(kept(grad * (load4_own(i) - load4_out(i)), count, 0.0));
    store4_ownGradOut(i, select(grad * share, vec4f(0.0), vec4<bool>(share == 0.0)), count);`
      : 'store4_ownGradOut(i, vec4f(0.0), count);',
  )}
  inner = sum_of(inner);
  let grad = share * (inner.x${hasLse ? ' + load_gradLse(row)' : ''});
  if (member == 0) { store_ownGradLse(row, select(grad, 0.0, share == 0.0)); }`,
    }),
);

export function planMergeStatesBackward(call: MergeBackwardCall, workspace: Workspace): Plan {
  const { parts, out, lse, gradOut, gradLse, gradients } = call;
  const given = {
    lse: flat(lse),
    ...(gradOut && { out, gradOut }),
    ...(gradLse && { gradLse: flat(gradLse) }),
  };
  const kernelFor = (team: Team) => backwardKernel({ hasOut: !!gradOut, hasLse: !!gradLse, team });
  return {
    dispatches: parts.map((part, at) => {
      const grads = gradients[at] as State;
      const operands: Record<string, Region> = {
        own: part.out,
        ownLse: flat(part.lse),
        ...given,
        ownGradOut: grads.out,
        ownGradLse: flat(grads.lse),
      };
      return overRows(kernelFor, out.size / lse.size, operands, {}, workspace);
    }),
  };
}
