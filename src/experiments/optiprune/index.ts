/** Whether noise placed by attention brings both subjects of a prompt, and what pruned places save and cost. */
import { estimateMean } from '../../measure/statistics';
import { type Kept, pruned, rowsAt } from '../../methods/sparse/simprune-attention/prune';
import { linear } from '../../nn/linear';
import { attention } from '../../ops/attention';
import { layerNorm } from '../../ops/norm';
import { type MapperOptions, mapLatents } from '../../pipelines/paint/latent-mapper';
import { parsePrompt } from '../../pipelines/paint/prompts';
import { openStudio } from '../../pipelines/paint/studio';
import { pairsOf, shareOf, tried } from '../../pipelines/paint/trial';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { formatPercent, significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext, together } from '../experiment';
import { disposeAll, held, numbersOf, randomNormal } from '../held';
import { overRounds, timeRounds } from '../rounds';
import { mean, relativeDistance } from '../vectors';

export const experiment = defineExperiment({
  title: 'both subjects of a prompt with placed noise, by networks trained here; what pruned places save',
  claims: {
    both: {
      claim: 'Prompts of two subjects get pictures with both more often when attention places the first noise.',
      source: 'abstract; how much is reconstructed',
      criteria: {
        gain: figure('share with both subjects, minus that of plain painting', [0.2, 1], [0, 1], [-1, 1]),
        cost: figure('passes over those of plain painting, one back counted as two', [0, 3], [0, 6], [0, 100]),
      },
    },
    normal: {
      claim: 'A bound on its divergence keeps the placed noise near normal noise.',
      source: 'abstract, "distribution-aware"; as the code of InitNO has it',
      criteria: {
        with: figure('largest divergence with the constraint', [0, 0.001], [0, 1]),
        without: figure('mean divergence without it over that with it', [10, 1e6], [0, 1e6]),
      },
    },
    cheaper: {
      claim: 'Pruned places make self-attention cheaper.',
      source: 'abstract; 1.5 times is the goal set here, at 64 x 64 places, for a choice that ten steps share',
      timed: true,
      criteria: { speed: figure('time of the dense layer over that of the pruned one', [1.5, 10], [1, 10], [0, 100]) },
    },
    base: {
      claim: 'Of each patch, the place most similar to all others is the one to keep.',
      source: 'code of SiTo, on which it builds',
      criteria: { ahead: figure('error with it over that with a random place', [0, 0.95], [0, 1], [0, 10]) },
    },
    quality: {
      claim: 'Half of the places can be left out of a painter without losing subjects.',
      source: 'abstract, "with significantly reduced computational cost"',
      criteria: {
        lost: figure('share with both subjects, minus that of plain painting', [-0.05, 1], [-0.15, 1], [-1, 1]),
      },
    },
  },
  measure: { ...together(['both', 'quality'], subjects), normal: distances, cheaper: speed, base: bases },
});

const RATIO = 0.5;
/** Three rounds of eight steps, so that placing the noise costs no more than painting twice. */
const MAPPER: MapperOptions = { way: 'moved', rounds: 3, steps: 8, last: 0 };
/** Quick runs only show that everything works. */
const HASTY: MapperOptions = { way: 'moved', rounds: 1, steps: 2, last: 0 };

