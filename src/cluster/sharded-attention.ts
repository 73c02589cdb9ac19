/** Exact attention over a sequence whose tokens are divided among ranks. */
import { getOrMake } from '../bounded-map';
import { checkArray, checkBoolean, checkChoice, checkOptions } from '../check';
import { ParameterError } from '../errors';
import { area } from '../masks/area';
import { checkExtent, checkMask } from '../masks/check';
import { type Extent, extentKey, type Mask } from '../masks/mask';
import type { AttentionSettings } from '../ops/attention';
import { checkSelection, type Selection } from '../ops/attention/selection';
import { maskOf } from '../ops/attention/settings';
import { checkScore, type Score } from '../scores/score';
import {
  type ContextParallelSettings,
  MECHANISMS,
  type Mechanism,
  type MechanismCost,
  simulateContextParallel,
} from '../simulate/context-parallel';
import { bytesPerElement } from '../tensor/dtype';
import type { Tensor } from '../tensor/tensor';
import type { Communicator } from './communicator';
import { divideHeads, joinHeads } from './divide-heads';
import { type Edges, edgesOf, passEdges } from './edges';
import { type Exchange, exchangedAttention, gathered, roundRings, type Source } from './exchanged-attention';
import { type Grid, gridOf } from './grid';
import { partMask } from './part-mask';
import { PartScores } from './part-score';
import { partSelection } from './part-selection';
import { checkEnoughTokens, Sequence } from './sequence';
import { type Run, type Shard, shardsOf, tokensIn } from './shards';

type MaskSettings = Pick<AttentionSettings, 'causal' | 'window' | 'mask'>;

export interface ContextParallelOptions extends MaskSettings {
  readonly communicator: Communicator;
  /** Tokens of all ranks together. */
  readonly tokens: number;
  /** How ranks exchange what they lack; default `auto`: the cheapest by `simulateContextParallel`. */
  readonly mechanism?: 'auto' | Mechanism | undefined;
  /** Batches, query heads and key/value heads, where what the mask sees depends on them. Default 1. */
  readonly batch?: number | undefined;
  readonly heads?: number | undefined;
  readonly keyHeads?: number | undefined;
  /** A division of the tokens that another call made; default: one that is even under the mask. */
  readonly shards?: readonly Shard[] | undefined;
  /** What `auto` counts with, such as the links that `saccade bench links` measured. */
  readonly costs?: Costs | undefined;
}

export type Costs = Pick<ContextParallelSettings, 'node' | 'within' | 'between' | 'flopsPerSecond'>;

export interface ShardedOptions {
  /** Factor on the scores; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** What changes the scaled scores: of places in the sequence and heads of all ranks. Tensors that it captured are on each rank. */
  readonly score?: Score | undefined;
  /**
   * Which blocks of keys each block of queries sees beside the mask, for the whole sequence, the same on each rank. What is exchanged
   * follows from the mask alone.
   */
  readonly selection?: Selection | undefined;
  /** Whether lse is wanted too, which under mechanisms that divide heads is sent as well. Default false. */
  readonly lse?: boolean | undefined;
}

export interface Sharded {
  /** [b, t, h, e] in the dtype of q. */
  readonly out: Tensor;
  /** [b, t, h], if it was wanted. */
  readonly lse?: Tensor<'f32'>;
}

const OPTIONS = [
  ...['communicator', 'tokens', 'mechanism', 'batch', 'heads', 'keyHeads', 'shards', 'costs'],
  ...['causal', 'window', 'mask'],
];

const COSTS = ['node', 'within', 'between', 'flopsPerSecond'];

/** Throws unless they divide so many tokens among so many ranks. */
function checkShards(shards: readonly Shard[], ranks: number, tokens: number): void {
  checkArray('shards', shards);
  const divided = shards.reduce((sum, shard) => sum + (shard?.tokens ?? Number.NaN), 0);
  if (shards.length !== ranks || divided !== tokens)
    throw new ParameterError(
      `shards must divide ${tokens} tokens among ${ranks} ranks, as contextParallel() made them`,
    );
}

/** Attention of this rank's queries to the keys of all. */
export class ShardedAttention extends Sequence {
  readonly #options: ContextParallelOptions;
  readonly #mask: Mask;
  /** Pairs that a head sees, on average. */
  readonly #pairs: number;
  /** By mechanism and heads. */
  readonly #grids = new Map<string, Grid>();
  /** By extents, heads and whose keys. */
  readonly #sources = new Map<string, Source>();
  /** By extents. */
  readonly #edges = new Map<string, Edges>();

  constructor(options: ContextParallelOptions) {
    checkOptions('contextParallel', options, OPTIONS);
    const { communicator, tokens, mechanism = 'auto', batch = 1, heads = 1, keyHeads = heads } = options;
    checkEnoughTokens(communicator, tokens);
    checkChoice('mechanism', mechanism, ['auto', ...MECHANISMS]);
    if (options.causal !== undefined) checkBoolean('causal', options.causal);
    if (options.window !== undefined) checkArray('window', options.window);
    const extent: Extent = { b: batch, n: tokens, m: tokens, h: heads, g: keyHeads };
    checkExtent('batch, heads and keyHeads', extent);
    const mask = maskOf(options);
    checkMask('mask', mask);
    mask.check?.(extent);
    if (options.costs !== undefined) checkOptions('costs of contextParallel', options.costs, COSTS);
    if (options.shards !== undefined) checkShards(options.shards, communicator.size, tokens);
    super(communicator, options.shards ?? shardsOf(mask, extent, communicator.size));
    this.#options = options;
    this.#mask = mask;
    this.#pairs = this.shards.reduce((sum, { work }) => sum + work, 0) / (batch * heads);
  }

