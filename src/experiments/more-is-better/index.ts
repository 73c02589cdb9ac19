/** What theory says of regression on random features, beside the authors' stored results and beside regressions. */
import { bestFittingRatio, bestRidge, featureRisk, fitKernelRidge, type RiskOptions } from '../../kernels';
import { concat } from '../../ops/copy';
import { add, multiply } from '../../ops/map';
import { matmul } from '../../ops/matmul';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext } from '../experiment';
import { held } from '../held';
import { largestStep, mean } from '../vectors';
import { ROWS, type Row } from './table';

/** Modes of the spectrum, and the exponent of its eigenvalues and squared coefficients. */
const MODES = 10_000;
const DECAY = 1.5;
const NOISE = 0.5;
/** Columns of random features that are drawn at a time. */
const DRAWN = 1000;
const SIZES = [16, 64, 256, 1024];
/** Decay, target, and the ratios by noise that the authors' theory gives, of three data sets. */
const DATA_SETS = [
  ['MNIST', 1.12, 1.36, [0, 0, 0.1875, 0.771]],
  ['SVHN', 1.22, 1.2, [0.0057, 0.259, 0.644, 0.932]],
  ['CIFAR-10', 1.17, 1.14, [0.024, 0.312, 0.69, 0.948]],
] as const;
const NOISES = [0, 1, 5, 50];
/** Decay, target and noise. */
const SUMMED = [
  [2, 1.5, 0],
  [2, 1.5, 1],
  [1.5, 1.5, 1],
  [1.5, 2, 0],
] as const;

const power = (length: number, exponent: number) => Float64Array.from({ length }, (_, i) => (i + 1) ** -exponent);
const spectrum = (length: number) => [power(length, DECAY), power(length, DECAY / 2)] as const;

export const experiment = defineExperiment({
  title: "errors of random-feature regression by theory, beside the authors' stored results and beside regressions",
  claims: {
    theory: {
      claim:
        'A closed estimate gives test and training error, from the spectrum, the target, samples, features, ridge and noise.',
      source: "stored results of the authors' code, 12 settings",
      criteria: {
        difference: figure(
          'largest relative difference of errors and of kappa and gamma, beyond half of the last digit stored',
          [0, 1e-4],
          [0, 1e-2],
          [0, 10],
        ),
      },
    },
    trials: {
      claim: 'Regressions on random features err as the estimate says.',
      source: "stored results of the authors' code: means and standard deviations of 45 trials in 7 settings",
      criteria: {
        stored: figure(
          'largest distance of a mean error from that stored, in standard deviations of a trial',
          [0, 1],
          [0, 2],
          [0, 100],
        ),
        theory: figure('the same from the estimate', [0, 1], [0, 2], [0, 100]),
      },
    },
    more: {
      claim: 'With the ridge at its best more samples and more features never hurt.',
      source: 'abstract and theorem',
      criteria: {
        samples: figure('largest rise of the test error from one number of samples to the next', [-1, 0], [-10, 10]),
        features: figure(
          'largest rise from one number of features to the next, infinitely many the last',
          [-1, 0],
          [-10, 10],
        ),
      },
    },
    peak: {
      claim: 'With a small ridge the error peaks where features are as many as samples.',
      source: "stored results of the authors' code",
      criteria: {
        peak: figure(
          'error at 256 features over the least of 64 and 1024, 256 samples, ridge 0.001',
          [1.5, 100],
          [1, 100],
          [0.1, 1000],
        ),
        best: figure('the same with the ridge at its best', [0, 1.2], [0, 1.5], [0, 1000]),
      },
    },
    ratio: {
      claim:
        'Under power laws fitting is obligatory: the best ratio of training to test error is near 0 unless noise is large.',
      source: 'abstract; the ratios by noise for the exponents of three data sets',
      criteria: {
        formula: figure("largest difference of a ratio from the authors'", [0, 0.001], [0, 0.01], [0, 1]),
        sums: figure(
          'largest difference of a ratio from that of the best ridge, sums of 10,000 modes, 100 samples',
          [0, 0.03],
          [0, 0.1],
          [0, 1],
        ),
      },
    },
    images: {
      claim: 'On CIFAR-10, SVHN and MNIST the ratios that were measured agree with the estimate.',
      source: "stored results of the authors' code",
      criteria: {},
      untested: 'The kernel of a convolutional network was not computed.',
    },
  },
  measure: {
    theory,
    trials,
    more,
    peak,
    ratio,
    images: () => ({ measured: 'no convolutional kernel was computed', values: {} }),
  },
});

const settingOf = ({ samples, features, ridge }: Row): RiskOptions => ({
  samples: Number(samples),
  features: Number(features),
  ridge: Number(ridge),
  noise: NOISE,
});

