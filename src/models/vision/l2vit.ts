/**
 * L2ViT, four stages in which attention within windows and linear attention over the whole picture take turns.
 * Source: Zheng 2025, arXiv 2501.16182, and the author's code: names, padding, epsilons, and the order of the parts.
 */
import { l2vit as enhancedLinearAttention } from '../../methods/linear/l2vit';
import { attention } from '../../ops/attention';
import { add } from '../../ops/map';
import type { Tensor } from '../../tensor/tensor';
import { defineModel } from '../define';
import {
  batchNorm,
  convolution,
  cropped,
  dense,
  depthwise,
  feedForward,
  type Layer,
  layerNorm,
  layerOf,
  normedConvolution,
  paddedTo,
  pooling,
  projected,
  sequence,
  tokensOf,
  upTo,
} from './layers';
import {
  CLASSIFIER,
  countParam,
  type HeadSettings,
  photographs,
  pictureParams,
  SMALL_PICTURES,
  samplePicture,
  stagedNetwork,
} from './picture-network';
import { trainedHere } from './trained';

interface L2ViTConfig {
  readonly width: number;
  readonly depths: readonly number[];
  /** Heads of the first stage; each next one has twice as many. */
  readonly heads: number;
  /** Pixels of a place of the first stage along both axes; default 4, as the author's. */
  readonly stride?: 2 | 4 | undefined;
}

const VARIANTS = {
  t: { width: 96, depths: [2, 2, 6, 2], heads: 3 },
  s: { width: 96, depths: [2, 2, 18, 2], heads: 3 },
  b: { width: 128, depths: [2, 2, 18, 2], heads: 4 },
  mini: { width: 20, depths: [2, 2], heads: 1, stride: 2 },
} satisfies Record<string, L2ViTConfig>;

export const l2vit = defineModel({
  name: 'l2vit',
  summary: 'classes of a picture, by windows and linear attention in turn: L2ViT',
  paper: '2501.16182',
  ...CLASSIFIER,
  params: pictureParams(VARIANTS, 't', { window: countParam(7, 'tokens of a window along both axes') }),
  network: ({ variant, window, ...settings }) => ({
    ...l2vitNetwork(VARIANTS[variant], window, settings),
    pictures: variant === 'mini' ? SMALL_PICTURES : photographs(0.875),
  }),
  sample: () => ({ params: { variant: 't', classes: 10 }, inputs: { x: samplePicture(64) } }),
  published: trainedHere(
    'l2vit',
    { variant: 'mini', classes: 10 },
    () => new URL('./trained/l2vit/model.safetensors', import.meta.url),
    () => new URL('./trained/l2vit/config.json', import.meta.url),
  ),
});

export function l2vitNetwork(
  { width, depths, heads, stride = 4 }: L2ViTConfig,
  window: number,
  { classes, features }: HeadSettings,
) {
  const parts = depths.map((depth, at): Readonly<Record<string, Layer>> => {
    const [c, own] = [width * 2 ** at, heads * 2 ** at];
    const blocks = Array.from({ length: depth }, (_, j) =>
      j % 2 === 0 ? windowBlock(c, own, window) : globalBlock(c, own),
    );
    return {
      [`downsample_layers.${at}`]: at === 0 ? stem(c, stride) : merging(c / 2, c),
      [`stages.${at}`]: sequence(blocks),
    };
  });
  const last = width * 2 ** (depths.length - 1);
  const head = { norm: layerNorm(last, EPSILON), $mean: pooling, head: dense(last, classes) };
  const stages = depths.map((_, at) => `stages.${at}`);
  return stagedNetwork(Object.assign({}, ...parts, head), { stages, features });
}

const EPSILON = 1e-5;
const half = { kernel: 3, stride: 2, padding: 1 } as const;

/** The extents over the stride, of which zeros make them multiples. */
function stem(c: number, stride: number): Layer {
  const proj = layerOf(
    {
      $first: normedConvolution(['proj.0', 'proj.1'], 3, c / 2, { ...half, activation: 'relu' }),
      $second: normedConvolution(['proj.3', 'proj.4'], c / 2, c, { ...half, stride: stride / 2 }),
    },
    {},
    (x, { $first, $second }) =>
      $second($first(paddedTo(x, upTo(x.shape[1] as number, stride), upTo(x.shape[2] as number, stride)))),
  );
  return sequence({ proj, norm: layerNorm(c, EPSILON) });
}

