/**
 * BEVANet, a branch of details beside one of meaning, whose blocks have large kernels of strips: segmentation and classification.
 * Source: Huang et al. 2025, arXiv 2508.07300, and the authors' code, from which all of this is; the paper's formulas were not at hand.
 */
import * as valibot from 'valibot';
import { ShapeError } from '../../errors';
import { BRANCHES, KERNELS, type NominalKernel } from '../../methods/large-kernels/sdlska/kernels';
import { concat } from '../../ops/copy';
import { add, multiply, relu, sigmoid, subtract } from '../../ops/map';
import { map } from '../../ops/map/map';
import { adaptivePool, pool } from '../../ops/pool';
import { max, mean, sum } from '../../ops/reduce';
import { resize } from '../../ops/resize';
import { IMAGENET_COLOURS } from '../../pictures/preprocess';
import type { Tensor } from '../../tensor/tensor';
import { defineModel } from '../define';
import {
  activated,
  addScaled,
  batchNorm,
  convolution,
  dense,
  depthwise,
  type Layer,
  layerNorm,
  layerOf,
  normedConvolution,
  pointwise,
  pooling,
  sequence,
} from './layers';
import { streetLoss } from './losses';
import {
  channelsFirst,
  type HeadSettings,
  networkOf,
  photographs,
  pictureParams,
  placesTask,
  STAGE_NAMES,
  STAGES,
  samplePicture,
} from './picture-network';
import { trainedHere } from './trained';

interface BevanetConfig {
  /** Channels of the first stage, p; the others have 2, 4, 8 and 16 times as many. */
  readonly width: number;
  /** Residual blocks of the first three stages; the branch of details has as many as the first. */
  readonly blocks: readonly [number, number, number];
  /** Channels of the pyramid and of the head. */
  readonly pyramid: number;
  readonly head: number;
  /** Pixels of a place of the first stage along both axes; default 4, as the authors'. */
  readonly stride?: 2 | 4 | undefined;
}

const VARIANTS = {
  s: { width: 32, blocks: [2, 2, 3], pyramid: 96, head: 128 },
  base: { width: 64, blocks: [2, 2, 4], pyramid: 96, head: 128 },
  l: { width: 64, blocks: [3, 3, 4], pyramid: 112, head: 256 },
  mini: { width: 4, blocks: [1, 1, 1], pyramid: 16, head: 24, stride: 2 },
} satisfies Record<string, BevanetConfig>;

/** Nominal kernels of the branch of meaning and of that of details. */
const [FAR, NEAR] = [35, 23] as const;

export const bevanet = defineModel({
  name: 'bevanet',
  summary: 'classes of the places of a picture, or of the whole, in real time: BEVANet',
  paper: '2508.07300',
  inputs: { x: 'b 3 rows columns' },
  // The logits of a picture as a whole are [b, classes].
  outputs: {
    logits: 'b classes down across',
    auxiliary: 'b classes down across',
    boundary: 'b 1 down across',
    ...STAGES,
  },
  sometimes: ['auxiliary', 'boundary', ...STAGE_NAMES],
  params: pictureParams(
    VARIANTS,
    's',
    {
      task: placesTask('segment'),
      auxiliary: valibot.optional(
        valibot.pipe(valibot.boolean(), valibot.description('whether there are the heads that only training uses')),
        false,
      ),
    },
    19,
  ),
  network: ({ variant, ...settings }) => ({
    ...bevanetNetwork(VARIANTS[variant], settings),
    pictures: settings.task === 'segment' ? STREETS : photographs(0.875),
  }),
  sample: () => ({ params: { variant: 's' }, inputs: { x: samplePicture(64) } }),
  published: trainedHere(
    'bevanet',
    { variant: 'mini', classes: 7 },
    () => new URL('./trained/bevanet/model.safetensors', import.meta.url),
    () => new URL('./trained/bevanet/config.json', import.meta.url),
  ),
});

