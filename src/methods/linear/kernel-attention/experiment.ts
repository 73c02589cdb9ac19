/** What a few random features estimate, what the advisor remembers, when its updates diverge, and time by length. */

import { exponent, summarise } from '../../../measure/statistics';
import { attention } from '../../../ops/attention';
import type { Runtime } from '../../../runtime/runtime';
import { toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import type { Tensor } from '../../../tensor/tensor';
import { formatPercent, formatTime, significant } from '../../../text/format';
import {
  type Claims,
  defineExperiment,
  type ExperimentContext,
  linearIn,
  type Measurement,
  type Measurements,
  type Series,
  SHARE,
  together,
} from '../../experiment';
import { held, numbersOf } from '../../held';
import { medians, overRounds, timeRounds } from '../../rounds';
import { kernelAttention } from '.';
import { hostFeatures } from './reference';
import type { KernelAttentionParams } from './settings';

/** Tokens whose whole matrix of weights is compared; as many as linear attention has value columns for. */
const TOKENS = 256;
/** Of a head of Point-MAE. */
const DIMENSION = 64;
const SIZES = [0.25, 0.5, 1];
const FEATURES = [10, 100, 256];
const TASKS = 4;
const PAIRS = 32;
/** Of the keys and the values of the advisor's tasks. */
const WIDTH = 16;
const CALLS = 30;

const claims = {
  features: {
    claim: 'More features serve better: AUROC 0.802, 0.828, 0.842 with 10, 100, 1000.',
    source: 'arXiv 2508.01311, table of inference',
    criteria: {
      falls: {
        what: 'largest error of the weights with the most features, over that with the fewest',
        expected: [0, 0.9],
        partly: [0, 1],
        plausible: [0, 100],
      },
    },
    untested: 'No anomalies were detected: the error says how far the layer is from the softmax that it replaces.',
  },
  lengths: {
    claim: 'Directions are Gaussian rows times the lengths of others, and their features estimate exp(q k).',
    source: "authors' code, CL3AD; the paper has Gaussian rows",
    criteria: {
      ratio: {
        what: 'largest error with both lengths, over that with Gaussian rows',
        expected: [0, 1.1],
        partly: [0, 1.5],
        plausible: [0, 1e4],
      },
    },
  },
  recall: {
    claim: 'The advisor learns what is new and keeps what it learned before.',
    source: 'reconstructed: what continual learning asks of equations 8 to 11, arXiv 2508.01311',
    criteria: {
      learns: {
        what: 'cosine of what is recalled of the last task',
        expected: [0.9, 1],
        partly: [0.5, 1],
        plausible: [-1, 1],
      },
      keeps: {
        what: 'cosine of older tasks over that of the last',
        expected: [0.8, 2],
        partly: [0.5, 2],
        plausible: [-2, 2],
      },
    },
  },
  growth: {
    claim: 'All tokens may correct the same old state at once, in every training step.',
    source: "authors' code, CL3AD; equations 10 and 11 have one token",
    criteria: {
      bounded: {
        what: 'share of the lengths at which no entry exceeds 100',
        expected: [1, 1],
        partly: [0.3, 1],
        plausible: SHARE,
      },
    },
  },
  speed: {
    claim: 'Time is linear in the number of groups, from 512 to 8192.',
    source: 'arXiv 2508.01311, times by groups',
    criteria: { layer: linearIn('the length, layer'), advisor: linearIn('the length, advisor') },
    timed: true,
  },
} as const satisfies Claims;

export const experiment = defineExperiment({
  title: 'error of the weights by the features, what the advisor recalls of four tasks, when its update diverges, time',
  claims,
  measure: { ...together(['features', 'lengths'], estimates), recall: recalls, growth, speed },
});

async function estimates({
  runtime,
  signal,
  onProgress,
  quick = false,
}: ExperimentContext): Promise<Measurements<typeof claims, 'features' | 'lengths'>> {
  onProgress?.(0, 'errors of the weights');
  const draws = quick ? 2 : 10;
  const found: Record<'once' | 'twice', number[][]> = { once: [], twice: [] };
  for (const size of SIZES) {
    using q = scaledNormal(runtime, [1, TOKENS, 1, DIMENSION], 1, size);
    using k = scaledNormal(runtime, [1, TOKENS, 1, DIMENSION], 2, size);
    using v = identity(runtime);
    const exact = await numbersOf(runtime, () => attention(q, k, v).out);
    for (const lengths of ['once', 'twice'] as const) {
      const medians: number[] = [];
      for (const features of FEATURES) {
        const distances: number[] = [];
        for (let seed = 0; seed < draws; seed++) {
          signal?.throwIfAborted();
          // The default epsilon would shrink the weights: what is added to each feature keeps denominators from 0.
          const params = kernelAttention.parse({ features, lengths, seed, epsilon: 0 });
          const weights = await numbersOf(runtime, () => kernelAttention.forward({ q, k, v }, params).out as Tensor);
          distances.push(distance(weights, exact));
        }
        medians.push(summarise(distances).median);
      }
      found[lengths].push(medians);
    }
  }
  const setting = `n = ${TOKENS}, d = ${DIMENSION} as in a head of Point-MAE, q and k normal with this deviation, Frobenius distance of the matrices of weights over the exact one's length, medians of ${draws} draws, epsilon 0.`;
  const text = (medians: readonly number[][]) =>
    SIZES.map((size, at) => `${medians[at]?.map((x) => formatPercent(x)).join(', ')} at size ${size}`).join('; ');
  const falls = found.once.map((medians) => (medians.at(-1) as number) / (medians[0] as number));
  const best = Math.max(...found.once.map((medians) => medians.at(-1) as number));
  const ratios = found.twice.flatMap((medians, at) => medians.map((x, f) => x / (found.once[at]?.[f] as number)));
  return {
    features: {
      measured: `error of the weights with ${FEATURES.join(', ')} features: ${text(found.once)}`,
      values: { falls: Math.max(...falls) },
      details: `${setting} Even with ${FEATURES.at(-1)} features the error is up to ${formatPercent(best)}.`,
      series: SIZES.map(
        (size, at): Series => ({
          title: `Error of the attention weights, size ${size}`,
          x: { label: 'features', values: FEATURES },
          lines: (['once', 'twice'] as const).map((label) => ({ label, values: found[label][at] as number[] })),
        }),
      ),
    },
    lengths: {
      measured: `with both lengths ${text(found.twice)}`,
      values: { ratio: Math.max(...ratios) },
      details: `${setting} Both lengths stretch directions by about sqrt(d) = ${Math.sqrt(DIMENSION)}: of another kernel than exp(q k), in which one feature outweighs all.`,
    },
  };
}

const ARMS = [
  { label: 'sums', update: 'sum', beta: 0, passes: 1 },
  { label: 'beta 0.1, 1 pass', update: 'tokens', beta: 0.1, passes: 1 },
  { label: 'beta 0.7, 1 pass', update: 'tokens', beta: 0.7, passes: 1 },
  { label: 'beta 0.1, 50 passes', update: 'tokens', beta: 0.1, passes: 50 },
  { label: 'beta 0.7, 50 passes', update: 'tokens', beta: 0.7, passes: 50 },
] as const;

async function recalls({
  runtime,
  signal,
  onProgress,
  quick = false,
}: ExperimentContext): Promise<Measurement<typeof claims.recall>> {
  onProgress?.(0.3, 'recall of four tasks');
  const widths = [10, 64, 256];
  const seeds = quick ? 1 : 5;
  const last: number[][] = [];
  const older: number[][] = [];
  for (const { update, beta, passes } of ARMS) {
    const [lasts, olders]: [number[], number[]] = [[], []];
    for (const features of widths) {
      const cosines: number[][] = [];
      for (let seed = 0; seed < seeds; seed++) {
        signal?.throwIfAborted();
        const params = { part: 'advisor', norm: 'unit', features, seed, update, beta } as const;
        cosines.push(await recallOfTasks(runtime, params, quick ? Math.min(passes, 3) : passes, seed));
      }
      const mean = (task: number) => average(cosines.map((each) => each[task] as number));
      lasts.push(mean(TASKS - 1));
      olders.push(average(Array.from({ length: TASKS - 1 }, (_, task) => mean(task))));
    }
    last.push(lasts);
    older.push(olders);
  }
  const text = ARMS.map(
    ({ label }, at) => `${label} ${significant(last[at]?.[1] as number)} / ${significant(older[at]?.[1] as number)}`,
  );
  const trained = ARMS.length - 1;
  const [learns, kept] = [last[trained]?.[1], older[trained]?.[1]] as [number, number];
  return {
    measured: `cosine of what is recalled of the last task / of older ones, 64 features: ${text.join(', ')}`,
    values: { learns, keeps: kept / learns },
    details: `${TASKS} tasks of ${PAIRS} random keys and values of ${WIDTH} numbers, one after the other, token by token, features of length 1, alpha = 0.7, means of ${seeds} seeds; judged by the last way to learn. More passes and a larger beta learn the last task better and forget the others; more features help both.`,
    series: [
      {
        title: 'Cosine of what is recalled, last task',
        x: { label: 'features', values: widths },
        lines: ARMS.map(({ label }, at) => ({ label, values: last[at] as number[] })),
      },
      {
        title: 'Cosine of what is recalled, older tasks',
        x: { label: 'features', values: widths },
        lines: ARMS.map(({ label }, at) => ({ label, values: older[at] as number[] })),
      },
    ],
  };
}

/** For each task the mean cosine of its values and of what the advisor recalls at its keys after all tasks. */
async function recallOfTasks(
  runtime: Runtime,
  params: Parameters<typeof kernelAttention.parse>[0] & object,
  passes: number,
  seed: number,
): Promise<number[]> {
  const settings = kernelAttention.parse(params);
  const frozen = kernelAttention.parse({ ...params, update: 'frozen' });
  const shape = [1, PAIRS, 1, WIDTH];
  const recalls = runtime.scope(() => {
    const tasks = Array.from({ length: TASKS }, (_, task) => ({
      k: runtime.random(shape, { seed: 1000 * seed + 2 * task }),
      v: runtime.random(shape, { seed: 1000 * seed + 2 * task + 1 }),
    }));
    let advisor: Tensor | undefined;
    for (const pairs of tasks) advisor = updated(pairs, settings, passes, advisor);
    return tasks.map(({ k, v }) => {
      const { out } = kernelAttention.forward({ q: k, k, v, ...(advisor && { advisor }) }, frozen);
      return Promise.all([(out as Tensor).toHost(), v.toHost()]);
    });
  });
  return (await Promise.all(recalls)).map((hosts) => {
    const [recalled, values] = hosts.map(toFloat64) as [Float64Array, Float64Array];
    const rows = Array.from({ length: PAIRS }, (_, row) => {
      const [a, b] = [recalled, values].map((x) => x.subarray(row * WIDTH, (row + 1) * WIDTH));
      return cosine(a as Float64Array, b as Float64Array);
    });
    return average(rows);
  });
}

/** The advisor after so many updates by the same keys and values. */
function updated(
  { k, v }: Readonly<Record<'k' | 'v', Tensor>>,
  params: KernelAttentionParams,
  updates: number,
  advisor?: Tensor,
): Tensor | undefined {
  let last = advisor;
  for (let update = 0; update < updates; update++) {
    const given = { q: k, k, v, ...(last && { advisor: last }) };
    last = k.runtime.scope(() => kernelAttention.forward(given, params).advisor);
  }
  return last;
}

async function growth({
  runtime,
  signal,
  onProgress,
  quick = false,
}: ExperimentContext): Promise<Measurement<typeof claims.growth>> {
  onProgress?.(0.6, 'repeated updates');
  const lengths = quick ? [8, 16] : [32, 128, 512];
  const beta = 0.1;
  const updates = ['batch', 'mean', 'tokens'] as const;
  const largest: number[][] = updates.map(() => []);
  const eigenvalues: number[] = [];
  for (const n of lengths) {
    using k = runtime.random([1, n, 1, WIDTH], { seed: 1 });
    using v = runtime.random([1, n, 1, WIDTH], { seed: 2 });
    const params = { part: 'advisor', norm: 'unit', features: 64, beta } as const;
    const host = await k.toHost();
    const phi = hostFeatures({ q: host, k: host, v: host }, kernelAttention.parse(params)).k;
    eigenvalues.push(largestEigenvalue(toFloat64(phi), 64));
    for (const [at, update] of updates.entries()) {
      signal?.throwIfAborted();
      const settings = kernelAttention.parse({ ...params, update });
      const advisor = await numbersOf(runtime, () => updated({ k, v }, settings, CALLS) as Tensor);
      largest[at]?.push(advisor.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
    }
  }
  const text = updates.map((update, at) => `${update} ${largest[at]?.map(formatLarge).join(', ')}`);
  const diverges = lengths.map((_, at) => beta * (eigenvalues[at] as number) > 2);
  const [batch = []] = largest;
  return {
    measured: `largest entry after ${CALLS} updates with n = ${lengths.join(', ')}: ${text.join('; ')}`,
    values: { bounded: batch.filter((value) => value <= 100).length / batch.length },
    details: `beta = ${beta}, 64 features of length 1, the same ${WIDTH}-number keys each time. The update converges while beta times the largest eigenvalue of sum phi phi^T is below 2: that product is ${eigenvalues.map((value) => significant(beta * value)).join(', ')}${diverges.some(Boolean) ? ', beyond 2 for long inputs' : ''}. Token by token it converges at any length, and so it does by their mean, where a token corrects beta / n of its error.`,
    series: [
      {
        title: 'Largest entry of the advisor',
        x: { label: 'n', values: lengths },
        lines: updates.map((label, at) => ({ label, values: largest[at] as number[] })),
      },
    ],
  };
}

async function speed(context: ExperimentContext): Promise<Measurement<typeof claims.speed>> {
  const { runtime, signal, onProgress, quick = false } = context;
  const lengths = quick ? [64, 128] : [512, 1024, 2048, 4096, 8192];
  const [h, d] = quick ? [1, 16] : [6, 64];
  const labels = ['layer', 'advisor, token by token', 'exact attention'] as const;
  const inputs = lengths.map((n) => {
    const random = (seed: number) => runtime.random([1, n, h, d], { seed });
    return { q: random(1), k: random(2), v: random(3) };
  });
  using _ = held(inputs.flatMap(Object.values<Tensor>));
  const calls = inputs.flatMap((qkv) => {
    const run = (params: Parameters<typeof kernelAttention.parse>[0]) => () => {
      const results = kernelAttention.forward(qkv, kernelAttention.parse(params), { signal });
      for (const tensor of Object.values(results)) tensor.dispose();
    };
    const exact = () => {
      const { out, lse } = attention(qkv.q, qkv.k, qkv.v, { signal });
      out.dispose();
      lse.dispose();
    };
    return [run({}), run({ part: 'advisor' }), exact];
  });
  const onTiming = (share: number) => onProgress?.(0.7 + 0.3 * share, 'timing');
  const rounds = await timeRounds(calls, 15, { ...context, onProgress: onTiming });
  const of = (times: readonly number[], contender: number) => times.filter((_, at) => at % labels.length === contender);
  const times = medians(rounds);
  const grows = labels.map((_, contender) => overRounds(rounds, (round) => exponent(lengths, of(round, contender))));
  const [layer, advisor] = grows as [(typeof grows)[0], (typeof grows)[0]];
  const text = labels.map(
    (label, at) => `${label} n^${grows[at]?.value.toFixed(2)} (${formatTime(of(times, at).at(-1) as number)})`,
  );
  return {
    measured: `time grows as ${text.join(', ')}`,
    values: { layer, advisor },
    details: `h = ${h}, d = ${d}, 10 features, f32, medians; in brackets at ${lengths.at(-1)}. The layer's attention alone, not the pipeline around it.`,
    series: [
      {
        title: 'Milliseconds',
        x: { label: 'n', values: lengths },
        lines: labels.map((label, at) => ({ label, values: of(times, at) })),
      },
    ],
  };
}

function scaledNormal(runtime: Runtime, shape: readonly number[], seed: number, size: number) {
  const length = shape.reduce((a, c) => a * c, 1);
  return runtime.tensor(
    normal(length, seed).map((value) => size * value),
    shape,
  );
}

/** Values by which the outputs of attention are its weights: [1, n, 1, n]. */
function identity(runtime: Runtime): Tensor {
  const values = new Float32Array(TOKENS * TOKENS);
  for (let i = 0; i < TOKENS; i++) values[i * (TOKENS + 1)] = 1;
  return runtime.tensor(values, [1, TOKENS, 1, TOKENS]);
}

/** Of the sum of phi phi^T over rows of f numbers, by power iteration; its entries are positive. */
function largestEigenvalue(phi: Float64Array, f: number): number {
  let vector = new Float64Array(f).fill(1);
  let value = 0;
  for (let round = 0; round < 100; round++) {
    const next = new Float64Array(f);
    for (let row = 0; row < phi.length; row += f) {
      const along = dot(phi.subarray(row, row + f), vector);
      for (let i = 0; i < f; i++) next[i]! += along * (phi[row + i] as number);
    }
    value = Math.sqrt(dot(next, next));
    vector = next.map((x) => x / value);
  }
  return value;
}

const average = (values: readonly number[]) => values.reduce((a, c) => a + c, 0) / values.length;
const formatLarge = (value: number) => (value < 1000 ? significant(value) : value.toExponential(1));

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

const cosine = (a: Float64Array, b: Float64Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

/** Of weights from the exact ones, over the length of these. */
function distance(weights: Float64Array, exact: Float64Array): number {
  const difference = weights.map((value, at) => value - (exact[at] as number));
  return Math.sqrt(dot(difference, difference) / dot(exact, exact));
}