function theory() {
  const own = spectrum(MODES);
  const differences = ROWS.flatMap((row) => {
    const risk = featureRisk(...own, settingOf(row));
    return (['test', 'train', 'kappa', 'gamma'] as const).map((name) => {
      const stored = Number(row[name]);
      return Math.max(0, Math.abs(risk[name] - stored) - lastDigit(row[name]) / 2) / stored;
    });
  });
  const difference = Math.max(...differences);
  return {
    measured: `${differences.length} figures, the largest difference ${difference.toExponential(1)}`,
    values: { difference },
    details: `Eigenvalues and squared coefficients i^-${DECAY}, ${MODES} of them, noise ${NOISE}. The ridges stored are rounded to five digits.`,
  };
}

/** One in the last digit of a number as it is written: 1e-5 of 0.05394, 1e-9 of 1.9259e-5. */
function lastDigit(text: string): number {
  const [digits, exponent = '0'] = text.split('e') as [string, string?];
  return 10 ** (Number(exponent) - (digits.split('.')[1] ?? '').length);
}

async function trials(context: MeasureContext) {
  const { quick } = context;
  const rows = ROWS.filter((row) => row.trials && !(quick && Number(row.features) > DRAWN));
  const [count, points] = quick ? [2, 200] : [10, 500];
  const drawn = await context.draws(count, async (seed) => {
    await context.step((0.9 * seed) / count, `trial ${seed + 1} of ${count}`);
    return errorsOf(context, rows, seed, points);
  });
  const own = spectrum(MODES);
  const far = { stored: 0, theory: 0 };
  const means: { readonly label: string; readonly test: number; readonly stored: number; readonly theory: number }[] =
    [];
  for (const [at, row] of rows.entries()) {
    const risk = featureRisk(...own, settingOf(row));
    for (const name of ['test', 'train'] as const) {
      const found = mean(drawn.map((errors) => errors[at]![name]));
      const [stored, deviation] = row.trials![name];
      far.stored = Math.max(far.stored, Math.abs(found - stored) / deviation);
      far.theory = Math.max(far.theory, Math.abs(found - risk[name]) / deviation);
      if (name === 'test')
        means.push({
          label: `${row.samples}, ${row.features}, ${significant(Number(row.ridge))}`,
          test: found,
          stored,
          theory: risk.test,
        });
    }
  }
  return {
    measured: `test errors ${listed(means.map(({ test }) => test))}; by the estimate ${listed(means.map(({ theory }) => theory))}`,
    values: far,
    details: `Means of ${count} trials with ${points} new samples, in ${rows.length} settings; features of a trial are shared among its settings. Inputs N(0, I) of ${MODES} dimensions, features X diag(sqrt lambda) G / sqrt k.`,
    series: chart(
      'Test error',
      { 'samples, features, ridge': means.map(({ label }) => label) },
      {
        measured: means.map(({ test }) => test),
        'the estimate': means.map(({ theory }) => theory),
        stored: means.map(({ stored }) => stored),
      },
    ),
  };
}

/** Test and training errors of a trial, by setting; the points that are new come first. */
async function errorsOf({ runtime }: MeasureContext, rows: readonly Row[], seed: number, points: number) {
  const count = points + Math.max(...rows.map(({ samples }) => Number(samples)));
  const [inputs, targets] = runtime.scope(() => {
    const x = runtime.random([count, MODES], { seed: 3 * seed + 1 });
    const roots = runtime.tensor(Float32Array.from(power(MODES, DECAY / 2)), [1, MODES]);
    const noise = multiply(runtime.random([count, 1], { seed: 3 * seed + 2 }), runtime.tensor([Math.sqrt(NOISE)], []));
    // Roots of eigenvalues and coefficients are the same power.
    return [multiply(x, roots), add(matmul(x, roots.reshape([MODES, 1])), noise)];
  }) as [Tensor, Tensor];
  const drawn = (tensor: Tensor, rows: number, features: number) =>
    runtime.scope(() => featuresOf(tensor.slice(0, 0, rows), features, 1000 * (seed + 1)));
  const narrow = drawn(inputs, count, DRAWN);
  using _ = held([inputs, targets, narrow]);
  const errors: Record<'test' | 'train', number>[] = [];
  for (const row of rows) {
    const own =
      Number(row.features) > DRAWN ? drawn(inputs, points + Number(row.samples), Number(row.features)) : narrow;
    errors.push(await errorOf(runtime, own, targets, row, points));
    if (own !== narrow) own.dispose();
  }
  return errors;
}

