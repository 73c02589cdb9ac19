/** What one attention layer with random heads learns from how many samples, beside a random network on the same tokens. */

import type { Estimate } from '../../measure/statistics';
import { randomFeatureAttention } from '../../methods/kernel/random-feature-attention';
import { eigh } from '../../ops/linalg';
import { matmul } from '../../ops/matmul';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import { significant } from '../../text/format';
import { byLabel, chart, defineExperiment, figure, type MeasureContext, together } from '../experiment';
import { held, numbersOf } from '../held';
import { dot, mean, relativeDistance, rowOf, unitRows } from '../vectors';
import { attentionKernel, networkKernel, type Samples } from './kernels';

const [D, N] = [8, 8];
const SEEDS = 5;
/** Ridges, over the mean of the kernel's diagonal. */
const RIDGES = Array.from({ length: 17 }, (_, at) => 10 ** (at / 2 - 8));
const HEADS = 1000;

/** What an average over keys is of, by the product of key and direction and that of query and key. */
const TARGETS = {
  squares: (along: number) => along ** 2,
  'fourth powers': (along: number) => along ** 4,
  correlation: (along: number, score: number) => score * along,
  cubes: (along: number, score: number) => score ** 3 * along,
  even: (along: number, score: number) => score ** 2 * along,
  exponential: (along: number, score: number) => Math.exp(2 * score) * along,
} as const;
type Target = keyof typeof TARGETS;
const NAMES = Object.keys(TARGETS) as Target[];
const LEARNERS = ['layer', 'biased', 'network'] as const;
type Learner = (typeof LEARNERS)[number];

export const experiment = defineExperiment({
  title: 'error by samples of one attention layer with random heads and of a random network, on averages over keys',
  claims: {
    network: {
      claim:
        'A layer with random heads learns averages over keys from fewer samples than a random network on all tokens.',
      source: 'abstract; the targets and the setting are reconstructed',
      criteria: {
        all: figure(
          "largest error of the layer over the network's, all targets and numbers of samples",
          [0, 1],
          [0, 1.1],
          [0, 100],
        ),
        squares: figure(
          "the network's error over the layer's, average of squares, most samples",
          [100, 1e6],
          [2, 1e6],
          [0, 1e9],
        ),
      },
    },
    biased: {
      claim: 'Heads that begin from the product of query and key learn functions of it from fewer samples still.',
      source: 'abstract; the targets and the setting are reconstructed',
      criteria: {
        odd: figure(
          "largest error with bias over the layer's, odd powers and exponential, 300 samples and fewer",
          [0, 1],
          [0, 1.1],
          [0, 100],
        ),
        exponential: figure(
          'error of the layer over that with bias, exponential, mean of 300 samples and fewer',
          [10, 1e4],
          [2, 1e4],
          [0, 1e9],
        ),
      },
    },
    limits: {
      claim: 'With 1000 heads they stop learning where infinitely many go on, and even powers gain nothing.',
      source: 'reconstructed',
      criteria: {
        crossed: figure("error with bias over the layer's, correlation, most samples", [1, 100], [0.8, 100], [0, 1e4]),
        even: figure("error with bias over the layer's, even power, 100 samples", [0.9, 1.4], [0.7, 1.6], [0, 100]),
      },
    },
    heads: {
      claim: 'The features of many heads come to the kernel of infinitely many.',
      source: 'follows from the law of large numbers',
      criteria: { distance: figure('distance from the exact kernel, 20,000 heads', [0, 0.03], [0, 1]) },
      byConstruction: true,
    },
    theory: {
      claim: 'The number of samples needed follows from the norm of the target, whatever the number of keys.',
      source: 'abstract',
      criteria: {},
      untested: 'Only one dimension and one number of keys was measured.',
    },
  },
  measure: {
    ...together(['network', 'biased', 'limits'], learning),
    heads,
    theory: () => ({ measured: 'dimensions and keys were not varied', values: {} }),
  },
});

/** Relative test errors [seed][samples] of each target and learner. */
type Errors = Readonly<Record<Target, Readonly<Record<Learner, readonly (readonly number[])[]>>>>;

