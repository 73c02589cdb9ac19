/** What a few random features estimate, what the advisor remembers and finds, when its updates diverge, and time by length. */

import { summarise } from '../../measure/statistics';
import { kernelAttention } from '../../methods/linear/kernel-attention';
import { hostFeatures } from '../../methods/linear/kernel-attention/reference';
import type { KernelAttentionParams } from '../../methods/linear/kernel-attention/settings';
import type { Runtime } from '../../runtime/runtime';
import { toFloat64 } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { formatPercent, formatTime, significant } from '../../text/format';
import {
  byLabel,
  chart,
  defineExperiment,
  figure,
  linearIn,
  listed,
  type MeasureContext,
  type Series,
  share,
  together,
} from '../experiment';
import { besideWeights, numbersOf, type Qkv, WEIGHED } from '../held';
import { timeBesideExact } from '../rounds';
import { dot, largest as largestOf, mean, product, relativeDistance, rowOf, transposed } from '../vectors';
import { detection } from './detection';

/** The dimension of a head of Point-MAE. */
const DIMENSION = 64;
const SIZES = [0.25, 0.5, 1];
const FEATURES = [10, 100, 256];
const TASKS = 4;
const PAIRS = 32;
/** The width of keys and values in the advisor's tasks. */
const WIDTH = 16;
const CALLS = 30;

export const experiment = defineExperiment({
  title:
    'error of the weights by the features, what the advisor recalls of four tasks and finds after them, when its update diverges, time',
  claims: {
    features: {
      claim: 'More features serve better: AUROC 0.802, 0.828, 0.842 with 10, 100, 1000.',
      source: 'arXiv 2508.01311, table of inference',
      criteria: {
        falls: figure(
          'largest error of the weights with the most features, over that with the fewest',
          [0, 0.9],
          [0, 1],
          [0, 100],
        ),
      },
      untested: 'No anomalies were detected: the error says how far the layer is from the softmax that it replaces.',
    },
    lengths: {
      claim: 'Directions are Gaussian rows times the lengths of others, and their features estimate exp(q k).',
      source: "authors' code, CL3AD; the paper has Gaussian rows",
      criteria: {
        ratio: figure('largest error with both lengths, over that with Gaussian rows', [0, 1.1], [0, 1.5], [0, 1e4]),
      },
    },
    recall: {
      claim: 'The advisor learns what is new and keeps what it learned before.',
      source: 'reconstructed: what continual learning asks of equations 8 to 11, arXiv 2508.01311',
      criteria: {
        learns: figure('cosine of what is recalled of the last task', [0.9, 1], [0.5, 1], [-1, 1]),
        keeps: figure('cosine of older tasks over that of the last', [0.8, 2], [0.5, 2], [-2, 2]),
      },
    },
    detects: {
      claim: 'The advisor finds more: AUROC 0.664 with it and 0.565 without, or 0.831 and 0.814.',
      source: 'arXiv 2508.01311, table of ablations, Real3D and Anomaly-ShapeNet',
      criteria: { ahead: figure('AUROC with the advisor less that without', [0.01, 1], [0, 1], [-1, 1]) },
      untested:
        'Fourteen shapes with 400 steps a task, an hour of work: there, with three seeds, both end alike (docs/pipelines/c3d-ad.json).',
    },
    kernel: {
      claim:
        'Kernel attention finds more than the softmax that it replaces: AUROC 0.664 and 0.534, or 0.831 and 0.791.',
      source: 'arXiv 2508.01311, table of ablations, Real3D and Anomaly-ShapeNet',
      criteria: { ahead: figure('AUROC with kernel attention less that with the softmax', [0.01, 1], [0, 1], [-1, 1]) },
    },
    forgets: {
      claim: 'With the advisor less is forgotten of earlier classes.',
      source: 'reconstructed: what continual learning asks of the advisor alone',
      criteria: { less: figure('fall of AUROC without the advisor less that with it', [0.01, 1], [0, 1], [-1, 1]) },
    },
    growth: {
      claim: 'All tokens may correct the same old state at once, in every training step.',
      source: "authors' code, CL3AD; equations 10 and 11 have one token",
      criteria: { bounded: share('share of the lengths at which no entry exceeds 100', [1, 1], [0.3, 1]) },
    },
    speed: {
      claim: 'Time is linear in the number of groups, from 512 to 8192.',
      source: 'arXiv 2508.01311, times by groups',
      criteria: { layer: linearIn('the length, layer'), advisor: linearIn('the length, advisor') },
      timed: true,
    },
  },
  measure: {
    ...together(['features', 'lengths'], estimates),
    recall: recalls,
    ...together(['detects', 'kernel', 'forgets'], detection),
    growth,
    speed,
  },
});

