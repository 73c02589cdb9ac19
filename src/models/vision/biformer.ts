/**
 * BiFormer, four stages of bilevel routing attention, the last of attention to the whole picture.
 * Source: Zhu et al. 2023, arXiv 2303.08810, and the authors' code: both forms of their networks with names, paddings and epsilons.
 */
import { ShapeError } from '../../errors';
import { type Routing, routedAttention } from '../../methods/sparse/bilevel-routing-attention/route';
import type { ModuleControl, Parameters } from '../../nn/module';
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
  type Layer,
  layerNorm,
  layerOf,
  normedConvolution,
  paddedTo,
  pointwise,
  pooling,
  projected,
  sequence,
  tokensOf,
  upTo,
} from './layers';
import {
  CLASSIFIER,
  countParam,
  denseTask,
  type HeadSettings,
  type PictureNetwork,
  photographs,
  pictureParams,
  SMALL_PICTURES,
  STAGE_NAMES,
  samplePicture,
  stagedNetwork,
} from './picture-network';
import { trainedHere } from './trained';

/** Whether a network is the first form of the authors' code, or the later one on channels first, which names and pads otherwise. */
type Form = 'legacy' | 'nchw';

interface BiFormerConfig {
  readonly widths: readonly number[];
  readonly depths: readonly number[];
  /** Widths of the feed-forward networks over those of the stages. */
  readonly ratio: number;
  /** Whether it is laid out as Swin-T: blocks without convolutions for positions, and norms before convolutions that halve. */
  readonly isSwin: boolean;
  /** Pixels of a place of the first stage along both axes; default 4, as the authors'. */
  readonly stride?: 2 | 4 | undefined;
}

const [NARROW, WIDE] = [
  [64, 128, 256, 512],
  [96, 192, 384, 768],
];
const VARIANTS = {
  t: { widths: NARROW, depths: [2, 2, 8, 2], ratio: 3, isSwin: false },
  s: { widths: NARROW, depths: [4, 4, 18, 4], ratio: 3, isSwin: false },
  b: { widths: WIDE, depths: [4, 4, 18, 4], ratio: 3, isSwin: false },
  stl: { widths: WIDE, depths: [2, 2, 6, 2], ratio: 4, isSwin: true },
  mini: { widths: [32, 64], depths: [1, 1], ratio: 3, isSwin: false, stride: 2 },
} satisfies Record<string, BiFormerConfig>;

/** Regions along both axes, and how many of them each sees in the first stages. */
const REGIONS = 7;
const TOP_REGIONS = [1, 4, 16];
const HEAD = 32;
/** Heads of the last stage in the first form, whatever the width. */
const LAST_HEADS = 8;

export const biformer = defineModel({
  name: 'biformer',
  summary: 'classes of a picture, whose regions choose what they see: BiFormer',
  paper: '2303.08810',
  ...CLASSIFIER,
  sometimes: ['logits', ...STAGE_NAMES],
  params: pictureParams(VARIANTS, 't', {
    regions: countParam(
      REGIONS,
      'regions along both axes; the authors have 16 where they detect and 8 where they segment',
    ),
    task: denseTask,
  }),
  network: ({ variant, ...settings }) => ({
    ...biformerNetwork(VARIANTS[variant], settings),
    pictures: variant === 'mini' ? SMALL_PICTURES : photographs(0.875),
  }),
  sample: () => ({ params: { variant: 't', classes: 10 }, inputs: { x: samplePicture(112) } }),
  published: trainedHere(
    'biformer',
    { variant: 'mini', classes: 10 },
    () => new URL('./trained/biformer/model.safetensors', import.meta.url),
    () => new URL('./trained/biformer/config.json', import.meta.url),
  ),
});

interface Settings extends HeadSettings {
  /** Default 7. */
  readonly regions?: number | undefined;
}

