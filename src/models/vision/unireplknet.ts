/**
 * UniRepLKNet, four stages of blocks with large convolutions, each trained as several small ones beside it.
 * Source: Ding et al. 2024, arXiv 2311.15599, and the authors' code: names, kernels, epsilons and the merged form.
 */
import * as valibot from 'valibot';
import { ShapeError } from '../../errors';
import { BRANCHES, type LargeKernel, namesOf } from '../../methods/large-kernels/dilated-reparam-conv/branches';
import { mergeDilatedReparam } from '../../methods/large-kernels/dilated-reparam-conv/merge';
import { linear } from '../../nn/linear';
import { type Described, prefixed } from '../../nn/module';
import { add, multiply, power } from '../../ops/map';
import { map } from '../../ops/map/map';
import { mean, sum } from '../../ops/reduce';
import type { Tensor } from '../../tensor/tensor';
import { defineModel } from '../define';
import {
  activated,
  addScaled,
  batchNorm,
  convolution,
  dense,
  depthwise,
  type Find,
  foldedNorm,
  type Layer,
  layerNorm,
  layerOf,
  mergeable,
  pointwise,
  pooling,
  sequence,
  within,
} from './layers';
import {
  CLASSIFIER,
  countParam,
  denseTask,
  type HeadSettings,
  photographs,
  pictureParams,
  SMALL_PICTURES,
  STAGE_NAMES,
  samplePicture,
  stagedNetwork,
} from './picture-network';
import { trainedHere } from './trained';

/** What tells the variants apart: the width of the first stage, which doubles, and the kernels of the blocks of each. */
interface UniRepLKNetConfig {
  readonly width: number;
  readonly kernels: readonly (readonly Kernel[])[];
  /** Pixels of a place of the first stage along both axes; default 4, as the authors'. */
  readonly stride?: 2 | 4 | undefined;
}
type Kernel = 3 | LargeKernel;

const repeated = <T>(values: readonly T[], times: number): T[] => Array.from({ length: times }, () => values).flat();
const stages = (depths: readonly [number, number, number, number], third: readonly Kernel[]) => [
  repeated<Kernel>([3], depths[0]),
  repeated<Kernel>([13], depths[1]),
  repeated(third, depths[2] / third.length),
  repeated<Kernel>([13], depths[3]),
];
const shallow = (width: number, third = 6) => ({ width, kernels: stages([2, 2, third, 2], [13]) });
const deep = (width: number) => ({ width, kernels: stages([3, 3, 27, 3], [13, 3, 3]) });

const VARIANTS = {
  a: shallow(40),
  f: shallow(48),
  p: shallow(64),
  n: shallow(80, 8),
  t: { width: 80, kernels: stages([3, 3, 18, 3], [13, 3]) },
  s: deep(96),
  b: deep(128),
  l: deep(192),
  xl: deep(256),
  mini: { width: 24, kernels: [[13], [7], [3]], stride: 2 },
} satisfies Record<string, UniRepLKNetConfig>;

export const unireplknet = defineModel({
  name: 'unireplknet',
  summary: 'classes of a picture, or of anything laid out as one, by few large convolutions: UniRepLKNet',
  paper: '2311.15599',
  inputs: { x: 'b channels rows columns' },
  outputs: CLASSIFIER.outputs,
  sometimes: ['logits', ...STAGE_NAMES],
  params: pictureParams(VARIANTS, 'a', {
    channels: countParam(3, 'channels of x'),
    merged: valibot.optional(
      valibot.pipe(valibot.boolean(), valibot.description('whether weights have the names of the merged form')),
      false,
    ),
    task: denseTask,
  }),
  network({ variant, ...settings }) {
    const network = unireplknetNetwork(VARIANTS[variant], settings);
    return {
      ...network,
      // The sheet has no recipe of theirs; this is that of ConvNeXt, on whose code theirs stands.
      ...(settings.channels === 3 && { pictures: variant === 'mini' ? SMALL_PICTURES : photographs(0.875) }),
      forward(inputs, parameters, control) {
        const { shape } = inputs.x;
        if (shape[1] !== settings.channels)
          throw new ShapeError(`x must have the ${settings.channels} channels of the param channels, got ${shape[1]}`);
        return network.forward(inputs, parameters, control);
      },
    };
  },
  sample: () => ({ params: { variant: 'a', classes: 10 }, inputs: { x: samplePicture(64) } }),
  published: trainedHere(
    'unireplknet',
    { variant: 'mini', classes: 10 },
    () => new URL('./trained/unireplknet/model.safetensors', import.meta.url),
    () => new URL('./trained/unireplknet/config.json', import.meta.url),
  ),
});

