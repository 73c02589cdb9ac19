/**
 * Stochastic attention (SA): a sliding window over tokens in a random order, so that few layers reach everything; alone,
 * or gated together with sliding-window attention (SWA) over tokens in their own order.
 * Source: Jin and Sui 2026, arXiv 2604.00754.
 */
import * as valibot from 'valibot';
import { BoundedMap } from '../../../bounded-map';
import { band } from '../../../masks/band';
import type { Mask } from '../../../masks/mask';
import { randomPermutation, type StochasticParams, stochastic } from '../../../masks/stochastic';
import { seedAt } from '../../../tensor/random';
import { defineMethod } from '../../define';
import { defineMaskedMethod } from '../../masked';
import { causal, flag, scale, seed } from '../../schema';
import { gatedForward, gateLayer, refuseGates } from './gated';
import { gatedReference, sees } from './reference';

const params = valibot.strictObject({
  window: valibot.pipe(
    valibot.number(),
    valibot.integer(),
    valibot.minValue(1),
    valibot.description('keys that a token sees, itself included; causally on average'),
  ),
  causal,
  strict: flag('causally: as many slots as the window, of which later tokens are left out', false),
  clamped: flag('slots have ends, else they are a circle; default: if causal and not strict'),
  seed: seed('of the random order, unless one is given: in models another one in each layer and each pass of training'),
  gated: flag('add the sliding window over tokens in their own order', false),
  scale,
});

const description = {
  name: 'stochastic-attention',
  short: 'SA',
  family: 'sparse',
  summary: 'a window over tokens in a random order; gated, the sliding window is added',
  paper: '2604.00754',
  params,
} as const;

/** SA, a mask. */
const shuffled = defineMaskedMethod({
  ...description,
  optional: { permutation: 'n' },
  integers: ['permutation'],
  mask: ({ seed, ...params }, { n, given: { permutation } }) =>
    permutation ? stochastic({ ...windowOf(params), permutation }) : seeded(n, seed, windowOf(params)),
  sees: (params, problem) => sees('sa', params, problem),
  variants: () => [],
});

/** SWA, a mask. */
const sliding = defineMaskedMethod({
  ...description,
  mask: ({ window, causal }) => slidingWindow(window, causal),
  sees: (params, problem) => sees('swa', params, problem),
  variants: () => [],
});

export const stochasticAttention = defineMethod({
  ...shuffled,
  optional: { permutation: 'n', gate_sa: 'b n h', gate_swa: 'b n h' },

  /** The gated pair is not a mask, since it adds two softmaxes. */
  mask: (params, problem) => (params.gated ? undefined : shuffled.mask(params, problem)),

  reference(host, params, gradOut) {
    return params.gated ? gatedReference(host, params, gradOut) : shuffled.reference(host, params, gradOut);
  },

  forward(tensors, params, control) {
    if (params.gated) return gatedForward({ shuffled, sliding }, tensors, params, control);
    refuseGates(tensors);
    return shuffled.forward(tensors, params, control);
  },

  /** One order for all layers and steps would leave the sequence as unreached as a sliding window. */
  drawn: ({ seed, ...params }, { layer, pass = -1 }) => ({ ...params, seed: seedAt(seed, layer, pass + 1) }),

  /** The order is drawn anew for each number of tokens. */
  continuation: () => ({ from: 'inputs', revises: true }),

  layer: ({ width, heads }, { gated }) => (gated ? gateLayer(width, heads) : { parameters: {}, inputs: () => ({}) }),

  cost(letters, params) {
    const alone = shuffled.cost(letters, params);
    if (!params.gated) return alone;
    const { b, h, n, e } = letters;
    const swa = sliding.cost(letters, params);
    return {
      // Each output times its gate, and their sum.
      flops: alone.flops + swa.flops + 3 * b * n * h * e,
      bytes: alone.bytes + 4 * 2 * b * n * h,
      state: 0,
      visited: (alone.visited ?? 0) + (swa.visited ?? 0),
    };
  },

  variants({ n, m }) {
    // Queries and keys must be the same tokens.
    if (n !== m) return [];
    const part = (share: number) => Math.max(1, 2 ** Math.round(Math.log2(n * share)));
    const settings = [{ window: part(1 / 4) }, { window: part(1 / 16) }, { window: part(1 / 8), gated: true }];
    return [...settings, ...settings.map((setting) => ({ ...setting, causal: true }))];
  },
  page: () => import('./page'),
});

const kept = new BoundedMap<string, Mask>(64);

/** The same mask for the same settings, so that what follows from it is computed once. */
function seeded(n: number, seed: number, window: Window): Mask {
  const key = JSON.stringify([n, seed, window]);
  return kept.get(key, () => stochastic({ ...window, permutation: randomPermutation(n, seed) }));
}

type Window = Omit<StochasticParams, 'permutation'>;
const windowOf = ({ window, causal, strict, clamped }: Window): Window => ({ window, causal, strict, clamped });

/** `window` keys: the last ones, or those around; fewer at the ends. */
function slidingWindow(window: number, causal: boolean): Mask {
  if (causal) return band(window - 1, 0);
  const before = Math.floor(window / 2);
  return band(before, window - 1 - before);
}
