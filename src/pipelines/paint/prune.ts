/**
 * Self-attention that leaves out places much like others, in a network that runs step after step: SimPrune, whose choice may serve
 * several steps, and token merging beside it.
 * Sources: OptiPrune, 2025, arXiv 2507.00789; the code of SiTo; Bolya and Hoffman 2023, arXiv 2303.17604 (merging).
 */
import { checkChoice, checkNumber, checkOptions, checkWhole } from '../../check';
import { ParameterError } from '../../errors';
import { type Kept, pruned, rowsAt, together } from '../../methods/sparse/simprune-attention/prune';
import { attention } from '../../ops/attention';
import { map } from '../../ops/map/map';
import { scatterAdd } from '../../ops/scatter-add';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import type { SelfAttention } from './unet';

export const WAYS = ['simprune', 'merge'] as const;
export const BASES = ['alike', 'random', 'first'] as const;
export const RECOVERIES = ['after', 'before'] as const;

export interface PruneOptions {
  /** The share of places that is left out, below 1. */
  readonly ratio: number;
  /** Whether places are pruned, or merged into bases as their means; default simprune. */
  readonly way?: (typeof WAYS)[number] | undefined;
  /** Which place of each patch is always kept: that most like all others, any, or the first; default alike. */
  readonly base?: (typeof BASES)[number] | undefined;
  /** Whether pruned places copy results, or queries, keys and values; default after. */
  readonly recover?: (typeof RECOVERIES)[number] | undefined;
  /** Factor on the noise of the choice; default 0.1. */
  readonly alpha?: number | undefined;
  /** Steps that share a choice; default 1. */
  readonly shared?: number | undefined;
  readonly seed?: number | undefined;
}

/** Side of the patches of which one place each is always kept. */
const PATCH = 2;
/** Beside it likeness does not count. */
const OVERWHELMING = 1e6;

export interface Pruner {
  readonly attend: SelfAttention;
  /** Begins a step of the sampler. */
  step(): void;
  dispose(): void;
}

/** @throws {ParameterError} options that are unknown or out of range */
export function checkPrune(options: PruneOptions): void {
  checkOptions('prune', options, ['ratio', 'way', 'base', 'recover', 'alpha', 'shared', 'seed']);
  const { ratio, way = 'simprune', base = 'alike', recover = 'after', alpha = 0, shared = 1, seed = 0 } = options;
  checkNumber('ratio', ratio, 'from 0 to below 1', (each) => each >= 0 && each < 1);
  checkChoice('way', way, WAYS);
  checkChoice('base', base, BASES);
  checkChoice('recover', recover, RECOVERIES);
  checkNumber('alpha', alpha, 'finite and at least 0', (each) => each >= 0 && each < Number.POSITIVE_INFINITY);
  checkWhole('shared', shared, 1);
  checkWhole('seed', seed, 0);
}

/** @throws {ParameterError} a ratio that leaves no place of a patch */
export function checkRatio(ratio: number, places: number): void {
  const most = 1 - 1 / PATCH ** 2;
  if (!(ratio >= 0 && Math.floor(ratio * places) <= most * places))
    throw new ParameterError(
      `ratio must be from 0 to ${most}, which leaves one place of each patch of ${PATCH} x ${PATCH}, got ${ratio}`,
    );
}

/** Attention for a sampler that tells where its steps begin. */
export function pruner(options: PruneOptions): Pruner {
  const { ratio, way = 'simprune', recover = 'after', shared = 1 } = options;
  let [steps, calls] = [-1, 0];
  /** By the number of the attention in a step: for each picture what it keeps. */
  const choices = new Map<number, readonly Kept[]>();
  const forget = () => {
    for (const kept of [...choices.values()].flat())
      for (const each of Object.values<Tensor>({ ...kept })) each.dispose();
    choices.clear();
  };
  const chosen = (tokens: Tensor): readonly Kept[] => {
    const at = calls++;
    const known = choices.get(at);
    if (known) return known;
    const found = pictures(tokens).map((own, picture) => kept(own, options, (steps * 64 + at) * 64 + picture));
    for (const each of found.flatMap((one) => Object.values<Tensor>({ ...one }))) each.runtime.keepBeyondScopes(each);
    choices.set(at, found);
    return found;
  };
  return {
    attend(q, k, v, tokens) {
      checkRatio(ratio, q.shape[1] as number);
      if (Math.floor(ratio * (q.shape[1] as number)) === 0) return attention(q, k, v).out;
      const all = chosen(tokens);
      const [queries, keys, values] = [q, k, v].map(pictures) as [Tensor[], Tensor[], Tensor[]];
      const attend = way === 'merge' ? merged : recover === 'before' ? weighed : cut;
      return together(all.map((own, at) => attend(queries[at]!, keys[at]!, values[at]!, own)));
    },
    step() {
      steps++;
      calls = 0;
      if (steps % shared === 0) forget();
    },
    dispose: forget,
  };
}

const pictures = (x: Tensor): Tensor[] =>
  Array.from({ length: x.shape[0] as number }, (_, at) => x.slice(0, at, at + 1).reshape(x.shape.slice(1)));

/** What is kept of tokens [n, c] of a square picture. */
function kept(tokens: Tensor, { ratio, way, base = 'alike', alpha = 0.1, seed = 0 }: PruneOptions, at: number): Kept {
  const n = tokens.shape[0] as number;
  const side = Math.sqrt(n);
  const noise =
    base === 'first'
      ? Float32Array.from({ length: n }, (_, place) => -place)
      : base === 'random' || alpha > 0
        ? normal(n, seed + 2 ** 30 + at)
        : undefined;
  return pruned(tokens, noise && tokens.runtime.tensor(noise, [n]), {
    grid: [side, side],
    patch: PATCH,
    count: Math.floor(ratio * n),
    alpha: base === 'alike' ? alpha : OVERWHELMING,
    fromBases: way === 'merge',
  });
}

const one = (q: Tensor, k: Tensor, v: Tensor): Tensor => {
  const [a, b, c] = [q, k, v].map((x) => x.reshape([1, ...x.shape])) as [Tensor, Tensor, Tensor];
  const { out } = attention(a, b, c);
  return out.reshape(out.shape.slice(1));
};

/** Attention among the kept, whose results the others copy. */
const cut = (q: Tensor, k: Tensor, v: Tensor, { tokens, sources }: Kept): Tensor =>
  rowsAt(one(rowsAt(q, tokens), rowsAt(k, tokens), rowsAt(v, tokens)), sources);

/** The same with copies among the keys. */
function weighed(q: Tensor, k: Tensor, v: Tensor, { tokens, sources }: Kept): Tensor {
  const all = (x: Tensor) => rowsAt(rowsAt(x, tokens), sources);
  return rowsAt(one(rowsAt(q, tokens), all(k), all(v)), sources);
}

/** Attention of the means of each kept place and of those that are like it. */
function merged(q: Tensor, k: Tensor, v: Tensor, { tokens, sources }: Kept): Tensor {
  const count = tokens.size;
  const n = sources.size;
  const members = scatterAdd(q.runtime.full([n, 1], 1), sources, count);
  const means = [q, k, v].map((x) => {
    const sums = scatterAdd(map((x) => x, x).reshape([n, -1]), sources, count);
    return map((sum, members) => sum / members, sums, members).reshape([count, ...x.shape.slice(1)]);
  }) as [Tensor, Tensor, Tensor];
  return rowsAt(one(...means), sources);
}
