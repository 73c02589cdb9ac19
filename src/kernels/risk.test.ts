import { expect, test } from 'vitest';
import { bestFittingRatio, bestRidge, featureRisk, powerLawRisk } from '.';

const power = (length: number, exponent: number) => Float64Array.from({ length }, (_, i) => (i + 1) ** -exponent);

test('with the ridge at its best neither samples nor features hurt, and errors are those of the sheet of figures', () => {
  const spectrum = [power(1000, 1.5), power(1000, 0.75)] as const;
  const at = (samples: number, features: number) => bestRidge(...spectrum, { samples, features, noise: 0.5 }).test;
  const found = [at(64, 32), at(64, 64), at(64, 128), at(64, 512), at(64, 4096), at(128, 128), at(256, 128)];
  const wanted = [1.3355, 1.2123, 1.137, 1.068, 1.045, 1.0055, 0.9107];
  // Theirs are the best of a grid.
  for (const [i, value] of found.entries()) {
    expect(value).toBeCloseTo(wanted[i]!, 2);
    expect(value).toBeLessThan(wanted[i]! + 1e-4);
  }
  expect(at(1024, 128)).toBeCloseTo(0.7981, 3);
  expect(featureRisk(...spectrum, { samples: 64, features: 64 }).test).toBe(Infinity);
  // A small ridge makes a peak where features are as many as samples.
  const small = (features: number) => featureRisk(...spectrum, { samples: 64, features, ridge: 1e-3, noise: 0.5 }).test;
  expect(small(64)).toBeGreaterThan(4 * small(512));
});

test('limits: equal eigenvalues, no ridge, a large one, infinitely many features', () => {
  const ones = [new Float64Array(40).fill(1), power(40, 0.5)] as const;
  const size = ones[1].reduce((sum, value) => sum + value ** 2, 0);
  const flat = featureRisk(...ones, { samples: 10, noise: 0.3 });
  expect(flat.test).toBeCloseTo(0.75 * size + 0.3 / 0.75, 8);
  expect(flat.gamma).toBeCloseTo(3, 8);
  expect(flat.train).toBeCloseTo(0, 8);
  const drowned = featureRisk(...ones, { samples: 10, ridge: 1e12, noise: 0.3 });
  expect(drowned.test).toBeCloseTo(size + 0.3, 6);
  expect(drowned.train / drowned.test).toBeCloseTo(1, 6);
  const spectrum = [power(500, 1.5), power(500, 0.75)] as const;
  const setting = { samples: 64, ridge: 0.1, noise: 0.5 };
  expect(featureRisk(...spectrum, { ...setting, features: 1e9 }).test).toBeCloseTo(
    featureRisk(...spectrum, setting).test,
    6,
  );
});

test('under power laws the ratio of the best ridge is that of the formula', () => {
  expect(bestFittingRatio({ decay: 1.5, target: 1.2 })).toBeCloseTo(0.25, 10);
  expect(bestFittingRatio({ decay: 1.12, target: 1.36, noise: 1.78 })).toBe(0);
  expect(bestFittingRatio({ decay: 1.12, target: 1.36, noise: 1.8 })).toBeGreaterThan(0);
  // The paper's three data sets, by noise.
  for (const [decay, target, wanted] of [
    [1.12, 1.36, [0, 0, 0.1875, 0.771]],
    [1.22, 1.2, [0.0057, 0.259, 0.644, 0.932]],
    [1.17, 1.14, [0.024, 0.312, 0.6905, 0.948]],
  ] as const)
    for (const [at, noise] of [0, 1, 5, 50].entries())
      expect(bestFittingRatio({ decay, target, noise })).toBeCloseTo(wanted[at]!, 3);
  // The closed form beside the sums, of a spectrum that is long enough.
  const spectrum = [power(100_000, 2), power(100_000, 0.75)] as const;
  const risk = featureRisk(...spectrum, { samples: 100, ridge: 0 });
  const closed = powerLawRisk({ decay: 2, target: 1.5 }, { samples: 100, ratio: 0 });
  expect(closed / risk.test).toBeGreaterThan(1);
  expect(closed / risk.test).toBeLessThan(1.1);
});

test('what has no risk is refused by name', () => {
  const one = [1, 0.5];
  expect(() => featureRisk([1, -1], one, { samples: 4 })).toThrow(
    'eigenvalues must be finite numbers >= 0, got -1 at element 1',
  );
  expect(() => featureRisk([1], one, { samples: 4 })).toThrow(
    'eigenvalues and coefficients must be as many, got 1 and 2',
  );
  expect(() => featureRisk(one, one, { samples: 0 })).toThrow('samples must be a finite number > 0');
  expect(() => bestFittingRatio({ decay: 1, target: 1.5 })).toThrow('decay must be a finite number > 1');
  expect(() => powerLawRisk({ decay: 2, target: 6 }, { samples: 4, ratio: 0 })).toThrow(
    'target must be a number between 1',
  );
  expect(() => powerLawRisk({ decay: 2, target: 2 }, { samples: 4, ratio: 1 })).toThrow(
    'ratio must be a number from 0',
  );
});