async function estimates(context: MeasureContext) {
  const { runtime, quick } = context;
  await context.step(0, 'errors of the weights');
  const draws = quick ? 2 : 10;
  const found: Record<'once' | 'twice', number[][]> = { once: [], twice: [] };
  for (const size of SIZES)
    await besideWeights(runtime, DIMENSION, size, async (exact, weightsOf) => {
      for (const lengths of ['once', 'twice'] as const) {
        const medians: number[] = [];
        for (const features of FEATURES) {
          const distances = await context.draws(draws, async (seed) => {
            // The default epsilon would shrink the weights: what is added to each feature keeps denominators from 0.
            const params = kernelAttention.parse({ features, lengths, seed, epsilon: 0 });
            const weights = await weightsOf((qkv) => kernelAttention.forward(qkv, params).out as Tensor);
            return relativeDistance(weights, exact);
          });
          medians.push(summarise(distances).median);
        }
        found[lengths].push(medians);
      }
    });
  const setting = `n = ${WEIGHED}, d = ${DIMENSION} as in a head of Point-MAE, q and k normal with this deviation, Frobenius distance of the matrices of weights over the exact one's length, medians of ${draws} draws, epsilon 0.`;
  const text = (medians: readonly number[][]) =>
    SIZES.map((size, at) => `${listed(medians[at]!, formatPercent)} at size ${size}`).join('; ');
  const falls = found.once.map((medians) => medians.at(-1)! / medians[0]!);
  const best = Math.max(...found.once.map((medians) => medians.at(-1)!));
  const ratios = found.twice.flatMap((medians, at) => medians.map((x, f) => x / (found.once[at]?.[f] as number)));
  return {
    features: {
      measured: `error of the weights with ${FEATURES.join(', ')} features: ${text(found.once)}`,
      values: { falls: Math.max(...falls) },
      details: `${setting} Even with ${FEATURES.at(-1)} features the error is up to ${formatPercent(best)}.`,
      series: SIZES.map(
        (size, at): Series =>
          chart(
            `Error of the attention weights, size ${size}`,
            { features: FEATURES },
            byLabel(['once', 'twice'] as const, (label) => found[label][at] as number[]),
          ),
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

const LABELS = ARMS.map(({ label }) => label);

async function recalls(context: MeasureContext) {
  const { runtime, quick } = context;
  await context.step(0.3, 'recall of four tasks');
  const widths = [10, 64, 256];
  const seeds = quick ? 1 : 5;
  const last: number[][] = [];
  const older: number[][] = [];
  for (const { update, beta, passes } of ARMS) {
    const [lasts, olders]: [number[], number[]] = [[], []];
    for (const features of widths) {
      const params = { part: 'advisor', norm: 'unit', features, update, beta } as const;
      const cosines = await context.draws(seeds, (seed) =>
        recallOfTasks(runtime, { ...params, seed }, quick ? Math.min(passes, 3) : passes, seed),
      );
      const ofTask = (task: number) => mean(cosines.map((each) => each[task]!));
      lasts.push(ofTask(TASKS - 1));
      olders.push(mean(Array.from({ length: TASKS - 1 }, (_, task) => ofTask(task))));
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
    series: Object.entries({ 'last task': last, 'older tasks': older }).map(([tasks, cosines]) =>
      chart(
        `Cosine of what is recalled, ${tasks}`,
        { features: widths },
        byLabel(LABELS, (_, at) => cosines[at]!),
      ),
    ),
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
    return mean(
      Array.from({ length: PAIRS }, (_, row) => cosine(rowOf(recalled, row, WIDTH), rowOf(values, row, WIDTH))),
    );
  });
}

/** The advisor after `updates` updates by the same keys and values. */
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

async function growth({ runtime, signal, quick, step }: MeasureContext) {
  await step(0.6, 'repeated updates');
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
      largest[at]?.push(largestOf(advisor));
    }
  }
  const text = updates.map((update, at) => `${update} ${largest[at]?.map(formatLarge).join(', ')}`);
  const diverges = lengths.map((_, at) => beta * eigenvalues[at]! > 2);
  const [batch = []] = largest;
  return {
    measured: `largest entry after ${CALLS} updates with n = ${lengths.join(', ')}: ${text.join('; ')}`,
    values: { bounded: batch.filter((value) => value <= 100).length / batch.length },
    details: `beta = ${beta}, 64 features of length 1, the same ${WIDTH}-number keys each time. The update converges while beta times the largest eigenvalue of sum phi phi^T is below 2: that product is ${eigenvalues.map((value) => significant(beta * value)).join(', ')}${diverges.some(Boolean) ? ', beyond 2 for long inputs' : ''}. Token by token it converges at any length, and so it does by their mean, where a token corrects beta / n of its error.`,
    series: chart(
      'Largest entry of the advisor',
      { n: lengths },
      byLabel(updates, (_, at) => largest[at] as number[]),
    ),
  };
}

async function speed(context: MeasureContext) {
  const { signal, quick } = context;
  const lengths = quick ? [64, 128] : [512, 1024, 2048, 4096, 8192];
  const [h, d] = quick ? [1, 16] : [6, 64];
  const labels = ['layer', 'advisor, token by token', 'exact attention'] as const;
  const run = (settings: KernelAttentionParams) => (qkv: Qkv) => kernelAttention.forward(qkv, settings, { signal });
  const [layer, advisor] = [run(kernelAttention.parse({})), run(kernelAttention.parse({ part: 'advisor' }))];
  const contest = await timeBesideExact(
    { lengths, h, d },
    (qkv) => ({ layer: () => layer(qkv), 'advisor, token by token': () => advisor(qkv) }),
    15,
    context.part(0.7, 1, 'timing'),
  );
  const growth = byLabel(labels, (label) => contest.growth(label));
  const text = labels.map((label) => {
    return `${label} n^${growth[label].value.toFixed(2)} (${formatTime(contest.medians[label].at(-1)!)})`;
  });
  return {
    measured: `time grows as ${text.join(', ')}`,
    values: { layer: growth.layer, advisor: growth['advisor, token by token'] },
    details: `h = ${h}, d = ${d}, 10 features, f32, medians; in brackets at ${lengths.at(-1)}. The layer's attention alone, not the pipeline around it.`,
    series: chart('Milliseconds', { n: lengths }, contest.medians),
  };
}

/** The largest eigenvalue of the sum of phi phi^T over rows of f positive numbers, by power iteration. */
function largestEigenvalue(phi: Float64Array, f: number): number {
  const across = transposed(phi, f);
  let vector = new Float64Array(f).fill(1);
  let value = 0;
  for (let round = 0; round < 100; round++) {
    const next = product(across, product(phi, vector, f), phi.length / f);
    value = Math.sqrt(dot(next, next));
    vector = next.map((x) => x / value);
  }
  return value;
}

const formatLarge = (value: number) => (value < 1000 ? significant(value) : value.toExponential(1));

const cosine = (a: Float64Array, b: Float64Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
