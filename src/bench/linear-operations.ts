/** Operations whose cost per token does not depend on earlier tokens: linear attention, the gated delta rule, decode steps. */
import { type Expected, largestOf } from '../measure/gate';
import { contiguous } from '../ops/copy';
import { gatedDeltaRule } from '../ops/gated-delta-rule';
import type { DeltaRuleForm } from '../ops/gated-delta-rule/call';
import { linearAttention, linearAttentionStep } from '../ops/linear-attention';
import { linearAttention as linearReference } from '../ops/linear-attention/recurrence';
import type { Runtime } from '../runtime/runtime';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { known, someOf } from './expected';
import { joined, onReference, tensorOperation, unwritten } from './operation';
import type { Operation, Problem, Task } from './problem';

/** Rows that the kernels take at once (runtime/wasm/linear-attention.ts). */
const CHUNK = 48;
/** In a long result the last rows are checked too: they depend on all states before. */
const LAST_ROWS = 64;

/** Causal linear attention with a decay for each head. */
export const causalLinear = tensorOperation({
  name: 'linear',
  // Within a chunk half the pairs are computed.
  flops: ({ n, h, d }) => n * h * (CHUNK * 2 * d + 4 * d * d),
  bytes: ({ n, h, d }) => 4 * (4 * n * h * d + h * d * d),
  expected: (problem, inputs) =>
    expectedHeads({ problem, inputs }, tokensOf, ({ q, k, v }, first, past) =>
      linearAttention(q, k, v, { causal: true, decay: decaysOf(problem).slice(first, past) }),
    ),
  outputs: ({ n, h, d }) => ({ out: [1, n, h, d] }),
  operands: (runtime, task) => ({
    ...tokensOf(runtime, task),
    state: stateFor(runtime, task.problem),
    decay: decaysOf(task.problem),
  }),
  run: ({ q, k, v, decay, out, state }, control) =>
    linearAttention(q, k, v, { causal: true, decay, out, state, ...control }),
});

/** The gated delta rule with keys of norm 1. */
export function deltaRule(form: DeltaRuleForm): Operation {
  return tensorOperation({
    name: `delta-${form}`,
    // Those of the recurrence: reading the state at k and at q, and adding to it.
    flops: ({ n, h, d }) => 6 * n * h * d * d,
    bytes: ({ n, h, d }) => 4 * (4 * n * h * d + 2 * n * h + h * d * d),
    expected: (problem, inputs) =>
      expectedHeads({ problem, inputs }, deltaTokensOf, ({ q, k, v, g, beta }) => gatedDeltaRule(q, k, v, g, beta)),
    outputs: ({ n, h, d }) => ({ out: [1, n, h, d] }),
    operands: (runtime, task) => ({ ...deltaTokensOf(runtime, task), state: stateFor(runtime, task.problem) }),
    run: ({ q, k, v, g, beta, out, state }, control) =>
      gatedDeltaRule(q, k, v, g, beta, { form, out, state, ...control }),
  });
}

/** One token (n = 1) of causal linear attention, whose state is updated in place. */
export const decodeStep: Operation = {
  name: 'step',
  flops: () => 0,
  size: ({ h, d }) => h * d + h * d * d,
  bytes: ({ h, d }) => 4 * (4 * h * d + h * d * d),
  expected(problem, { q, k, v }) {
    const { h, d } = problem;
    const token = (x: Float32Array) => hostTensor(x, [1, 1, h, d]);
    const state = hostTensor(stateOf(problem), [1, h, d, d]);
    const settings = { state, decay: decaysOf(problem), causal: true };
    const after = linearReference({ q: token(q), k: token(k), v: token(v), ...settings });
    return [known(after.out.data, 'largest result'), known(after.state.data, 'largest state', h * d)];
  },
  open(runtime, task) {
    const { h, d } = task.problem;
    const { q, k, v } = tokensOf(runtime, task);
    const out = unwritten(runtime, [1, 1, h, d]);
    const state = runtime.tensor(stateOf(task.problem), [1, h, d, d]);
    const decay = decaysOf(task.problem);
    return {
      call: (control) => void linearAttentionStep(q, k, v, state, { decay, inPlace: true, out, ...control }),
      result: () => joined([out, state]),
      tensors: [q, k, v, out, state],
    };
  },
};

