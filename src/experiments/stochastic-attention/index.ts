/** Reach, mixing, error and speed of random windows: the claims that need no trained model. */

import { band } from '../../masks/band';
import { or } from '../../masks/combine';
import { type Mask, oneHead } from '../../masks/mask';
import { randomPermutation, stochastic } from '../../masks/stochastic';
import { exponent } from '../../measure/statistics';
import { stochasticAttention } from '../../methods/sparse/stochastic-attention';
import { attention } from '../../ops/attention';
import type { Runtime } from '../../runtime/runtime';
import { expectedRandomField, receptiveField } from '../../simulate/reach';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { chart, defineExperiment, figure, type MeasureContext, OF_POSSIBLE, share } from '../experiment';
import { held, numbersOf, randomQkv } from '../held';
import { DENSE, timeBesideCausal } from '../mask-speed';
import { columnMeans, dot, mean, sum } from '../vectors';

type Size = readonly [n: number, w: number];

export const experiment = defineExperiment({
  title: 'how far random windows reach, how fast they mix, how near they come to dense attention, and at what speed',
  claims: {
    reach: {
      claim: 'Independent random orders reach every token in O(log n / log w) layers, a sliding window in O(n / w).',
      source: 'abstract',
      criteria: { layers: figure('most layers, over log n / log w', [1, 2], [1, 3], [1, 10]) },
    },
    causalReach: {
      claim:
        'Causally too, random windows cover the sequence in few layers; together with the sliding window they cover all.',
      source: 'summaries of the full text; the figures of the pair are reconstructed',
      criteria: {
        alone: share('least share reached by random windows alone', [1, 1], [0.9, 1]),
        pair: figure('most layers of the pair, over log n / log w', [1, 2], [1, 3], [1, 10]),
      },
    },
    mixing: {
      claim:
        'A layer of equal weights in random order shrinks the variance of any signal by (n / w - 1) / (n - 1), about 1 / w, on average; a sliding window keeps the smooth signals.',
      source: 'reconstructed: follows from the eigenvalues of the window',
      criteria: { deviation: figure('largest relative distance from it', [0, 0.01], [0, 0.1], [0, 10]) },
      byConstruction: true,
    },
    estimate: {
      claim: 'The output in a random order estimates that of dense attention: bias O(1 / w), variance O(1 / w).',
      source: 'theory, for equal weights',
      criteria: {
        bias: figure('exponent of w in the bias', [-1.15, -0.85], [-1.5, -0.6], [-5, 2]),
        variance: figure('exponent of w in the variance', [-1.15, -0.85], [-1.5, -0.6], [-5, 2]),
      },
    },
    speed: {
      claim: 'On an A100 it is 1.5, 6.6 and 28 times as fast as full attention at n = 2048, 8192 and 32768.',
      source: 'summaries of the full text; the window of the timings is not known, 256 is that of the trained models',
      criteria: {
        published: figure('least of the three speed-ups, over the published one', [0.8, 5], [0.3, 5], [0.01, 5]),
        share: figure('largest speed-up, of what the pairs saved allow', [0.5, 1.15], [0.2, 1.15], OF_POSSIBLE),
      },
      untested: 'The figures are of an A100 and of a window that is not known.',
      timed: true,
    },
  },
  measure: { reach: circularReach, causalReach, mixing, estimate, speed },
});

/** Mean over seeds of the tokens reached by layer, a random order for each layer; a field that is full stays so. */
function meanReach(n: number, layers: number, seeds: number, query: number, maskOf: (seed: number) => Mask): number[] {
  const place = oneHead(n, n);
  const sums = new Array<number>(layers).fill(0);
  for (let seed = 0; seed < seeds; seed++) {
    const masks = Array.from({ length: layers }, (_, layer) => maskOf(seed * layers + layer));
    const keysOf = (layer: number, token: number) => masks[layer]?.intervals?.(token, place) ?? [];
    const field = receptiveField(keysOf, n, { query, layers, changes: true });
    for (let layer = 0; layer < layers; layer++) sums[layer]! += field[layer] ?? n;
  }
  return sums.map((sum) => sum / seeds);
}