async function subjects(context: MeasureContext) {
  const { runtime, quick, signal } = context;
  await context.step(0, 'painting');
  const studio = await openStudio(runtime);
  try {
    const [count, steps] = quick ? [2, 3] : [16, 25];
    const prompts = pairsOf(studio.words, count, 1);
    const arms = {
      plain: { steps },
      mapped: { steps, mapper: quick ? HASTY : MAPPER },
      pruned: { steps, prune: { ratio: RATIO } },
      merged: { steps, prune: { ratio: RATIO, way: 'merge' } },
    } as const;
    const onProgress = (share: number) => context.onProgress?.(0.5 * share, 'painting');
    const found = await tried(studio, prompts, arms, 1, { signal, onProgress });
    const shown = (name: keyof typeof arms) => {
      const { share, low, high } = shareOf(found[name]!.present);
      return `${formatPercent(share)} (${formatPercent(low)} to ${formatPercent(high)})`;
    };
    const gain = (name: keyof typeof arms) =>
      estimateMean(found[name]!.present.map((own, at) => Number(own) - Number(found.plain!.present[at])));
    const cost = found.mapped!.passes / found.plain!.passes;
    const setting = `${count} prompts of two of six drawn garments, ${steps} steps of DDIM with guidance 3, the same first noises, judged by a classifier. The networks are those that come along with saccade paint.`;
    return {
      both: {
        measured: `plain ${shown('plain')}, with placed noise ${shown('mapped')}, at ${significant(cost)} times the passes`,
        values: { gain: gain('mapped'), cost },
        details: `${setting} At most three noises are tried, each moved by at most eight steps. Intervals are Wilson's; the gain is over pairs of pictures.`,
      },
      quality: {
        measured: `plain ${shown('plain')}, pruned ${shown('pruned')}, merged as by ToMe ${shown('merged')}`,
        values: { lost: gain('pruned') },
        details: `${setting} Half of the 256 places of each self-attention at 16 x 16 are left out in each step.`,
      },
    };
  } finally {
    studio.dispose();
  }
}

async function distances(context: MeasureContext) {
  const { runtime, quick, signal } = context;
  await context.step(0.5, 'distances');
  const studio = await openStudio(runtime);
  try {
    const found: Record<'with' | 'without', number[]> = { with: [], without: [] };
    const [count, steps] = quick ? [1, 2] : [4, 15];
    for (const [seed, text] of pairsOf(studio.words, count, 2).entries()) {
      const prompt = parsePrompt(text, studio.words);
      for (const [name, distance] of [
        ['with', 1e-3],
        ['without', Number.POSITIVE_INFINITY],
      ] as const) {
        const options = { rounds: 1, steps, last: 0, missing: 0, distance };
        const { noise, distance: away } = await mapLatents(runtime, studio.painter, prompt, seed, options, { signal });
        noise.dispose();
        found[name].push(away);
      }
    }
    const ratio = mean(found.without) / mean(found.with);
    return {
      measured: `at most ${significant(Math.max(...found.with))} with the constraint, ${significant(mean(found.without))} on average without`,
      values: { with: Math.max(...found.with), without: ratio },
      details: `${count} prompts, ${steps} steps each whatever the scores; Kullback-Leibler divergence from normal noise, the mean over its numbers.`,
    };
  } finally {
    studio.dispose();
  }
}

/** Places [side * side, c] of a square picture whose numbers vary slowly, plus noise. */
function smoothField(runtime: Runtime, side: number, c: number, seed: number): Tensor<'f32'> {
  const waves = normal(4 * c, seed);
  const noise = normal(side * side * c, seed + 1);
  const values = Float32Array.from({ length: side * side * c }, (_, at) => {
    const [place, channel] = [Math.floor(at / c), at % c];
    const [y, x] = [Math.floor(place / side) / side, (place % side) / side];
    const [a, b, phase, lift] = waves.subarray(4 * channel, 4 * channel + 4) as unknown as number[];
    return Math.sin(4 * (a! * x + b! * y) + 3 * phase!) + 0.5 * lift! + 0.2 * noise[at]!;
  });
  return runtime.tensor(values, [side * side, c]);
}

interface LayerWeights {
  readonly qkv: Tensor;
  readonly out: Tensor;
  readonly heads: number;
}

function layerWeights(runtime: Runtime, c: number, heads: number): LayerWeights {
  const drawn = (rows: number, seed: number) => randomNormal(runtime, [rows, c], seed, 1 / Math.sqrt(c));
  return { qkv: drawn(3 * c, 2), out: drawn(c, 3), heads };
}

/** x [n, c] through norm, projections, attention and the projection back; `kept` leaves out the pruned places. */
function layerOf(x: Tensor, { qkv, out, heads }: LayerWeights, kept?: Kept): Tensor {
  return x.runtime.scope(() => {
    const c = x.shape[1] as number;
    const own = kept ? rowsAt(x, kept.tokens) : x;
    const rows = layerNorm(own);
    const [q, k, v] = [0, 1, 2].map((at) =>
      linear(rows, qkv.slice(0, at * c, (at + 1) * c)).reshape([1, rows.shape[0] as number, heads, c / heads]),
    ) as [Tensor, Tensor, Tensor];
    const result = linear(attention(q, k, v).out.reshape(rows.shape), out);
    return kept ? rowsAt(result, kept.sources) : result;
  });
}