interface Settings extends HeadSettings {
  readonly channels: number;
  readonly merged: boolean;
}

export function unireplknetNetwork(
  { width, kernels, stride = 4 }: UniRepLKNetConfig,
  { classes, channels, merged, features, task }: Settings,
) {
  const block = merged ? mergedBlock : blockOf;
  const parts = kernels.map((each, at): Readonly<Record<string, Layer>> => {
    const c = width * 2 ** at;
    const stem = { ...norming(channels, c / 2), 2: activated('gelu'), ...norming(c / 2, c, 3, stride / 2) };
    return {
      [`downsample_layers.${at}`]: sequence(at === 0 ? stem : norming(c / 2, c)),
      [`stages.${at}`]: sequence(each.map((kernel) => block(c, kernel))),
    };
  });
  const last = width * 2 ** (kernels.length - 1);
  const head = { $mean: pooling, norm: layerNorm(last), head: dense(last, classes) };
  const norms = kernels.map((_, at) => [`norm${at}`, layerNorm(width * 2 ** at)] as const);
  const isDense = task === 'dense';
  return stagedNetwork(Object.assign({}, ...parts, !isDense && head), {
    stages: kernels.map((_, at) => `stages.${at}`),
    features,
    norms: isDense ? Object.fromEntries(norms) : undefined,
  });
}

/** A convolution by steps of two, or `stride`, and the norm of its results, from this index on. */
const norming = (c: number, o: number, index = 0, stride = 2): Readonly<Record<number, Layer>> => ({
  [index]: convolution(c, o, { kernel: 3, stride, padding: 1, std: 0.02 }),
  [index + 1]: layerNorm(o),
});

const isLarge = (kernel: Kernel): kernel is LargeKernel => kernel >= 7;
const value = (shape: readonly number[], start: number) => ({ shape, initial: { value: start } });

/** A convolution of each channel, channels weighed by the whole picture, and a feed-forward network, beside x. */
function blockOf(c: number, kernel: Kernel): Layer {
  const trained = layerOf(
    {
      dwconv: isLarge(kernel) ? reparameterised(c, kernel) : depthwise(c, { kernel, bias: false, std: 0.02 }),
      norm: batchNorm(c),
      se: squeezeExcitation(c),
      pwconv1: sequence({ 1: dense(c, 4 * c, { activation: 'gelu' }) }),
      act: sequence({ 1: responseNorm(4 * c) }),
      pwconv2: sequence({ 0: dense(4 * c, c, { bias: false }), 2: batchNorm(c) }),
    },
    { gamma: value([c], 1e-6) },
    (x, { dwconv, norm, se, pwconv1, act, pwconv2 }, { gamma }) =>
      addScaled(x, gamma, pwconv2(act(pwconv1(se(norm(dwconv(x))))))),
  );
  return mergeable(trained, mergedBlock(c, kernel), 'norm.running_mean', (find) => merge(find, kernel));
}

function mergedBlock(c: number, kernel: Kernel): Layer {
  const large = depthwise(c, { kernel, std: 0.02 });
  const last = dense(4 * c, c);
  return layerOf(
    {
      dwconv: isLarge(kernel) ? sequence({ lk_origin: large }) : large,
      se: squeezeExcitation(c),
      pwconv1: sequence({ 1: dense(c, 4 * c, { activation: 'gelu' }) }),
    },
    { 'act.1.gamma': responseGain(4 * c), ...prefixed(last.parameters, 'pwconv2.0') } as Described,
    (x, { dwconv, se, pwconv1 }, own, control) => {
      const hidden = pwconv1(se(dwconv(x)));
      const factors = responses(hidden, own['act.1.gamma'] as Tensor);
      const isOne = x.shape[0] === 1;
      // The channels of one picture are weighed in the matrix, which is smaller than the picture.
      const weight = isOne
        ? multiply(own['pwconv2.0.weight'] as Tensor, factors.reshape([1, 4 * c]))
        : own['pwconv2.0.weight'];
      const find: Find = (name) => (name === 'weight' ? weight : own['pwconv2.0.bias']);
      return add(x, last.forward(isOne ? hidden : multiply(hidden, factors), find, control));
    },
  );
}

