import { describe, expect, test } from 'vitest';
import { relativeError } from '../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../test/expect';
import fixture from '../../../test/fixtures/networks.json';
import { contiguous, createRuntime, layerNorm, mean, multiply, sum, type Tensor } from '../../index';
import { countParameters, splitBuffers, TrainingPass } from '../../nn';
import type { Described } from '../../nn/module';
import { differentiate } from '../../tape';
import { hostTensor } from '../../tensor/host';
import { sizeOf } from '../../tensor/shape';
import type { Model } from '../define';
import { loaderOf, type WeightNames } from '../load';
import { countMultiplications } from '../multiplications';
import { bevanet, bevanetNetwork } from './bevanet';
import { biformer, biformerNetwork } from './biformer';
import { deit, deitNetwork, pruningLoss } from './deit';
import { l2vit, l2vitNetwork } from './l2vit';
import { logMel } from './log-mel';
import { streetLoss } from './losses';
import type { PictureNetwork } from './picture-network';
import { unireplknet, unireplknetNetwork } from './unireplknet';
import { audioPicture, pointPictures, seriesPicture, videoPicture } from './unireplknet-inputs';
import { van, vanNetwork } from './van';

const { 'log-mel': features, ...networks } = fixture;

const swin = biformerNetwork(networks['biformer-swin'].config, { classes: 3 });

/** Small networks of the fixture, which `test/fixtures/make-networks.py` computes in float64. */
const SMALL: readonly (readonly [name: keyof typeof networks, network: PictureNetwork])[] = [
  ['van', vanNetwork(networks.van.config, { classes: networks.van.classes })],
  ['unireplknet', unireplknetNetwork(networks.unireplknet.config as never, { classes: 3, channels: 1, merged: false })],
  ['l2vit', l2vitNetwork(networks.l2vit.config, 3, { classes: 3 })],
  ['biformer', biformerNetwork(networks.biformer.config, { classes: 3 })],
  ['biformer-swin', swin],
  ['biformer-nchw', { ...swin, parameters: (swin as WeightNames).otherForms?.[0] as Described }],
  ['bevanet-segment', bevanetNetwork(networks['bevanet-segment'].config as never, { task: 'segment', classes: 3 })],
  ['bevanet-classify', bevanetNetwork(networks['bevanet-classify'].config as never, { task: 'classify', classes: 3 })],
  ['deit', deitNetwork(networks.deit.config, { classes: 3 }) as PictureNetwork],
  [
    'deit-pruned',
    deitNetwork(networks.deit.config, {
      classes: 3,
      prune: { layers: [1, 3], thresholds: [3e-6, 2e-4] },
    }) as PictureNetwork,
  ],
];

/** As the fixture makes them. */
const wave = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => Math.sin(1.7 * i + 0.9 * seed) + 0.1 * Math.cos(0.3 * i));

function weightsOf({ parameters }: PictureNetwork) {
  // The fixture counts a place between the layers of all networks on rows.
  const isSwinOnRows = parameters['stages.0.blocks.0.mlp.2.weight']?.shape.length === 2;
  const entries = Object.entries(parameters).map(([name, { shape }]) => {
    const known = isSwinOnRows ? name.replace('.mlp.2.', '.mlp.3.') : name;
    const seed = [...known].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 101;
    const values = wave(sizeOf(shape), seed).map(scaleOf(name, shape));
    return [name, hostTensor(values, shape)] as const;
  });
  return Object.fromEntries(entries);
}

function scaleOf(name: string, shape: readonly number[]): (value: number) => number {
  if (name.endsWith('running_var')) return (value) => 1.5 + value;
  if (shape.length > 1) return (value) => value * Math.sqrt(2 / sizeOf(shape.slice(1)));
  if (/\.weight$|layer_scale|^gamma|\.gamma/.test(name)) return (value) => 1 + 0.3 * value;
  return (value) => 0.2 * value;
}