/** Whole pictures, scaled to what its branches need. */
const STREETS = { multipleOf: 8, interpolation: 'bilinear', ...IMAGENET_COLOURS } as const;

interface Settings extends Omit<HeadSettings, 'task'> {
  readonly task: 'segment' | 'classify';
  readonly auxiliary?: boolean;
}

type Call = (x: Tensor) => Tensor<'f32'>;
type Calls = Readonly<Record<string, Call>>;

export function bevanetNetwork(
  config: BevanetConfig,
  { task, classes, auxiliary = false, features = false }: Settings,
) {
  const { width: p, head, stride = 4 } = config;
  const own = task === 'segment' ? segmenting(config, classes) : classifying(p, classes);
  const heads = { seghead_ds: pixels(2 * p, 2 * p, head, classes), seghead_db: pixels(2 * p, 2 * p, p, 1) };
  const layer = layerOf({ ...branches(config), ...own, ...(auxiliary && heads) }, {}, (x, calls: Calls, _, control) => {
    checkExtents(x, 2 * stride);
    const { meaning, detail, inner, ...near } = twoBranches(x, calls);
    const stages = features ? [near.shared, near.far, meaning, detail].map(channelsFirst) : [];
    const found = Object.fromEntries(stages.map((stage, at) => [STAGE_NAMES[at], stage]));
    if (task === 'classify')
      return { logits: classified(meaning, detail, calls).reshape([x.shape[0] as number, -1]), ...found };
    const logits = channelsFirst(segmented(meaning, detail, calls));
    if (!auxiliary || !control.training) return { logits, ...found };
    const [early, boundary] = [calls.seghead_ds!(inner), calls.seghead_db!(detail)];
    return { logits, auxiliary: channelsFirst(early), boundary: channelsFirst(boundary), ...found };
  });
  return {
    ...networkOf(layer, /^seghead_(ds|db)\./),
    ...(auxiliary && task === 'segment' && { loss: streetLoss as never }),
  };
}

/** What both tasks compute, up to the last stage. */
function branches({ width: p, blocks, stride = 4 }: BevanetConfig): Readonly<Record<string, Layer>> {
  const [first, second, third] = blocks;
  const stem = { kernel: 3, stride: 2, padding: 1, activation: 'relu' } as const;
  return {
    conv1: sequence({
      $first: normedConvolution(['0', '1'], 3, p, stem),
      $second: normedConvolution(['3', '4'], p, p, { ...stem, stride: stride / 2 }),
    }),
    layer1: residuals(p, p, first, 1),
    layer2: residuals(p, 2 * p, second, 2),
    layer3_semantic: residuals(2 * p, 4 * p, third, 2),
    layer4_down_semantic: residuals(4 * p, 8 * p, 1, 2),
    ...gatedTwice('layer4_semantic', 'norm4_semantic', '', 8 * p),
    layer3_detail: residuals(2 * p, 2 * p, first, 1),
    compression3: normedConvolution(['0', '1'], 4 * p, 2 * p, { kernel: 1, bias: false }),
    ...fusion('fuse_sd_3', 2 * p, p),
    layer4_detail_conv: residuals(2 * p, 2 * p, 1, 1),
    layer4_detail: gatedBlock(2 * p, NEAR),
    norm4_detail: layerNorm(2 * p, EPSILON),
    compression4: normedConvolution(['0', '1'], 8 * p, 2 * p, { kernel: 1, bias: false }),
    ...fusion('fuse_sd_4', 2 * p, p),
    layer5_detail_semantic: sequence([bottleneck(2 * p, 2 * p)]),
  };
}

function checkExtents({ shape: [, rows, columns] }: Tensor, step: number): void {
  if ((rows as number) % step === 0 && (columns as number) % step === 0) return;
  throw new ShapeError(`x must have rows and columns that are multiples of ${step}, got ${rows} x ${columns}`);
}