async function learning(context: MeasureContext) {
  const sizes = context.quick ? [50, 100] : [100, 300, 1000];
  const seeds = context.quick ? 2 : SEEDS;
  const drawn = await context.draws(seeds, async (seed) => {
    await context.step((0.9 * seed) / seeds, `seed ${seed + 1} of ${seeds}`);
    return errorsOf(context, sizes, seed, context.quick ? 100 : 400);
  });
  const errors: Errors = byLabel(NAMES, (target) =>
    byLabel(LEARNERS, (learner) => drawn.map((each) => each[target][learner])),
  );
  const last = sizes.length - 1;
  const over = (target: Target, a: Learner, b: Learner, at: number) =>
    estimated(errors[target][a].map((row, seed) => row[at]! / errors[target][b][seed]![at]!));
  const all = (targets: readonly Target[], a: Learner, b: Learner, most = last) =>
    targets.flatMap((target) => sizes.slice(0, most + 1).map((_, at) => over(target, a, b, at)));
  const largest = (estimates: readonly Estimate[]) => estimates.reduce((a, b) => (b.value > a.value ? b : a));
  const few = Math.max(0, last - 1);
  const odd = ['correlation', 'cubes', 'exponential'] as const;
  const tell = ({ value, low, high }: Estimate) =>
    `${significant(value)} (${significant(low)} to ${significant(high)})`;
  const network = { all: largest(all(NAMES, 'layer', 'network')), squares: over('squares', 'network', 'layer', last) };
  const biased = {
    odd: largest(all(odd, 'biased', 'layer', few)),
    exponential: estimated(
      drawn.map(({ exponential: { layer, biased } }) =>
        Math.exp(mean(sizes.slice(0, few + 1).map((_, at) => Math.log(layer[at]! / biased[at]!)))),
      ),
    ),
  };
  const limits = { crossed: over('correlation', 'biased', 'layer', last), even: over('even', 'biased', 'layer', 0) };
  return {
    network: {
      measured: `at most ${tell(network.all)} of the network's error; of squares with ${sizes[last]} samples the network's is ${tell(network.squares)} times as large`,
      values: network,
      details: `d = ${D}, ${N} keys, tokens uniform on the sphere, ${seeds} seeds: geometric means and their 95% intervals. Layer and network by their exact kernels, in float64; with bias ${HEADS} heads. Errors are mean squares over the target's, with the ridge that is best on the test points, as it is for all.`,
      series: NAMES.map((target) =>
        chart(
          `Relative error, ${target}`,
          { samples: sizes },
          byLabel(LEARNERS, (learner) =>
            sizes.map((_, at) => estimated(errors[target][learner].map((row) => row[at]!)).value),
          ),
        ),
      ),
    },
    biased: {
      measured: `at most ${tell(biased.odd)} of the layer's error; of the exponential the layer's is ${tell(biased.exponential)} times as large`,
      values: biased,
    },
    limits: {
      measured: `correlation with ${sizes[last]} samples ${tell(limits.crossed)}, even power with ${sizes[0]} ${tell(limits.even)}`,
      values: limits,
    },
  };
}

/** The geometric mean of a sample, and its 95% interval by Student's t of the logarithms. */
function estimated(sample: readonly number[]): Estimate {
  const logs = sample.map(Math.log);
  const middle = mean(logs);
  const variance = logs.reduce((total, each) => total + (each - middle) ** 2, 0) / Math.max(1, logs.length - 1);
  // Two degrees of freedom fewer than six seeds; of a quick run's two seeds it says nothing.
  const reach = (STUDENT[logs.length] ?? 12.71) * Math.sqrt(variance / logs.length);
  return { value: Math.exp(middle), low: Math.exp(middle - reach), high: Math.exp(middle + reach) };
}

/** The 97.5% quantile of Student's t, by the size of the sample. */
const STUDENT: Readonly<Record<number, number>> = { 2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776 };

async function errorsOf({ runtime, step }: MeasureContext, sizes: readonly number[], seed: number, points: number) {
  const most = sizes.at(-1) as number;
  const all = samplesOf(most + points, 100 * seed + 1);
  const part = (first: number, count: number): Samples => ({
    ...all,
    data: all.data.subarray(first * (N + 1) * D, (first + count) * (N + 1) * D),
    count,
  });
  const [train, test] = [part(points, most), part(0, points)];
  const targets = NAMES.map((name) => targetsOf(all, name, 100 * seed + 2));
  const kernels = {
    layer: () => [attentionKernel(train, train), attentionKernel(test, train)],
    network: () => [networkKernel(train, train), networkKernel(test, train)],
    biased: () => ofHeads(runtime, train, test, 100 * seed + 3),
  };
  const found = {} as Record<Learner, number[][]>;
  for (const learner of LEARNERS) {
    await step(0.9 * (seed / SEEDS), `seed ${seed + 1}: ${learner}`);
    const [own, across] = (await kernels[learner]()) as [Float64Array, Float64Array];
    found[learner] = [];
    for (const n of sizes) found[learner].push(await leastErrors(runtime, own, across, { n, most, points }, targets));
  }
  return byLabel(NAMES, (_, at) => byLabel(LEARNERS, (learner) => found[learner].map((errors) => errors[at]!)));
}

