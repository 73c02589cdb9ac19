/** Operations whose cost does not grow with the tokens before: linear attention, the gated delta rule, decode steps. */
import { type Expected, largestOf } from '../measure/gate';
import { contiguous } from '../ops/copy';
import { gatedDeltaRule } from '../ops/gated-delta-rule';
import type { DeltaRuleForm } from '../ops/gated-delta-rule/call';
import { gatedDeltaRule as deltaReference } from '../ops/gated-delta-rule/recurrence';
import { linearAttention, linearAttentionStep } from '../ops/linear-attention';
import { linearAttention as linearReference } from '../ops/linear-attention/recurrence';
import type { Runtime } from '../runtime/runtime';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import type { Task } from './contender';
import { columnsOf, someOf } from './expected';
import type { Operation } from './operation';
import type { Inputs, Problem } from './problem';

/** Rows that the kernels take at once (runtime/wasm/linear-attention.ts). */
const CHUNK = 48;
/** Of a long result the last rows are checked too: they depend on all states before. */
const LAST_ROWS = 64;

/** Causal linear attention, each head with a decay of its own. */
export const causalLinear: Operation = {
  name: 'linear',
  // Within a chunk half the pairs are computed.
  flops: ({ n, h, d }) => n * h * (CHUNK * 2 * d + 4 * d * d),
  size: ({ n, h, d }) => n * h * d,
  bytes: ({ n, h, d }) => 4 * (4 * n * h * d + h * d * d),
  expected: (problem, inputs) =>
    rowsOfHeads(problem, (head, heads) => {
      const { n, d } = problem;
      const [q, k, v] = headsOf(problem, inputs, head, heads);
      const decay = decaysOf(problem).slice(head, head + heads);
      const [shape, causal] = [[1, n, heads, d], true];
      return linearReference({
        q: hostTensor(q, shape),
        k: hostTensor(k, shape),
        v: hostTensor(v, shape),
        decay,
        causal,
      }).out.data;
    }),
  open(runtime, { problem, inputs }) {
    const { q, k, v, out, state } = operandsOf(runtime, { problem, inputs });
    const decay = decaysOf(problem);
    return {
      call: (control) => void linearAttention(q, k, v, { causal: true, decay, out, state, ...control }),
      result: () => out.read() as Promise<Float32Array>,
      tensors: [q, k, v, out, state],
    };
  },
};

/** The gated delta rule with keys of norm 1. */
export function deltaRule(form: DeltaRuleForm): Operation {
  return {
    name: `delta-${form}`,
    // Of the recurrence: reading the state at k and at q, and adding to it.
    flops: ({ n, h, d }) => 6 * n * h * d * d,
    size: ({ n, h, d }) => n * h * d,
    bytes: ({ n, h, d }) => 4 * (4 * n * h * d + 2 * n * h + h * d * d),
    expected: (problem, inputs) =>
      rowsOfHeads(problem, (head, heads) => {
        const { n, h, d } = problem;
        const { k: keys, g, beta } = deltaTokens(problem, inputs);
        const [q, k, v] = headsOf(problem, { ...inputs, k: keys }, head, heads).map((x) =>
          hostTensor(x, [1, n, heads, d]),
        ) as [Rows, Rows, Rows];
        const [decays, rates] = [g, beta].map((x) => hostTensor(columnsOf(x, h, head, heads), [1, n, heads]));
        return deltaReference({ q, k, v, g: decays as Rows, beta: rates as Rows }, 1 / Math.sqrt(d)).out.data;
      }),
    open(runtime, { problem, inputs }) {
      const { n, h } = problem;
      const tokens = deltaTokens(problem, inputs);
      const { q, k, v, out, state } = operandsOf(runtime, { problem, inputs: { ...inputs, k: tokens.k } });
      const [g, beta] = [tokens.g, tokens.beta].map((x) => runtime.tensor(x, [1, n, h])) as [Tensor, Tensor];
      return {
        call: (control) => void gatedDeltaRule(q, k, v, g, beta, { form, out, state, ...control }),
        result: () => out.read() as Promise<Float32Array>,
        tensors: [q, k, v, g, beta, out, state],
      };
    },
  };
}