/**
 * The branches of meaning, with a 32nd of the extents, and of details, with an eighth; what the second was in between, and
 * what both begin with, at an eighth and, for meaning, a sixteenth.
 */
function twoBranches(x: Tensor, calls: Calls) {
  const call = (name: string, y: Tensor) => (calls[name] as Call)(y);
  const shared = relu(call('layer2', relu(call('layer1', call('conv1', x)))));
  const far = relu(call('layer3_semantic', shared));
  const near = call('layer3_detail', shared);
  const inner = relu(fused(calls, 'fuse_sd_3', near, call('compression3', far)));
  const meaning = normedTwice(calls, 'layer4_semantic', 'norm4_semantic', '', call('layer4_down_semantic', far));
  const placed = call('norm4_detail', call('layer4_detail', call('layer4_detail_conv', inner)));
  return { meaning, detail: fused(calls, 'fuse_sd_4', placed, call('compression4', meaning)), inner, shared, far };
}

/** Residual blocks, the first of which takes steps; the last of several has no ReLU. */
const residuals = (c: number, o: number, count: number, stride: number): Layer =>
  sequence(
    Array.from({ length: count }, (_, at) =>
      residual(at === 0 ? c : o, o, { stride: at === 0 ? stride : 1, isActive: at === 0 || at < count - 1 }),
    ),
  );

function residual(c: number, o: number, { stride, isActive }: { stride: number; isActive: boolean }): Layer {
  const conv = { kernel: 3, padding: 1, bias: false } as const;
  const parts = {
    $first: normedConvolution(['conv1', 'bn1'], c, o, { ...conv, stride, activation: 'relu' }),
    $second: normedConvolution(['conv2', 'bn2'], o, o, conv),
  };
  return beside(parts, shortcut(c, o, stride), isActive);
}

/** Half as many channels between products that make them few and twice as many again. */
function bottleneck(c: number, hidden: number, stride = 1): Layer {
  const parts = {
    $first: normedConvolution(['conv1', 'bn1'], c, hidden, { kernel: 1, bias: false, activation: 'relu' }),
    $second: normedConvolution(['conv2', 'bn2'], hidden, hidden, {
      kernel: 3,
      padding: 1,
      stride,
      bias: false,
      activation: 'relu',
    }),
    $third: normedConvolution(['conv3', 'bn3'], hidden, 2 * hidden, { kernel: 1, bias: false }),
  };
  return beside(parts, shortcut(c, 2 * hidden, stride), false);
}

const shortcut = (c: number, o: number, stride: number): Layer | undefined =>
  c === o && stride === 1
    ? undefined
    : normedConvolution(['0', '1'], c, o, { kernel: 1, stride, padding: 0, bias: false });

/** The parts one after the other, added to x or to what `downsample` makes of it. */
const beside = (parts: Readonly<Record<string, Layer>>, downsample: Layer | undefined, isActive: boolean): Layer =>
  layerOf({ ...parts, ...(downsample && { downsample }) }, {}, (x, calls: Calls) => {
    const { downsample: short, ...rest } = calls;
    const out = add(
      Object.values(rest).reduce<Tensor>((y, call) => call(y), x),
      short ? short(x) : x,
    );
    return isActive ? relu(out) : out;
  });

const EPSILON = 1e-5;

/** Two blocks with far strips, each with a norm. */
const gatedTwice = (block: string, normal: string, end: string, c: number): Readonly<Record<string, Layer>> =>
  Object.fromEntries(
    [1, 2].flatMap((at) => [
      [`${block}_${at}${end}`, gatedBlock(c, FAR)],
      [`${normal}_${at}${end}`, layerNorm(c, EPSILON)],
    ]),
  );

const normedTwice = (calls: Calls, block: string, normal: string, end: string, x: Tensor): Tensor<'f32'> =>
  [1, 2].reduce<Tensor>(
    (y, at) => calls[`${normal}_${at}${end}`]!(calls[`${block}_${at}${end}`]!(y)),
    x,
  ) as Tensor<'f32'>;

