/** Estimators beside scikit-learn, whose answers are those of test/fixtures/make-estimators.py, and beside each other. */
import { expect, test } from 'vitest';
import { expectClose, expectRefusal } from '../../test/expect';
import given from '../../test/fixtures/estimators.json';
import { scoped } from '../../test/scoped';
import { fourier } from '../feature-maps';
import { createRuntime, type Runtime, type Tensor } from '../index';
import {
  createGaussianProcess,
  crossValidateKernelRidge,
  fitFeatureRidge,
  fitGaussianProcess,
  fitKernelRidge,
  type Kernel,
  marginalLikelihood,
} from '.';

const runtime: Runtime = await createRuntime({ backend: 'wasm', threads: 1 });
const GAUSSIAN = { kernel: 'gaussian', bandwidth: 1.5 } as const;

function problem() {
  const [x, y, query] = [
    runtime.tensor(given.x, [24, 3]),
    runtime.tensor(given.y, [24, 2]),
    runtime.tensor(given.query, [5, 3]),
  ];
  return { x, y, query };
}

const numbersOf = async (tensor: Tensor) => {
  using own = tensor;
  return [...(await own.read())] as number[];
};

async function predicted(kernel: Kernel, options: object): Promise<number[]> {
  const { x, y, query } = problem();
  const model = await fitKernelRidge(kernel, x, y, options);
  const found = await numbersOf(model.predict(query));
  for (const each of [x, y, query, model]) each.dispose();
  return found;
}

test('kernel ridge regression is that of scikit-learn, in each form', async () => {
  const before = runtime.memory().live;
  const { ridge, nystroem } = given;
  expectClose(await predicted(GAUSSIAN, { ridge: 0.1 }), ridge.gaussian, 2e-6);
  expectClose(await predicted(GAUSSIAN, { ridge: 0.1, precision: 'f64' }), ridge.gaussian, 2e-7);
  // A condition of 1e10: float32 cannot, float64 can.
  expectClose(await predicted(GAUSSIAN, { ridge: 1e-9, precision: 'f64' }), ridge.ill, 1e-5);
  expectClose(await predicted({ kernel: 'laplace', bandwidth: 1.5 }, { ridge: 0.1 }), ridge.laplace, 2e-6);
  expectClose(await predicted({ kernel: 'polynomial', degree: 2 }, { ridge: 0.5 }), ridge.polynomial, 2e-5);
  for (const solver of ['direct', 'primal', 'cg'])
    expectClose(await predicted({ kernel: 'linear' }, { ridge: 0.5, solver, tolerance: 1e-6 }), ridge.linear, 1e-5);
  using centres = runtime.tensor(given.x.slice(0, 24), [8, 3]);
  const few = await predicted(GAUSSIAN, { ridge: 0.1, solver: 'nystrom', centres, tolerance: 1e-6 });
  expectClose(few, nystroem, 1e-3);
  centres.dispose();
  expect(runtime.memory().live).toBe(before);
});

test('kernels in float64 are those in float32', async () => {
  const kernels: readonly Kernel[] = [
    ...([0.5, 1.5, 2.5] as const).map((smoothness) => ({ kernel: 'matern', smoothness, bandwidth: 2 }) as const),
    ...([0, 1, 2] as const).map((order) => ({ kernel: 'arc-cosine', order }) as const),
    // Points of a query and two keys.
    { kernel: 'attention', width: 1 },
  ];
  for (const kernel of kernels) {
    const wanted = await predicted(kernel, { ridge: 1 });
    expectClose(await predicted(kernel, { ridge: 1, precision: 'f64' }), wanted, 1e-5);
  }
});

test('leverage scores choose the points that are unlike others', async () => {
  await scoped(runtime, async () => {
    // Forty points in a heap, and three far from it.
    const numbers = Array.from({ length: 43 }, (_, i) => (i < 40 ? 0.001 * i : 10 * (i - 38)));
    const x = runtime.tensor(numbers, [43, 1]);
    const y = runtime.ones([43, 1]);
    const options = { solver: 'nystrom', centres: 4, sampling: 'leverage', ridge: 0.1 } as const;
    const { support, dispose } = await fitKernelRidge({ kernel: 'gaussian' }, x, y, options);
    const chosen = [...(await support.read())].filter((value) => value >= 10);
    expect(chosen.sort()).toEqual([20, 30, 40]);
    dispose();
  });
});