describe.each(SMALL)('%s', (name, network) => {
  const { x: shape, logits: expected, names } = networks[name];

  test('agrees with the formulas in float64, with batch norms folded too', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
    expect(Object.keys(network.parameters)).toHaveLength(names);
    const parameters = loaderOf(network)(runtime, weightsOf(network));
    const folded = network.fold(parameters);
    const x = runtime.tensor(wave(sizeOf(shape), 5), shape);
    for (const given of [parameters, folded]) {
      const { logits } = network.forward({ x }, given, {});
      expect(logits.shape.slice(0, 2)).toEqual([shape[0], networks[name].classes]);
      expect(relativeError(await logits.toHost(), hostTensor(expected, logits.shape))).toBeLessThan(1e-5);
    }
    const { logits: one } = network.forward({ x: x.slice(0, 0, 1) }, folded, {});
    const first = hostTensor(expected.slice(0, one.size), one.shape);
    expect(relativeError(await one.toHost(), first)).toBeLessThan(2e-5);
  });

  test.skipIf(name === 'biformer-nchw')(
    'trains: every parameter has a gradient, and batches move the statistics',
    async () => {
      using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
      const loaded = loaderOf(network)(runtime, weightsOf(network));
      const { parameters, buffers } = splitBuffers(network, loaded);
      const x = runtime.tensor(wave(sizeOf(shape), 5), shape);
      const before = await Promise.all(Object.values(buffers).map((each) => each.read()));
      const training = new TrainingPass(1);
      const { gradients } = differentiate((p: Readonly<Record<string, Tensor>>) => {
        const { logits } = network.forward({ x }, { ...p, ...buffers }, { training });
        return mean(multiply(logits, logits));
      }, parameters);
      training.apply(buffers);
      const without: string[] = [];
      for (const [name, gradient] of Object.entries(gradients)) {
        const values = await gradient.read();
        expect(values.every(Number.isFinite), name).toBe(true);
        if (values.every((value) => value === 0)) without.push(name);
      }
      // A bias that batch norm takes away again has none.
      expect(without.filter((name) => !name.endsWith('.bias'))).toEqual([]);
      const after = await Promise.all(Object.values(buffers).map((each) => each.read()));
      for (const [at, values] of after.entries()) expect(values).not.toEqual(before[at]);
    },
  );
});

test('features are those of the stages, beside the same logits', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const withFeatures = { classes: 3, features: true };
  const all: readonly (readonly [keyof typeof networks, PictureNetwork, number[]])[] = [
    ['l2vit', l2vitNetwork(networks.l2vit.config, 3, withFeatures), [4, 8]],
    ['biformer', biformerNetwork(networks.biformer.config, withFeatures), [4, 8, 16, 32]],
    [
      'bevanet-segment',
      bevanetNetwork(networks['bevanet-segment'].config as never, { task: 'segment', ...withFeatures }),
      [8, 16, 32, 8],
    ],
    [
      'deit',
      deitNetwork(networks.deit.config, withFeatures) as PictureNetwork,
      Array(4).fill(networks.deit.config.patch),
    ],
  ];
  for (const [name, network, steps] of all) {
    const { x: shape, logits: expected } = networks[name];
    const x = runtime.tensor(wave(sizeOf(shape), 5), shape);
    const { logits, ...stages } = network.forward({ x }, loaderOf(network)(runtime, weightsOf(network)), {});
    expect(relativeError(await logits.toHost(), hostTensor(expected, logits.shape))).toBeLessThan(1e-5);
    const extents = Object.values(stages).map((stage) => stage!.shape.slice(2));
    expect(extents, name).toEqual(steps.map((step) => shape.slice(2).map((extent) => Math.ceil(extent / step))));
  }
  const message = 'features need all tokens, of which prune leaves some out';
  expect(() => deit.create({ features: true, prune: {} })).toThrow(message);
});

