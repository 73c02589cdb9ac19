import { expect, test } from 'vitest';
import { estimateMedian, exponent, geometricMean, pairedRatio, pearson, summarise } from './statistics';

test('the median of an even sample lies between its middle values, whatever their order', () => {
  expect(summarise([9, 1, 5, 2]).median).toBe(3.5);
  expect(summarise([7]).median).toBe(7);
});

test('the spread is half the distance between the quartiles, over the median', () => {
  expect(summarise([1, 2, 3, 4, 5]).spread).toBeCloseTo((4 - 2) / 2 / 3);
  expect(summarise([7]).spread).toBe(0);
});

test('one outlier moves neither', () => {
  expect(summarise([10, 10, 10, 10, 10, 10, 1000])).toEqual({ median: 10, spread: 0, min: 10, max: 1000, repeats: 7 });
});

test('a paired ratio is free of what slows both down', () => {
  expect(pairedRatio([2, 20, 200], [1, 10, 100])).toBe(2);
});

test('a paired ratio uses the rounds that both have', () => {
  expect(pairedRatio([3, 3, 3, 900, 900], [1, 1, 1])).toBe(3);
});

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

test('the interval of a median leaves out what 95% of samples need not hold, and of few samples nothing', () => {
  expect(estimateMedian([6, 1, 5, 2, 4, 3])).toEqual({ value: 3.5, low: 1, high: 6 });
  expect(estimateMedian([9, 8, 7, 6, 5, 4, 3, 2, 1])).toEqual({ value: 5, low: 2, high: 8 });
  expect(estimateMedian([3, 1, 2, 5, 4])).toEqual({ value: 3, low: -Infinity, high: Infinity });
});
