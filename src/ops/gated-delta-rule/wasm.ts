/** Plans of the gated delta rule's calls, for the kernels of forward.as.ts and backward.as.ts. */

import {
  address,
  DTYPE_CODES,
  FLOPS_PER_MICROSECOND,
  headsOfTask,
  type Machine,
  operand,
  type Plan,
} from '../../runtime/wasm/plan';
import type { Tensor } from '../../tensor/tensor';
import type { GatedDeltaRuleBackwardCall, GatedDeltaRuleCall, GatedDeltaRuleInputs } from './call';

/** Tokens of a chunk. Short ones have less work between their tokens; long ones have fewer states to keep. */
const FORWARD_CHUNK = 24;
const BACKWARD_CHUNK = 48;
/** As layout.as.ts has them. */
const SLICE = 8;
const PANEL = 6;
/** Value columns of a head are split so that there are about so many tasks. */
const TASKS = 2;
/** Of a part of the value columns: with fewer slices too much of a task is the work on keys, which each part repeats. */
const LEAST_SLICES = 4;

export function planGatedDeltaRule(call: GatedDeltaRuleCall, { threads }: Machine): Plan {
  const { initialState, out, state, form } = call;
  const problem = problemOf(call, FORWARD_CHUNK, threads);
  const { tasks, tokens, d, e } = problem;
  const flops = form === 'chunked' ? 6 * d * e + 2 * FORWARD_CHUNK * (d + e) : 14 * d * e;
  return {
    bytes: { work: problem.workBytes },
    jobs: ({ work }) => [
      {
        phases: [{ kernel: form === 'chunked' ? 'deltaForward' : 'deltaRecurrent', tasks }],
        params: [...problem.params(work as number, initialState), ...place(out), address(state)],
        microseconds: (tokens * flops) / FLOPS_PER_MICROSECOND,
      },
    ],
  };
}

export function planGatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, { threads }: Machine): Plan {
  const { initialState, gradOut, gradState, gradQ, gradK, gradV, gradG, gradBeta, gradInitialState } = call;
  const problem = problemOf(call, BACKWARD_CHUNK, threads);
  const { heads, group, chunks, tasks, tokens, d, e } = problem;
  const width = Math.ceil(e / SLICE) * SLICE;
  const states = heads * (chunks + 1) * d * width * 4;
  const errors = heads * chunks * BACKWARD_CHUNK * width * 4;
  return {
    bytes: { work: problem.workBytes, states, errors, gradStates: states, gradWrites: errors },
    jobs: (addresses) => [
      {
        phases: [
          { kernel: 'deltaStates', tasks },
          { kernel: 'deltaReverse', tasks },
          { kernel: 'deltaGradients', tasks: Math.ceil(heads / group) * chunks },
        ],
        params: [
          ...problem.params(addresses.work as number, initialState),
          ...keptOperand(addresses.states, d, width),
          ...keptOperand(addresses.errors, chunks * BACKWARD_CHUNK, width),
          ...keptOperand(addresses.gradStates, d, width),
          ...keptOperand(addresses.gradWrites, chunks * BACKWARD_CHUNK, width),
          ...operand(gradOut),
          ...(gradState ? stateOperand(gradState) : NONE),
          ...[gradQ, gradK, gradV, gradG, gradBeta].flatMap(place),
          ...(gradInitialState ? place(gradInitialState) : [0, 0]),
        ],
        microseconds: (tokens * (16 * d * e + 12 * BACKWARD_CHUNK * (d + e))) / FLOPS_PER_MICROSECOND,
      },
    ],
  };
}

function problemOf({ q, k, v, g, beta, scale }: GatedDeltaRuleInputs, length: number, threads: number) {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const e = v.shape[3] as number;
  const chunks = Math.ceil(n / length);
  const slices = Math.ceil(e / SLICE);
  const heads = b * h;
  const parts = Math.min(Math.ceil(slices / LEAST_SLICES), Math.ceil(TASKS / heads));
  const group = headsOfTask(heads, threads);
  return {
    ...{ d, e, chunks, heads, group },
    tokens: b * n * h,
    tasks: Math.ceil(heads / group) * parts,
    workBytes: heads * slices * (Math.ceil(d / PANEL) * PANEL + length) * SLICE * 4,
    params: (work: number, state: Tensor | undefined) => [
      ...[n, h, d, e, scale, chunks, length, heads, group, parts, work],
      ...[q, k, v].flatMap(operand),
      ...[g, beta].flatMap((x) => gateOperand(x)),
      ...(state ? stateOperand(state) : NONE),
    ],
  };
}

/** A contiguous result: where it lies and what it holds. */
function place(x: Tensor): [address: number, dtype: number] {
  return [address(x), DTYPE_CODES[x.dtype] as number];
}

/** [b, n, h] as rows of one element. */
function gateOperand(x: Tensor): number[] {
  const [batch, row, head] = x.strides as [number, number, number];
  return [...place(x), batch, row, head, 1];
}

/** [b, h, d, e] as rows along d. */
function stateOperand(x: Tensor): number[] {
  const [batch, head, row, element] = x.strides as [number, number, number, number];
  return [...place(x), batch, row, head, element];
}

/** Working memory [.., rows, width]. */
function keptOperand(at: number | undefined, rows: number, width: number): number[] {
  return [at as number, 0, rows * width, width, 0, 1];
}

const NONE = [0, 0, 0, 0, 0, 0];