test('deit prunes as many tokens of each picture as thresholds say, and learns them', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const { x: shape, kept: expected } = networks['deit-pruned'];
  const x = runtime.tensor(wave(sizeOf(shape), 5), shape);
  const fixed = deitNetwork(networks.deit.config, { classes: 3, prune: { layers: [1, 3], thresholds: [3e-6, 2e-4] } });
  const parameters = loaderOf(fixed)(runtime, weightsOf(fixed));
  const { kept } = fixed.forward({ x }, parameters, {});
  expect(await kept!.read()).toEqual(Int32Array.from(expected[0]!.flatMap((each, at) => [each, expected[1]![at]!])));
  // In inference each picture loses them, alone and among others: it is as if they were masked, up to epsilon.
  const batch = await fixed.infer({ x }, parameters, {});
  const alone: number[] = [];
  for (const each of [0, 1]) {
    const one = { x: runtime.fromHost(await contiguous(x.slice(0, each, each + 1)).toHost()) };
    const [masked, dropped] = [fixed.forward(one, parameters, {}), await fixed.infer(one, parameters, {})];
    expect(await dropped.kept!.read()).toEqual(await masked.kept!.read());
    expect(relativeError(await dropped.logits.toHost(), await masked.logits.toHost())).toBeLessThan(1e-5);
    alone.push(...(await dropped.logits.read()));
    const glances = await fixed.glances(one, parameters, {});
    expect(glances.map(({ layer, kept }) => [layer, kept.length + 1])).toEqual([
      [1, expected[0]![each]],
      [3, expected[1]![each]],
      [networks.deit.config.depth, expected[1]![each]],
    ]);
  }
  // Products of more rows add up in another order.
  expectClose(await batch.logits.read(), alone, 1e-5);
  expect(await batch.kept!.read()).toEqual(await kept!.read());
  const learned = deitNetwork(networks.deit.config, { classes: 3, prune: { layers: [1, 3] } });
  const thresholds = Object.fromEntries(
    [3e-6, 2e-4].map((value, at) => [`score_predictor.${at}.keep_threshold`, runtime.tensor([value], [])]),
  );
  const { gradients } = differentiate((p: Readonly<Record<string, Tensor>>) => {
    const results = learned.forward({ x }, { ...parameters, ...p }, { training: new TrainingPass() });
    return mean(results.kept!);
  }, thresholds);
  // Higher thresholds keep fewer tokens.
  for (const gradient of Object.values(gradients)) expect((await gradient.read())[0]).toBeLessThan(0);
  // What a layer pruned does not come back in a later one of training, even below 0.
  const open = deitNetwork(networks.deit.config, { classes: 3, prune: { layers: [1, 3], thresholds: [3e-6, -1] } });
  const trained = open.forward({ x }, parameters, { training: new TrainingPass() });
  expect(Array.from(await trained.kept!.read())).toEqual(expected[0]!.flatMap((each) => [each, each]));
});

/** Parameters, and multiplications in thousands of millions at an extent, as the authors' networks have them. */
const COUNTS = [
  [van, { variant: 'b0' }, 4_105_800, 0.864],
  [van, { variant: 'b1' }, 13_861_800, 2.495],
  [van, { variant: 'b2' }, 26_578_472, 4.993],
  [van, { variant: 'b3' }, 44_765_608, 8.925],
  [van, { variant: 'b4' }, 60_283_176, 12.144],
  [van, { variant: 'b5' }, 89_967_688, 17.129],
  [van, { variant: 'b6' }, 199_829_416, 38.71],
  [unireplknet, { variant: 'a' }, 4_649_060, 0.64],
  [unireplknet, { variant: 'a', merged: true }, 4_437_300, 0.64],
  [unireplknet, { variant: 'f', merged: true }, 6_235_216, 0.905],
  [unireplknet, { variant: 'p', merged: true }, 10_741_704, 1.573],
  [unireplknet, { variant: 'n', merged: true }, 18_318_560, 2.767],
  [unireplknet, { variant: 't', merged: true }, 31_037_980, 4.899],
  [unireplknet, { variant: 's', merged: true }, 55_645_984, 26.72, [384, 384]],
  [unireplknet, { variant: 's' }, 56_456_704, 9.094],
  [unireplknet, { variant: 's', classes: 21841 }, 72_483_433],
  [unireplknet, { variant: 'b', merged: true }, 98_008_456, 16.06],
  [unireplknet, { variant: 'l', merged: true }, 218_454_616, 35.88],
  [unireplknet, { variant: 'xl', merged: true }, 386_529_064, 63.57],
  [l2vit, { variant: 't' }, 28_596_781, 4.69],
  [l2vit, { variant: 's' }, 50_199_157, 8.98],
  [l2vit, { variant: 'b' }, 88_577_188, 15.81],
  [l2vit, { variant: 'b', window: 12 }, 88_577_188, 47.3, [384, 384]],
  [biformer, { variant: 't' }, 13_142_760, 2.216],
  [biformer, { variant: 's' }, 25_536_232, 4.464],
  [biformer, { variant: 'b' }, 56_804_968, 9.759],
  [biformer, { variant: 'stl' }, 28_372_552, 4.574],
  [bevanet, { variant: 's' }, 15_090_784, 59.9, [1024, 2048]],
  [bevanet, { variant: 's', auxiliary: true }, 15_186_004],
  [bevanet, { variant: 's', classes: 11 }, 15_089_752, 19.9, [720, 960]],
  [bevanet, { variant: 's', classes: 11, auxiliary: true }, 15_183_940],
  [bevanet, { variant: 's', task: 'classify', classes: 1000 }, 16_278_709],
  [bevanet, { variant: 'base' }, 58_599_296, 237.2, [1024, 2048]],
  [bevanet, { variant: 'base', classes: 150 }, 58_616_195, 29.7, [512, 512]],
  [bevanet, { variant: 'base', task: 'classify', classes: 1000 }, 57_390_805],
  [bevanet, { variant: 'l' }, 59_828_992],
  [deit, { variant: 'ti' }, 5_717_416, 1.2535 + 0.000192],
  [deit, { variant: 'ti', prune: {} }, 5_717_419],
  [deit, { variant: 's' }, 22_050_664, 4.5985 + 0.000384],
  [deit, { variant: 'b' }, 86_567_656, 17.5631 + 0.000768],
] as const;

