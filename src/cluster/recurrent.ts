/** Linear attention and the gated delta rule over a sequence of which each rank has a run: states pass from rank to rank. */
import { checkArray, checkChoice, checkOptions } from '../check';
import { full } from '../masks/band';
import { zeros } from '../ops/float32';
import { gatedDeltaRule, gatedDeltaRuleBackward } from '../ops/gated-delta-rule';
import { type LinearAttentionResult, linearAttention, linearAttentionBackward } from '../ops/linear-attention';
import { multiply } from '../ops/map';
import { sum } from '../ops/reduce';
import { refusalOf } from '../simulate/context-parallel';
import { withDerivative } from '../tape';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { Communicator } from './communicator';
import { divideHeads, joinHeads } from './divide-heads';
import { checkDivides } from './grid';
import { checkEnoughTokens, Sequence } from './sequence';
import { contiguousShards } from './shards';

/** Linear attention or the gated delta rule over ranks, each of which has a run of the sequence. */
export interface StatesParallelOptions {
  readonly communicator: Communicator;
  /** Tokens of all ranks together. */
  readonly tokens: number;
  /**
   * `ulysses` divides the heads; `states` passes the state on from rank to rank, in shapes that do not depend on lengths. Default
   * `auto`: `ulysses` where the ranks divide the heads.
   */
  readonly mechanism?: 'auto' | 'ulysses' | 'states' | undefined;
}

export interface ShardedLinearOptions {
  /** As `linearAttention` has them; decays are numbers. */
  readonly causal?: boolean | undefined;
  readonly decay?: readonly number[] | undefined;
  readonly normalise?: boolean | undefined;
  readonly epsilon?: number | undefined;
}

export interface DeltaRuleOptions {
  /** Factor on what is read; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
}

/** Runs of tokens, one for each rank in order. */
export class ShardedStates extends Sequence {
  readonly #mechanism: StatesParallelOptions['mechanism'];

  constructor(options: StatesParallelOptions) {
    checkOptions('contextParallel', options, ['communicator', 'tokens', 'mechanism']);
    const { communicator, tokens, mechanism = 'auto' } = options;
    checkEnoughTokens(communicator, tokens);
    checkChoice('mechanism', mechanism, ['auto', 'ulysses', 'states']);
    super(communicator, contiguousShards(full(), { b: 1, n: tokens, m: tokens, h: 1, g: 1 }, communicator.size));
    this.#mechanism = mechanism;
  }

  linear(tensors: readonly [q: Tensor, k: Tensor, v: Tensor], options: ShardedLinearOptions = {}): Tensor {
    checkOptions('linearAttention over ranks', options, ['causal', 'decay', 'normalise', 'epsilon']);
    const { decay } = options;
    if (decay !== undefined) checkArray('decay', decay);
    const [q, k, v] = tensors;
    this.checkTokens({ q, k, v }, 1, this.own.tokens);
    return this.#attend(
      tensors,
      ([q, k, v], first) => {
        const own = decay?.slice(first, first + (q.shape[2] as number));
        return linearAttention(q, k, v, { ...options, decay: own }).out;
      },
      () => linearOverRuns(this, tensors, options),
    );
  }

