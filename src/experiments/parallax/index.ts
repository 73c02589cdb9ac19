/** What Parallax's correction gains in regression in context, its vector learned in closed form, and what it costs. */

import { attention } from '../../ops/attention';
import { parallax } from '../../ops/parallax';
import { formatRatio, formatTime, significant } from '../../text/format';
import { byLabel, chart, defineExperiment, figure, listed, type MeasureContext, together } from '../experiment';
import { held, numbersOf } from '../held';
import { timeBesideExact } from '../rounds';
import { largestDifference, product, transposed } from '../vectors';
import { type Moments, momentsOf, regressions, solve } from './regression';

/** The dimension of keys and values. */
const D = 8;
const SHARPNESS = [1, 4, 8, 16];
const GAMMAS = [0, 2, 4, 6, 8, 10, 12];
/** Ridge of the probe that is solved for each query. */
const RIDGE = 1e-3;
const REGRESSION = 0.3;

export const experiment = defineExperiment({
  title: 'linear regression in context, the probe learned in closed form; time beside attention',
  claims: {
    regression: {
      claim: 'A learned linear probe of the covariance of values and keys lowers the error of regression in context.',
      source: 'paper, abstract; the setting is reconstructed',
      criteria: {
        gain: figure(
          "softmax attention's mean squared error over Parallax's at sharpness 4, ratio",
          [2, 12],
          [1.1, 12],
          [0.01, 1000],
        ),
      },
    },
    solved: {
      claim: 'The probe that local linear attention solves for each query is better than a learned one.',
      source: 'paper, the family of probes',
      criteria: {
        gain: figure(
          "Parallax's error over that of the solved probe at sharpness 4, ratio",
          [2, 1000],
          [1, 1000],
          [0.01, 1e5],
        ),
      },
    },
    strength: {
      claim: 'With the probe r = -gamma q the error has its minimum at a gamma above 0.',
      source: 'reconstructed',
      criteria: {
        gamma: figure('best gamma at sharpness 4', [2, 10], [0, 12]),
        gain: figure('error at gamma = 0 over the least, ratio', [2, 12], [1.05, 12], [1, 1000]),
      },
    },
    sharp: {
      claim: 'Where the weights are so sharp that few keys count, the correction gains nothing.',
      source: 'reconstructed',
      criteria: {
        gain: figure(
          "softmax attention's error over Parallax's at sharpness 16, ratio",
          [0.7, 1.15],
          [0.5, 1.5],
          [0.01, 1000],
        ),
      },
    },
    softmax: {
      claim: 'With r = 0 it is softmax attention.',
      source: 'paper, the family of probes',
      criteria: { difference: figure('largest difference over the largest output', [0, 1e-6], [0, 1000]) },
      byConstruction: true,
    },
    cost: {
      claim: 'It takes twice the arithmetic of attention, on the same keys and values.',
      source: 'paper, abstract',
      criteria: { ratio: figure("its time over attention's", [1.4, 2.1], [1, 2.4], [0.8, 10]) },
      timed: true,
    },
    models: {
      claim:
        'Trained with Muon, models of 0.6B and 1.7B parameters have a lower perplexity than transformers; with AdamW hardly.',
      source: 'paper, language modelling',
      criteria: {},
      untested: 'No model was trained.',
    },
  },
  measure: {
    ...together(['regression', 'solved', 'strength', 'sharp', 'softmax'], regression),
    cost: times,
    models: () => ({ measured: 'no language model was trained', values: {} }),
  },
});

type Errors = ReturnType<typeof errorsOf>;

async function regression({ runtime, quick, step }: MeasureContext) {
  const sequences = quick ? 60 : 400;
  const all: Errors[] = [];
  for (const [at, sharpness] of SHARPNESS.entries()) {
    await step((REGRESSION * at) / SHARPNESS.length, `regression at sharpness ${sharpness}`);
    const problem = regressions({ sequences: 2 * sequences, d: D, seed: at });
    const moments = await momentsOf(runtime, problem, sharpness);
    all.push(errorsOf(moments.slice(0, sequences), moments.slice(sequences)));
  }
  const [, usual, , sharp] = all as [Errors, Errors, Errors, Errors];
  const least = Math.min(...usual.byGamma);
  const figures = (of: (errors: Errors) => number) => listed(all.map(of));
  const setting = `Each of ${sequences} sequences: A with entries N(0, 1/${D}), 128 keys on the sphere of ${D} dimensions, values A k + 0.05 noise, scores sharpness q k, target A q. The matrix of r = -W q is fitted by least squares on ${sequences} others.`;
  return {
    regression: {
      measured: `mean squared error ${figures(({ learned }) => learned)} at sharpness ${SHARPNESS.join(', ')}; softmax attention ${figures(({ softmax }) => softmax)}`,
      values: { gain: usual.softmax / usual.learned },
      details: setting,
      series: chart(
        'Mean squared error',
        { sharpness: SHARPNESS },
        byLabel(['softmax', 'learned', 'solved'] as const, (label) => all.map((errors) => errors[label])),
      ),
    },
    solved: {
      measured: `solved probe ${figures(({ solved }) => solved)}`,
      values: { gain: usual.learned / usual.solved },
      details: `Ridge ${RIDGE}, solved in float64 from the covariances that the op gave.`,
    },
    strength: {
      measured: `least error ${significant(least)} at gamma = ${GAMMAS[usual.byGamma.indexOf(least)]}, ${significant(usual.byGamma[0]!)} at 0`,
      values: { gamma: GAMMAS[usual.byGamma.indexOf(least)]!, gain: usual.byGamma[0]! / least },
      series: chart('Mean squared error at sharpness 4', { gamma: GAMMAS }, { 'r = -gamma q': [...usual.byGamma] }),
    },
    sharp: {
      measured: `softmax attention ${significant(sharp.softmax)}, learned probe ${significant(sharp.learned)}`,
      values: { gain: sharp.softmax / sharp.learned },
    },
    softmax: await beside(runtime),
  };
}

