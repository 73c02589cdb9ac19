import { expect, test } from 'vitest';
import { exponent, geometricMean, pearson } from './measure';

test('correlation', () => {
  expect(pearson([1, 2, 3], [5, 7, 9])).toBeCloseTo(1, 12);
  expect(pearson([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12);
  expect(pearson([1, 2, 3, 4], [1, -1, -1, 1])).toBeCloseTo(0, 12);
});

test('exponent of a power', () => {
  expect(exponent([1, 2, 4], [3, 12, 48])).toBeCloseTo(2, 12);
});

test('mean of ratios', () => {
  expect(geometricMean([0.5, 2, 8])).toBeCloseTo(2, 12);
});