export function biformerNetwork(config: BiFormerConfig, settings: Settings) {
  const [legacy, nchw] = (['legacy', 'nchw'] as const).map((form) => networkOf(config, form, settings)) as [
    PictureNetwork,
    PictureNetwork,
  ];
  if (!config.isSwin) return legacy;
  const chosen = (parameters: object) => (Object.hasOwn(parameters, NCHW_NAME) ? nchw : legacy);
  return {
    parameters: legacy.parameters,
    otherForms: [nchw.parameters],
    fold: (parameters: Parameters) => chosen(parameters).fold(parameters),
    forward: ((inputs, parameters, control) =>
      chosen(parameters).forward(inputs, parameters, control)) as PictureNetwork['forward'],
  };
}
const NCHW_NAME = 'stages.0.blocks.0.attn.qkv_linear.weight';

function networkOf(
  { widths, depths, ratio, isSwin, stride = 4 }: BiFormerConfig,
  form: Form,
  { classes, regions = REGIONS, features, task }: Settings,
): PictureNetwork {
  const blocks = isSwin ? '.blocks' : '';
  const parts = widths.map((c, at): Readonly<Record<string, Layer>> => {
    const attn =
      at < widths.length - 1 ? ROUTED[form](c, { regions, topRegions: TOP_REGIONS[at] as number }) : global(c, form);
    const block = blockOf(c, ratio * c, attn, isSwin, form);
    const before = widths[at - 1] ?? 3;
    return {
      [`downsample_layers.${at}`]: isSwin
        ? merging(before, c, at === 0)
        : halving(before, c, at === 0 ? stride / 2 : undefined),
      [`stages.${at}${blocks}`]: sequence(Array<Layer>(depths[at] as number).fill(block)),
    };
  });
  const last = widths.at(-1) as number;
  const head = { norm: batchNorm(last), $mean: pooling, head: dense(last, classes) };
  const isDense = task === 'dense';
  const norms = widths.map((c, at) => [`extra_norms.${at}`, layerNorm(c)] as const);
  return stagedNetwork(Object.assign({}, ...parts, !isDense && head), {
    stages: widths.map((_, at) => `stages.${at}${blocks}`),
    features,
    norms: isDense ? Object.fromEntries(norms) : undefined,
  });
}

const half = { kernel: 3, stride: 2, padding: 1 } as const;

/** Half the extents; as a stem half of them, over the stride of a second convolution. */
const halving = (c: number, o: number, second?: number): Layer =>
  second
    ? sequence({
        $first: normedConvolution(['0', '1'], c, o / 2, { ...half, activation: 'gelu' }),
        $second: normedConvolution(['3', '4'], o / 2, o, { ...half, stride: second }),
      })
    : normedConvolution(['0', '1'], c, o, half);

/** As in Swin. */
const merging = (c: number, o: number, isFirst: boolean): Layer =>
  isFirst
    ? normedConvolution(['0', '1'], c, o, { kernel: 4, stride: 4, padding: 0 })
    : sequence([batchNorm(c), convolution(c, o, { kernel: 2, stride: 2, padding: 0 })]);

function blockOf(c: number, hidden: number, attn: Layer, isSwin: boolean, form: Form): Layer {
  const product = form === 'legacy' ? dense : pointwise;
  const parts = {
    norm1: layerNorm(c),
    attn,
    norm2: layerNorm(c),
    'mlp.0': product(c, hidden, { activation: 'gelu' }),
    [`mlp.${isSwin || form === 'nchw' ? 2 : 3}`]: product(hidden, c),
  };
  const pos_embed = depthwise(c, { kernel: 3 });
  return layerOf(isSwin ? parts : { pos_embed, ...parts }, {}, (x, calls) => {
    const {
      pos_embed: near,
      norm1,
      attn,
      norm2,
      ...mlp
    } = calls as Readonly<Record<string, (x: Tensor) => Tensor<'f32'>>>;
    const placed = near ? add(x, near(x)) : x;
    const h = add(placed, attn!(norm1!(placed)));
    return add(
      h,
      Object.values(mlp).reduce<Tensor>((y, call) => call(y), norm2!(h)),
    );
  });
}

