/**
 * VAN, four stages of blocks whose attention is a gate by a large convolution.
 * Source: Guo et al. 2023, arXiv 2202.09741, and the authors' code: names, epsilons, and the inner shortcut around the gate.
 */
import { prefixed } from '../../nn/module';
import { add, multiply } from '../../ops/map';
import type { Tensor } from '../../tensor/tensor';
import { defineModel } from '../define';
import {
  addScaled,
  affineNorm,
  batchNorm,
  dense,
  depthwise,
  type Find,
  type Layer,
  layerNorm,
  layerOf,
  mergeable,
  normedConvolution,
  normedInput,
  pointwise,
  pooling,
  scaledConvolution,
  sequence,
  within,
} from './layers';
import {
  CLASSIFIER,
  type HeadSettings,
  photographs,
  pictureParams,
  SMALL_PICTURES,
  samplePicture,
  stagedNetwork,
} from './picture-network';
import { trainedHere } from './trained';

/** What tells the variants apart: the width and the number of blocks of each stage. */
interface VanConfig {
  readonly widths: readonly number[];
  readonly depths: readonly number[];
  /** Pixels of a place of the first stage along both axes; default 4, as the authors'. */
  readonly stride?: number | undefined;
}

const SMALL = [64, 128, 320, 512];
const VARIANTS = {
  b0: { widths: [32, 64, 160, 256], depths: [3, 3, 5, 2] },
  b1: { widths: SMALL, depths: [2, 2, 4, 2] },
  b2: { widths: SMALL, depths: [3, 3, 12, 3] },
  b3: { widths: SMALL, depths: [3, 5, 27, 3] },
  b4: { widths: SMALL, depths: [3, 6, 40, 3] },
  b5: { widths: [96, 192, 480, 768], depths: [3, 3, 24, 3] },
  b6: { widths: [96, 192, 384, 768], depths: [6, 6, 90, 6] },
  mini: { widths: [12, 24, 64], depths: [1, 1, 2], stride: 2 },
} satisfies Record<string, VanConfig>;

/** Widths of the feed-forward networks over those of the stages. */
const RATIOS = [8, 8, 4, 4];

export const van = defineModel({
  name: 'van',
  summary: 'classes of a picture, by convolutions that gate: Visual Attention Network',
  paper: '2202.09741',
  ...CLASSIFIER,
  params: pictureParams(VARIANTS, 'b0', {}),
  network: ({ variant, ...settings }) => ({
    ...vanNetwork(VARIANTS[variant], settings),
    pictures: variant === 'mini' ? SMALL_PICTURES : photographs(0.9),
  }),
  sample: () => ({ params: { variant: 'b0', classes: 10 }, inputs: { x: samplePicture(64) } }),
  published: trainedHere(
    'van',
    { variant: 'mini', classes: 10 },
    () => new URL('./trained/van/model.safetensors', import.meta.url),
    () => new URL('./trained/van/config.json', import.meta.url),
  ),
});

/** The network of these widths and depths; the last of its widths is that of its head. */
export function vanNetwork({ widths, depths, stride = 4 }: VanConfig, { classes, features }: HeadSettings) {
  const stages = widths.map((width, at): Readonly<Record<string, Layer>> => {
    const [i, before] = [at + 1, widths[at - 1] ?? 3];
    const size = at === 0 ? { kernel: 7, stride, padding: 3 } : { kernel: 3, stride: 2, padding: 1 };
    const block = blockOf(width, (RATIOS[at] as number) * width);
    return {
      [`patch_embed${i}`]: normedConvolution(['proj', 'norm'], before, width, size),
      [`block${i}`]: sequence(Array<Layer>(depths[at] as number).fill(block)),
      [`norm${i}`]: layerNorm(width),
    };
  });
  const parts = { ...Object.assign({}, ...stages), $mean: pooling, head: dense(widths.at(-1) as number, classes) };
  return stagedNetwork(parts, { stages: widths.map((_, at) => `norm${at + 1}`), features });
}