/** One token of causal linear attention, whose state is updated where it lies: n = 1. */
export const decodeStep: Operation = {
  name: 'step',
  flops: () => 0,
  size: ({ h, d }) => h * d + h * d * d,
  bytes: ({ h, d }) => 4 * (4 * h * d + h * d * d),
  expected(problem, { q, k, v }) {
    const { h, d } = problem;
    const [shape, causal, decay] = [[1, 1, h, d], true, decaysOf(problem)];
    const state = hostTensor(stateOf(problem), [1, h, d, d]);
    const tokens = { q: hostTensor(q, shape), k: hostTensor(k, shape), v: hostTensor(v, shape) };
    const expected = linearReference({ ...tokens, state, decay, causal });
    return [
      { known: [{ at: 0, numbers: expected.out.data }], ...scaleOf(expected.out.data, 'result') },
      { known: [{ at: h * d, numbers: expected.state.data }], ...scaleOf(expected.state.data, 'state') },
    ];
  },
  open(runtime, task) {
    const { q, k, v, out, state } = operandsOf(runtime, task);
    const decay = decaysOf(task.problem);
    using given = runtime.tensor(stateOf(task.problem), state.shape);
    contiguous(given, { out: state });
    return {
      call: (control) => void linearAttentionStep(q, k, v, state, { decay, inPlace: true, out, ...control }),
      async result() {
        const joined = new Float32Array(out.size + state.size);
        joined.set(await out.read());
        joined.set(await state.read(), out.size);
        return joined;
      },
      tensors: [q, k, v, out, state],
    };
  },
};

/** A copy of as many bytes as the state has: it reads and writes what a decode step must. */
export const stateCopy: Operation = {
  name: 'copy',
  flops: () => 0,
  size: ({ h, d }) => h * d * d,
  bytes: ({ h, d }) => 2 * 4 * h * d * d,
  expected(problem) {
    const numbers = Float64Array.from(stateOf(problem));
    return [{ known: [{ at: 0, numbers }], ...scaleOf(numbers, 'state') }];
  },
  open(runtime, { problem }) {
    const { h, d } = problem;
    const from = runtime.tensor(stateOf(problem), [1, h, d, d]);
    const to = runtime.empty([1, h, d, d]);
    return {
      call: () => void contiguous(from, { out: to }),
      result: () => to.read() as Promise<Float32Array>,
      tensors: [from, to],
    };
  },
};

type Rows = ReturnType<typeof hostTensor>;

function operandsOf(runtime: Runtime, { problem, inputs }: Task) {
  const { n, h, d } = problem;
  const rows = (numbers: Float32Array) => runtime.tensor(numbers, [1, n, h, d]);
  return {
    q: rows(inputs.q),
    k: rows(inputs.k),
    v: rows(inputs.v),
    // Not a number until a kernel writes it: nothing left over from elsewhere can pass the gate.
    out: rows(new Float32Array(n * h * d).fill(Number.NaN)),
    state: runtime.tensor(new Float32Array(h * d * d).fill(Number.NaN), [1, h, d, d]),
  };
}

/** Slopes as in ALiBi: half of what is e^-1 away after 2 tokens to 256, by head. */
function decaysOf({ h }: Problem): number[] {
  return Array.from({ length: h }, (_, head) => Math.exp(-(2 ** ((-8 * (head + 1)) / h))));
}

function stateOf({ h, d }: Problem): Float32Array {
  return normal(h * d * d, 5);
}

/** Keys of norm 1, logarithms of decays and writing strengths. */
function deltaTokens({ n, h, d }: Problem, inputs: Inputs): Record<'k' | 'g' | 'beta', Float32Array> {
  const k = inputs.k.slice();
  for (let at = 0; at < k.length; at += d) {
    const row = k.subarray(at, at + d);
    const norm = Math.hypot(...row);
    row.forEach((x, c) => {
      row[c] = x / norm;
    });
  }
  return {
    k,
    g: normal(n * h, 5).map((x) => -0.05 * Math.abs(x)),
    beta: normal(n * h, 6).map((x) => 1 / (1 + Math.exp(-x))),
  };
}

/** q, k and v of `heads` heads from `head` on. */
function headsOf({ h, d }: Problem, { q, k, v }: Inputs, head: number, heads: number) {
  return [q, k, v].map((x) => columnsOf(x, h * d, head * d, heads * d)) as [Float32Array, Float32Array, Float32Array];
}

/**
 * Of results [n, h, d] whose rows depend on all before: of few rows all, of many some and the last ones, of the last
 * head, which forgets least. `compute` gives [n, heads, d] for heads from `head` on, in float64.
 */
function rowsOfHeads(
  { n, h, d }: Problem,
  compute: (head: number, heads: number) => ArrayLike<number>,
): readonly Expected[] {
  const some = someOf(n);
  const [head, heads] = some.length === n ? [0, h] : [h - 1, 1];
  const numbers = Float64Array.from(compute(head, heads));
  const last = Array.from({ length: Math.min(n, LAST_ROWS) }, (_, at) => n - 1 - at);
  const known = [...new Set([...some, ...last])].map((row) => ({
    at: (row * h + head) * d,
    numbers: numbers.subarray(row * heads * d, (row + 1) * heads * d),
  }));
  return [{ known, ...scaleOf(numbers, 'result') }];
}

function scaleOf(numbers: Float64Array, what: string): Pick<Expected, 'largest' | 'of'> {
  return { largest: largestOf(numbers), of: `largest |${what}|` };
}