test.each(COUNTS.map(([model, params, ...counts]) => [model.name, params, model, ...counts] as const))(
  '%s %j has the counts of the authors’',
  (_, params, model, parameters, products?, extents?) => {
    const created = (model as Model).create(params as never);
    expect(countParameters(created)).toBe(parameters);
    if (products === undefined) return;
    const digits = `${products}`.replace(/\d+\.?/, '').length;
    const counted = countMultiplications(created, { x: [1, 3, ...(extents ?? [224, 224])] });
    expect(Math.abs(counted / 1e9 - products)).toBeLessThan(0.51 * 10 ** -Math.min(digits, 4));
  },
);

test('the loss of pruning is the distance of the mean share of multiplications from the one that is aimed at', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  // DeiT-S keeps this share of its tokens at each of three layers.
  for (const [share, all] of [
    [0.5, 2.482],
    [0.6, 2.781],
    [0.65, 2.951],
    [0.7, 3.134],
  ] as const) {
    const tokens = [1, 2, 3].map((power) => 1 + 196 * share ** power);
    const kept = runtime.tensor([...tokens, ...tokens], [2, 3]);
    const loss = (budget: number) => pruningLoss(kept, { variant: 's', budget }).read();
    expect((await loss(0))[0]).toBeCloseTo(all / 4.5736, 3);
    expect((await loss(1))[0]).toBeCloseTo(1 - all / 4.5736, 3);
  }
  const { gradients } = differentiate(({ kept }) => pruningLoss(kept), {
    kept: runtime.tensor([150, 100, 60], [1, 3]),
  });
  const signs = [...(await gradients.kept.read())].map(Math.sign);
  expect(signs).toEqual([1, 1, 1]);
  const short = runtime.tensor([1], [1, 1]);
  await expectRefusal(runtime, () => pruningLoss(short), 'kept must have shape [b, 3], that of layers, got [1, 1]');
});

test('files of the authors load: BiFormer laid out as Swin in its first form, BEVANet with heads of training under a prefix', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  // `.mlp.2` of rows, where other networks have `.mlp.3`.
  expect(Object.keys(swin.parameters).filter((name) => /^stages\.0\.blocks\.0\.mlp/.test(name))).toEqual(
    ['mlp.0.weight', 'mlp.0.bias', 'mlp.2.weight', 'mlp.2.bias'].map((name) => `stages.0.blocks.0.${name}`),
  );
  const config = networks['bevanet-segment'].config as never;
  const of = (auxiliary: boolean) => bevanetNetwork(config, { task: 'segment', classes: 3, auxiliary });
  const whole = weightsOf(of(true) as PictureNetwork);
  const file = Object.fromEntries(Object.entries(whole).map(([name, host]) => [`model.${name}`, host]));
  expect(Object.keys(file).some((name) => name.startsWith('model.seghead_ds.'))).toBe(true);
  const loaded = loaderOf(of(false))(runtime, file);
  expect(Object.keys(loaded).sort()).toEqual(Object.keys(of(false).parameters).sort());
  for (const each of Object.values(loaded)) each.dispose();
});

