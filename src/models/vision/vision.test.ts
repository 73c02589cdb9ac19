import { describe, expect, test } from 'vitest';
import { relativeError } from '../../../test/describe-method';
import networks from '../../../test/fixtures/networks.json';
import { contiguous, createRuntime, mean, multiply, type Tensor } from '../../index';
import { countParameters, splitBuffers, TrainingPass } from '../../nn';
import type { Described } from '../../nn/module';
import { differentiate } from '../../tape';
import { hostTensor } from '../../tensor/host';
import { sizeOf } from '../../tensor/shape';
import { loaderOf, type WeightNames } from '../load';
import { bevanet, bevanetNetwork } from './bevanet';
import { biformer, biformerNetwork } from './biformer';
import { deit, deitNetwork } from './deit';
import { l2vit, l2vitNetwork } from './l2vit';
import type { PictureNetwork } from './picture-network';
import { unireplknet, unireplknetNetwork } from './unireplknet';
import { van, vanNetwork } from './van';

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
  const entries = Object.entries(parameters).map(([name, { shape }]) => {
    const seed = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 101;
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
  // One picture alone loses them: it is as if they were masked, up to epsilon.
  for (const each of [0, 1]) {
    const one = { x: runtime.fromHost(await contiguous(x.slice(0, each, each + 1)).toHost()) };
    const [masked, dropped] = [fixed.forward(one, parameters, {}), await fixed.infer(one, parameters, {})];
    expect(await dropped.kept!.read()).toEqual(await masked.kept!.read());
    expect(relativeError(await dropped.logits.toHost(), await masked.logits.toHost())).toBeLessThan(1e-5);
    const glances = await fixed.glances(one, parameters, {});
    expect(glances.map(({ layer, kept }) => [layer, kept.length + 1])).toEqual([
      [1, expected[0]![each]],
      [3, expected[1]![each]],
      [networks.deit.config.depth, expected[1]![each]],
    ]);
  }
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
});

test.each([
  [van.name, { variant: 'b0' }, van, 4_105_800],
  [van.name, { variant: 'b1' }, van, 13_861_800],
  [van.name, { variant: 'b2' }, van, 26_578_472],
  [van.name, { variant: 'b3' }, van, 44_765_608],
  [van.name, { variant: 'b4' }, van, 60_283_176],
  [van.name, { variant: 'b5' }, van, 89_967_688],
  [van.name, { variant: 'b6' }, van, 199_829_416],
  [unireplknet.name, { variant: 'a' }, unireplknet, 4_649_060],
  [unireplknet.name, { variant: 'a', merged: true }, unireplknet, 4_437_300],
  [unireplknet.name, { variant: 'f', merged: true }, unireplknet, 6_235_216],
  [unireplknet.name, { variant: 'p', merged: true }, unireplknet, 10_741_704],
  [unireplknet.name, { variant: 'n', merged: true }, unireplknet, 18_318_560],
  [unireplknet.name, { variant: 't', merged: true }, unireplknet, 31_037_980],
  [unireplknet.name, { variant: 's' }, unireplknet, 56_456_704],
  [unireplknet.name, { variant: 's', classes: 21841 }, unireplknet, 72_483_433],
  [unireplknet.name, { variant: 'b', merged: true }, unireplknet, 98_008_456],
  [unireplknet.name, { variant: 'l', merged: true }, unireplknet, 218_454_616],
  [unireplknet.name, { variant: 'xl', merged: true }, unireplknet, 386_529_064],
  [l2vit.name, { variant: 't' }, l2vit, 28_596_781],
  [l2vit.name, { variant: 's' }, l2vit, 50_199_157],
  [l2vit.name, { variant: 'b' }, l2vit, 88_577_188],
  [biformer.name, { variant: 't' }, biformer, 13_142_760],
  [biformer.name, { variant: 's' }, biformer, 25_536_232],
  [biformer.name, { variant: 'b' }, biformer, 56_804_968],
  [biformer.name, { variant: 'stl' }, biformer, 28_372_552],
  [bevanet.name, { variant: 's' }, bevanet, 15_090_784],
  [bevanet.name, { variant: 's', auxiliary: true }, bevanet, 15_186_004],
  [bevanet.name, { variant: 's', classes: 11, auxiliary: true }, bevanet, 15_183_940],
  [bevanet.name, { variant: 's', task: 'classify', classes: 1000 }, bevanet, 16_278_709],
  [bevanet.name, { variant: 'base' }, bevanet, 58_599_296],
  [bevanet.name, { variant: 'base', task: 'classify', classes: 1000 }, bevanet, 57_390_805],
  [bevanet.name, { variant: 'l' }, bevanet, 59_828_992],
  [deit.name, { variant: 'ti' }, deit, 5_717_416],
  [deit.name, { variant: 'ti', prune: {} }, deit, 5_717_419],
  [deit.name, { variant: 's' }, deit, 22_050_664],
] as const)('%s %o has as many parameters as the authors’', (_, params, model, count) => {
  expect(countParameters(model.create(params as never))).toBe(count);
});