test("a Gaussian process has scikit-learn's likelihood, gradient, means, variances and optimum", async () => {
  await scoped(runtime, async () => {
    const { x, y, query } = problem();
    const first = await numbersOf(y.slice(1, 0, 1));
    const target = runtime.tensor(first, [24, 1]);
    const { processes } = given;
    const settings = { amplitude: 2, noise: 0.05 };
    for (const [kernel, wanted] of [
      [GAUSSIAN, processes.gaussian],
      [{ kernel: 'matern', bandwidth: 1.5, smoothness: 2.5 }, processes.matern],
    ] as const) {
      const { value, gradient } = await marginalLikelihood(kernel, x, target, settings);
      expectClose([value], [wanted.value], 1e-9);
      expectClose([gradient.amplitude, gradient.bandwidth!, gradient.noise], wanted.gradient, 1e-8);
      const process = await fitGaussianProcess(kernel, x, target, settings);
      const again = createGaussianProcess(process);
      const { mean, variance } = again.predict(query);
      expectClose(await numbersOf(mean), wanted.mean, 1e-6);
      expectClose(await numbersOf(variance), wanted.variance, 1e-6);
      process.dispose();
    }
    const best = await fitGaussianProcess(GAUSSIAN, x, target, { ...settings, optimize: true });
    expect(best.logLikelihood).toBeGreaterThan(processes.best.value - 1e-4);
    const found = [best.amplitude, (best.kernel as { bandwidth: number }).bandwidth, best.noise].map(Math.log);
    expectClose(found, processes.best.theta, 0.02);
    best.dispose();
  });
});

test('errors of points left out are those of refitting, one at a time and in folds', async () => {
  await scoped(runtime, async () => {
    const { x, y } = problem();
    const { ridges, single, linear } = given.crossed;
    const found = await crossValidateKernelRidge(GAUSSIAN, x, y, { ridges });
    expectClose(found.errors, single, 1e-8);
    expect(found.best).toBe(ridges[single.indexOf(Math.min(...single))]);
    expect(found.eigenvalues[0]).toBeGreaterThan(found.eigenvalues[1]!);
    expect(found.eigenvalues.reduce((total, each) => total + each, 0)).toBeCloseTo(24, 8);
    expectClose((await crossValidateKernelRidge({ kernel: 'linear' }, x, y, { ridges })).errors, linear, 1e-8);
    // As many folds as points are the closed form; with five, predictions are those of fits without the fold.
    const folds = await crossValidateKernelRidge(GAUSSIAN, x, y, { ridges: [0.1], folds: 23 });
    expect(folds.errors[0]! / single[1]!).toBeCloseTo(1, 0);
    const halves = await crossValidateKernelRidge(GAUSSIAN, x, y, { ridges: [0.1], folds: 2, seed: 3 });
    const half = halves.predictions;
    const left = await refitted(x, y, half);
    expectClose([...half], left, 1e-5);
  });
});

/** Predictions for each half of the points by a fit to the other, halves as the predictions tell. */
async function refitted(x: Tensor, y: Tensor, predictions: Float64Array): Promise<number[]> {
  const { dealt } = await import('./cross-validate');
  const [points, targets] = [await x.read(), await y.read()];
  const all = new Array<number>(predictions.length);
  const parts = dealt(24, 2, 3);
  for (const [at, part] of parts.entries()) {
    const rest = parts[1 - at]!;
    const rows = (from: ArrayLike<number>, width: number, of: readonly number[]) =>
      runtime.tensor(
        of.flatMap((row) => Array.from({ length: width }, (_, c) => from[row * width + c]!)),
        [of.length, width],
      );
    const model = await fitKernelRidge(GAUSSIAN, rows(points, 3, rest), rows(targets, 2, rest), { ridge: 0.1 });
    const found = await numbersOf(model.predict(rows(points, 3, part)));
    part.forEach((row, i) => {
      for (let c = 0; c < 2; c++) all[row * 2 + c] = found[2 * i + c]!;
    });
    model.dispose();
  }
  return all;
}