function featuresOf(scaled: Tensor, count: number, seed: number): Tensor {
  const { runtime } = scaled;
  const parts: Tensor<'f32'>[] = [];
  for (let first = 0; first < count; first += DRAWN)
    parts.push(
      runtime.scope(() => {
        const width = Math.min(DRAWN, count - first);
        return matmul(scaled, runtime.random([MODES, width], { seed: seed + first / DRAWN })) as Tensor<'f32'>;
      }),
    );
  return concat(parts, 1);
}

async function errorOf(
  runtime: MeasureContext['runtime'],
  features: Tensor,
  targets: Tensor,
  row: Row,
  points: number,
) {
  const [n, k] = [Number(row.samples), Number(row.features)];
  const scaled = runtime.scope(() => multiply(features.slice(1, 0, k), runtime.tensor([1 / Math.sqrt(k)], [])));
  const part = (x: Tensor, first: number, count: number) => x.slice(0, first, first + count);
  const [test, train] = [part(scaled, 0, points), part(scaled, points, n)];
  const [wanted, y] = [part(targets, 0, points), part(targets, points, n)];
  using _ = held([scaled, train, test, y, wanted]);
  const model = await fitKernelRidge({ kernel: 'linear' }, train, y, {
    ridge: Number(row.ridge),
    solver: k < n ? 'primal' : 'direct',
  });
  const squared = async (x: Tensor, y: Tensor) => {
    using found = model.predict(x);
    const [a, b] = [await found.read(), await y.read()];
    return mean(Array.from(a, (value, at) => (value - b[at]!) ** 2));
  };
  const errors = { test: await squared(test, wanted), train: await squared(train, y) };
  model.dispose();
  return errors;
}

function more({ quick }: MeasureContext) {
  const own = spectrum(quick ? 1000 : MODES);
  const at = (samples: number, features: number | null) => bestRidge(...own, { samples, features, noise: NOISE }).test;
  const byFeatures = SIZES.map((samples) => [...SIZES, null].map((features) => at(samples, features)));
  const bySamples = [...SIZES, null].map((_, column) => byFeatures.map((errors) => errors[column]!));
  return {
    measured: `at 256 samples ${listed(byFeatures[2]!)} for ${SIZES.join(', ')} and infinitely many features`,
    values: {
      samples: Math.max(...bySamples.map(largestStep)),
      features: Math.max(...byFeatures.map(largestStep)),
    },
    details: `By the estimate, ${own[0].length} modes, noise ${NOISE}, the ridge by golden sections.`,
    series: chart(
      'Least test error',
      { features: [...SIZES.map(String), 'infinite'] },
      Object.fromEntries(SIZES.map((samples, i) => [`${samples} samples`, byFeatures[i]!])),
    ),
  };
}

function peak({ quick }: MeasureContext) {
  const own = spectrum(quick ? 1000 : MODES);
  const features = [64, 256, 1024];
  const small = features.map((k) => featureRisk(...own, { samples: 256, features: k, ridge: 1e-3, noise: NOISE }).test);
  const best = features.map((k) => bestRidge(...own, { samples: 256, features: k, noise: NOISE }).test);
  const over = ([few, same, many]: readonly number[]) => same! / Math.min(few!, many!);
  return {
    measured: `${listed(small)} with 64, 256 and 1024 features, at the best ridge ${listed(best)}`,
    values: { peak: over(small), best: over(best) },
  };
}

async function ratio({ step }: MeasureContext) {
  const rows = DATA_SETS.flatMap(([name, decay, target, ratios]) =>
    NOISES.map((noise, at) => ({ name, wanted: ratios[at]!, found: bestFittingRatio({ decay, target, noise }) })),
  );
  const sums: { readonly closed: number; readonly exact: number }[] = [];
  for (const [decay, target, noise] of SUMMED) {
    await step(0.95, 'ratios by sums');
    const own = [power(MODES, decay), power(MODES, target / 2)] as const;
    const clean = featureRisk(...own, { samples: 100 }).test;
    const risk = bestRidge(...own, { samples: 100, noise: noise * clean });
    sums.push({ closed: bestFittingRatio({ decay, target, noise }), exact: risk.train / risk.test });
  }
  const told = (name: string) => listed(rows.filter((row) => row.name === name).map(({ found }) => found));
  return {
    measured: `ratios for noise ${NOISES.join(', ')}: ${DATA_SETS.map(([name]) => `${name} ${told(name)}`).join('; ')}`,
    values: {
      formula: Math.max(...rows.map(({ found, wanted }) => Math.abs(found - wanted))),
      sums: Math.max(...sums.map(({ closed, exact }) => Math.abs(closed - exact))),
    },
    details: `Noise is over the test error without it. Sums for decay, target and noise ${SUMMED.map((each) => each.join(', ')).join('; ')} give ${listed(sums.map(({ exact }) => exact))}, the formula ${listed(sums.map(({ closed }) => closed))}. Targets below 1.3 need more modes: their tail counts.`,
  };
}