/** The parameters of the merged block: equal to rounding with the statistics that batch norms have. */
function merge(find: Find, kernel: Kernel): Record<string, Tensor> {
  const own = (name: string) => find(name) as Tensor;
  const large = isLarge(kernel) ? mergedKernels(find, kernel) : { weight: own('dwconv.weight'), bias: undefined };
  const depth = foldedNorm(large.weight, large.bias, within(find, 'norm'));
  const [second, gamma] = [own('pwconv2.0.weight'), own('gamma')];
  const shift = linear(own('act.1.beta').reshape([1, -1]), second).reshape([-1]);
  const tail = foldedNorm(second, shift, within(find, 'pwconv2.2'));
  const kept = ['se.down.weight', 'se.down.bias', 'se.up.weight', 'se.up.bias', 'pwconv1.1.weight', 'pwconv1.1.bias'];
  return {
    ...prefixed({ ...depth }, isLarge(kernel) ? 'dwconv.lk_origin' : 'dwconv'),
    ...Object.fromEntries([...kept, 'act.1.gamma'].map((name) => [name, own(name)])),
    'pwconv2.0.weight': multiply(tail.weight, gamma.reshape([-1, 1])),
    'pwconv2.0.bias': multiply(tail.bias, gamma),
  };
}

function mergedKernels(find: Find, kernel: LargeKernel) {
  const names = Object.keys(reparameterised(1, kernel).parameters);
  return mergeDilatedReparam(Object.fromEntries(names.map((name) => [name, find(`dwconv.${name}`)])), kernel);
}

/** Convolutions of each channel side by side, the large one and dilated ones, each with its batch norm. */
function reparameterised(c: number, kernel: LargeKernel): Layer {
  const settings = { bias: false, std: 0.02 };
  const branches = [
    { conv: 'lk_origin', norm: 'origin_bn', taps: kernel as number, dilation: 1 },
    ...BRANCHES[kernel].map((branch) => ({ ...branch, ...namesOf(branch) })),
  ];
  const parts = branches.flatMap(({ conv, norm, taps, dilation }): [string, Layer][] => [
    [conv, depthwise(c, { ...settings, kernel: taps, dilation })],
    [norm, batchNorm(c)],
  ]);
  return layerOf(Object.fromEntries(parts), {}, (x, calls) =>
    branches.map(({ conv, norm }) => calls[norm]!(calls[conv]!(x))).reduce((sum, each) => add(sum, each)),
  );
}

/** Channels of x weighed by a small network of their means. */
const squeezeExcitation = (c: number): Layer =>
  layerOf(
    {
      $mean: pooling,
      down: pointwise(c, c / 4, { activation: 'relu', std: 0.02 }),
      up: pointwise(c / 4, c, { activation: 'sigmoid', std: 0.02 }),
    },
    {},
    (x, { $mean, down, up }) => multiply(x, up(down($mean(x)))),
  );

const responseGain = (c: number) => value([1, 1, 1, c], 0);

/** Global response norm: channels of x by how large they are in the whole picture beside the others. */
const responseNorm = (c: number): Layer => ({
  parameters: { gamma: responseGain(c), beta: value([1, 1, 1, c], 0) },
  forward: (x, find) => addScaled(find('beta') as Tensor, responses(x, find('gamma') as Tensor), x),
});

/** [b, 1, 1, c]: what a global response norm multiplies each channel of x by. */
function responses(x: Tensor, gain: Tensor): Tensor<'f32'> {
  const energies = sum(power(x, 2), { axes: [1, 2], keepDims: true });
  const sizes = map((energy) => Math.sqrt(energy), energies);
  const average = mean(sizes, { axes: [3], keepDims: true });
  return map((size, all, gain) => (gain * size) / (all + 1e-6) + 1, sizes, average, gain) as Tensor<'f32'>;
}