/** Queries and keys that are uniform on the sphere. */
const samplesOf = (count: number, seed: number): Samples => ({
  data: Float64Array.from(unitRows(count * (N + 1), D, seed)),
  count,
  n: N,
  d: D,
});

function targetsOf({ data, count }: Samples, name: Target, seed: number): Float64Array {
  const [direction] = [Float64Array.from(unitRows(1, D, seed))];
  return Float64Array.from({ length: count }, (_, sample) => {
    const token = (at: number) => rowOf(data, sample * (N + 1) + at, D);
    let total = 0;
    for (let i = 1; i <= N; i++) total += TARGETS[name](dot(token(i), direction), dot(token(0), token(i)));
    return total / N;
  });
}

/** The matrices of the features of biased heads. */
async function ofHeads(runtime: Runtime, train: Samples, test: Samples, seed: number) {
  const weights = runtime.tensor(
    normal(HEADS * (D + 1) ** 2, seed).map((value) => value / 4),
    [HEADS, D + 1, D + 1],
  );
  const [own, others] = [features(runtime, train, weights, true), features(runtime, test, weights, true)];
  using _ = held([weights, own, others]);
  return [
    await numbersOf(runtime, () => matmul(own, own, { transposeB: true })),
    await numbersOf(runtime, () => matmul(others, own, { transposeB: true })),
  ];
}

function features(runtime: Runtime, { data, count }: Samples, weights: ReturnType<Runtime['tensor']>, biased: boolean) {
  const token = (from: number, to: number) =>
    Float32Array.from({ length: count * (to - from) * D }, (_, at) => {
      const [sample, rest] = [Math.floor(at / ((to - from) * D)), at % ((to - from) * D)];
      return data[(sample * (N + 1) + from) * D + rest]!;
    });
  return runtime.scope(() => {
    const [query, keys] = [runtime.tensor(token(0, 1), [count, D]), runtime.tensor(token(1, N + 1), [count, N, D])];
    const { out } = randomFeatureAttention.forward({ query, keys, weights }, randomFeatureAttention.parse({ biased }));
    return out.reshape([count, -1]);
  });
}

/**
 * For each target its least test error over ridges, relative to its mean square, by the first n samples: all of them by one
 * eigendecomposition.
 */
async function leastErrors(
  runtime: Runtime,
  own: Float64Array,
  across: Float64Array,
  { n, most, points }: Readonly<Record<'n' | 'most' | 'points', number>>,
  targets: readonly Float64Array[],
): Promise<number[]> {
  const corner = Float64Array.from({ length: n * n }, (_, at) => own[Math.floor(at / n) * most + (at % n)]!);
  using matrix = runtime.tensor(corner, [n, n], 'f64');
  const { values, vectors } = eigh<'f64'>(matrix);
  using _ = held([values, vectors]);
  const [spectrum, basis] = (await Promise.all([values.read(), vectors.read()])) as [Float64Array, Float64Array];
  // Queries in the basis: [points, n].
  const turned = new Float64Array(points * n);
  for (let i = 0; i < points; i++)
    for (let k = 0; k < n; k++)
      for (let j = 0; j < n; j++) turned[i * n + j]! += across[i * most + k]! * basis[k * n + j]!;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += corner[i * (n + 1)]!;
  return targets.map((target) => {
    const [wanted, y] = [target.subarray(0, points), target.subarray(points, points + n)];
    const middle = mean([...y]);
    const along = new Float64Array(n);
    for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) along[j]! += (y[k]! - middle) * basis[k * n + j]!;
    const centred = wanted.map((value) => value - middle);
    const errors = RIDGES.map((ridge) => {
      const weights = along.map((value, j) => value / (Math.max(spectrum[j]!, 0) + (ridge * trace) / n));
      const found = Float64Array.from({ length: points }, (_, i) => dot(rowOf(turned, i, n), weights));
      return relativeDistance(found, centred) ** 2;
    });
    return Math.min(...errors);
  });
}

async function heads({ runtime, quick, step }: MeasureContext) {
  await step(0.95, 'many heads');
  const samples = samplesOf(12, 7);
  const count = quick ? 5000 : 20_000;
  const weights = runtime.tensor(
    normal(count * (D + 1) ** 2, 8).map((value) => value / 2),
    [count, D + 1, D + 1],
  );
  const own = features(runtime, samples, weights, false);
  using _ = held([weights, own]);
  const found = await numbersOf(runtime, () => matmul(own, own, { transposeB: true }));
  const distance = relativeDistance(
    found.map((value) => value / count),
    attentionKernel(samples, samples),
  );
  return { measured: `${significant(distance)} of the kernel with ${count} heads`, values: { distance } };
}