/**
 * Mean squared errors of softmax attention, of the learned probe, of the solved one, and by gamma: the probe is learned on some
 * sequences and judged on others.
 */
function errorsOf(training: readonly Moments[], test: readonly Moments[]) {
  // Row by row of W (mean + C W q = target) the normal equations of W's elements.
  const features = training.flatMap(({ covariance, query }) =>
    [...covariance.keys()].map((at) => query.map((x) => covariance[at]! * x)),
  );
  const rows = Float64Array.from(features.flatMap((row) => [...row]));
  const rest = Float64Array.from(training.flatMap(({ target, mean }) => [...target.map((x, c) => x - mean[c]!)]));
  const across = transposed(rows, D * D);
  const [normalMatrix, rhs] = [product(across, rows, rest.length), product(across, rest, rest.length)];
  for (let i = 0; i < D * D; i++) normalMatrix[i * (D * D + 1)]! += 1e-9;
  const learned = solve(normalMatrix, rhs);
  const error = (probe: (moments: Moments) => ArrayLike<number>) =>
    test.reduce((sum, moments) => sum + squaredError(moments, probe(moments)), 0) / test.length;
  const scaled = (gamma: number) => error(({ query }) => query.map((x) => -gamma * x));
  return {
    softmax: scaled(0),
    learned: error(({ query }) => product(learned, query, D).map((x) => -x)),
    solved: error(({ keyCovariance, keyMean, query }) => {
      const matrix = keyCovariance.slice();
      for (let i = 0; i < D; i++) matrix[i * (D + 1)]! += RIDGE;
      return solve(
        matrix,
        keyMean.map((x, c) => x - query[c]!),
      );
    }),
    byGamma: GAMMAS.map(scaled),
  };
}

/** The mean squared error of an element of mean - C r. */
function squaredError({ mean, covariance, target }: Moments, r: ArrayLike<number>): number {
  let sum = 0;
  for (let c = 0; c < D; c++) {
    let out = mean[c]!;
    for (let a = 0; a < D; a++) out -= covariance[c * D + a]! * r[a]!;
    sum += (out - target[c]!) ** 2;
  }
  return sum / D;
}

async function beside(runtime: MeasureContext['runtime']) {
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, 200, 2, 16], { seed }));
  const zero = runtime.tensor(new Float32Array(200 * 2 * 16), [1, 200, 2, 16]);
  using _ = held([q, k, v, zero]);
  const found = await numbersOf(runtime, () => parallax(q!, zero, k!, v!, { causal: true }).out);
  const wanted = await numbersOf(runtime, () => attention(q!, k!, v!, { causal: true }).out);
  const difference = largestDifference(found, wanted);
  return {
    measured: `largest difference ${difference.toExponential(1)} of the largest output`,
    values: { difference },
  };
}

async function times(context: MeasureContext) {
  const { runtime, signal, quick } = context;
  const [n, h, d] = quick ? [256, 1, 16] : [4096, 2, 64];
  const r = runtime.random([1, n, h, d], { seed: 4 });
  using _ = held(r);
  const contest = await timeBesideExact(
    { lengths: [n], h, d, causal: true },
    ({ q, k, v }) => ({ parallax: () => parallax(q, r, k, v, { causal: true, signal }) }),
    10,
    context.part(REGRESSION, 1, 'timing'),
  );
  const ratio = contest.speedup('exact attention', 'parallax', 0);
  const [plain] = contest.medians['exact attention'] as [number];
  const [corrected] = contest.medians.parallax as [number];
  return {
    measured: `${formatRatio(ratio.value)} the time at n = ${n}, ${formatTime(corrected)} against ${formatTime(plain)}`,
    values: { ratio },
    details: `Forward, causal, h = ${h}, d = ${d}, f32, medians. Four products a pair in place of two.`,
  };
}