const RATIOS = [0.1, 0.3, 0.5, 0.7];

async function speed(context: MeasureContext) {
  const { runtime, quick } = context;
  await context.step(0.6, 'time of a layer');
  const [side, c, heads] = quick ? [16, 32, 2] : [64, 320, 8];
  using x = smoothField(runtime, side, c, 1);
  const weights = layerWeights(runtime, c, heads);
  using _ = held(weights);
  const pruning = (ratio: number) => ({
    grid: [side, side] as const,
    patch: 2,
    count: Math.floor(ratio * side ** 2),
    alpha: 0,
  });
  const choices = RATIOS.map((ratio) => pruned(x, undefined, pruning(ratio)));
  using _choices = held(choices);
  const calls = [
    () => layerOf(x, weights).dispose(),
    ...RATIOS.flatMap((ratio, at) => [
      () => layerOf(x, weights, choices[at]).dispose(),
      () => disposeAll(pruned(x, undefined, pruning(ratio))),
    ]),
  ];
  const rounds = await timeRounds(calls, 20, context.part(0.6, 0.9, 'time of a layer'));
  const gained = (at: number, shared: number) =>
    overRounds(rounds, (times) => times[0]! / (times[1 + 2 * at]! + times[2 + 2 * at]! / shared));
  const half = RATIOS.indexOf(RATIO);
  const [alone, tenth] = [1, 10].map((shared) => RATIOS.map((_, at) => gained(at, shared).value)) as [
    number[],
    number[],
  ];
  const pays = RATIOS.find((_, at) => alone[at]! >= 1);
  return {
    measured: `${significant(tenth[half]!)} times as fast at half pruned with a choice for ten steps, ${significant(alone[half]!)} with one for each step`,
    values: { speed: gained(half, 10) },
    details: `${side ** 2} places of ${c} numbers, ${heads} heads: norm, projections, attention, projection back. ${pays === undefined ? 'A choice for each step does not pay at any of these ratios.' : `A choice for each step pays from ${formatPercent(pays)} on, of ${listed(RATIOS, formatPercent)}.`} By multiplications it would at 29.3% of scores alone.`,
    series: chart(
      'Times as fast as dense',
      { 'share pruned': RATIOS },
      { 'a choice for each step': alone, 'a choice for ten steps': tenth },
    ),
  };
}

/** A factor on the noise by which bases are random: similarities vanish beside it. */
const ALL_NOISE = 1e6;

async function bases(context: MeasureContext) {
  const { runtime, quick } = context;
  await context.step(0.9, 'errors');
  const [side, c, heads] = [quick ? 8 : 32, 32, 2];
  const pruning = { grid: [side, side] as const, patch: 2, count: Math.floor(RATIO * side ** 2) };
  const errors = await context.draws(quick ? 2 : 10, async (seed) => {
    using x = smoothField(runtime, side, c, 100 * seed);
    using noise = randomNormal(runtime, [side * side], seed + 7);
    const weights = layerWeights(runtime, c, heads);
    using _ = held(weights);
    const dense = await numbersOf(runtime, () => layerOf(x, weights));
    const errorOf = async (alpha: number) => {
      const found = await numbersOf(runtime, () => layerOf(x, weights, pruned(x, noise, { ...pruning, alpha })));
      return relativeDistance(found, dense);
    };
    return { alike: await errorOf(0), any: await errorOf(ALL_NOISE) };
  });
  const [alike, any] = [mean(errors.map((each) => each.alike)), mean(errors.map((each) => each.any))];
  return {
    measured: `relative error ${significant(alike)} with it, ${significant(any)} with a random place of the patch`,
    values: { ahead: estimateMean(errors.map((each) => each.alike / each.any)) },
    details: `${side} x ${side} places of slow waves and noise, half pruned, ${errors.length} draws; the error is that of a layer of self-attention beside all places.`,
  };
}
