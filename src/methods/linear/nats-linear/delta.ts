/**
 * The delta rule over chunks of which some are not kept. All tokens of a chunk start from the state before it; the state
 * behind it is that of a second pass in which the tokens of chunks that go to softmax attention write nothing. So the
 * states before all chunks come first, one after the other, and then all chunks are computed side by side.
 */

import { concat, contiguous } from '../../../ops/copy';
import { gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule';
import { add, exp, multiply, subtract } from '../../../ops/map';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import type { Runtime } from '../../../runtime/runtime';
import { controlOf } from '../../../runtime/turns';
import { type Shape, sizeOf } from '../../../tensor/shape';
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
}

export interface DeltaSettings {
  readonly problem: Problem;
  readonly scale: number;
  /** Whether the state decays over chunks that are not kept. */
  readonly forget: boolean;
  /** [b, c, h]: 1 for the chunks that are kept, 0 for those that go to softmax attention. */
  readonly kept: Tensor<'f32'>;
}

/** Chunks that the forward pass computes side by side, which bounds the states that it holds. */
const SIDE_BY_SIDE = 32;

/** [b, n, h, e]. */
export function deltaForward(
  inputs: DeltaInputs,
  settings: DeltaSettings,
  { signal, onProgress }: Control = {},
): Tensor<'f32'> {
  const { problem, scale } = settings;
  const { b, n, h, d, e, chunk, chunks } = problem;
  const { runtime } = inputs.q;
  return runtime.scope(() => {
    const tokens = padded(withGates(inputs, settings), problem);
    const groups = Math.ceil(chunks / SIDE_BY_SIDE);
    const parts: Tensor<'f32'>[] = [];
    let before: Tensor = zeros(runtime, [b, h, d, e]);
    for (let group = 0; group < groups; group++) {
      const [first, past] = [group * SIDE_BY_SIDE, Math.min(chunks, (group + 1) * SIDE_BY_SIDE)];
      const made = runtime.scope(() => {
        const states = [before];
        for (let t = first; t < Math.min(past, chunks - 1); t++)
          states.push(keptState(tokens, problem, t, states.at(-1) as Tensor, { signal }));
        const { q, k, v, g, beta } = sideBySide(tokens, problem, first, past);
        const initialState = joined(states.slice(0, past - first));
        const control = controlOf({ signal, onProgress }, group, groups);
        const { out } = gatedDeltaRule(q, k, v, g, beta, { scale, initialState, ...control });
        return { out: out.reshape([b, (past - first) * chunk, h, e]) as Tensor<'f32'>, state: states.at(-1) as Tensor };
      });
      before = made.state;
      parts.push(made.out);
    }
    return firstTokens(parts.length > 1 ? concat(parts, 1) : (parts[0] as Tensor<'f32'>), n);
  });
}

export interface DeltaGradients extends DeltaInputs {
  /**
   * [b, c, h]: with respect to the choices of the chunks that are kept; of all, if the counterfactual ones are wanted.
   */
  readonly choices: Tensor;
}