test('bevanet learns by its hard places, its early head and the boundaries of classes', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const labels = [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 2, 0, 0, 0, -100];
  const isBoundary = [0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1];
  const values = { logits: wave(48, 2).map((value) => 4 * value), auxiliary: wave(48, 3), boundary: wave(16, 4) };
  values.boundary = values.boundary.map((value) => 3 * value);
  // In the order of tensors, [1, classes, 4, 4].
  const lossAt = (logits: readonly number[], at: number) => {
    const own = [0, 1, 2].map((c) => logits[16 * c + at] as number);
    return Math.log(own.reduce((sum, value) => sum + Math.exp(value), 0)) - (own[labels[at] as number] as number);
  };
  const mean = (all: readonly number[]) => all.reduce((sum, value) => sum + value, 0) / Math.max(all.length, 1);
  const known = [...labels.keys()].filter((at) => (labels[at] as number) >= 0);
  const hard = known.filter((at) => lossAt(values.logits, at) > -Math.log(0.9));
  const sure = hard.filter((at) => (values.boundary[at] as number) > Math.log(4));
  const share = mean(isBoundary);
  const boundary = values.boundary.map((logit, at) => {
    const probability = 1 / (1 + Math.exp(-logit));
    return isBoundary[at] ? -(1 - share) * Math.log(probability) : -share * Math.log(1 - probability);
  });
  const [all, edges] = [hard, sure].map((places) => mean(places.map((at) => lossAt(values.logits, at))));
  const early = mean(known.map((at) => lossAt(values.auxiliary, at)));
  expect(hard.length).toBeLessThan(known.length);
  expect(sure.length).toBeGreaterThan(0);
  const tensors = {
    logits: runtime.tensor(values.logits, [1, 3, 4, 4]),
    auxiliary: runtime.tensor(values.auxiliary, [1, 3, 4, 4]),
    boundary: runtime.tensor(values.boundary, [1, 1, 4, 4]),
  };
  const [loss] = await streetLoss(tensors, runtime.tensor(labels, [1, 4, 4], 'i32')).read();
  expect(loss).toBeCloseTo((all as number) + (edges as number) + 0.4 * early + 20 * mean(boundary), 4);
});

test('dense tasks have a norm of the features of each stage, which no further stage sees, in the place of a head', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const settings = { classes: 3, channels: 1, merged: false };
  const all: readonly (readonly [keyof typeof networks, (task: 'classify' | 'dense') => PictureNetwork, RegExp])[] = [
    [
      'unireplknet',
      (task) => unireplknetNetwork(networks.unireplknet.config as never, { ...settings, task, features: true }),
      /^norm\d\./,
    ],
    [
      'biformer',
      (task) => biformerNetwork(networks.biformer.config, { classes: 3, task, features: true }),
      /^extra_norms\.\d\./,
    ],
  ];
  for (const [name, networkOf, norms] of all) {
    const { x: shape } = networks[name];
    const x = runtime.tensor(wave(sizeOf(shape), 5), shape);
    const results = (['classify', 'dense'] as const).map((task) => {
      const network = networkOf(task);
      const weights = loaderOf(network)(runtime, weightsOf(network));
      return { weights, stages: network.forward({ x }, weights, {}) as Readonly<Record<string, Tensor<'f32'>>> };
    });
    const [plain, dense] = results as [(typeof results)[0], (typeof results)[0]];
    expect(Object.keys(dense.stages)).toEqual(Object.keys(plain.stages).filter((stage) => stage !== 'logits'));
    expect(Object.keys(dense.weights).filter((weight) => !(weight in plain.weights))).toSatisfy((names: string[]) =>
      names.every((each) => norms.test(each)),
    );
    const gains = Object.entries(dense.weights).filter(([weight]) => norms.test(weight));
    for (const [at, [stage, normed]] of Object.entries(dense.stages).entries()) {
      const [gain, bias] = gains.slice(2 * at, 2 * at + 2).map(([, tensor]) => tensor as Tensor<'f32'>);
      const places = contiguous((plain.stages[stage] as Tensor<'f32'>).permute([0, 2, 3, 1]));
      const expected = contiguous(layerNorm(places, { gain, bias, epsilon: 1e-6 }).permute([0, 3, 1, 2]));
      expect(relativeError(await normed.toHost(), await expected.toHost()), stage).toBeLessThan(1e-5);
    }
  }
});

