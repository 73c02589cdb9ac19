/** Layers as products of random features: their errors, adapters counted, and a small trained network bundled. */
import { drawDirections } from '../../feature-maps/draw';
import { snnk as method } from '../../methods/kernel/snnk';
import { activationWaves, bundleLayers, countParameters, snnkAdapter, snnkLayer } from '../../nn';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext } from '../experiment';
import { held, numbersOf } from '../held';
import { mean, unitRows } from '../vectors';
import { accuracyOf, classesOf, linearAccuracy, trained } from './network';

/** Dimensions of inputs and weights, of length 1. */
const D = 8;
const SIZES = [16, 64, 256, 1024];
/** How many features bundles have in the end. */
const BUNDLES = [16, 64, 128, 256, 512];
const ACTIVATIONS = {
  relu: (t: number) => Math.max(t, 0),
  silu: (t: number) => t / (1 + Math.exp(-t)),
  softplus: (t: number) => Math.log1p(Math.exp(t)),
  tanh: Math.tanh,
} as const;

export const experiment = defineExperiment({
  title: 'errors of layers by random features, parameters of adapters, and a trained network bundled to one matrix',
  claims: {
    rate: {
      claim:
        'Random features of inputs and weights estimate a layer, with errors that fall as one over the root of their number.',
      source: 'the theorem on universal random features; the error of cos from its variance',
      criteria: {
        exponent: figure('exponent of the error by the number of features', [-0.55, -0.45], [-0.65, -0.35], [-2, 1]),
        error: figure('root mean square error with 64 features, rows of length 1', [0.195, 0.235], [0.15, 0.3], [0, 2]),
      },
    },
    orthogonal: {
      claim: 'Orthogonal projections lower the error.',
      source: "the authors' code",
      criteria: {
        ratio: figure(
          'error with 64 orthogonal projections over that with independent ones',
          [0.5, 0.95],
          [0.5, 1],
          [0, 3],
        ),
      },
    },
    any: {
      claim: 'Any activation with a Fourier transform can be estimated.',
      source: 'abstract',
      criteria: {
        distance: figure(
          'largest distance of a mean from the activation, in standard errors and errors of its waves',
          [0, 4],
          [0, 100],
        ),
        waves: figure('largest error of waves for arguments up to 2', [0, 0.05], [0, 10]),
      },
    },
    adapters: {
      claim: 'Adapters train up to five times fewer parameters than the usual ones.',
      source: 'abstract; counted for BERT-base, 16 features against a bottleneck of 48',
      criteria: { ratio: figure('parameters of bottlenecks over those of adapters', [5, 6], [1, 100]) },
      untested: 'No language model was tuned: the accuracy that adapters keep is not measured.',
    },
    bundling: {
      claim: 'Layers multiplied together keep accuracy with about thirty times fewer parameters.',
      source: 'reviews of the paper',
      criteria: {
        fewer: figure('parameters of the network over those of a bundle of 512 features', [25, 100], [1, 1000]),
        lost: figure('accuracy of the network less that of the bundle', [-1, 0.02], [-1, 0.05], [-1, 1]),
      },
      untested: 'The network is a small one on made classes, not a Transformer.',
    },
    monotone: {
      claim: 'A bundle gets better with more features, and beats a linear model of the inputs.',
      source: 'reconstructed',
      criteria: {
        gain: figure('accuracy with 512 features less that with 16', [0.05, 1], [0, 1], [-1, 1]),
        linear: figure('accuracy with 512 features less that of a linear model', [0, 1], [-1, 1]),
      },
    },
  },
  measure: { rate, orthogonal, any, adapters, ...bundles() },
});

/** Root mean square errors of cos(w x) over draws, by the number of features. */
async function errorsOf(context: MeasureContext, sizes: readonly number[], isOrthogonal: boolean): Promise<number[]> {
  const { runtime, quick } = context;
  const params = method.parse({ activation: 'cos' });
  const draws = quick ? 100 : 1000;
  const errors: number[] = [];
  for (const [at, features] of sizes.entries()) {
    await context.step(at / sizes.length, `${features} features`);
    const squares = await context.draws(draws, async (seed) => {
      const drawn = drawDirections(features, { dimension: D, features, seed, orthogonal: isOrthogonal });
      const [x, w] = [unitRow(2 * seed + 1e6), unitRow(2 * seed + 1e6 + 1)];
      const inputs = {
        x: runtime.tensor(x, [1, D]),
        w: runtime.tensor(w, [1, D]),
        projections: runtime.tensor(drawn, [features, D]),
      };
      using _ = held(inputs);
      const [found] = await numbersOf(runtime, () => method.forward(inputs, params).out as Tensor);
      const along = x.reduce((sum, value, at) => sum + value * w[at]!, 0);
      return (found! - Math.cos(along)) ** 2;
    });
    errors.push(Math.sqrt(mean(squares)));
  }
  return errors;
}

const unitRow = (seed: number) => unitRows(1, D, seed);

async function rate(context: MeasureContext) {
  const errors = await errorsOf(context, SIZES, false);
  const exponent = Math.log(errors.at(-1)! / errors[0]!) / Math.log(SIZES.at(-1)! / SIZES[0]!);
  return {
    measured: `errors ${listed(errors)} with ${SIZES.join(', ')} features`,
    values: { exponent, error: errors[1]! },
    details: `cos(w x) of rows of ${D} numbers and length 1, the asymmetric split, independent projections.`,
    series: chart('Root mean square error of cos', { features: SIZES }, { 'independent projections': errors }),
  };
}

