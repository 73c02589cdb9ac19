/**
 * Masks whose receptive fields are known. Sizes are in blocks (or in tokens, which are blocks of one).
 * Sources: PowerAttention and what it is compared to, Chen et al. 2025, arXiv 2503.03588; stochastic attention, Jin and
 * Sui 2026, arXiv 2604.00754.
 */
import { band, causal } from '../masks/band';
import { and, or } from '../masks/combine';
import { longNet } from '../masks/longnet';
import { type Mask, oneHead } from '../masks/mask';
import { dilatedBlocks, power, slidingBlocks, strideSlash } from '../masks/power';
import { randomPermutation, stochastic } from '../masks/stochastic';
import { seedAt } from '../tensor/random';
import { type KeysOf, keysOfMask } from './reach';

export interface ReachParams {
  readonly size: number;
  /** Nearby keys, itself included; for stochastic masks, slots of the shuffled sequence. */
  readonly window: number;
  /** First keys, which all queries see. */
  readonly sink: number;
  readonly stride: number;
  readonly seed: number;
}

export interface ReachMask {
  readonly summary: string;
  /** The params of the mask, with the papers' settings. */
  readonly defaults: Partial<ReachParams> & Pick<ReachParams, 'size'>;
  readonly mask: (params: ReachParams, layer: number) => Mask;
  /** Whether each layer has its own mask. */
  readonly changes?: boolean;
}

export const REACH_MASKS = {
  power: {
    summary: 'window, sink and keys at distances that are powers of two',
    defaults: { size: 128, window: 5, sink: 1 },
    mask: ({ window, sink }) => power({ block: 1, window, sink }),
  },
  sliding: {
    summary: 'window and sink',
    defaults: { size: 128, window: 9, sink: 1 },
    mask: ({ window, sink }) => slidingBlocks({ block: 1, window, sink }),
  },
  dilated: {
    summary: 'every stride-th key of a window',
    defaults: { size: 128, window: 20, stride: 2 },
    mask: ({ window, stride }) => dilatedBlocks({ block: 1, reach: window, step: stride }),
  },
  stride: {
    summary: 'window, sink and keys at distances that are multiples of the stride',
    defaults: { size: 128, window: 6, sink: 1, stride: 32 },
    mask: ({ window, sink, stride }) => strideSlash({ block: 1, window, sink, stride }),
  },
  longnet: {
    summary: 'segments of 8 to 128 keys, each twice as long and as sparse as the last',
    defaults: { size: 128 },
    mask: () => longNet(),
  },
  stochastic: {
    summary: 'a window of the sequence, which each layer shuffles anew, both ways',
    defaults: { size: 1024, window: 32, seed: 1 },
    mask: (params, layer) => shuffled(params, layer, false),
    changes: true,
  },
  'stochastic-causal': {
    summary: 'window - 1 slots to either side, of which earlier keys only',
    defaults: { size: 1024, window: 32, seed: 1 },
    mask: (params, layer) => shuffled(params, layer, true),
    changes: true,
  },
  'stochastic-causal-strict': {
    summary: 'the window of stochastic, of which earlier keys only: about half',
    defaults: { size: 1024, window: 32, seed: 1 },
    mask: (params, layer) => and(causal(), shuffled(params, layer, false)),
    changes: true,
  },
  'stochastic+sliding': {
    summary: 'stochastic-causal and a sliding window of as many keys',
    defaults: { size: 1024, window: 32, seed: 1 },
    mask: (params, layer) => or(band(params.window - 1, 0), shuffled(params, layer, true)),
    changes: true,
  },
} satisfies Record<string, ReachMask>;

export type ReachMaskName = keyof typeof REACH_MASKS;

/** The mask for `receptiveField`; those of layers are made on first use. */
export function keysThrough({ mask, changes = false }: ReachMask, params: ReachParams): KeysOf {
  const layers: KeysOf[] = [];
  return (layer, query) => {
    const at = changes ? layer : 0;
    layers[at] ??= keysOfMask(mask(params, at), oneHead(params.size, params.size));
    return layers[at](layer, query);
  };
}

function shuffled({ size, window, seed }: ReachParams, layer: number, isCausal: boolean): Mask {
  const permutation = randomPermutation(size, seedAt(seed, layer));
  return stochastic({ permutation, window, causal: isCausal });
}