describe('what is no picture laid out as one', () => {
  const counts = (channels: number, extents: readonly number[]) =>
    countMultiplications(unireplknet.create({ variant: 's', channels }), { x: [1, channels, ...extents] });

  test('sound: log-mel features are those of Kaldi', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const { x: shape, bins, logits: expected } = features;
    const sounds = runtime.tensor(
      wave(sizeOf(shape), 3).map((value) => Math.sin(40 * value)),
      shape,
    );
    const found = logMel(sounds, { bins });
    expect(found.shape).toEqual([2, 3, bins]);
    for (const [at, value] of (await found.read()).entries()) expect(value).toBeCloseTo(expected[at] as number, 4);
    const silence = await logMel(runtime.full([1, 400], 0), { bins: 2 }).read();
    for (const value of silence) expect(value).toBeCloseTo(-23 * Math.LN2, 5);
    const short = runtime.empty([1, 399]);
    await expectRefusal(
      runtime,
      () => logMel(short),
      'waves must have shape [b, samples], of at least 400, got [1, 399]',
    );
  });

  test('sound: features of a second', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const features = logMel(runtime.random([2, 16_000], { seed: 1 }));
    expect(features.shape).toEqual([2, 98, 128]);
    const x = audioPicture(features);
    expect(x.shape).toEqual([2, 1, 128, 128]);
    const [from, to] = [await features.read(), await x.read()];
    const scaled = (value: number) => (value + 6.845978) / 11.1309052;
    // The 3rd bin of the 5th frame of the 2nd sound; frames that are not there are zeros before they are scaled.
    expect(to[128 * 128 + 2 * 128 + 4]).toBeCloseTo(scaled(from[98 * 128 + 4 * 128 + 2] as number), 5);
    expect(to[2 * 128 + 127]).toBeCloseTo(scaled(0), 5);
    expect(audioPicture(features, { frames: 64 }).shape).toEqual([2, 1, 128, 64]);
    expect(counts(1, [128, 128])).toBeGreaterThan(2.9e9);
  });

  test('video: 16 frames of 224 x 224', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const frames = runtime.tensor(
      Float32Array.from({ length: 3 * 16 * 224 * 224 }, (_, at) => at),
      [1, 3, 16, 224, 224],
    );
    const [code, mosaic] = [videoPicture(frames), videoPicture(frames, { layout: 'mosaic' })];
    expect(code.shape).toEqual([1, 3, 896, 896]);
    // In the order of memory; and row 230, column 450 of the mosaic is row 6, column 2 of frame 6.
    expect((await code.read()).slice(0, 3)).toEqual(Float32Array.of(0, 1, 2));
    expect((await mosaic.read())[230 * 896 + 450]).toBe((6 * 224 + 6) * 224 + 2);
    const five = runtime.empty([1, 3, 5, 2, 2]);
    await expectRefusal(runtime, () => videoPicture(five), 'frames must be a square number');
    expect(counts(3, [896, 896])).toBeGreaterThan(1.4e11);
  });

  test('series: 48 steps of width 768', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const series = runtime.random([2, 48, 768], { seed: 1 });
    const x = seriesPicture(series);
    expect(x.shape).toEqual([2, 1, 192, 192]);
    expect(await x.read()).toEqual(await series.read());
    const odd = runtime.empty([1, 3, 5]);
    await expectRefusal(runtime, () => seriesPicture(odd), 'series must have a square number');
    expect(counts(1, [192, 192])).toBeGreaterThan(6.6e9);
  });

  test('points: 1024 of them from four views', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const points = runtime.random([2, 1024, 3], { seed: 1 });
    const x = await pointPictures(points);
    expect(x.shape).toEqual([8, 3, 224, 224]);
    // Each point adds its features nine times to each view.
    const sums = await sum(x, { axes: [2, 3] }).read();
    const all = await sum(points, { axes: [1] }).read();
    for (const [at, value] of sums.entries())
      expect(value).toBeCloseTo(9 * (all[3 * Math.floor(at / 12) + (at % 3)] as number), 1);
    // A point at the centre and the corners of a square: seen from the front, on the middle and next to the edges.
    const square = runtime.tensor([0, 0, 0, 1, 1, 0, -1, -1, 0, 1, -1, 0, -1, 1, 0], [1, 5, 3]);
    const ones = runtime.tensor([1, 1, 1, 1, 1], [1, 5, 1]);
    const front = (await (await pointPictures(square, { features: ones, size: 9 })).read()).subarray(0, 81);
    expect([...front.subarray(0, 9)]).toEqual([1, 1, 1, 0, 0, 0, 1, 1, 1]);
    expect([...front.subarray(36, 45)]).toEqual([0, 0, 0, 1, 1, 1, 0, 0, 0]);
  });
});
