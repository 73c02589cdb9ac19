/** Plans of the gated delta rule's calls, for the kernels of forward.as.ts and backward.as.ts. */

import { PANEL, SLICE } from '../../runtime/cpu/params';
import {
  allContiguous,
  contiguous,
  F32,
  FLOPS_PER_MICROSECOND,
  headsOfTask,
  type Machine,
  NO_OPERAND,
  numbersOfRows,
  operand,
  operands,
  type Plan,
} from '../../runtime/cpu/plan';
import type { Tensor } from '../../tensor/tensor';
import type { GatedDeltaRuleBackwardCall, GatedDeltaRuleCall, GatedDeltaRuleInputs } from './call';
import { BackwardParams, CHUNK, ForwardParams } from './params.generated';

/** Tokens of a chunk. Short ones have less work between their tokens; long ones have fewer states to keep. */
const FORWARD_CHUNK = 24;
const BACKWARD_CHUNK = CHUNK;
/** Value columns of a head are split so that there are about so many tasks. */
const TASKS = 2;
/** The fewest slices of a part: with fewer too much of a task is the work on keys, which each part repeats. */
const LEAST_SLICES = 4;

export function planGatedDeltaRule(call: GatedDeltaRuleCall, { threads }: Machine): Plan {
  const { out, state, states, form } = call;
  const problem = problemOf(call, FORWARD_CHUNK, threads);
  const { tasks, tokens, d, e } = problem;
  const flops = form === 'chunked' ? 6 * d * e + 2 * FORWARD_CHUNK * (d + e) : 14 * d * e;
  return {
    bytes: { work: problem.workBytes },
    jobs: ({ work }) => [
      {
        phases: [{ kernel: form === 'chunked' ? 'deltaForward' : 'deltaRecurrent', tasks }],
        params: ForwardParams({ problem: problem.params(work as number), out: contiguous(out), state, states }),
        microseconds: (tokens * flops) / FLOPS_PER_MICROSECOND,
      },
    ],
  };
}

export function planGatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, { threads }: Machine): Plan {
  const { gradOut, gradState, gradStates, gradQ, gradK, gradV, gradG, gradBeta, gradInitialState, totals } = call;
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
        params: BackwardParams({
          problem: problem.params(addresses.work as number),
          states: keptOperand(addresses.states, d, width),
          errors: keptOperand(addresses.errors, chunks * BACKWARD_CHUNK, width),
          gradStates: keptOperand(addresses.gradStates, d, width),
          gradWrites: keptOperand(addresses.gradWrites, chunks * BACKWARD_CHUNK, width),
          gradOut: operand(gradOut),
          gradState: stateOperand(gradState),
          ...allContiguous({ gradQ, gradK, gradV, gradG, gradBeta }),
          gradInitialState: gradInitialState ? contiguous(gradInitialState) : { address: 0, dtype: 0 },
          byStates: gradStates,
          totals,
        }),
        microseconds: (tokens * (16 * d * e + 12 * BACKWARD_CHUNK * (d + e))) / FLOPS_PER_MICROSECOND,
      },
    ],
  };
}

function problemOf(inputs: GatedDeltaRuleInputs, length: number, threads: number) {
  const { q, k, v, g, beta, scale, initialState } = inputs;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const { every = n } = inputs;
  const e = v.shape[3] as number;
  const chunks = Math.floor(n / every) * Math.ceil(every / length) + Math.ceil((n % every) / length);
  const slices = Math.ceil(e / SLICE);
  const heads = b * h;
  const parts = Math.min(Math.ceil(slices / LEAST_SLICES), Math.ceil(TASKS / heads));
  const group = headsOfTask(heads, threads);
  const sizes = { d, e, chunks, heads, group };
  const cut = { n, h, scale, length, every, parts };
  return {
    ...sizes,
    tokens: b * n * h,
    tasks: Math.ceil(heads / group) * parts,
    workBytes: heads * slices * (Math.ceil(d / PANEL) * PANEL + length) * SLICE * 4,
    params: (work: number) => ({
      ...sizes,
      ...cut,
      ...operands({ q, k, v }),
      g: numbersOfRows(g),
      beta: numbersOfRows(beta),
      work,
      initialState: stateOperand(initialState),
    }),
  };
}

/** [b, h, d, e] as rows along d. */
function stateOperand(x: Tensor | undefined) {
  if (!x) return NO_OPERAND;
  const [batch, head, row, element] = x.strides as [number, number, number, number];
  return { ...contiguous(x), batch, row, head, element };
}

/** Working memory [.., rows, width]. */
function keptOperand(at: number | undefined, rows: number, width: number) {
  return { address: at as number, dtype: F32, batch: rows * width, row: width, head: 0, element: 1 };
}