/** Half the extents, of which zeros make odd ones even. */
const merging = (c: number, o: number): Layer =>
  layerOf(
    { norm: layerNorm(c, EPSILON), proj: convolution(c, o, { kernel: 2, stride: 2, padding: 0 }) },
    {},
    (x, { norm, proj }) => proj(paddedTo(norm(x), upTo(x.shape[1] as number, 2), upTo(x.shape[2] as number, 2))),
  );

/** The positions of tokens, by a convolution beside x. */
const position = (c: number): Layer =>
  layerOf({ proj: depthwise(c, { kernel: 3 }) }, {}, (x, { proj }) => add(x, proj(x)));

const qkv = (c: number) => ({
  'qkv.weight': { shape: [3 * c, c], initial: { std: 0.02 } },
  'qkv.bias': { shape: [3 * c], initial: { value: 0 } },
});

function windowBlock(c: number, heads: number, window: number): Layer {
  return layerOf(
    {
      'cpe.0': position(c),
      norm1: layerNorm(c, EPSILON),
      attn: windowAttention(c, heads, window),
      'cpe.1': position(c),
      norm2: layerNorm(c, EPSILON),
      mlp: feedForward(c, 4 * c, ['fc1', 'fc2']),
    },
    {},
    (x, { 'cpe.0': near, norm1, attn, 'cpe.1': again, norm2, mlp }) => {
      const placed = near(x);
      const h = again(add(placed, attn(norm1(placed))));
      return add(h, mlp(norm2(h)));
    },
  );
}

/** Tokens see those of their window; zeros that fill the last ones are seen too, as in the author's code. */
const windowAttention = (c: number, heads: number, window: number): Layer =>
  layerOf({ proj: dense(c, c) }, qkv(c), (x, { proj }, own) => {
    const [b, rows, columns] = x.shape as [number, number, number];
    const [high, wide] = [upTo(rows, window), upTo(columns, window)];
    const [q, k, v] = projected(paddedTo(x, high, wide), heads, own['qkv.weight'], own['qkv.bias']).map(tokensOf) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const count = (high * wide) / window ** 2;
    const grid = { extent: [high, wide], region: [window, window] };
    const lists = x.runtime.tensor(
      Int32Array.from({ length: count }, (_, at) => at),
      [1, 1, count, 1],
      'i32',
    );
    const { out } = attention(q, k, v, { selection: { lists, queryGrid: grid, keyGrid: grid } });
    return cropped(proj(out.reshape([b, high, wide, c])), rows, columns);
  });

function globalBlock(c: number, heads: number): Layer {
  return layerOf(
    {
      'cpe.0': position(c),
      norm1: layerNorm(c, EPSILON),
      attn: globalAttention(c, heads),
      norm3: layerNorm(c, EPSILON),
      local_mp: localConcentration(c),
      norm2: layerNorm(c, EPSILON),
      mlp: feedForward(c, 4 * c, ['fc1', 'fc2']),
    },
    {},
    (x, { 'cpe.0': near, norm1, attn, norm3, local_mp, norm2, mlp }) => {
      const placed = near(x);
      const attended = add(placed, attn(norm1(placed)));
      const h = add(attended, local_mp(norm3(attended)));
      return add(h, mlp(norm2(h)));
    },
  );
}

const globalAttention = (c: number, heads: number): Layer =>
  layerOf(
    { proj: dense(c, c) },
    { ...qkv(c), temperature: { shape: [heads, 1, 1], initial: { value: (c / heads) ** -0.5 } } },
    (x, { proj }, own) => {
      const [q, k, v] = projected(x, heads, own['qkv.weight'], own['qkv.bias']).map(tokensOf) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const tau = own.temperature.reshape([heads]);
      const { out } = enhancedLinearAttention.forward({ q, k, v, tau }, enhancedLinearAttention.parse({}));
      return proj(out.reshape(x.shape));
    },
  );

const localConcentration = (c: number): Layer =>
  sequence({
    conv1: depthwise(c, { kernel: 7, activation: 'gelu' }),
    bn: batchNorm(c),
    conv2: depthwise(c, { kernel: 7 }),
  });