test('regression on random features is kernel ridge regression by about their kernel, primal and dual alike', async () => {
  await scoped(runtime, async () => {
    const { x, y, query } = problem();
    const map = fourier({ dimension: 3, features: 20, bandwidth: 1.5 });
    const primal = await fitFeatureRidge(map, x, y, { ridge: 0.1 });
    const features = map.forward(x);
    const dual = await fitKernelRidge({ kernel: 'linear' }, features, y, { ridge: 0.1 });
    const wanted = await numbersOf(dual.predict(map.forward(query)));
    expectClose(await numbersOf(primal.predict(query)), wanted, 1e-4);
    const many = await fitFeatureRidge(fourier({ dimension: 3, features: 8000, bandwidth: 1.5 }), x, y, { ridge: 0.1 });
    expect(many.weights.shape).toEqual([8000, 2]);
    expectClose(await numbersOf(many.predict(query)), given.ridge.gaussian, 0.1);
    for (const each of [primal, dual, many]) each.dispose();
  });
});

test('what cannot be fitted is refused by name', async () => {
  await scoped(runtime, async () => {
    const { x, y } = problem();
    const hole = runtime.tensor([1, 2, 3, 4, Number.NaN, 6], [3, 2]);
    const [three, twins] = [runtime.ones([3, 1]), runtime.tensor([1, 2, 3, 4, 1, 2], [3, 2])];
    const refuse = (message: string, run: () => Promise<unknown>) => expectRefusal(runtime, run, message);
    const holes = 'x must hold finite numbers, got NaN in row 2, column 0';
    await refuse(holes, () => fitKernelRidge(GAUSSIAN, hole, three));
    await refuse(holes, () => fitGaussianProcess(GAUSSIAN, hole, three));
    await refuse(holes, () => crossValidateKernelRidge(GAUSSIAN, hole, three));
    await refuse(holes, () => fitFeatureRidge(fourier({ dimension: 2, features: 4 }), hole, three));
    await refuse('ridge must be 0 or at least 6.0e-8, since float32', () =>
      fitKernelRidge(GAUSSIAN, x, y, { ridge: 1e-9 }),
    );
    await refuse('points 0 and 2 of x are equal', () => fitKernelRidge(GAUSSIAN, twins, three, { ridge: 0 }));
    await refuse('bandwidth must be a finite number > 0', () =>
      fitKernelRidge({ kernel: 'gaussian', bandwidth: 0 }, x, y),
    );
    await refuse('centres must be an integer from 1 to 24, got 25', () =>
      fitKernelRidge(GAUSSIAN, x, y, { solver: 'nystrom', centres: 25 }),
    );
    await refuse('solver primal needs the linear kernel', () => fitKernelRidge(GAUSSIAN, x, y, { solver: 'primal' }));
    await refuse('x and y must have shapes', () => fitGaussianProcess(GAUSSIAN, x, three));
    await refuse('noise must be a finite number >= 0, got -1', () => fitGaussianProcess(GAUSSIAN, x, y, { noise: -1 }));
    await refuse('ridges[1] must be above 0', () => crossValidateKernelRidge(GAUSSIAN, x, y, { ridges: [1, 0] }));
    await refuse('folds must be an integer from 2 to 24', () => crossValidateKernelRidge(GAUSSIAN, x, y, { folds: 1 }));
    // A matrix of more than 4 GiB, refused before it is made.
    const [long, ones] = [runtime.arange(40_000).reshape([40_000, 1]), runtime.ones([40_000, 1])];
    await refuse("would take 17.9 GiB, and there are 4.00 GiB at most: use solver 'cg'", () =>
      fitKernelRidge(GAUSSIAN, long, ones),
    );
  });
});