function blockOf(c: number, hidden: number): Layer {
  const scale = { shape: [c], initial: { value: 0.01 } };
  const attention = (hasShortcut: boolean) => gatedAttention(c, hasShortcut);
  const trained = layerOf(
    { norm1: batchNorm(c), attn: attention(true), norm2: batchNorm(c), mlp: feedForward(c, hidden) },
    { layer_scale_1: scale, layer_scale_2: scale },
    (x, { norm1, attn, norm2, mlp }, { layer_scale_1, layer_scale_2 }) => {
      const h = addScaled(x, layer_scale_1, attn(norm1(x)));
      return addScaled(h, layer_scale_2, mlp(norm2(h)));
    },
  );
  // Norms and scales are parts of the products beside them; around the gate stays a factor of x.
  const merged = layerOf(
    { attn: attention(false), mlp: feedForward(c, hidden) },
    { layer_scale_1: scale },
    (x, { attn, mlp }, { layer_scale_1 }) => {
      const h = addScaled(attn(x), layer_scale_1, x);
      return add(h, mlp(h));
    },
  );
  return mergeable(trained, merged, 'norm1.running_mean', mergedBlock);
}

/** The parameters of a merged block. */
function mergedBlock(find: Find): Record<string, Tensor> {
  const own = (name: string) => find(name) as Tensor;
  const gateScale = own('layer_scale_1');
  const [first, second] = [affineNorm(within(find, 'norm1')), affineNorm(within(find, 'norm2'))];
  const gate = 'attn.spatial_gating_unit';
  const kept = ['conv0', 'conv_spatial', 'conv1'].map((name) => `${gate}.${name}`).concat('mlp.dwconv.dwconv');
  const last = scaledConvolution(within(find, 'attn.proj_2'), gateScale);
  return {
    ...Object.fromEntries(
      kept.flatMap((name) => ['weight', 'bias'].map((part) => [`${name}.${part}`, own(`${name}.${part}`)])),
    ),
    ...prefixed({ ...normedInput(within(find, 'attn.proj_1'), first) }, 'attn.proj_1'),
    ...prefixed({ ...last, bias: addScaled(last.bias, gateScale, first.shift) }, 'attn.proj_2'),
    ...prefixed({ ...normedInput(within(find, 'mlp.fc1'), second) }, 'mlp.fc1'),
    ...prefixed({ ...scaledConvolution(within(find, 'mlp.fc2'), own('layer_scale_2')) }, 'mlp.fc2'),
    layer_scale_1: add(multiply(gateScale, first.factor), gateScale.runtime.full(gateScale.shape, 1)),
  };
}

/** Its own shortcut is part of the block's where blocks are merged. */
function gatedAttention(c: number, hasShortcut: boolean): Layer {
  const gate = layerOf(
    {
      conv0: depthwise(c, { kernel: 5 }),
      conv_spatial: depthwise(c, { kernel: 7, dilation: 3 }),
      conv1: pointwise(c, c),
    },
    {},
    (x, { conv0, conv_spatial, conv1 }) => multiply(conv1(conv_spatial(conv0(x))), x),
  );
  return layerOf(
    { proj_1: pointwise(c, c, { activation: 'gelu' }), spatial_gating_unit: gate, proj_2: pointwise(c, c) },
    {},
    (x, { proj_1, spatial_gating_unit, proj_2 }) => {
      const gated = proj_2(spatial_gating_unit(proj_1(x)));
      return hasShortcut ? add(x, gated) : gated;
    },
  );
}

const feedForward = (c: number, hidden: number): Layer =>
  sequence({
    fc1: pointwise(c, hidden),
    dwconv: sequence({ dwconv: depthwise(hidden, { kernel: 3, activation: 'gelu' }) }),
    fc2: pointwise(hidden, c),
  });
