/**
 * The delta rule over chunks of which some are not kept. All tokens of a chunk start from the state before it; the state
 * behind it is that of a second pass in which the tokens of chunks that go to softmax attention write nothing. So the
 * states before all chunks come first, and then all chunks are computed side by side.
 */

import { concat, contiguous, pad } from '../../../ops/copy';
import { zeros } from '../../../ops/float32';
import { gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule';
import { add } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { controlOf } from '../../../runtime/guard';
import { withDerivative } from '../../../tape';
import type { Shape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { Problem } from './problem';

export interface DeltaInputs {
  /** [b, n, h, d] and [b, n, h, e]. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** [b, n, h]. */
  readonly g: Tensor;
  readonly beta: Tensor;
  /** [b, c, h]: 1 for the chunks that are kept, 0 for those that go to softmax attention. */
  readonly kept: Tensor;
}

export interface DeltaSettings {
  readonly problem: Problem;
  /** Whether the state decays over chunks that are not kept. */
  readonly forget: boolean;
  /** Whether chunks that are not kept have a gradient with respect to their choice, too. */
  readonly counterfactual: boolean;
  readonly control: Control;
}

/** Chunks that the forward pass computes side by side, which bounds the states that it holds. */
const SIDE_BY_SIDE = 32;

/**
 * [b, n, h, e]. Its gradient with respect to `kept` is that of what a chunk writes to the state, times a choice, which no tape
 * would find.
 */
export function deltaRule({ q, k, v, g, beta, kept }: DeltaInputs, settings: DeltaSettings): Tensor {
  return withDerivative(
    (...[q, k, v, g, beta, kept]: Tensor[]) => deltaForward({ q, k, v, g, beta, kept } as DeltaInputs, settings).out,
    ({ inputs: [q, k, v, g, beta, kept], gradients }) =>
      deltaBackward({ q, k, v, g, beta, kept } as DeltaInputs, gradients as Tensor, settings),
  )(q, k, v, g, beta, kept);
}

/** Behind the state `before`, by default none: the result, and the state behind the last whole chunk. */
export function deltaForward(
  inputs: DeltaInputs,
  settings: DeltaSettings,
  before?: Tensor,
): { readonly out: Tensor; readonly state: Tensor | undefined } {
  const { problem, control } = settings;
  const { b, n, h, d, e, chunk, chunks } = problem;
  // Queries are the root of d as long.
  const scale = 1 / d;
  const { runtime } = inputs.q;
  if (n < chunk) {
    const { q, k, v, g, beta } = inputs;
    const { out } = gatedDeltaRule(q, k, v, g, beta, { scale, initialState: before, ...control });
    return { out, state: before };
  }
  const tokens = withGates(padded(inputs, problem), settings);
  const groups = Math.ceil(chunks / SIDE_BY_SIDE);
  const parts: Tensor<'f32'>[] = [];
  let last = before;
  for (let group = 0; group < groups; group++) {
    const [first, past] = [group * SIDE_BY_SIDE, Math.min(chunks, (group + 1) * SIDE_BY_SIDE)];
    const made = runtime.scope(() => {
      const part = mapped(tokens, (x) => x.slice(1, first * chunk, past * chunk));
      const { states, state } = statesOf(part, problem, last);
      const { q, k, v, g, beta } = mapped(part, (x) => sideBySide(x, problem));
      const initialState = asBatches(states, problem);
      const { out } = gatedDeltaRule(q, k, v, g, beta, { scale, initialState, ...controlOf(control, group, groups) });
      const isOpen = past * chunk > n;
      const closed = isOpen ? contiguous(states.slice(1, past - first - 1, past - first)).reshape(state.shape) : state;
      return { out: out.reshape([b, (past - first) * chunk, h, e]) as Tensor<'f32'>, state: closed };
    });
    last = made.state;
    parts.push(made.out);
  }
  return { out: firstTokens(parts.length > 1 ? concat(parts, 1) : (parts[0] as Tensor<'f32'>), n), state: last };
}

/** With respect to the inputs, in their order. */
function deltaBackward(inputs: DeltaInputs, gradOut: Tensor, settings: DeltaSettings): Tensor[] {
  const { problem, forget } = settings;
  const { b, n, h, d, e, chunk, chunks } = problem;
  const tokens = withGates(padded({ ...inputs, gradOut }, problem), settings);
  const { states } = statesOf(tokens, problem);
  const all = mapped(tokens, (x) => sideBySide(x, problem));
  const within = gatedDeltaRuleBackward(
    ...([all.q, all.k, all.v, all.g, all.beta, { gradOut: all.gradOut }] as const),
    { scale: 1 / d, initialState: asBatches(states, problem) },
  );
  // Gradients of the states through later chunks.
  const gradStates = (within.gradInitialState as Tensor).reshape(states.shape);
  const nothing = states.runtime.tensor([0], []).expand(tokens.v.shape);
  const { k, v, keptG, keptBeta } = tokens;
  const through = gatedDeltaRuleBackward(...([k, k, v, keptG, keptBeta, { gradOut: nothing, gradStates }] as const), {
    every: chunk,
  });
  const kept = perChunk(inputs.kept, problem);
  const total = (name: 'gradK' | 'gradV' | 'gradG' | 'gradBeta', row: Shape, isKept = false) => {
    const [own, others] = [within[name], through[name]].map((x) => x.reshape([b, chunks, chunk, ...row])) as [
      Tensor,
      Tensor,
    ];
    const sums = isKept ? map((own, others, kept) => own + others * kept, own, others, kept) : add(own, others);
    return firstTokens(sums.reshape([b, chunks * chunk, ...row]), n);
  };
  return [
    firstTokens(within.gradQ.reshape([b, chunks * chunk, h, d]), n),
    total('gradK', [h, d]),
    total('gradV', [h, e]),
    total('gradG', [h], !forget),
    total('gradBeta', [h], true),
    choiceGradients(all, states, through.gradStates as Tensor, inputs.kept, settings),
  ];
}

/**
 * For each head of each chunk the sum of the gradient with respect to the state behind it times what the chunk writes, which
 * is the state in which it ends, were it kept, less the decayed one before: [b, c, h], 0 for the last.
 */
function choiceGradients(
  { k, v, g, beta }: Omit<DeltaInputs, 'kept'>,
  states: Tensor,
  gradStates: Tensor,
  kept: Tensor,
  { problem, forget, counterfactual }: DeltaSettings,
): Tensor {
  const { b, h, chunk, chunks } = problem;
  if (chunks === 1) return zeros(k.runtime, kept.shape);
  const first = (x: Tensor) => x.slice(1, 0, chunks - 1);
  const next = (x: Tensor) => x.slice(1, 1, chunks);
  // Where a chunk is kept, the state behind it is that in which it ends.
  const ends = counterfactual
    ? first(gatedDeltaRule(k, k, v, g, beta, { initialState: asBatches(states, problem) }).state.reshape(states.shape))
    : next(states);
  const logs = forget ? sum(g.reshape([b, chunks, chunk, h]), { axes: [2] }) : zeros(k.runtime, [b, chunks, h]);
  const products = map(
    (end, start, log, gradient) => (end - Math.exp(log) * start) * gradient,
    ...[ends, first(states), first(logs).reshape([b, chunks - 1, h, 1, 1]), next(gradStates)],
  );
  const slopes = pad(sum(products, { axes: [3, 4] }), [none, [0, 1], none]);
  return counterfactual ? slopes : map((slope, kept) => slope * kept, slopes, kept);
}

type Tokens = Omit<DeltaInputs, 'kept'> & Readonly<Record<'keptG' | 'keptBeta', Tensor>>;

/** The states before chunks [b, c, h, d, e], and behind the last, of the pass in which only those kept write. */
function statesOf({ k, v, keptG, keptBeta }: Tokens, { chunk }: Problem, initialState?: Tensor) {
  const { states, state } = gatedDeltaRule(k, k, v, keptG, keptBeta, { every: chunk, initialState });
  return { states: states as Tensor, state };
}

/** Those of chunks as those of as many batches. */
const asBatches = (states: Tensor, { h, d, e }: Problem) => states.reshape([-1, h, d, e]);

/** With g and beta of the pass in which chunks that are not kept write nothing; chunks are whole. */
function withGates<Inputs extends DeltaInputs>({ kept, ...tokens }: Inputs, { problem, forget }: DeltaSettings) {
  const { b, h, chunk, chunks } = problem;
  const times = (x: Tensor) =>
    map((x, kept) => x * kept, x.reshape([b, chunks, chunk, h]), perChunk(kept, problem)).reshape(x.shape);
  return { ...tokens, keptG: forget ? tokens.g : times(tokens.g), keptBeta: times(tokens.beta) };
}

/** A number for each chunk, for all of its tokens. */
const perChunk = (x: Tensor, { b, h, chunks }: Problem) => x.reshape([b, chunks, 1, h]);

/** Chunks of tokens as batches of their own. */
function sideBySide(x: Tensor, { chunk }: Problem): Tensor {
  return inOrder(x).reshape([-1, chunk, ...x.shape.slice(2)]);
}

/** With tokens behind the last that write and read nothing, so that all chunks are whole. */
function padded<Inputs extends DeltaInputs>(inputs: Inputs, { n, chunk, chunks }: Problem): Inputs {
  if (n === chunks * chunk) return inputs;
  const { kept, ...tokens } = inputs;
  const behind = (x: Tensor) => pad(x, [none, [0, chunks * chunk - n], ...x.shape.slice(2).map(() => none)]);
  return { ...mapped(tokens as Readonly<Record<string, Tensor>>, behind), kept } as Inputs;
}

const none: [number, number] = [0, 0];

const firstTokens = (x: Tensor, n: number) => inOrder(x.slice(1, 0, n)) as Tensor<'f32'>;

/** Copied only where it must be. */
const inOrder = (x: Tensor) => (x.isContiguous ? x : contiguous(x));

/** Each of these tensors by a function of it. */
export function mapped<Name extends string>(
  tensors: { readonly [Key in Name]?: Tensor | undefined },
  of: (x: Tensor, name: Name) => Tensor,
) {
  const entries = Object.entries<Tensor | undefined>(tensors) as [Name, Tensor | undefined][];
  return Object.fromEntries(entries.flatMap(([name, x]) => (x ? [[name, of(x, name)]] : []))) as Record<Name, Tensor>;
}