const matrices = (name: string, c: number, form: Form, hasBias = true) => ({
  [`${name}.weight`]: { shape: form === 'legacy' ? [3 * c, c] : [3 * c, c, 1, 1], initial: { std: 0.02 } },
  ...(hasBias && { [`${name}.bias`]: { shape: [3 * c], initial: { value: 0 } } }),
});

/** Who looks on is told the regions of each block, in the order of the blocks. */
export type RoutedControl = ModuleControl & Pick<Routing, 'onRoutes'>;

interface Regions {
  readonly regions: number;
  readonly topRegions: number;
}

/** Attention within chosen regions and, for each channel, a convolution of the values. */
const ROUTED = {
  /** Zeros fill the last regions before the projection, so that they count with its bias. */
  legacy: (c: number, { regions, topRegions }: Regions): Layer =>
    layerOf(
      { lepe: depthwise(c, { kernel: 5 }), wo: dense(c, c) },
      matrices('qkv.qkv', c, 'legacy'),
      (x, { lepe, wo }, own, { onRoutes }: RoutedControl) => {
        const [, rows, columns] = x.shape as [number, number, number];
        const [high, wide] = [upTo(rows, regions), upTo(columns, regions)];
        const padded = paddedTo(x, high, wide);
        const [q, k, v] = projected(padded, c / HEAD, own['qkv.qkv.weight'] as Tensor, own['qkv.qkv.bias']);
        const region = [high / regions, wide / regions] as const;
        const out = routedAttention(q, k, v, { region, topRegions, scale: c ** -0.5, onRoutes });
        return cropped(wo(add(out.reshape(padded.shape), lepe(v.reshape(padded.shape)))), rows, columns);
      },
    ),

  /** Zeros fill the last regions after the projection; means of regions are without them. */
  nchw: (c: number, { regions, topRegions }: Regions): Layer =>
    layerOf(
      { lepe: depthwise(c, { kernel: 5 }), output_linear: pointwise(c, c) },
      matrices('qkv_linear', c, 'nchw'),
      (x, { lepe, output_linear }, own, { onRoutes }: RoutedControl) => {
        const [, rows, columns] = x.shape as [number, number, number];
        const region = [Math.floor(rows / regions), Math.floor(columns / regions)] as const;
        if (region.includes(0))
          throw new ShapeError(
            `x must be at least ${16 * regions} pixels high and wide in this form of the network, of which ${rows} x ${columns} places are left`,
          );
        const [high, wide] = [upTo(rows, region[0]), upTo(columns, region[1])];
        const flat = projected(x, c / HEAD, own['qkv_linear.weight'] as Tensor, own['qkv_linear.bias']).map((each) =>
          each.reshape(x.shape),
        ) as [Tensor, Tensor, Tensor];
        const [q, k, v] = flat.map((each) => byHeads(paddedTo(each, high, wide), c / HEAD)) as [Tensor, Tensor, Tensor];
        const routing = { region, topRegions, scale: c ** -0.5, real: [rows, columns] as const, onRoutes };
        const out = routedAttention(q, k, v, routing).reshape([x.shape[0] as number, high, wide, c]);
        return output_linear(add(cropped(out, rows, columns), lepe(flat[2])));
      },
    ),
};

const byHeads = (x: Tensor, heads: number) =>
  x.reshape([...x.shape.slice(0, 3), heads, (x.shape[3] as number) / heads]);

/** Attention to the whole picture, and a convolution of what it is given, or of the values. */
const global = (c: number, form: Form): Layer =>
  layerOf(
    { lepe: depthwise(c, { kernel: 5 }), proj: form === 'legacy' ? dense(c, c) : pointwise(c, c) },
    matrices('qkv', c, form, false),
    (x, { lepe, proj }, own) => {
      const [q, k, v] = projected(x, LAST_HEADS, own['qkv.weight'] as Tensor);
      const { out } = attention(tokensOf(q), tokensOf(k), tokensOf(v));
      return proj(add(out.reshape(x.shape), lepe(form === 'legacy' ? x : v.reshape(x.shape))));
    },
  );
