import { expect, test } from 'vitest';
import { pairedRatio, summarise } from './statistics';

test('the median of an even sample lies between its middle values, whatever their order', () => {
  expect(summarise([9, 1, 5, 2]).median).toBe(3.5);
  expect(summarise([7]).median).toBe(7);
});

test('the spread is half the distance between the quartiles, over the median', () => {
  expect(summarise([1, 2, 3, 4, 5]).spread).toBeCloseTo((4 - 2) / 2 / 3);
  expect(summarise([7]).spread).toBe(0);
});

test('one outlier moves neither', () => {
  const steady = summarise([10, 10, 10, 10, 10, 10, 10]);
  expect(summarise([10, 10, 10, 10, 10, 10, 1000])).toEqual(steady);
});

test('a paired ratio is free of what slows both down', () => {
  expect(pairedRatio([2, 20, 200], [1, 10, 100])).toBe(2);
});

test('a paired ratio uses the rounds that both have', () => {
  expect(pairedRatio([3, 3, 3, 900, 900], [1, 1, 1])).toBe(3);
});
