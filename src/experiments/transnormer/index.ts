import { normalisedGradient } from '../../methods/linear/transnormer/reference';
import { normal } from '../../tensor/random';
import { formatRatio, significant } from '../../text/format';
import {
  byLabel,
  type Criterion,
  chart,
  defineExperiment,
  figure,
  listed,
  type MeasureContext,
  together,
} from '../experiment';
import { dot, largest, mean, product, rowOf, transposed } from '../vectors';
import { ARMS, gradientDeviation } from './gradient-deviation';

const N = 64;
const D = 16;
const SCALES = [1, 0.1, 0.01];

type Numbers = Float64Array;

/**
 * What turns products of queries and keys into weights: the features' products, and the gradient with respect to these.
 */
const KERNELS = {
  softmax: (x: number) => x,
  '1+elu / sum': (x: number) => (x > 0 ? 1 + x : Math.exp(x)),
  'relu / sum': (x: number) => Math.max(0, x),
  'identity / sum': (x: number) => x,
  NormAttention: (x: number) => (x > 0 ? 1 + x : Math.exp(x)),
} as const;
type Kernel = keyof typeof KERNELS;
const NAMES = Object.keys(KERNELS) as Kernel[];

/** Where inputs a hundredth in size make a gradient a hundred times as large. */
const explodes = (kernel: Kernel): Criterion =>
  figure(`growth of the largest gradient, ${kernel}`, [50, 200], [2, 200], [0, 1e4]);

export const experiment = defineExperiment({
  title: 'gradients with respect to the scores as the inputs shrink, and how far attention is diluted',
  claims: {
    witness: {
      claim:
        'Of linear attention with a denominator the gradient of a weight by a score is (1 - 1/n) / (n s): no bound.',
      source: 'paper, section 3.1',
      criteria: { distance: figure('largest relative distance from it', [0, 1e-12], [0, 1000]) },
      byConstruction: true,
    },
    unbounded: {
      claim: 'The denominator makes gradients with respect to scores unbounded.',
      source: 'paper, section 3.1',
      criteria: { relu: explodes('relu / sum'), identity: explodes('identity / sum') },
    },
    elu: {
      claim: 'So do those of the common feature map 1 + elu.',
      source: 'paper, section 3.1 and table 2',
      criteria: { growth: explodes('1+elu / sum') },
    },
    bounded: {
      claim: 'With a norm in its place they stay bounded.',
      source: 'paper, section 3.1',
      criteria: { growth: figure('growth of the largest gradient, NormAttention', [0.5, 2], [0.1, 10], [0, 1e4]) },
    },
    bound: {
      claim: 'Gradients with respect to scores of NormAttention are at most 3 c1 c2 d / (2 sqrt(epsilon)).',
      source: 'paper, section 3.1',
      criteria: {
        // Far below it, the bound was hardly tested.
        share: figure('largest gradient found, over the bound', [0.1, 1], [0, 1], [0, 1e4]),
      },
    },
    dilution: {
      claim: 'Of trained models, 40% of the tokens around a query hold about 80% of softmax attention, 40% of linear.',
      source: 'paper, section 3.2',
      criteria: {},
      untested: 'No model was trained, and random inputs have no neighbourhoods.',
    },
    deviations: {
      claim:
        'Relative deviations of gradients over a training: 1 + elu 0.58, Performer 0.47, softmax 0.25, NormAttention 0.20.',
      source: 'paper, table 2',
      // The order is the claim: the values depend on the model.
      criteria: {
        least: figure('deviation of NormAttention over the least of the others', [0.1, 1], [0.01, 100]),
        most: figure('deviation of 1 + elu over the largest of the others', [1, 10], [0.5, 10], [0.01, 100]),
      },
      untested: 'One layer with one head learns a layer of softmax attention on random tokens, no language model.',
    },
  },
  measure: {
    ...together(['unbounded', 'elu', 'bounded'], gradients),
    witness,
    bound,
    dilution,
    deviations,
  },
});

/** With n equal scores each weight is 1 / n: the largest derivative of a weight by a score s is that by its own. */
function witness() {
  const epsilons = [1, 1e-2, 1e-4];
  const n = 8;
  const found = epsilons.map((epsilon) => {
    const weight = epsilon / (n * epsilon);
    const derivatives = [weight - weight ** 2, -(weight ** 2)].map((slope) => Math.abs(slope / epsilon));
    return Math.max(...derivatives);
  });
  const expected = [0.109375, 10.9375, 1093.75];
  return {
    measured: `${listed(found)} for ${n} equal scores of ${epsilons.join(', ')}`,
    values: { distance: Math.max(...found.map((value, at) => Math.abs(value / expected[at]! - 1))) },
  };
}

/** Random draws over which figures of gradients are averaged or maximised. */
const seedsOf = ({ quick }: MeasureContext): number => (quick ? 3 : 20);