  deltaRule(tensors: DeltaRuleTensors, options: DeltaRuleOptions = {}): Tensor {
    checkOptions('gatedDeltaRule over ranks', options, ['scale']);
    const [q, k, v, g, beta] = tensors;
    this.checkTokens({ q, k, v, g, beta }, 1, this.own.tokens);
    return this.#attend(
      tensors,
      (divided) => gatedDeltaRule(...divided, options).out,
      () => deltaRuleOverRuns(this, tensors, options.scale),
    );
  }

  /** By dividing heads, of which `whole` is given all tokens and the first head, or by passing states on. */
  #attend<Tensors extends readonly [q: Tensor, k: Tensor, ...Tensor[]]>(
    tensors: Tensors,
    whole: (divided: Tensors, firstHead: number) => Tensor,
    overRuns: () => Tensor,
  ): Tensor {
    const { communicator, shards } = this;
    const { size, rank } = communicator;
    const [{ runtime, shape }, { shape: keys }] = tensors;
    const refused = refusalOf(size, { heads: shape[2] as number, keyHeads: keys[2] as number });
    if (this.#mechanism === 'ulysses') checkDivides(refused, 'ulysses');
    return runtime.scope(() => {
      if (this.#mechanism === 'states' || refused) return overRuns();
      const group = { communicator, ranks: [...shards.keys()], tokens: shards.map(({ tokens }) => tokens) };
      const divided = tensors.map((x) => divideHeads(x, group)) as unknown as Tensors;
      return joinHeads(whole(divided, (rank * (shape[2] as number)) / size), group);
    });
  }
}

type DeltaRuleTensors = readonly [q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor];

/**
 * Linear attention of all ranks' tokens: q [b,t,h,d], k [b,t,g,d] and v [b,t,g,e] of the own ones -> [b,t,h,e]. Ranks first compute
 * what their keys add to the state, gather these sums, and then attend from the state before their first token.
 */
function linearOverRuns(
  { communicator, shards }: Sequence,
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  options: ShardedLinearOptions,
): Tensor {
  const { causal = false, decay, normalise = false } = options;
  const heads = q.shape[2] as number;
  /** By how much the sums of each rank count at the first token of another. */
  const weights = (from: number, to: number): number[] => {
    if (from === to || (causal && from > to)) return new Array(heads).fill(0);
    const between = causal ? shards.slice(from + 1, to).reduce((sum, { tokens }) => sum + tokens, 0) : 0;
    return Array.from({ length: heads }, (_, head) => (decay?.[head] ?? 1) ** between);
  };
  const { rank } = communicator;
  const before = (x: Tensor) => weighted(communicator, x, (other) => weights(other, rank));
  const after = (x: Tensor) => weighted(communicator, x, (other) => weights(rank, other));
  const states = ({ state, keySum }: LinearAttentionResult) => (keySum ? [state, keySum] : [state]);
  const initialOf = ([initialState, initialKeySum]: readonly (Tensor | undefined)[]) => ({
    initialState,
    initialKeySum,
  });

  const attend = withDerivative(
    (q: Tensor, k: Tensor, v: Tensor) => {
      const initial = states(linearAttention(q, k, v, options)).map(before);
      const { out, denominator } = linearAttention(q, k, v, { ...options, ...initialOf(initial) });
      return { out, initial, ...(denominator && { denominator }) };
    },
    ({ inputs: [q, k, v], results: { out, initial, denominator }, gradients }) => {
      const settings = { ...options, ...initialOf(initial) };
      const given = { gradOut: gradients.out ?? zeros(q.runtime, out.shape), ...(normalise && { out, denominator }) };
      const own = linearAttentionBackward(q, k, v, given, settings);
      const [gradState, gradKeySum] = [own.gradInitialState, own.gradInitialKeySum].map((x) => x && after(x));
      const all = linearAttentionBackward(q, k, v, { ...given, gradState, gradKeySum }, settings);
      return [all.gradQ, all.gradK, all.gradV];
    },
    { always: true },
  );
  return attend(q, k, v).out;
}

/** The sum of all ranks' x [b, h, ...], each head times a weight for the rank that it is of. */
function weighted(communicator: Communicator, x: Tensor, weightsOf: (rank: number) => readonly number[]): Tensor {
  const { size } = communicator;
  const [, heads] = x.shape as [number, number];
  const weights = Array.from({ length: size }, (_, rank) => weightsOf(rank)).flat();
  const shape: Shape = [size, 1, heads, ...x.shape.slice(2).map(() => 1)];
  const all = communicator.allGather(x.reshape([1, ...x.shape]));
  return sum(multiply(all, x.runtime.tensor(Float32Array.from(weights), shape)), { axes: [0] });
}

/**
 * The gated delta rule over all ranks' tokens: arguments as `gatedDeltaRule` has them, of the own tokens -> [b,t,h,e]. A rank begins
 * once it has the state after the tokens before its own: memory is divided, time is not.
 */
function deltaRuleOverRuns({ communicator }: Sequence, tensors: DeltaRuleTensors, scale: number | undefined): Tensor {
  const { rank, size } = communicator;
  /** Runs `work` once it has what the rank before it in the order gave, and gives on what it makes. */
  const inOrder = (isBackwards: boolean, shape: Shape, work: (given: Tensor) => Tensor): void => {
    const rankAt = (at: number) => (isBackwards ? size - 1 - at : at);
    const place = rankAt(rank);
    let held: Tensor = zeros(communicator.runtime, shape);
    if (place === 0) held = work(held);
    for (let step = 0; step + 1 < size; step++) {
      const [to, from] = [place === step ? rankAt(step + 1) : undefined, place === step + 1 ? rankAt(step) : undefined];
      const received = communicator.sendRecv(held, to, from);
      if (from !== undefined) held = work(received);
    }
  };
  const attend = withDerivative(
    (q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) => {
      let result: { readonly out: Tensor; readonly initial: Tensor } | undefined;
      inOrder(false, stateShape(q, v), (initialState) => {
        const { out, state } = gatedDeltaRule(q, k, v, g, beta, { scale, initialState });
        result = { out, initial: initialState };
        return state;
      });
      return result as NonNullable<typeof result>;
    },
    ({ inputs: [q, k, v, g, beta], results: { out, initial }, gradients }) => {
      const gradOut = gradients.out ?? zeros(q.runtime, out.shape);
      let found: readonly Tensor[] = [];
      inOrder(true, initial.shape, (gradState) => {
        const grads = gatedDeltaRuleBackward(
          q,
          k,
          v,
          g,
          beta,
          { gradOut, gradState },
          { scale, initialState: initial },
        );
        found = [grads.gradQ, grads.gradK, grads.gradV, grads.gradG, grads.gradBeta];
        return grads.gradInitialState as Tensor;
      });
      return found;
    },
    { always: true },
  );
  return attend(...tensors).out;
}

const stateShape = (q: Tensor, v: Tensor): Shape => {
  const [b, , h, d] = q.shape as [number, number, number, number];
  return [b, h, d, v.shape[3] as number];
};