/** As a block of VAN, with a gate of strips. */
function gatedBlock(c: number, kernel: NominalKernel): Layer {
  const scale = { shape: [c], initial: { value: 0.01 } };
  return layerOf(
    { norm1: batchNorm(c), attn: spatialAttention(c, strips(c, kernel)), norm2: batchNorm(c), mlp: feedForward(c) },
    { layer_scale_1: scale, layer_scale_2: scale },
    (x, { norm1, attn, norm2, mlp }, { layer_scale_1, layer_scale_2 }) => {
      const h = addScaled(x, layer_scale_1, attn(norm1(x)));
      return addScaled(h, layer_scale_2, mlp(norm2(h)));
    },
  );
}

const spatialAttention = (c: number, gate: Layer): Layer =>
  layerOf(
    {
      'proj_1.pwconv': pointwise(c, c, { activation: 'gelu' }),
      spatial_gating_unit: gate,
      'proj_2.pwconv': pointwise(c, c),
    },
    {},
    (x, { 'proj_1.pwconv': first, spatial_gating_unit: gated, 'proj_2.pwconv': second }) =>
      add(x, second(gated(first(x)))),
  );

const feedForward = (c: number): Layer =>
  sequence({
    'fc1.pwconv': pointwise(c, 4 * c),
    'dwconv.dwconv': depthwise(4 * c, { kernel: 3, activation: 'gelu' }),
    'fc2.pwconv': pointwise(4 * c, c),
  });

/** x gated by a small kernel and by strips across and down of what that gives, each weighed by channel and place. */
function strips(c: number, nominal: NominalKernel): Layer {
  const { small, strip, dilation } = KERNELS[nominal];
  const hidden = Math.max(Math.floor(c / 16), 32);
  const expansions = BRANCHES.map((branch) => [`FS_kernel.fc_expand_${branch}`, stage(hidden, c)]);
  return layerOf(
    {
      'DW_conv.dwconv': depthwise(c, { kernel: small }),
      'DW_D_conv_h.dwconv': depthwise(c, { kernel: [1, strip], dilation }),
      'DW_D_conv_v.dwconv': depthwise(c, { kernel: [strip, 1], dilation }),
      'pwconv.pwconv': pointwise(c, c),
      $mean: pooling,
      'FS_kernel.fc_reduce': stage(c, hidden),
      'FS_kernel.conv_squeeze': convolution(2, 3, { kernel: 7, activation: 'sigmoid' }),
      ...(Object.fromEntries(expansions) as Readonly<Record<string, Layer>>),
    },
    {},
    (x, calls: Calls) => {
      const near = calls['DW_conv.dwconv']!(x);
      const all = [near, calls['DW_D_conv_h.dwconv']!(near), calls['DW_D_conv_v.dwconv']!(near)] as const;
      const added = map((s, h, v) => s + h + v, ...all);
      const squeezed = calls['FS_kernel.fc_reduce']!(calls.$mean!(added));
      const axes = { axes: [3], keepDims: true } as const;
      const places = calls['FS_kernel.conv_squeeze']!(concat([mean(added, axes), max(added, axes)], 3));
      const weighed = all.map((branch, at) => {
        const channels = sigmoid(calls[`FS_kernel.fc_expand_${BRANCHES[at]}`]!(squeezed));
        return map((y, channel, place) => y * channel * place, branch, channels, places.slice(3, at, at + 1));
      });
      const selected = weighed.reduce((sum, each) => add(sum, each));
      return multiply(x, calls['pwconv.pwconv']!(selected));
    },
  );
}

/** A squeeze or an expansion of channels. */
const stage = (c: number, o: number): Layer =>
  sequence({
    '0.pwconv': pointwise(c, o),
    $depth: normedConvolution(['1.dwconv', '2'], o, o, { kernel: 3, groups: o, activation: 'relu' }),
  });