async function circularReach({ quick, step }: MeasureContext) {
  await step(0, 'reach');
  const sizes: Size[] = quick
    ? [[256, 16]]
    : [
        [1024, 32],
        [2048, 64],
        [2048, 256],
        [4096, 16],
      ];
  const layers = 8;
  const runs = sizes.map(([n, w]) => ({
    n,
    w,
    random: meanReach(n, layers, quick ? 2 : 5, 0, (seed) =>
      stochastic({ permutation: randomPermutation(n, seed), window: w }),
    ),
    expected: expectedRandomField(n, w, layers),
    sliding: Array.from({ length: layers }, (_, layer) => Math.min(n, 1 + (layer + 1) * (w - 1))),
  }));
  const depth = ({ n, random }: (typeof runs)[number]) => layersUntil(random, n);
  const summary = runs.map(
    (run) => `n = ${run.n}, w = ${run.w}: ${depth(run)} (sliding ${Math.ceil((run.n - 1) / (run.w - 1))})`,
  );
  return {
    measured: `layers until a token reaches all others: ${summary.join('; ')}`,
    values: { layers: Math.max(...runs.map((run) => (depth(run) * Math.log(run.w)) / Math.log(run.n))) },
    details: `Not causal, slots on a circle, a fresh order for each layer, mean of ${quick ? 2 : 5} draws; expected: r' = n (1 - (1 - w / n)^r).`,
    series: runs.map(({ n, w, random, expected, sliding }) =>
      chart(
        `tokens reached, n = ${n}, w = ${w}`,
        { layer: random.map((_, layer) => layer + 1) },
        { 'random windows': random, expected: expected, 'sliding window': sliding },
      ),
    ),
  };
}

/** The layer after which all n tokens are reached; one more than there are if none is. */
function layersUntil(reached: readonly number[], n: number): number {
  const at = reached.indexOf(n);
  return (at < 0 ? reached.length : at) + 1;
}

async function causalReach({ quick, step }: MeasureContext) {
  await step(0.2, 'causal reach');
  const sizes: Size[] = quick
    ? [[256, 16]]
    : [
        [1024, 32],
        [4096, 16],
      ];
  const layers = quick ? 4 : 10;
  const seeds = quick ? 1 : 3;
  const runs = sizes.map(([n, w]) => {
    const alone = (seed: number) => stochastic({ permutation: randomPermutation(n, seed), window: w, causal: true });
    return {
      n,
      w,
      alone: meanReach(n, layers, seeds, n - 1, alone),
      pair: meanReach(n, layers, seeds, n - 1, (seed) => or(alone(seed), band(w - 1, 0))),
    };
  });
  const share = (reached: number | undefined, n: number) => `${((100 * (reached ?? 0)) / n).toFixed(1)}%`;
  return {
    measured: runs
      .map(
        ({ n, w, alone, pair }) =>
          `n = ${n}, w = ${w}: alone ${share(alone.at(-1), n)} after ${layers} layers, the pair all after ${layersUntil(pair, n)}`,
      )
      .join('; '),
    values: {
      alone: Math.min(...runs.map(({ n, alone }) => alone.at(-1)! / n)),
      pair: Math.max(...runs.map(({ n, w, pair }) => (layersUntil(pair, n) * Math.log(w)) / Math.log(n))),
    },
    details:
      'The last token, windows of w - 1 slots either way before the causal mask. Alone, the tokens just before the last stay hard to reach: only the few after them see them. The paper proves its claim without the causal mask.',
    series: runs.map(({ n, w, alone, pair }) =>
      chart(
        `tokens the last one reaches, n = ${n}, w = ${w}, causal`,
        { layer: alone.map((_, layer) => layer + 1) },
        { 'random windows': alone, 'with the sliding window': pair },
      ),
    ),
  };
}

/** Outputs of attention with equal scores: the means of the values that each token sees. */
function averages(
  runtime: Runtime,
  values: Float32Array,
  n: number,
  columns: number,
  settings: Parameters<typeof stochasticAttention.parse>[0],
): Promise<Float64Array> {
  return numbersOf(runtime, () => {
    const zeros = runtime.tensor(new Float32Array(n), [1, n, 1, 1]);
    const v = runtime.tensor(values, [1, n, 1, columns]);
    return stochasticAttention.forward({ q: zeros, k: zeros, v }, stochasticAttention.parse(settings)).out;
  });
}