/** A copy of the state: it reads and writes the bytes that a decode step must. */
export const stateCopy = tensorOperation({
  name: 'copy',
  bytes: ({ h, d }) => 2 * 4 * h * d * d,
  outputs: ({ h, d }) => ({ out: [1, h, d, d] }),
  operands: (runtime, { problem }) => ({
    state: runtime.tensor(stateOf(problem), [1, problem.h, problem.d, problem.d]),
  }),
  run: ({ state, out }) => contiguous(state, { out }),
});

function tokensOf(runtime: Runtime, { problem: { n, h, d }, inputs }: Task): Record<'q' | 'k' | 'v', Tensor> {
  const rows = (numbers: Float32Array) => runtime.tensor(numbers, [1, n, h, d]);
  return { q: rows(inputs.q), k: rows(inputs.k), v: rows(inputs.v) };
}

/** Keys of norm 1, logarithms of decays and writing strengths. */
function deltaTokensOf(runtime: Runtime, task: Task): Record<'q' | 'k' | 'v' | 'g' | 'beta', Tensor> {
  const { n, h, d } = task.problem;
  const k = task.inputs.k.slice();
  for (let at = 0; at < k.length; at += d) {
    const row = k.subarray(at, at + d);
    const norm = Math.hypot(...row);
    row.forEach((x, c) => {
      row[c] = x / norm;
    });
  }
  const gates = (seed: number, of: (x: number) => number) => runtime.tensor(normal(n * h, seed).map(of), [1, n, h]);
  return {
    ...tokensOf(runtime, { ...task, inputs: { ...task.inputs, k } }),
    g: gates(5, (x) => -0.05 * Math.abs(x)),
    beta: gates(6, (x) => 1 / (1 + Math.exp(-x))),
  };
}

/** Decays from ALiBi's slopes: by head, contributions fall to 1 / e after 2 to 256 tokens. */
const decaysOf = ({ h }: Pick<Problem, 'h'>): number[] =>
  Array.from({ length: h }, (_, head) => Math.exp(-(2 ** ((-8 * (head + 1)) / h))));

const stateOf = ({ h, d }: Problem): Float32Array => normal(h * d * d, 5);
const stateFor = (runtime: Runtime, { h, d }: Problem): Tensor<'f32'> => unwritten(runtime, [1, h, d, d]);

/**
 * Some rows of a result [1, n, h, d], where each depends on all before: all rows if there are few; else some, and the last
 * ones, of the last head, which forgets least. `compute` gets the tokens of the heads from `first` to before `past`.
 */
async function expectedHeads<Tokens extends Record<string, Tensor>>(
  task: Task,
  tokensOf: (runtime: Runtime, task: Task) => Tokens,
  compute: (tokens: Tokens, first: number, past: number) => { readonly out: Tensor },
): Promise<readonly Expected[]> {
  const { n, h, d } = task.problem;
  const some = someOf(n);
  const first = some.length === n ? 0 : h - 1;
  const numbers = await onReference((runtime) => {
    const heads = Object.entries(tokensOf(runtime, task)).map(([name, x]) => [name, x.slice(2, first, h)]);
    return compute(Object.fromEntries(heads) as Tokens, first, h).out;
  });
  const last = Array.from({ length: Math.min(n, LAST_ROWS) }, (_, at) => n - 1 - at);
  const width = (h - first) * d;
  const rows = [...new Set([...some, ...last])].map((row) => ({
    at: (row * h + first) * d,
    numbers: numbers.subarray(row * width, (row + 1) * width),
  }));
  return [{ known: rows, largest: largestOf(numbers), of: 'largest result' }];
}