/** x gated by strips one after the other, near ones and far ones. */
function separable(c: number, nominal: NominalKernel): Layer {
  const { small, strip, dilation } = KERNELS[nominal];
  const gate = sequence({
    'DW_conv_h.dwconv': depthwise(c, { kernel: [1, small] }),
    'DW_conv_v.dwconv': depthwise(c, { kernel: [small, 1] }),
    'DW_D_conv_h.dwconv': depthwise(c, { kernel: [1, strip], dilation }),
    'DW_D_conv_v.dwconv': depthwise(c, { kernel: [strip, 1], dilation }),
    'pwconv.pwconv': pointwise(c, c),
  });
  return layerOf({ $gate: gate }, {}, (x, { $gate }) => multiply(x, $gate(x)));
}

/** The two products of a fusion. */
const fusion = (name: string, c: number, hidden: number): Readonly<Record<string, Layer>> =>
  Object.fromEntries(
    ['f_x', 'f_y'].map((side) => [
      `${name}.${side}`,
      normedConvolution(['0', '1'], c, hidden, { kernel: 1, bias: false }),
    ]),
  );

/** x and y, made as large, at each place weighed by how alike they are. */
function fused(calls: Calls, name: string, x: Tensor, y: Tensor): Tensor<'f32'> {
  const larger = (small: Tensor) => resize(small, { size: x.shape.slice(1, 3) });
  const products = multiply(calls[`${name}.f_x`]!(x), larger(calls[`${name}.f_y`]!(y)));
  const likeness = sigmoid(sum(products, { axes: [3], keepDims: true }));
  return addScaled(x, likeness, subtract(larger(y), x));
}

/** A batch norm, ReLU and a convolution without bias, under the names that are given. */
const activatedConvolution = (normal: string, name: string, convolve: Layer, c: number): Layer =>
  sequence({ [normal]: sequence({ $norm: batchNorm(c), $relu: activated('relu') }), [name]: convolve });
const activatedProduct = (at: number, c: number, o: number): Layer =>
  activatedConvolution(`${at}`, `${at + 2}.pwconv`, pointwise(c, o, { bias: false }), c);
const activatedThree = (c: number, dilation = 1): Layer =>
  activatedConvolution('0', '2', convolution(c, c, { kernel: 3, bias: false, dilation }), c);

/** What the parts of segmentation are, after both branches. */
function segmenting({ width: p, pyramid: b, head }: BevanetConfig, classes: number): Readonly<Record<string, Layer>> {
  return {
    layer5_down_semantic_seg: residuals(8 * p, 16 * p, 1, 2),
    ...gatedTwice('layer5_semantic', 'norm5_semantic', '_seg', 16 * p),
    layer5_detail_boundary: sequence([bottleneck(2 * p, 2 * p)]),
    spp: pyramidPooling(16 * p, b, 4 * p),
    ...Object.fromEntries(['conv_p', 'conv_i', 'out'].map((name) => [`dfm.${name}`, activatedThree(4 * p)])),
    head: pixels(4 * p, 4 * p, head, classes),
  };
}

function segmented(meaning: Tensor, detail: Tensor, calls: Calls): Tensor<'f32'> {
  const call = (name: string, x: Tensor) => (calls[name] as Call)(x);
  const deep = call('layer5_down_semantic_seg', meaning);
  const context = call('spp', normedTwice(calls, 'layer5_semantic', 'norm5_semantic', '_seg', deep));
  const [, rows, columns] = detail.shape as [number, number, number];
  const p = call('dfm.conv_p', call('layer5_detail_semantic', detail));
  const i = call('dfm.conv_i', resize(context, { size: [rows, columns] }));
  const share = sigmoid(call('layer5_detail_boundary', detail));
  const mixed = map((own, far, part) => part * own + (1 - part) * far + own + far, p, i, share);
  return call('head', call('dfm.out', mixed));
}