/** Gradients with respect to the inputs and the choices, from that with respect to the result. */
export function deltaBackward(
  inputs: DeltaInputs,
  gradOut: Tensor,
  settings: DeltaSettings & { readonly counterfactual: boolean },
  { signal, onProgress }: Control = {},
): DeltaGradients {
  const { problem, scale } = settings;
  const { b, n, h, d, e, chunk, chunks } = problem;
  const { runtime } = inputs.q;
  return runtime.scope(() => {
    const tokens = padded({ ...withGates(inputs, settings), gradOut }, problem);
    const states: Tensor[] = [zeros(runtime, [b, h, d, e])];
    for (let t = 0; t + 1 < chunks; t++) {
      onProgress?.(t / (3 * chunks));
      states.push(keptState(tokens, problem, t, states[t] as Tensor, { signal }));
    }
    const all = sideBySide(tokens, problem, 0, chunks);
    const initialState = joined(states);
    const within = gatedDeltaRuleBackward(
      ...([all.q, all.k, all.v, all.g, all.beta, { gradOut: all.gradOut }] as const),
      { scale, initialState, signal, onProgress: onProgress && ((share) => onProgress((1 + share) / 3)) },
    );

    // What later chunks make of the states, last chunk first: gradients with respect to the states behind each.
    const gradStates = (within.gradInitialState as Tensor).reshape([b, chunks, h, d, e]);
    const behind: Tensor[] = [];
    const carried: Pick<Gradients, (typeof CARRIED)[number]>[] = [];
    const nothing = zeros(runtime, [b, chunk, h, e]);
    for (let t = chunks - 2; t >= 0; t--) {
      const last = behind[0];
      const carriedState = (last && carried[0]?.gradInitialState) as Tensor | undefined;
      const own = at(gradStates, t + 1);
      const gradState = carriedState ? add(own, carriedState) : own;
      behind.unshift(gradState);
      const { k, v, keptG, keptBeta } = chunkOf(tokens, problem, t);
      carried.unshift(
        gatedDeltaRuleBackward(
          k,
          k,
          v,
          keptG,
          keptBeta,
          { gradOut: nothing, gradState },
          {
            initialState: states[t] as Tensor,
            ...controlOf(
              { signal, onProgress: onProgress && ((share) => onProgress((2 + share) / 3)) },
              chunks - 2 - t,
              chunks,
            ),
          },
        ),
      );
    }

    const keptTokens = padded({ kept: tokensOf(settings.kept, problem) }, problem).kept;
    const total = (name: (typeof CARRIED)[number], row: Shape, factor?: Tensor) => {
      const own = (within[name] as Tensor).reshape([b, chunks * chunk, ...row]);
      if (carried.length === 0) return firstTokens(own as Tensor<'f32'>, n);
      const last = zeros(runtime, [b, chunk, ...row]);
      const others = concat([...carried.map((grads) => grads[name] as Tensor<'f32'>), last], 1);
      return firstTokens(add(own, factor ? multiply(others, factor) : others), n);
    };
    return {
      q: firstTokens(within.gradQ.reshape([b, chunks * chunk, h, d]) as Tensor<'f32'>, n),
      k: total('gradK', [h, d]),
      v: total('gradV', [h, e]),
      g: total('gradG', [h], settings.forget ? undefined : keptTokens),
      beta: total('gradBeta', [h], keptTokens),
      choices: choiceGradients(all, states, behind, settings, { signal }),
    };
  });
}

type Gradients = ReturnType<typeof gatedDeltaRuleBackward>;
const CARRIED = ['gradK', 'gradV', 'gradG', 'gradBeta', 'gradInitialState'] as const;

/**
 * For each head of each chunk the sum of the gradient with respect to the state behind it times what the chunk writes,
 * which
 * is the state in which it ends, were it kept, less the decayed one before.
 */
function choiceGradients(
  { k, v, g, beta }: DeltaInputs,
  states: readonly Tensor[],
  behind: readonly Tensor[],
  { problem, forget, kept, counterfactual }: DeltaSettings & { readonly counterfactual: boolean },
  control: Control,
): Tensor {
  const { b, h, d, e, chunk, chunks } = problem;
  const { runtime } = k;
  if (behind.length === 0) return zeros(runtime, kept.shape);
  const before = chunks - 1;
  const rows = (x: Tensor) => x.reshape([b * before * h, d * e]);
  const first = (x: Tensor) => contiguous(x.slice(1, 0, before));
  // Where the chunk is kept, the state behind it is that in which it ends.
  const ends = counterfactual
    ? first(
        gatedDeltaRule(k, k, v, g, beta, { initialState: joined(states), ...control }).state.reshape([
          b,
          chunks,
          h,
          d,
          e,
        ]),
      )
    : joined(states.slice(1));
  let starts = rows(joined(states.slice(0, before)));
  if (forget) {
    const logs = sum(first(g.reshape([b, chunks, chunk, h])), { axes: [2] });
    starts = multiply(starts, exp(logs).reshape([b * before * h, 1]));
  }
  const slopes = sum(multiply(subtract(rows(ends), starts), rows(joined(behind))), { axes: [1] });
  const all = concat([slopes.reshape([b, before, h]), zeros(runtime, [b, 1, h])], 1);
  return counterfactual ? all : multiply(all, kept);
}