  mechanismFor(q: Tensor, k: Tensor): Mechanism {
    const { mechanism = 'auto', communicator, tokens, costs } = this.#options;
    if (mechanism !== 'auto') return mechanism;
    const [[b, , heads, d], [, , keyHeads]] = [q.shape, k.shape] as [Shape4, Shape4];
    const bytes = bytesPerElement(q.dtype);
    const { sent } = this.#edgesOf({ b, n: tokens, m: tokens, h: heads, g: keyHeads });
    const given = { devices: communicator.size, tokens, heads, keyHeads, d, bytes, ...costs };
    const [best] = simulateContextParallel({ ...given, pairs: Math.round(this.#pairs), edges: sent });
    return (best as MechanismCost).mechanism;
  }

  attend(q: Tensor, k: Tensor, v: Tensor, options: ShardedOptions = {}): Sharded {
    checkOptions('contextParallel()()', options, ['scale', 'score', 'selection', 'lse']);
    this.checkTokens({ q, k, v }, 1, this.own.tokens);
    const { scale, score, lse: wantsLse = false } = options;
    checkBoolean('lse', wantsLse);
    const [[b, , heads], [, , keyHeads]] = [q.shape, k.shape] as [Shape4, Shape4];
    const mechanism = this.mechanismFor(q, k);
    const { communicator, tokens } = this.#options;
    const grid = getOrMake(this.#grids, [mechanism, heads, keyHeads].join(), () =>
      gridOf(mechanism, communicator, { heads, keyHeads }),
    );
    const whole: Extent = { b, n: tokens, m: tokens, h: heads, g: keyHeads };
    this.#mask.check?.(whole);
    if (score !== undefined) checkScore('score', score);
    score?.check?.(whole);
    const selection = options.selection && checkSelection(options.selection, whole);
    return q.runtime.scope(() => {
      const { tokensPlace, ranks } = grid;
      const divided = ranks[tokensPlace] as readonly number[];
      const group = { communicator, ranks: divided, tokens: this.#counts(divided) };
      const isDivided = divided.length > 1;
      const [ownQ, ownK, ownV] = [q, k, v].map((x) => (isDivided ? divideHeads(x, group) : x));
      const exchange = this.#exchange(mechanism, grid, whole);
      const state = exchangedAttention(exchange, [ownQ, ownK, ownV] as [Tensor, Tensor, Tensor], {
        scale,
        score,
        selection,
      });
      const back = (x: Tensor) => (isDivided ? joinHeads(x, group) : x);
      return { out: back(state.out), ...(wantsLse && { lse: back(state.lse) as Tensor<'f32'> }) };
    });
  }

  #exchange(mechanism: Mechanism, grid: Grid, whole: Extent): Exchange {
    const { communicator, shards } = this;
    const sourceOf = (holders: readonly number[]) =>
      this.#source(
        grid,
        whole,
        holders.flatMap((holder) => (shards[holder] as Shard).runs),
        holders.join(),
      );
    if (mechanism === 'edges') {
      const edges = this.#edgesOf(whole);
      const seen = (edges.given[communicator.rank] as readonly (readonly Run[])[]).flat();
      return passEdges(communicator, edges, shards, this.#source(grid, whole, seen, mechanism));
    }
    if (mechanism === 'all-gather')
      return gathered(communicator, this.#counts(shards.keys()), sourceOf([...shards.keys()]));
    return roundRings(grid.rings, grid.ranks.map(sourceOf));
  }

  #edgesOf(whole: Extent): Edges {
    return getOrMake(this.#edges, extentKey(whole), () => edgesOf(this.#mask, whole, this.shards));
  }

  /** Some keys, as runs that have a name, for the queries and heads of this rank. */
  #source({ headsPlace, tokensPlace, ranks }: Grid, whole: Extent, keys: readonly Run[], name: string): Source {
    const holders = ranks[tokensPlace] as readonly number[];
    const queries = holders.flatMap((holder) => (this.shards[holder] as Shard).runs);
    const [h, g] = [whole.h / holders.length, Math.max(1, whole.g / holders.length)];
    const firstHead = headsPlace * h;
    return getOrMake(this.#sources, [extentKey(whole), h, firstHead, holders, '<', name].join(), () => {
      const part = { whole, queries, keys, firstHead };
      const mask = partMask(this.#mask, part);
      const [n, m] = [tokensIn(queries), tokensIn(keys)];
      return {
        tokens: m,
        mask,
        isUnseen: area(mask, { b: whole.b, n, m, h, g }) === 0,
        scores: new PartScores(part),
        partOf: (selected) => partSelection(selected, part, h),
      };
    });
  }

  #counts(ranks: Iterable<number>): number[] {
    return Array.from(ranks, (rank) => this.tokensOf([rank]));
  }
}

type Shape4 = [number, number, number, number];