/** Classes of places: a convolution and a product, each after a batch norm and ReLU. */
const pixels = (c: number, width: number, hidden: number, classes: number): Layer =>
  sequence({
    bn1: batchNorm(width),
    $first: activated('relu'),
    $hidden: normedConvolution(['conv1', 'bn2'], c, hidden, { kernel: 3, bias: false, activation: 'relu' }),
    conv2: pointwise(hidden, classes),
  });

/** Context at five sizes and by strips, each made with the one before it. */
function pyramidPooling(c: number, b: number, o: number): Layer {
  const pools: Readonly<Record<number, (x: Tensor) => Tensor>> = {
    1: (x) => pool(x, { size: 5, stride: 2, padding: 2 }),
    2: (x) => pool(x, { size: 9, stride: 4, padding: 4 }),
    4: (x) => adaptivePool(x, { size: 2 }),
    5: (x) => adaptivePool(x),
  };
  const scales = Object.keys(pools).map((at) => [`scale${at}`, activatedProduct(1, c, b)] as const);
  const steps = [1, 2, 4, 5].map((at) => [`process${at}`, activatedThree(b, at < 3 ? 2 : 1)] as const);
  return layerOf(
    {
      ...Object.fromEntries([...scales, ...steps]),
      scale0: activatedProduct(0, c, b),
      bn: batchNorm(b),
      lska: spatialAttention(b, separable(b, FAR)),
      process_lska: activatedThree(b),
      compression: activatedProduct(0, 6 * b, o),
      shortcut: activatedProduct(0, c, o),
    },
    { layer_scale_lska: { shape: [b], initial: { value: 0.01 } } },
    (x, calls, { layer_scale_lska }) => {
      const all = calls as Calls & typeof calls;
      const first = all.scale0(x);
      const size = { size: x.shape.slice(1, 3) };
      const wider = (at: number) => resize(all[`scale${at}`]!((pools[at] as Call)(x)), size);
      const strip = addScaled(first, layer_scale_lska, all.lska(all.bn(first)));
      const parts = [first];
      for (const [name, more] of [
        ['process1', () => wider(1)],
        ['process2', () => wider(2)],
        ['process_lska', () => strip],
        ['process4', () => wider(4)],
        ['process5', () => wider(5)],
      ] as const)
        parts.push(all[name]!(add(more(), parts.at(-1) as Tensor)));
      return add(all.compression(concat(parts, 3)), all.shortcut(x));
    },
  );
}

/** What the parts of classification are, after both branches. */
function classifying(p: number, classes: number): Readonly<Record<string, Layer>> {
  const down = { kernel: 3, stride: 2, padding: 1, bias: false } as const;
  return {
    layer5_down_semantic_cls: sequence([bottleneck(8 * p, 8 * p)]),
    ...gatedTwice('layer5_semantic', 'norm5_semantic', '_cls', 16 * p),
    layer5_semantic_bn_cls: sequence([bottleneck(16 * p, 8 * p)]),
    layer5_down: sequence({
      $first: normedConvolution(['0', '1'], 4 * p, 8 * p, { ...down, activation: 'relu' }),
      $second: normedConvolution(['3', '4'], 8 * p, 16 * p, down),
    }),
    last_layer: normedConvolution(['0', '1'], 16 * p, 2048, { kernel: 1, bias: false, activation: 'relu' }),
    $mean: pooling,
    head: dense(2048, classes),
  };
}

function classified(meaning: Tensor, detail: Tensor, calls: Calls): Tensor<'f32'> {
  const call = (name: string, x: Tensor) => (calls[name] as Call)(x);
  const far = normedTwice(
    calls,
    'layer5_semantic',
    'norm5_semantic',
    '_cls',
    call('layer5_down_semantic_cls', meaning),
  );
  const near = call('layer5_down', call('layer5_detail_semantic', detail));
  const both = relu(add(call('layer5_semantic_bn_cls', far), near));
  return call('head', call('$mean', call('last_layer', both)));
}
