/** What the three convolutions of large kernel attention weigh and see, and that they gate their own input. */
import { effectiveReceptiveField } from '../../measure/receptive-field';
import { largeKernelAttention } from '../../methods/large-kernels/large-kernel-attention';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { defineExperiment, figure, type MeasureContext } from '../experiment';

const SIZE = 31;
const CHANNELS = 2;

export const experiment = defineExperiment({
  title: 'weights, reach and degree of large kernel attention',
  claims: {
    weights: {
      claim: 'A 21 × 21 kernel over 64 channels takes 8,832 weights, where a plain convolution takes 1.8 million.',
      source: 'table 2',
      criteria: {
        parts: figure('weights of the three parts', [8832, 8832], [1, 1e7]),
        plain: figure('weights of a plain convolution', [1806336, 1806336], [1, 1e8]),
      },
      byConstruction: true,
    },
    reach: {
      claim:
        '5 × 5 taps, then 7 × 7 taps 3 apart, see a square of 23 places, a little more than the 21 they are named after.',
      source: 'equations 1 and 2: follows from the kernels',
      criteria: { side: figure('places that the gate sees, on a line', [23, 23], [1, SIZE]) },
      byConstruction: true,
    },
    degree: {
      claim: 'The gate is multiplied with its input: without biases, twice the input gives four times the result.',
      source: 'equation 2: follows from the product',
      criteria: { factor: figure('factor of the result', [3.999, 4.001], [0, 16]) },
      byConstruction: true,
    },
  },
  measure: { weights, reach, degree },
});

function weights() {
  const letters = { 1: 1, b: 1, c: 64, rows: 1, columns: 1, u: 5, v: 5, s: 7, t: 7 };
  const { flops } = largeKernelAttention.cost(letters, { dilation: 3 });
  const [parts, plain] = [(flops - letters.c) / 2, 21 * 21 * 64 * 64];
  return { measured: `${parts} in three parts, ${plain} in one`, values: { parts, plain } };
}

/** Random kernels without biases. */
function parameters(runtime: Runtime): Record<string, Tensor> {
  const of = (seed: number, ...shape: number[]) => runtime.random(shape, { seed });
  const none = runtime.zeros([CHANNELS]);
  return {
    'conv0.weight': of(1, CHANNELS, 1, 5, 5),
    'conv0.bias': none,
    'conv_spatial.weight': of(2, CHANNELS, 1, 7, 7),
    'conv_spatial.bias': none,
    'conv1.weight': of(3, CHANNELS, CHANNELS, 1, 1),
    'conv1.bias': none,
  };
}

const forward = (x: Tensor, weights: Record<string, Tensor>) =>
  largeKernelAttention.forward({ x, ...weights } as never, { dilation: 3 }).out;

async function reach({ runtime, step }: MeasureContext) {
  await step(0.3, 'reach');
  const pictures = runtime.random([2, CHANNELS, SIZE, SIZE], { seed: 4 });
  const weights = parameters(runtime);
  const seen = await effectiveReceptiveField((x) => forward(x, weights), pictures, { channelsFirst: true });
  for (const tensor of [pictures, ...new Set(Object.values(weights))]) tensor.dispose();
  const side = seen.side(1);
  return {
    measured: `the gradient of the middle reaches ${side} places; half of it lies within ${seen.side(0.5)}`,
    values: { side },
  };
}

async function degree({ runtime, step }: MeasureContext) {
  await step(0.7, 'degree');
  const numbers = normal(CHANNELS * 81, 5);
  const reads = runtime.scope(() => {
    const weights = parameters(runtime);
    return [1, 2].map((factor) => {
      const x = runtime.tensor(
        numbers.map((value) => factor * value),
        [1, CHANNELS, 9, 9],
      );
      return forward(x, weights).read();
    });
  });
  const [once, twice] = (await Promise.all(reads)).map((values) => Math.hypot(...values)) as [number, number];
  return { measured: `a factor of ${significant(twice / once)}`, values: { factor: twice / once } };
}
