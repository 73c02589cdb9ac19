/**
 * DyDi-LiT: a diffusion transformer on latents of 16 x 16 x 4 in patches of 2 x 2, with one of five kinds of attention. Its blocks are
 * DiT's, with modulated norms; each kind adds a convolution of the values, as in the paper.
 * Sources: Cao et al. 2026, arXiv 2601.13683 (attention; the rest is reconstructed); Peebles and Xie 2022, arXiv 2212.09748 (blocks).
 */
import { dydila } from '../../methods/linear/dydila';
import { layer as dydilaLayer } from '../../methods/linear/dydila/layer';
import { type Described, partOf, prefixed } from '../../nn/module';
import { attention } from '../../ops/attention';
import { conv } from '../../ops/conv';
import { add, silu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { layerNorm } from '../../ops/norm';
import { pixelShuffle, pixelUnshuffle } from '../../ops/pixel-shuffle';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { dense, layers, type Weights } from '../layers';
import { CHANNELS, PLACES } from '../paint/codec';
import { timeFeatures } from '../paint/unet';

/** A block's attention: softmax, or linear over relu, over its cubes, over these less redundant ones, or with all of that picked by each token. */
export const ATTENTIONS = ['softmax', 'relu', 'focused', 'differential', 'dydila'] as const;
export type AttentionKind = (typeof ATTENTIONS)[number];

export interface LitConfig {
  readonly kind: AttentionKind;
  readonly width: number;
  readonly heads: number;
  readonly depth: number;
  /** Garments that a scene may have. */
  readonly classes: number;
}

const PATCH = 2;
/** Patches along an axis. */
const SIDE = PLACES / PATCH;
/** Width of a time's features. */
const TIME = 64;
/** Width of the hidden layer over that of a token, for the attention with the most parameters. */
const HIDDEN = 2;
const FOCUS = 3;

const banksOf = ({ width, heads }: LitConfig) =>
  dydilaLayer({ width, heads, keyHeads: heads, d: width / heads } as Parameters<typeof dydilaLayer>[0]);

/** The parameters of a block's attention beyond the projections of q, k and v. */
function ofKind(config: LitConfig): Described {
  const { kind, width } = config;
  if (kind === 'dydila') return banksOf(config).parameters;
  if (kind !== 'differential') return {};
  return {
    ...layers({ q_redundant: [width, width], k_redundant: [width, width] }),
    gamma: { shape: [4, 1], initial: { value: FOCUS } },
    lambda: { shape: [1], initial: { value: 0.01 } },
  };
}

export const countOf = (parameters: Described): number =>
  Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/** The width of the hidden layer, which makes up for the parameters that an attention lacks. */
function hiddenOf(config: LitConfig): number {
  const { width } = config;
  const more = countOf(ofKind({ ...config, kind: 'dydila' })) - countOf(ofKind(config));
  return HIDDEN * width + Math.round(more / (2 * width + 1));
}

/** The parameters; modulations and the last layer start at 0. */
export function litParameters(config: LitConfig): Described {
  const { width, depth, classes } = config;
  const hidden = hiddenOf(config);
  const block = {
    ...layers({
      'modulation.out': [6 * width, width],
      qkv: [3 * width, width],
      near: [width, 1, 3, 3],
      back: [width, width],
      'mlp.0': [hidden, width],
      'mlp.1': [width, hidden],
    }),
    ...ofKind(config),
  };
  return {
    ...layers({
      patch: [width, CHANNELS * PATCH ** 2],
      time: [width, TIME],
      classes: [width, classes],
      'last.modulation.out': [2 * width, width],
      'last.out': [CHANNELS * PATCH ** 2, width],
    }),
    positions: { shape: [SIDE ** 2, width], initial: { std: 0.5 } },
    ...Object.assign({}, ...Array.from({ length: depth }, (_, at) => prefixed(block, `blocks.${at}`))),
  };
}

interface LitInput {
  /** [b, 16, 16, 4]. */
  readonly x: Tensor;
  /** For each picture, from 0 to 1: how much of the schedule is gone. */
  readonly times: readonly number[];
  /** [b, classes]: 1 for what is in the scene. */
  readonly present: Tensor;
}

/** Called with the weights and the input of each block's attention. */
type OnBlock = (p: Weights, x: Tensor) => void;

/** The predicted velocities [b, 16, 16, 4]. */
export function litPredicted(p: Weights, config: LitConfig, input: LitInput, onBlock?: OnBlock): Tensor<'f32'> {
  const { width, depth } = config;
  const { x, times, present } = input;
  const b = x.shape[0] as number;
  const patches = pixelUnshuffle(x, PATCH).reshape([b, SIDE ** 2, CHANNELS * PATCH ** 2]);
  const told = silu(add(dense(p, 'time', timeFeatures(x, times)), dense(p, 'classes', present)));
  const parts = (name: string, count: number) => {
    const all = dense(p, name, told).reshape([b, 1, count * width]);
    return Array.from({ length: count }, (_, at) => all.slice(2, at * width, (at + 1) * width));
  };
  let h: Tensor = add(dense(p, 'patch', patches), p.positions as Tensor);
  for (let at = 0; at < depth; at++) {
    const own = partOf(p, `blocks.${at}`);
    const [shift, scale, gate, shift2, scale2, gate2] = parts(`blocks.${at}.modulation.out`, 6) as Tensor[];
    const seen = modulated(h, shift!, scale!);
    onBlock?.(own, seen);
    h = gatedSum(h, gate!, attended(own, config, seen));
    const inner = dense(own, 'mlp.1', silu(dense(own, 'mlp.0', modulated(h, shift2!, scale2!))));
    h = gatedSum(h, gate2!, inner);
  }
  const [shift, scale] = parts('last.modulation.out', 2) as [Tensor, Tensor];
  const out = dense(p, 'last.out', modulated(h, shift, scale));
  return pixelShuffle(out.reshape([b, SIDE, SIDE, CHANNELS * PATCH ** 2]), PATCH);
}

const modulated = (x: Tensor, shift: Tensor, scale: Tensor): Tensor =>
  map((x, shift, scale) => x * (1 + scale) + shift, layerNorm(x), shift, scale) as Tensor;

const gatedSum = (x: Tensor, gate: Tensor, y: Tensor): Tensor =>
  map((x, gate, y) => x + gate * y, x, gate, y) as Tensor;

/** A block's attention: x [b, n, width] of n places in a square -> [b, n, width]. */
export function attended(p: Weights, config: LitConfig, x: Tensor): Tensor {
  const { width, heads } = config;
  const [b, n] = x.shape as [number, number, number];
  const inHeads = (x: Tensor) => x.reshape([b, n, heads, width / heads]);
  const whole = dense(p, 'qkv', x).reshape([b * n, 3, width]);
  const [q, k, v] = [0, 1, 2].map((at) => inHeads(map((x) => x, whole.slice(1, at, at + 1)) as Tensor)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const side = Math.sqrt(n);
  const near = conv(v.reshape([b, side, side, width]), p['near.weight'] as Tensor, {
    bias: p['near.bias'],
    padding: 'same',
    groups: width,
  });
  const out = add(weighed(p, config, x, { q, k, v }).reshape([b, n, width]), near.reshape([b, n, width]));
  return dense(p, 'back', out);
}

function weighed(p: Weights, config: LitConfig, x: Tensor, qkv: Readonly<Record<'q' | 'k' | 'v', Tensor>>): Tensor {
  const { kind } = config;
  const { q, k, v } = qkv;
  const own = () => {
    if (kind === 'dydila') return banksOf(config).inputs(x, qkv as never, p as never);
    if (kind !== 'differential') return {};
    return {
      q_redundant: dense(p, 'q_redundant', x).reshape(q.shape),
      k_redundant: dense(p, 'k_redundant', x).reshape(k.shape),
      gamma: p.gamma,
      lambda: p.lambda,
    };
  };
  if (kind === 'softmax') return attention(q, k, v).out;
  const params = dydila.parse({ gamma: kind === 'relu' ? 1 : FOCUS });
  return dydila.forward({ ...qkv, ...own() } as never, params).out as Tensor;
}