type Tokens = DeltaInputs & Readonly<Record<'keptG' | 'keptBeta', Tensor>>;

/** With g and beta of the pass in which chunks that are not kept write nothing. */
function withGates(inputs: DeltaInputs, { problem, kept, forget }: DeltaSettings): Tokens {
  const factors = tokensOf(kept, problem);
  const { g, beta } = inputs;
  return { ...inputs, keptG: forget ? g : multiply(g, factors), keptBeta: multiply(beta, factors) };
}

/** A number for each chunk, [b, c, h], as one for each of its tokens, [b, n, h]. */
function tokensOf(x: Tensor, { b, n, h, chunk, chunks }: Problem): Tensor<'f32'> {
  const expanded = contiguous(x.reshape([b, chunks, 1, h]).expand([b, chunks, chunk, h]));
  return firstTokens(expanded.reshape([b, chunks * chunk, h]) as Tensor<'f32'>, n);
}

/** The state behind a chunk. */
function keptState(tokens: Tokens, problem: Problem, t: number, initialState: Tensor, control: Control): Tensor {
  const { k, v, keptG, keptBeta } = chunkOf(tokens, problem, t);
  const { out, state } = gatedDeltaRule(k, k, v, keptG, keptBeta, { initialState, ...control });
  out.dispose();
  return state;
}

/** Views of the tokens of one chunk. */
function chunkOf<Name extends string>(tokens: Readonly<Record<Name, Tensor>>, { chunk }: Problem, t: number) {
  return mapped(tokens, (x) => x.slice(1, t * chunk, (t + 1) * chunk));
}

/** The chunks `first` to `past` (exclusive) as batches of their own. */
function sideBySide<Name extends string>(
  tokens: Readonly<Record<Name, Tensor>>,
  { chunk }: Problem,
  first: number,
  past: number,
): Record<Name, Tensor> {
  return mapped(tokens, (x) => {
    const [b, , ...row] = x.shape as [number, number, ...number[]];
    return contiguous(x.slice(1, first * chunk, past * chunk)).reshape([b * (past - first), chunk, ...row]);
  });
}

/** With tokens behind the last that write and read nothing, so that all chunks are whole. */
function padded<Name extends string>(
  tokens: Readonly<Record<Name, Tensor>>,
  { n, chunk, chunks }: Problem,
): Record<Name, Tensor> {
  if (n === chunks * chunk) return tokens;
  return mapped(tokens, (x) => {
    const [b, , ...row] = x.shape as [number, number, ...number[]];
    return concat([x as Tensor<'f32'>, zeros(x.runtime, [b, chunks * chunk - n, ...row])], 1);
  });
}

const firstTokens = (x: Tensor<'f32'>, n: number): Tensor<'f32'> =>
  x.shape[1] === n ? x : contiguous(x.slice(1, 0, n));

/** States [b, h, d, e] of chunks, as those of b times as many batches. */
function joined(states: readonly Tensor[]): Tensor {
  const [b, ...state] = (states[0] as Tensor).shape as [number, ...number[]];
  return concat(
    states.map((x) => x.reshape([b, 1, ...state]) as Tensor<'f32'>),
    1,
  ).reshape([b * states.length, ...state]);
}

/** What belongs to one chunk of [b, c, ...]. */
const at = (x: Tensor, t: number): Tensor =>
  contiguous(x.slice(1, t, t + 1)).reshape([x.shape[0] as number, ...x.shape.slice(2)]);

const zeros = (runtime: Runtime, shape: Shape): Tensor<'f32'> => runtime.tensor(new Float32Array(sizeOf(shape)), shape);

function mapped<Name extends string>(tensors: Readonly<Record<Name, Tensor>>, map: (x: Tensor) => Tensor) {
  const entries = Object.entries<Tensor>(tensors) as [Name, Tensor][];
  return Object.fromEntries(entries.map(([name, x]) => [name, map(x)])) as Record<Name, Tensor>;
}