async function orthogonal(context: MeasureContext) {
  const [independent, own] = [await errorsOf(context, [64], false), await errorsOf(context, [64], true)];
  return {
    measured: `errors ${significant(own[0]!)} and ${significant(independent[0]!)}`,
    values: { ratio: own[0]! / independent[0]! },
    details: 'Blocks of eight, uniform rotations times independent lengths.',
  };
}

async function any({ runtime, quick, draws }: MeasureContext) {
  const [count, times] = [512, quick ? 20 : 100];
  let [distance, error] = [0, 0];
  const told: string[] = [];
  for (const [name, f] of Object.entries(ACTIVATIONS)) {
    const waves = activationWaves(f, { count, radius: 2, most: 8 });
    error = Math.max(error, waves.error as number);
    const x = unitRow(1).map((value) => 0.1 * value);
    const w = unitRow(2);
    const along = x.reduce((sum, value, at) => sum + value * w[at]!, 0);
    const biases = [-1, 0.5];
    const values = await draws(times, async (seed) => {
      const inputs = {
        x: runtime.tensor(x, [1, D]),
        w: runtime.tensor([...w, ...w], [2, D]),
        bias: runtime.tensor(biases, [2]),
        projections: runtime.random([count, D], { seed }),
      };
      using _ = held(inputs);
      return await numbersOf(runtime, () => snnkLayer(inputs, waves));
    });
    const means = biases.map((bias, at) => {
      const own = values.map((each) => each[at]!);
      const center = mean(own);
      const deviation = Math.sqrt(mean(own.map((value) => (value - center) ** 2)) / times);
      const wanted = f(along + bias);
      distance = Math.max(distance, Math.abs(center - wanted) / (deviation + (waves.error as number)));
      return `${significant(center)} for ${significant(wanted)}`;
    });
    told.push(`${name} ${means.join(' and ')}`);
  }
  return {
    measured: told.join('; '),
    values: { distance, waves: error },
    details: `Transforms were computed for arguments up to 2, frequencies up to 8. Means of ${times} draws of ${count} projections, x of length 0.1, w of length 1, biases -1 and 0.5.`,
  };
}

function adapters() {
  const own = 24 * countParameters(snnkAdapter({ width: 768, features: 16 }));
  const bottlenecks = 24 * (2 * 768 * 48 + 48 + 768);
  return {
    measured: `${own} and ${bottlenecks} parameters`,
    values: { ratio: bottlenecks / own },
    details: 'Two adapters in each of twelve layers.',
  };
}

/** The claims on bundles, by one training. */
function bundles() {
  const once = new WeakMap<MeasureContext, ReturnType<typeof bundled>>();
  const found = (context: MeasureContext) => {
    const own = once.get(context) ?? bundled(context);
    once.set(context, own);
    return own;
  };
  return {
    async bundling(context: MeasureContext) {
      const { accuracies, network, before, after, random } = await found(context);
      return {
        measured: `${significant(accuracies.at(-1)!)} right with ${after} parameters and ${random} random numbers of a seed, the network ${significant(network)} with ${before}`,
        values: { fewer: before / after, lost: network - accuracies.at(-1)! },
        details:
          '20 classes of points in 64 dimensions; layers 64, 512, 512 and 20 with relu, trained by AdamW. A bundle of m features has 2 m before them, and is fitted to the labels, ridge 1e-3. Random projections are not counted: they are not kept or trained, but computed with.',
      };
    },
    async monotone(context: MeasureContext) {
      const { accuracies, linear, network } = await found(context);
      return {
        measured: `${listed(accuracies)} right with ${BUNDLES.join(', ')} features, a linear model ${significant(linear)}`,
        values: { gain: accuracies.at(-1)! - accuracies[0]!, linear: accuracies.at(-1)! - linear },
        series: chart(
          'Accuracy on test points',
          { features: BUNDLES },
          {
            bundle: accuracies,
            'the trained network': BUNDLES.map(() => network),
            'a linear model': BUNDLES.map(() => linear),
          },
        ),
      };
    },
  };
}

async function bundled(context: MeasureContext) {
  const { runtime, quick } = context;
  const data = classesOf(runtime, quick ? 50 : 300);
  using _ = held([data.x, data.targets, data.test]);
  const { module, parameters } = await trained(context, data, quick ? 40 : 400);
  using __ = held(parameters);
  const network = await accuracyOf(data, (x) => module.forward(x, parameters));
  const accuracies: number[] = [];
  let counts = { before: 0, after: 0, random: 0 };
  for (const features of BUNDLES) {
    await context.step(0.8, `a bundle of ${features} features`);
    const settings = { features: [2 * features, features], targets: data.targets };
    const bundle = await bundleLayers(module, parameters, data.x, settings);
    using ___ = held(bundle.parameters);
    accuracies.push(await accuracyOf(data, (x) => bundle.module.forward(x, bundle.parameters)));
    counts = { before: bundle.before, after: bundle.after, random: bundle.random };
  }
  return { accuracies, network, linear: await linearAccuracy(data), ...counts };
}