async function gradients(context: MeasureContext) {
  const seeds = seedsOf(context);
  const found = byLabel(NAMES, () => [] as number[]);
  for (const [at, scale] of SCALES.entries()) {
    for (const name of NAMES) {
      await context.step((0.3 * at) / SCALES.length, `${name} at scale ${scale}`);
      found[name].push(mean(await context.draws(seeds, (seed) => largestGradient(name, scale, seed))));
    }
  }
  const at = (name: Kernel, scale: number) => found[name][scale]!;
  const figures = (name: Kernel) => `${name} ${listed(found[name])}`;
  const last = SCALES.length - 1;
  const growth = (name: Kernel) => at(name, last) / at(name, 0);
  const series = chart(
    'Largest gradient with respect to a score, mean over the seeds',
    { 'scale of the inputs': SCALES },
    found,
  );
  const setting = `n = ${N}, d = ${D}, inputs normal with deviations ${SCALES.join(', ')}, gradient with respect to the output normal over sqrt(n), mean of ${seeds} seeds, no training.`;
  return {
    unbounded: {
      measured: `${figures('relu / sum')}; ${figures('identity / sum')}`,
      values: { relu: growth('relu / sum'), identity: growth('identity / sum') },
      details: `Largest |dL/ds| at each scale. ${setting} The scores are the products of the features.`,
      series: series,
    },
    elu: {
      measured: `${figures('1+elu / sum')}; ${figures('softmax')}`,
      values: { growth: growth('1+elu / sum') },
      details: `Not at the start of training: its features are about 1 where the inputs are small, and its scores far from 0. ${setting}`,
    },
    bounded: {
      measured: `${figures('NormAttention')}: ${formatRatio(growth('NormAttention'))} from the first to the last`,
      values: { growth: growth('NormAttention') },
      details: setting,
    },
  };
}

/**
 * |dL/ds| <= 3 c1 c2 d / (2 sqrt(epsilon)), with the epsilon under the root as the paper has it: in random draws, and
 * where it is largest, with sums of zero, and gradients along the values.
 */
function bound(context: MeasureContext) {
  const seeds = seedsOf(context);
  const epsilon = 1e-4;
  const boundOf = (c1: number, c2: number, d: number) => (3 * c1 * c2 * d) / (2 * Math.sqrt(epsilon));
  let random = 0;
  for (let seed = 0; seed < seeds; seed++) {
    const { values, byOut, sums } = problemOf('NormAttention', 1e-3, seed);
    const c1 = largestNorm(byOut);
    const c2 = largestNorm(values);
    const gradSums = normedGradient(sums, byOut, D, epsilon);
    random = Math.max(random, largestProduct(gradSums, values) / boundOf(c1, c2, D));
  }
  const dimensions = [1, 4, D];
  const worst = dimensions.map((d) => {
    const along = draw(d, 1, d);
    const [gradSums, squared] = [normedGradient(new Float64Array(d), along, d, epsilon), dot(along, along)];
    return Math.abs(dot(gradSums, along)) / boundOf(Math.sqrt(squared), Math.sqrt(squared), d);
  });
  return {
    measured: `${listed(worst)} of the bound with d = ${dimensions.join(', ')} where it is largest, ${significant(random)} in ${seeds} random draws`,
    values: { share: Math.max(random, ...worst) },
    details: `epsilon = ${epsilon} under the root as in the paper; the code adds it to the root. c1 and c2 are the largest norms of a gradient with respect to an output and of a value. The bound is met with one dimension but for a factor of two thirds, and is looser the more there are.`,
  };
}

/** The gradient with respect to sums [rows, d] of what they are over sqrt(|t|^2 / d + epsilon). */
function normedGradient(sums: Numbers, byOut: Numbers, d: number, epsilon: number): Numbers {
  return sums.map((value, at) => {
    const row = Math.floor(at / d) * d;
    const [t, by] = [sums.subarray(row, row + d), byOut.subarray(row, row + d)];
    const divisor = Math.sqrt(dot(t, t) / d + epsilon);
    return byOut[at]! / divisor - (value * dot(t, by)) / (d * divisor ** 3);
  });
}

/** Relative deviations of gradients over the steps of a training, of each kind of attention. */
async function deviations(context: MeasureContext) {
  const [steps, seeds] = context.quick ? [5, 1] : [200, 3];
  const found: Record<string, number> = {};
  const arms = Object.entries(ARMS);
  for (const [at, [name, attend]] of arms.entries()) {
    const each = await context.draws(seeds, async (seed) => {
      await context.step(0.3 + (0.7 * (at + seed / seeds)) / arms.length, `${name} learns`);
      return gradientDeviation(attend, steps, seed + 1);
    });
    found[name] = mean(each);
  }
  const of = (name: string) => found[name]!;
  const others = (name: string) => Object.keys(found).flatMap((other) => (other === name ? [] : [of(other)]));
  return {
    measured: Object.entries(found)
      .map(([name, value]) => `${name} ${significant(value)}`)
      .join(', '),
    values: {
      least: of('NormAttention') / Math.min(...others('NormAttention')),
      most: of('1+elu / sum') / Math.max(...others('1+elu / sum')),
    },
    details: `Standard deviation over mean of the norm of the gradient with respect to all weights, over ${steps} steps of gradient descent, mean of ${seeds} seeds. The paper has 50,000 steps of a language model.`,
  };
}

