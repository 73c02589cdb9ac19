/** How near positive random features come to softmax attention, by the size of the scores, and at what speed. */
import { randomPermutation } from '../../masks/stochastic';
import { summarise } from '../../measure/statistics';
import { performer } from '../../methods/linear/performer';
import { compressedTopK } from '../../methods/linear/performer/sea';
import { normal } from '../../tensor/random';
import { formatPercent, formatRatio, formatTime } from '../../text/format';
import {
  byLabel,
  chart,
  defineExperiment,
  figure,
  linearIn,
  listed,
  type MeasureContext,
  share,
  together,
} from '../experiment';
import { besideWeights, WEIGHED } from '../held';
import { timeBesideExact } from '../rounds';
import { relativeDistance } from '../vectors';

const DIMENSION = 16;
/** Standard deviations of the entries of q and k; 1 is usual in transformers. */
const SIZES = [0.25, 0.5, 0.7, 1];
const FEATURES = [16, 64, 256];
/** The number of keys chosen by their estimated weights. */
const CHOSEN = 32;
/** Tokens of the compressed maps. */
const LONGER = 512;
const CELLS = 32;
const BUDGETS = [8, 16, 32, 64, 128];
const STRIPES = 12;
const NOISE = 0.5;
/** The share of the work before the timing. */
const COUNTING = 0.6;

export const experiment = defineExperiment({
  title:
    'error of the attention weights, the mass of keys chosen by them and by compressed maps, and time beside exact attention',
  claims: {
    convergence: {
      claim: 'The error of the estimated attention falls as one over the root of the number of features.',
      source: 'arXiv 2009.14794, uniform convergence, for queries and keys of bounded length',
      criteria: {
        small: figure('exponent of the features, size 0.25', [-0.6, -0.4], [-0.7, -0.3], [-3, 1]),
        unit: figure('exponent of the features, size 1', [-0.6, -0.4], [-0.7, 0], [-3, 1]),
      },
    },
    orthogonal: {
      claim: 'Orthogonal directions give a smaller error than independent ones.',
      source: 'arXiv 2009.14794, orthogonal features',
      criteria: {
        ratio: figure(
          'largest error with orthogonal directions over that with independent ones',
          [0, 0.98],
          [0, 1.02],
          [0, 10],
        ),
      },
    },
    untrained: {
      claim: 'The features approximate softmax attention of transformers without training.',
      source: 'arXiv 2009.14794, abstract; users of its implementations report errors of 100%',
      criteria: {
        error: figure(`error of the weights, unit variance, ${FEATURES.at(-1)} features`, [0, 0.1], [0, 0.3], [0, 100]),
      },
    },
    chosen: {
      claim: 'Even so, the estimated weights tell which keys matter.',
      source:
        'reconstructed: SEA (arXiv 2310.01777) estimates its masks from such features, and trains what follows them',
      criteria: { share: share('attention held by the keys chosen, of what the best hold', [0.9, 1], [0.6, 1]) },
    },
    compressed: {
      claim: 'A map compressed to a few cells is enough to tell which keys to attend to exactly.',
      source: 'SEA, arXiv 2310.01777; the setting is reconstructed',
      criteria: {
        best: share('least attention held by the keys chosen, of what the best hold', [0.9, 1], [0.6, 1]),
        nearest: figure('the same, over what the nearest hold', [1.1, 10], [1, 10], [0, 10]),
      },
    },
    speed: {
      claim:
        'Its time grows linearly with the length, that of softmax attention quadratically; it pays from n of about 2 features on.',
      source: 'arXiv 2009.14794, abstract; the break-even follows from 8 n m d against 4 n^2 d operations',
      criteria: {
        linear: linearIn('the length'),
        quadratic: figure('exponent of the length, exact attention', [1.8, 2.2], [1.6, 2.4], [0.5, 3.5]),
        pays: figure('speed-up over exact attention at n of 4 features', [1, 10], [0.5, 10], [0.02, 10]),
      },
      timed: true,
    },
  },
  measure: { ...together(['convergence', 'orthogonal', 'untrained', 'chosen'], weights), compressed, speed },
});

/** Medians over draws at one size of q and k and one number of features. */
interface Cell {
  readonly size: number;
  readonly features: number;
  /** Distance of the matrices of weights over the length of the exact one, Frobenius. */
  readonly independent: number;
  readonly orthogonal: number;
  /** Exact mass of the keys with the largest estimated weights, orthogonal directions, and of the best keys. */
  readonly mass: number;
  readonly best: number;
}

async function weights(context: MeasureContext) {
  const cells = await estimates(context);
  return { ...errors(cells), chosen: chosen(cells) };
}

