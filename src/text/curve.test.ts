import { expect, test } from 'vitest';
import { curveText, meansOf } from './curve';

test('a hand example: a curve that falls and stays', () => {
  // Rows of dots 0, 4, 6 and 7, each joined to the one before it.
  expect(curveText([8, 4, 2, 1, 1, 1, 1, 1], 4, 2)).toBe('8.00 │⢱⠀⠀⠀\n1.00 │⠈⢆⣀⣀');
});

test('one value, equal ones, and more than there are dots', () => {
  expect(curveText([3], 2, 1)).toBe('3.00 │⠁⠀');
  expect(curveText([3, 3, 3], 2, 1)).toBe('3.00 │⠉⠁');
  expect(meansOf([1, 2, 3, 4, 5], 2)).toEqual([1.5, 4]);
  expect(
    curveText(
      Array.from({ length: 999 }, (_, at) => at),
      30,
      3,
    )
      .split('\n')
      .map(({ length }) => length),
  ).toEqual([36, 36, 36]);
});