/** The mass within r n tokens around a query, of 1 + elu and of softmax, before any training. */
function dilution() {
  const shares = [0.1, 0.2, 0.4, 0.6, 0.8, 1];
  const uniform = shares.map((share) => massNear(() => 1, share));
  const [queries, keys] = [draw(N * D, 1, 1), draw(N * D, 1, 2)];
  const scores = (phi: (x: number) => number) => product(queries.map(phi), transposed(keys.map(phi), D), D);
  const among = (weights: Numbers) => shares.map((share) => massNear((i, j) => weights[i * N + j]!, share));
  const softmax = among(scores(KERNELS.softmax).map((score) => Math.exp(score / Math.sqrt(D))));
  const linear = among(scores(KERNELS.NormAttention));
  const at = shares.indexOf(0.4);
  return {
    measured: `untrained: softmax ${significant(softmax[at]!)}, 1 + elu ${significant(linear[at]!)}, uniform weights ${significant(uniform[at]!)}`,
    values: {},
    details: `On random inputs both are as diluted as uniform weights. The windows are moved inwards at the borders (reconstructed). n = ${N}.`,
    series: chart(
      'Mass in a window around the query',
      { 'window over n': shares },
      { softmax: softmax, '1 + elu': linear, uniform: uniform },
    ),
  };
}

/** The mean over the queries; windows of share n tokens, moved inwards at the borders. */
function massNear(weight: (i: number, j: number) => number, share: number, n = N): number {
  const width = Math.max(1, Math.round(share * n));
  let mean = 0;
  for (let i = 0; i < n; i++) {
    const first = Math.min(Math.max(0, i - Math.floor(width / 2)), n - width);
    let [near, all] = [0, 0];
    for (let j = 0; j < n; j++) {
      const value = weight(i, j);
      all += value;
      if (j >= first && j < first + width) near += value;
    }
    mean += near / all / n;
  }
  return mean;
}

/** The largest |dL/ds|. */
function largestGradient(name: Kernel, scale: number, seed: number): number {
  const { scores, values, byOut, sums } = problemOf(name, scale, seed);
  if (name === 'NormAttention') return largestProduct(normalisedGradient(sums, byOut, D, 1e-8), values);
  const isSoftmax = name === 'softmax';
  const weights = isSoftmax ? scores.map(Math.exp) : scores;
  const byWeights = product(byOut, transposed(values, D), D);
  const found = Array.from({ length: N }, (_, i) => {
    const [row, by] = [rowOf(weights, i, N), rowOf(byWeights, i, N)];
    const total = row.reduce((sum, weight) => sum + weight, 0);
    // A row of zeros has no attention.
    if (total === 0) return 0;
    const mean = by.reduce((sum, value, j) => sum + (value * row[j]!) / total, 0);
    return largest(by.map((value, j) => ((isSoftmax ? row[j]! : 1) * (value - mean)) / total));
  });
  return Math.max(...found);
}

/** Scores, values, the gradient with respect to the output, and the sums above the denominators. */
function problemOf(name: Kernel, scale: number, seed: number) {
  const phi = KERNELS[name];
  const [q, k, values] = [1, 2, 3].map((part) => draw(N * D, scale, 10 * seed + part)) as [Numbers, Numbers, Numbers];
  const byOut = draw(N * D, 1 / Math.sqrt(N), 10 * seed + 4);
  const [a, b] = [q.map(phi), k.map(phi)];
  const factor = name === 'softmax' ? 1 / Math.sqrt(D) : 1;
  const scores = product(a, transposed(b, D), D).map((score) => factor * score);
  return { scores, values, byOut, sums: product(scores, values, N) };
}

/** The largest product, over all pairs, of a gradient with respect to the sums and a value. */
const largestProduct = (gradSums: Numbers, values: Numbers) => largest(product(gradSums, transposed(values, D), D));

/** The largest norm of a row. */
const largestNorm = (rows: Numbers) =>
  Math.max(...Array.from({ length: rows.length / D }, (_, i) => Math.sqrt(dot(rowOf(rows, i, D), rowOf(rows, i, D)))));

function draw(size: number, deviation: number, seed: number): Numbers {
  return Float64Array.from(normal(size, seed), (value) => deviation * value);
}
