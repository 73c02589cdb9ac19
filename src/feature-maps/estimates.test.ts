/** What the means and variances of random features must be. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRuntime, type Runtime } from '../index';
import { normal, uniform } from '../tensor/random';
import { drawDirections } from './draw';
import type { FeatureMap } from './feature-map';
import { arcCosine, fourier, positive } from './index';

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => sum(Array.from(a, (value, i) => value * b[i]!));
const distance = (x: readonly number[], y: readonly number[]) => Math.hypot(...x.map((value, i) => value - y[i]!));

/** J_n of the arc-cosine kernels, by the angle. */
const J: readonly ((t: number) => number)[] = [
  (t) => Math.PI - t,
  (t) => Math.sin(t) + (Math.PI - t) * Math.cos(t),
  (t) => 3 * Math.sin(t) * Math.cos(t) + (Math.PI - t) * (1 + 2 * Math.cos(t) ** 2),
];

function arcCosineKernel(degree: number, x: readonly number[], y: readonly number[]): number {
  const lengths = Math.sqrt(dot(x, x) * dot(y, y));
  const angle = Math.acos(Math.min(1, Math.max(-1, dot(x, y) / lengths)));
  return (lengths ** degree * J[degree]!(angle)) / Math.PI;
}

describe('features whose products estimate a kernel', () => {
  const [d, n] = [6, 5];
  const points = Array.from({ length: n }, (_, i) => [...normal(d, 20 + i)].map((value) => 0.5 * value));
  // A vector with itself, and its opposite, among the pairs.
  points.push(points[0]!.map((value) => -value));
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  });
  afterAll(() => runtime.dispose());

  for (const orthogonal of [false, true]) {
    const options = { dimension: d, features: 30000, seed: 4, orthogonal };
    const cases: readonly (readonly [string, FeatureMap, (x: readonly number[], y: readonly number[]) => number])[] = [
      ['positive: exp(x . y)', positive(options), (x, y) => Math.exp(dot(x, y))],
      ['antithetic: exp(x . y)', positive({ ...options, antithetic: true }), (x, y) => Math.exp(dot(x, y))],
      ['fourier: the Gaussian kernel', fourier(options), (x, y) => Math.exp(-(distance(x, y) ** 2) / 2)],
      [
        'fourier with random phases and a bandwidth',
        fourier({ ...options, phases: 'random', bandwidth: 1.5 }),
        (x, y) => Math.exp(-((distance(x, y) / 1.5) ** 2) / 2),
      ],
      ...([0, 1, 2] as const).map(
        (degree) =>
          [
            `arc-cosine of degree ${degree}`,
            arcCosine({ ...options, degree }),
            (x: readonly number[], y: readonly number[]) => arcCosineKernel(degree, x, y),
          ] as const,
      ),
    ];
    for (const [name, map, kernel] of cases) {
      test(`${name}, ${orthogonal ? 'orthogonal' : 'independent'} directions`, async () => {
        using x = runtime.tensor(points.flat(), [points.length, d]);
        using phi = map.forward(x);
        const m = options.features;
        const values = await phi.read();
        points.forEach((left, i) => {
          points.slice(0, i + 1).forEach((right, j) => {
            const products = Array.from({ length: m }, (_, f) => m * values[i * m + f]! * values[j * m + f]!);
            // The two features of a pair belong together: half of them have half of a sum.
            const { average, error } = statistics(halved(products, m));
            expect(Math.abs(average - kernel(left, right))).toBeLessThan(
              4.5 * error + 2e-5 * Math.abs(kernel(left, right)) + 1e-9,
            );
          });
        });
      });
    }
  }

  test('closed forms of the arc-cosine kernels at the angles that the field tabulates', () => {
    expect(J.map((j) => j(0) / Math.PI)).toEqual([1, 1, 3]);
    [Math.PI / 2, 1, Math.PI / 2].forEach((value, degree) => {
      expect(J[degree]!(Math.PI / 2)).toBeCloseTo(value, 12);
      expect(J[degree]!(Math.PI)).toBeCloseTo(0, 12);
    });
    expect(arcCosineKernel(1, [1, 0], [0, 1]) / 2).toBeCloseTo(0.1591549, 7);
  });
});