async function estimates(context: MeasureContext): Promise<Cell[]> {
  const { runtime, quick, step } = context;
  const cells: Cell[] = [];
  for (const [at, size] of SIZES.entries()) {
    await step((COUNTING * at) / SIZES.length, `error at size ${size}`);
    await besideWeights(runtime, DIMENSION, size, async (exact, weightsOf) => {
      const best = massOfChosen(exact, exact);
      for (const features of FEATURES) {
        const drawn = await context.draws(quick ? 2 : 20, async (seed) => {
          const weights = (orthogonal: boolean) =>
            weightsOf((qkv) => performer.forward(qkv, performer.parse({ features, orthogonal, seed })).out);
          const [independent, orthogonal] = [await weights(false), await weights(true)];
          return {
            independent: relativeDistance(independent, exact),
            orthogonal: relativeDistance(orthogonal, exact),
            mass: massOfChosen(orthogonal, exact),
          };
        });
        const medians = byLabel(['independent', 'orthogonal', 'mass'], (label) => {
          return summarise(drawn.map((draw) => draw[label])).median;
        });
        cells.push({ size, features, best, ...medians });
      }
    });
  }
  return cells;
}

function errors(cells: readonly Cell[]) {
  const of = (size: number) => cells.filter((cell) => cell.size === size);
  const ends = (size: number) => [of(size)[0] as Cell, of(size).at(-1) as Cell] as const;
  const slope = (size: number) => {
    const [few, many] = ends(size);
    return Math.log(many.orthogonal / few.orthogonal) / Math.log(many.features / few.features);
  };
  const small = cells.filter(({ size }) => size <= 0.5);
  const unit = of(1).map(({ orthogonal }) => orthogonal);
  const setting = `n = ${WEIGHED}, d = ${DIMENSION}, one q and k of normal numbers, medians over draws of the directions.`;
  return {
    convergence: {
      measured: SIZES.map((size) => `features^${slope(size).toFixed(2)} at size ${size}`).join(', '),
      values: { small: slope(0.25), unit: slope(1) },
      details: `${setting} Size is the standard deviation of q and k. The law holds for small scores; for larger ones nearly all of a weight comes from rare directions, which few features do not meet.`,
      series: SIZES.map((size) =>
        chart(
          `Error of the attention weights, size ${size}`,
          { features: FEATURES },
          byLabel(['independent', 'orthogonal'], (label) => of(size).map((cell) => cell[label])),
        ),
      ),
    },
    orthogonal: {
      measured: small
        .map(
          ({ size, features, independent, orthogonal }) =>
            `${formatRatio(orthogonal / independent)} the error (size ${size}, ${features} features)`,
        )
        .join(', '),
      values: { ratio: Math.max(...small.map(({ independent, orthogonal }) => orthogonal / independent)) },
      details: `${setting} Rotations are uniform: a QR decomposition whose signs are left as they fall would bias the estimate.`,
    },
    untrained: {
      measured: `error ${listed(unit, formatPercent)} with ${FEATURES.join(', ')} features, for q and k of unit variance`,
      values: { error: unit.at(-1)! },
      details: `${setting} The relative variance of a weight is (exp(|q + k|^2 / sqrt(d)) - 1) / features, for unit variance about exp(2 sqrt(d)) / features. A model must be trained with the features, or its scores be small.`,
    },
  };
}

function chosen(cells: readonly Cell[]) {
  const unit = cells.filter(({ size }) => size === 1);
  const { best } = unit[0] as Cell;
  const random = CHOSEN / WEIGHED;
  const most = (unit.at(-1) as Cell).mass;
  return {
    measured: `the ${CHOSEN} keys of the largest estimated weights hold ${listed(
      unit.map(({ mass }) => mass),
      formatPercent,
    )} of the attention with ${FEATURES.join(', ')} features; the best ${CHOSEN} hold ${formatPercent(best)}, random ones ${formatPercent(random)}`,
    values: { share: most / best },
    details: `n = ${WEIGHED}, d = ${DIMENSION}, q and k of unit variance, orthogonal directions, not trained.`,
    series: chart(
      `Attention held by ${CHOSEN} of ${WEIGHED} keys, unit variance`,
      { features: FEATURES },
      {
        'chosen by the estimate': unit.map(({ mass }) => mass),
        best: unit.map(() => best),
        random: unit.map(() => random),
      },
    ),
  };
}

