/** How reach grows with kernels and layers, how time grows with kernels, and that a pattern is found where it lies. */
import { effectiveReceptiveField } from '../../measure/receptive-field';
import { asymmetricConvFusion } from '../../methods/large-kernels/asymmetric-conv-fusion';
import { conv } from '../../ops/conv';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext, share } from '../experiment';
import { overRounds, timeRounds } from '../rounds';

export const experiment = defineExperiment({
  title: 'reach by kernel and depth, time by kernel, patterns found by fusion',
  claims: {
    reach: {
      claim: 'Reach grows with the size of a kernel, and only with the root of the number of layers.',
      source: 'section on receptive fields',
      criteria: {
        kernels: figure('exponent of the kernel', [0.95, 1.1], [0.8, 1.2], [-1, 3]),
        layers: figure('exponent of the layers', [0.48, 0.52], [0.4, 0.6], [-1, 3]),
      },
    },
    time: {
      claim: '31 × 31 at 16 × 16 places takes hardly more time than 3 × 3.',
      source: 'table 1: 8.4 ms beside 5.6, on a GPU',
      criteria: { ratio: figure('time of 31 × 31 over that of 3 × 3', [0.5, 2], [0.5, 8], [0.25, 107]) },
      timed: true,
    },
    fusion: {
      claim: 'One sequence as the kernel over another peaks where it lies in it.',
      source: 'section 3.4; the test is reconstructed',
      criteria: { found: share('share of patterns found', [0.99, 1], [0.8, 1]) },
    },
  },
  measure: { reach, time, fusion },
});

/** The standard deviation of what is seen through layers of means. */
async function deviationOf({ runtime }: MeasureContext, kernel: number, layers: number): Promise<number> {
  const size = 2 * Math.ceil((layers * (kernel - 1)) / 2) + 3;
  using pictures = runtime.ones([1, size, size, 1]);
  using box = runtime.full([1, 1, kernel, kernel], 1 / kernel ** 2);
  const stack = (x: Tensor) => {
    for (let layer = 0; layer < layers; layer++) x = conv(x, box, { padding: 'same' });
    return x;
  };
  const { deviation } = await effectiveReceptiveField(stack, pictures);
  return deviation[0];
}

async function reach(context: MeasureContext) {
  await context.step(0.1, 'reach');
  const [kernels, layers] = [
    [3, 7, 13],
    [2, 4, 8],
  ];
  const byKernel = await Promise.all(kernels!.map((kernel) => deviationOf(context, kernel, 2)));
  const byLayer = await Promise.all(layers!.map((count) => deviationOf(context, 5, count)));
  const slope = (x: readonly number[], y: readonly number[]) =>
    Math.log(y.at(-1)! / y[0]!) / Math.log(x.at(-1)! / x[0]!);
  const values = { kernels: slope(kernels!, byKernel), layers: slope(layers!, byLayer) };
  return {
    measured: `standard deviations of ${listed(byKernel)} for kernels of ${listed(kernels!)}, of ${listed(byLayer)} for ${listed(layers!)} layers`,
    values,
    details: 'Means over squares, without anything between them; sqrt(layers (kernel² - 1) / 12) in theory.',
    series: chart('Reach by kernel, two layers', { kernel: kernels! }, { deviation: byKernel }),
  };
}

async function time(context: MeasureContext) {
  await context.step(0.4, 'time');
  const { runtime } = context;
  using x = runtime.random([4, 16, 16, 96], { seed: 1 });
  using small = runtime.random([96, 1, 3, 3], { seed: 3 });
  using large = runtime.random([96, 1, 31, 31], { seed: 31 });
  const calls = [small, large].map((weight) => () => conv(x, weight, { groups: 96, padding: 'same' }).dispose());
  const rounds = await timeRounds(calls, 4, context);
  const ratio = overRounds(rounds, ([small, large]) => large! / small!);
  return {
    measured: `${significant(ratio.value)} times as long`,
    values: { ratio },
    details: 'Of the 961 taps 256 meet the picture at a time; 3 × 3 is mostly the time of reading and writing it.',
  };
}

async function fusion({ runtime, step, quick }: MeasureContext) {
  await step(0.8, 'fusion');
  const [n, m, c, tries] = [64, 9, 8, quick ? 20 : 100];
  let hits = 0;
  for (let seed = 0; seed < tries; seed++) {
    const first = (seed * 37) % (n - m);
    const pattern = normal(m * c, 2 * seed + 1);
    const numbers = normal(n * c, 2 * seed + 2).map((value, at) => {
      const place = Math.floor(at / c) - first;
      return 0.5 * value + (place >= 0 && place < m ? (pattern[place * c + (at % c)] as number) : 0);
    });
    using fused = runtime.scope(() => {
      const [x, y] = [runtime.tensor(numbers, [1, n, c]), runtime.tensor(pattern, [1, m, c])];
      return asymmetricConvFusion.forward({ x, y }, { padding: 'same' }).out;
    });
    const out = Float32Array.from(await fused.read());
    const sums = Array.from({ length: n }, (_, i) =>
      out.subarray(i * c, (i + 1) * c).reduce((sum, value) => sum + value, 0),
    );
    if (sums.indexOf(Math.max(...sums)) === first + Math.floor((m - 1) / 2)) hits++;
  }
  return {
    measured: `${hits} of ${tries} patterns`,
    values: { found: hits / tries },
    details: `${m} rows of ${c} channels among ${n}, in noise of half their standard deviation; channels are added up.`,
  };
}