describe('errors of estimates', () => {
  // z = x + y and D = x - y at right angles, as long as in the published example.
  const [d, m] = [16, 16];
  const [squaredZ, squaredD] = [0.587, 0.365];
  const z = unit(0, Math.sqrt(squaredZ));
  const difference = unit(1, Math.sqrt(squaredD));
  const truth = Math.exp((squaredZ - squaredD) / 4);
  const cost = (squaredZ + squaredD) / 4;
  const ofPositive = (Math.exp(squaredZ) * truth ** 2 * (1 - Math.exp(-squaredZ))) / m;
  const estimates = (orthogonal: boolean, of: (w: Float32Array) => number, count = 6000) => {
    const w = drawDirections(m * count, { dimension: d, features: m, seed: 1, orthogonal });
    return Array.from({ length: count }, (_, i) =>
      mean(Array.from({ length: m }, (_, r) => of(w.subarray((i * m + r) * d, (i * m + r + 1) * d)))),
    );
  };
  const positiveOf = (w: Float32Array) => Math.exp(dot(z, w) - cost);
  const antitheticOf = (w: Float32Array) => Math.cosh(dot(z, w)) * Math.exp(-cost);
  const pairOf = (w: Float32Array) => Math.cos(dot(difference, w));
  const gaussian = Math.exp(-squaredD / 2);

  for (const [name, of, expected, wanted] of [
    ['positive features', positiveOf, truth, ofPositive],
    ['antithetic positive features', antitheticOf, truth, (ofPositive * (1 - Math.exp(-squaredZ))) / 2],
    ['pairs of Fourier features', pairOf, gaussian, (1 - Math.exp(-squaredD)) ** 2 / (2 * m)],
  ] as const) {
    test(`${name} have the variance of the closed form, and less with orthogonal directions`, () => {
      const independent = statistics(estimates(false, of));
      expect(Math.abs(independent.average - expected) / independent.error).toBeLessThan(4.5);
      expect(Math.abs(independent.variance / wanted - 1)).toBeLessThan(0.08);
      const orthogonal = statistics(estimates(true, of));
      expect(Math.abs(orthogonal.average - expected) / orthogonal.error).toBeLessThan(4.5);
      expect(orthogonal.variance).toBeLessThan(0.9 * independent.variance);
    });
  }

  test('orthogonal positive features stay below the bound of their authors', () => {
    const bound = ofPositive - ((2 * (m - 1)) / (m * (d + 2))) * (truth - Math.exp(-(squaredZ + squaredD) / 4)) ** 2;
    expect(statistics(estimates(true, positiveOf)).variance).toBeLessThan(bound);
  });

  test('Fourier features with random phases vary as the closed form says', () => {
    const b = uniform(200000, 3, 0, 2 * Math.PI);
    const w = normal(200000, 4);
    const length = Math.sqrt(squaredD);
    // One direction suffices: only the part of w along D counts.
    const products = Array.from(b, (phase, i) => 2 * Math.cos(phase) * Math.cos(w[i]! * length + phase));
    const { average, error, variance } = statistics(products);
    expect(Math.abs(average - gaussian) / error).toBeLessThan(4.5);
    expect(variance / (1 + Math.exp(-2 * squaredD) / 2 - gaussian ** 2)).toBeCloseTo(1, 1);
  });
});

function unit(axis: number, length: number): number[] {
  return Array.from({ length: 16 }, (_, i) => (i === axis ? length : 0));
}

const mean = (values: readonly number[]) => sum(values) / values.length;

/** The mean of each element and the one half an array later. */
function halved(values: readonly number[], count: number): number[] {
  return Array.from({ length: count / 2 }, (_, i) => (values[i]! + values[i + count / 2]!) / 2);
}

/** The mean, its standard error and the variance. */
function statistics(values: readonly number[]): { average: number; error: number; variance: number } {
  const average = mean(values);
  const variance = sum(values.map((value) => (value - average) ** 2)) / (values.length - 1);
  return { average, error: Math.sqrt(variance / values.length), variance };
}