async function mixing({ runtime, quick, step, draws: repeat }: MeasureContext) {
  await step(0.4, 'mixing');
  const n = quick ? 128 : 512;
  const columns = 64;
  const draws = quick ? 10 : 40;
  const windows = [8, 32, 128].filter((w) => w < n);
  const signals = normal(n * columns, 4);
  const means = columnMeans(signals, columns);
  const values = signals.map((value, at) => value - means[at % columns]!);
  const before = squares(values);
  const measured: number[] = [];
  for (const window of windows) {
    const left = await repeat(draws, (seed) => averages(runtime, values, n, columns, { window, seed }));
    measured.push(mean(left.map(squares)) / before);
  }
  const expected = windows.map((w) => (n / w - 1) / (n - 1));
  const worst = Math.max(...measured.map((ratio, at) => Math.abs(ratio / expected[at]! - 1)));
  const slowest = windows.map((w) => (Math.sin((Math.PI * w) / n) / (w * Math.sin(Math.PI / n))) ** 2);
  return {
    measured: `largest deviation ${(100 * worst).toFixed(2)}% of the value expected, for w = ${windows.join(', ')}`,
    values: { deviation: worst },
    details: `n = ${n}, ${columns} random signals of mean zero, ${draws} orders, through the method itself with equal scores.`,
    series: chart(
      `variance left after one layer, n = ${n}`,
      { window: windows },
      { 'random windows': measured, expected: expected, 'sliding window, smoothest signal': slowest },
    ),
  };
}

async function estimate({ runtime, quick, step, draws: repeat }: MeasureContext) {
  await step(0.6, 'error');
  const [n, d, draws] = quick ? [128, 16, 8] : [1024, 64, 48];
  const windows = [16, 32, 64, 128, 256].filter((w) => 2 * w <= n);
  const qkv = randomQkv(runtime, [1, n, 1, d]);
  using _ = held(qkv);
  const dense = await numbersOf(runtime, () => attention(qkv.q, qkv.k, qkv.v).out);
  const norm = squares(dense);
  const [bias, variance]: [number[], number[]] = [[], []];
  for (const window of windows) {
    const outs = await repeat(draws, (seed) => {
      const params = stochasticAttention.parse({ window, seed });
      return numbersOf(runtime, () => stochasticAttention.forward(qkv, params).out as Tensor);
    });
    const average = dense.map((_, at) => mean(outs.map((out) => out[at]!)));
    const perDraw = (sum(outs.map(squares)) - draws * squares(average)) / (draws - 1);
    variance.push(perDraw / norm);
    // The mean of finitely many draws varies too.
    bias.push(Math.max(0, squares(average.map((value, at) => value - dense[at]!)) - perDraw / draws) / norm);
  }
  const slopes = { bias: exponent(windows, bias) / 2, variance: exponent(windows, variance) };
  return {
    measured: `over w = ${windows.join(', ')}: bias ~ w^${slopes.bias.toFixed(2)}, variance ~ w^${slopes.variance.toFixed(2)}; at w = ${windows.at(-1)} bias² ${bias.at(-1)!.toFixed(3)}, variance ${variance.at(-1)!.toFixed(3)} of the squared norm of the dense output`,
    values: slopes,
    details: `Softmax weights of standard normal q, k, v, n = ${n}, d = ${d}, ${draws} orders, not causal.`,
    series: chart(
      'of the squared norm of the dense output',
      { window: windows },
      { 'bias²': bias, variance: variance },
    ),
  };
}

async function speed(context: MeasureContext) {
  const { quick } = context;
  const lengths = quick ? [512, 1024] : [2048, 8192, 32768];
  const window = quick ? 64 : 256;
  const published = [1.5, 6.6, 28];
  const problems = lengths.map((n) => ({ n, h: 1, d: 64, masks: { stochastic: maskOf(n, window) } }));
  const { contest, densities } = await timeBesideCausal(problems, 20, context.part(0.8, 1, 'speed'));
  const allowed = densities.stochastic.map((density) => 1 / density);
  const over = (others: readonly number[], choose: (...values: number[]) => number) =>
    contest.over(({ stochastic, [DENSE]: dense }) =>
      choose(...dense.map((time, at) => time / stochastic[at]! / others[at]!)),
    );
  const ratios = contest.speedups('stochastic', DENSE);
  return {
    measured: `${ratios.map((ratio) => ratio.toFixed(1)).join(', ')} times at n = ${lengths.join(', ')} with w = ${window}`,
    values: { published: over(published, Math.min), share: over(allowed, Math.max) },
    details:
      'Causal, one head of 64 dimensions, medians; the order and its tiles are computed once, before. Both are kernels of this library.',
    series: chart(
      'speed-up over exact causal attention',
      { n: lengths },
      { measured: ratios, 'that the pairs saved allow': allowed, ...(!quick && { published }) },
    ),
  };
}

const maskOf = (n: number, window: number): Mask =>
  stochastic({ permutation: randomPermutation(n, 0), window, causal: true });

const squares = (values: Float32Array | Float64Array) => dot(values, values);
