/** A decoder's loss over ranks that each have a share of a batch: some of its rows, or some of the tokens of each row. */
import { getOrMake } from '../../bounded-map';
import type { Communicator } from '../../cluster/communicator';
import { type ContextParallel, contextParallel } from '../../cluster/context-parallel';
import { ParameterError } from '../../errors';
import { causal } from '../../masks/band';
import { type MaskProblem, problemOfLetters } from '../../methods/define';
import type { MaskedMethod } from '../../methods/masked';
import type { ParamsSchema } from '../../methods/params';
import { attention } from '../../ops/attention';
import { multiply } from '../../ops/map';
import type { Tensor } from '../../tensor/tensor';
import type { Decoder, DecoderLossOptions, LayerOfAttention } from '.';

/** What ranks divide. */
export const PARALLEL = ['data', 'context'] as const;
export type Parallel = (typeof PARALLEL)[number];

/** Tokens and targets [b, n]. */
export interface TokenBatch {
  readonly tokens: Tensor;
  readonly targets: Tensor;
  /** [n] or [b, n]: default: from 0 on. */
  readonly positions?: Tensor | undefined;
}

/**
 * The share of this rank in the mean loss of a batch that all ranks are given: the sum over ranks is the loss, and that of
 * gradients its gradient. `data` divides rows; `context` divides tokens, for attention under any mask.
 *
 * @throws {ParameterError} fewer rows, or tokens, than ranks; for `context`, a method that is not softmax attention under a mask
 */
export function lossOverRanks(decoder: Decoder, communicator: Communicator, parallel: Parallel) {
  if (parallel === 'context' && decoder.landmarks)
    throw new ParameterError('ranks cannot divide the tokens of a decoder with landmarks: divide data');
  const partOf = parallel === 'data' ? byRows : byTokens;
  const own = partOf(communicator);
  return (parameters: Parameters<Decoder['loss']>[0], batch: TokenBatch, options: DecoderLossOptions): Tensor => {
    const ranks = communicator.on(batch.tokens.runtime);
    const { tokens, targets, share, more } = (ranks === communicator ? own : partOf(ranks))(batch);
    const loss = decoder.loss(parameters, tokens, targets, { ...options, ...more });
    return multiply(loss, loss.runtime.tensor([share]));
  };
}

/** The part of a batch that a rank has, and its share of the mean. */
interface Part extends TokenBatch {
  readonly share: number;
  readonly more: DecoderLossOptions;
}

const byRows =
  ({ rank, size }: Communicator) =>
  ({ tokens, targets, positions }: TokenBatch): Part => {
    const rows = tokens.shape[0] as number;
    if (rows < size) throw new ParameterError(`a batch must have a row for each of ${size} ranks, got ${rows}`);
    const [from, to] = [rank, rank + 1].map((at) => Math.floor((rows * at) / size)) as [number, number];
    const own = (x: Tensor) => x.slice(0, from, to);
    const placed = (positions?.rank === 2 ? own(positions) : positions) as Tensor<'i32'> | undefined;
    return { tokens: own(tokens), targets: own(targets), share: (to - from) / rows, more: { positions: placed } };
  };

const byTokens = (communicator: Communicator) => {
  /** By the number of tokens: all layers have one division, which is even under a causal mask. */
  const divisions = new Map<number, Division>();
  return ({ tokens, targets }: TokenBatch): Part => {
    const n = tokens.shape[1] as number;
    const { causal, attend } = getOrMake(divisions, n, () => divisionOf(communicator, n));
    const { dispatch, positions } = causal;
    const more = { positions: tokens.runtime.tensor(positions, [positions.length], 'i32'), attend };
    return { tokens: dispatch(tokens), targets: dispatch(targets), share: positions.length / n, more };
  };
};

interface Division {
  /** What divides the tokens. */
  readonly causal: ContextParallel;
  readonly attend: NonNullable<DecoderLossOptions['attend']>;
}

/** Attention of layers, by their masks, over ranks that divide so many tokens. */
function divisionOf(communicator: Communicator, tokens: number): Division {
  const options = { communicator, tokens } as const;
  const causalOnes = contextParallel(attention, { ...options, mask: causal() });
  /** By layer and batch, as long as the params are the same. */
  const known = new Map<string, { readonly params: object; readonly attention: ContextParallel }>();
  const attend: NonNullable<DecoderLossOptions['attend']> = (inputs, at, _, layer) => {
    const { q, k, v } = inputs as Readonly<Record<'q' | 'k' | 'v', Tensor>>;
    const [batch, , heads] = q.shape as [number, number, number];
    const { mask, score } = maskedBy(layer, inputs);
    const key = `${at}, ${batch}`;
    if (known.get(key)?.params !== layer.params) known.delete(key);
    const { attention: own } = getOrMake(known, key, () => {
      const extents = { batch, heads, keyHeads: k.shape[2] as number };
      const problem = problemOfLetters({ b: batch, n: tokens, m: tokens, h: heads, g: extents.keyHeads });
      const given = { ...options, ...extents, mask: mask(problem), shards: causalOnes.shards };
      return { params: layer.params, attention: contextParallel(attention, given) };
    });
    return own(q, k, v, { scale: layer.params.scale as number | undefined, score }).out;
  };
  return { causal: causalOnes, attend };
}

/** The mask of a layer over the whole sequence, and what changes its scores. */
function maskedBy({ method, params }: LayerOfAttention, inputs: Readonly<Record<string, Tensor>>) {
  const { mask, score, captured = [], name } = method as unknown as Partial<AnyMasked> & { readonly name: string };
  const further = Object.keys(inputs).find((input) => !['q', 'k', 'v', ...captured].includes(input));
  if (!mask || further !== undefined)
    throw new ParameterError(
      `ranks divide the tokens of attention under masks only, got ${name}${further === undefined ? '' : ` with ${further}`}: divide data`,
    );
  return {
    mask: (problem: MaskProblem) => mask.call(method, params as never, problem),
    score: score?.call(method, params as never, inputs),
  };
}

type AnyMasked = MaskedMethod<ParamsSchema, never>;