/** Mass of the keys in the best cells of compressed maps, if the maps were exact: SEA's estimator at its best. */
function compressed() {
  const rows = causalMaps();
  const masses = BUDGETS.map((keys) => {
    const sums = { compressed: 0, best: 0, nearest: 0, random: 0 };
    for (const weights of rows) {
      const kept = compressedTopK(weights, { cells: CELLS, keys });
      const count = kept.reduce((a, c) => a + c, 0);
      const total = (values: Iterable<number>) => [...values].reduce((a, c) => a + c, 0) / rows.length;
      sums.compressed += total(weights.map((weight, j) => weight * kept[j]!));
      sums.best += total(
        weights
          .slice()
          .sort()
          .subarray(weights.length - count),
      );
      sums.nearest += total(weights.subarray(weights.length - count));
      sums.random += count / weights.length / rows.length;
    }
    return sums;
  });
  const of = (name: keyof (typeof masses)[number]) => masses.map((sums) => sums[name]);
  const list = (name: keyof (typeof masses)[number]) => listed(of(name), formatPercent);
  const least = (name: 'best' | 'nearest') => Math.min(...masses.map((sums) => sums.compressed / sums[name]));
  return {
    measured: `keys of the best of ${CELLS} cells hold ${list('compressed')} of the attention with ${BUDGETS.join(', ')} keys a query; the best keys ${list('best')}, the nearest ${list('nearest')}, random ones ${list('random')}`,
    values: { best: least('best'), nearest: least('nearest') },
    details: `Exact causal maps of ${LONGER} tokens, summed within cells: scores of -|i - j| / 40, 4 more for ${STRIPES} keys drawn at random, and noise of deviation ${NOISE}. Cells hold several keys each, so the choice is better than the nearest keys but not as good as the best ones.`,
    series: chart(
      `Attention held by keys of the best of ${CELLS} cells`,
      { keys: BUDGETS },
      byLabel(['compressed', 'best', 'nearest', 'random'], of),
    ),
  };
}

/** Rows of weights, query i's of i + 1 keys: near keys, a few that all queries want, and noise. */
function causalMaps(): Float64Array[] {
  const stripes = randomPermutation(LONGER, 1).subarray(0, STRIPES);
  const noise = normal((LONGER * (LONGER + 1)) / 2, 2);
  return Array.from({ length: LONGER }, (_, i) => {
    const scores = Float64Array.from(
      { length: i + 1 },
      (_, j) => (j - i) / 40 + (stripes.includes(j) ? 4 : 0) + NOISE * noise[(i * (i + 1)) / 2 + j]!,
    );
    const weights = scores.map(Math.exp);
    const sum = weights.reduce((a, c) => a + c, 0);
    return weights.map((weight) => weight / sum);
  });
}

async function speed(context: MeasureContext) {
  const { signal, quick } = context;
  const lengths = quick ? [128, 256] : [512, 1024, 2048, 4096];
  const [h, d, features] = quick ? [1, 16, 16] : [4, 64, 128];
  const params = performer.parse({ features });
  const contest = await timeBesideExact(
    { lengths, h, d, deviation: 0.5 },
    (qkv) => ({ performer: () => performer.forward(qkv, params, { signal }) }),
    15,
    context.part(COUNTING, 1, 'timing'),
  );
  const [linear, quadratic] = [contest.growth('performer'), contest.growth('exact attention')];
  const [estimated, exact] = [contest.medians.performer, contest.medians['exact attention']];
  const speedups = contest.speedups('performer', 'exact attention');
  const ratios = lengths.map((n, at) => `${formatRatio(speedups[at]!)} as fast at ${n}`);
  return {
    measured: `time grows as n^${linear.value.toFixed(2)}, exact attention's as n^${quadratic.value.toFixed(2)}; ${ratios.join(', ')} (${formatTime(estimated.at(-1)!)} against ${formatTime(exact.at(-1)!)})`,
    // The first length is four times the features.
    values: { linear, quadratic, pays: contest.speedup('performer', 'exact attention', 0) },
    details: `h = ${h}, d = ${d}, ${features} features, f32, medians, full attention. The count leaves out the passes over the features that are no products.`,
    series: chart('Milliseconds', { n: lengths }, contest.medians),
  };
}

/** Mean over queries of the exact weights of the keys whose `weights` are the largest. */
function massOfChosen(weights: Float64Array, exact: Float64Array): number {
  let mass = 0;
  for (let row = 0; row < WEIGHED * WEIGHED; row += WEIGHED) {
    const keys = Array.from({ length: WEIGHED }, (_, j) => row + j);
    keys.sort((a, b) => weights[b]! - weights[a]!);
    for (const key of keys.slice(0, CHOSEN)) mass += exact[key]!;
  }
  return mass / WEIGHED;
}
