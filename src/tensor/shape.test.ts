import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ShapeError } from '../index';
import { bindShapes, checkShape, formatShape, isContiguous, rowMajorStrides, sameShape, sizeOf } from './shape';

const shapes = fc.array(fc.nat({ max: 5 }), { maxLength: 4 });

/** Every index of `shape`, in row-major order. */
function indicesOf(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (prefixes, extent) => prefixes.flatMap((prefix) => Array.from({ length: extent }, (_, i) => [...prefix, i])),
    [[]],
  );
}

const positions = (shape: readonly number[], strides: readonly number[]) =>
  indicesOf(shape).map((index) => index.reduce((at, i, axis) => at + i * (strides[axis] as number), 0));

test('sizeOf counts the indices, and row-major strides number them', () => {
  fc.assert(
    fc.property(shapes, (shape) => {
      const indices = indicesOf(shape);
      expect(sizeOf(shape)).toBe(indices.length);
      expect(positions(shape, rowMajorStrides(shape))).toEqual(indices.map((_, i) => i));
    }),
  );
});

test('isContiguous is true exactly where the positions count up by one', () => {
  const axes = fc.array(fc.record({ extent: fc.nat({ max: 3 }), stride: fc.nat({ max: 9 }) }), { maxLength: 3 });
  const ordered = shapes.map((shape) => {
    const strides = rowMajorStrides(shape);
    return shape.map((extent, axis) => ({ extent, stride: strides[axis] as number }));
  });
  fc.assert(
    fc.property(fc.oneof(axes, ordered), (axes) => {
      const shape = axes.map(({ extent }) => extent);
      const strides = axes.map(({ stride }) => stride);
      expect(isContiguous(shape, strides)).toBe(positions(shape, strides).every((at, i) => at === i));
    }),
    { numRuns: 2000 },
  );
});

test('sameShape', () => {
  expect(sameShape([], [])).toBe(true);
  expect(sameShape([2, 3], [2, 3])).toBe(true);
  expect(sameShape([2, 3], [3, 2])).toBe(false);
  expect(sameShape([2], [2, 1])).toBe(false);
});

test('formatShape shows all of a short shape and the start of a long one', () => {
  expect(formatShape([])).toBe('[]');
  expect(formatShape([2, 3])).toBe('[2, 3]');
  expect(formatShape(new Array(16).fill(7))).not.toContain('...');
  expect(formatShape(new Array(1000).fill(7))).toBe(`[${'7, '.repeat(16)}... 1000 axes]`);
});

describe('checkShape', () => {
  test.each([[[]], [[0]], [[1, 2, 3]], [[2 ** 52, 1]], [[2 ** 30, 0]]])('takes %j', (shape) => {
    expect(() => checkShape('shape', shape)).not.toThrow();
  });

  test.each<[unknown, string]>([
    [[-1], 'x must have non-negative integer extents, got [-1]'],
    [[1.5], 'x must have non-negative integer extents, got [1.5]'],
    [[Number.NaN], 'x must have non-negative integer extents, got [NaN]'],
    [['2'], "x must have non-negative integer extents, got ['2']"],
    [[2 ** 53], 'x must have non-negative integer extents'],
    [[2 ** 40, 2 ** 40], 'x [1099511627776, 1099511627776] has more elements than can be counted'],
    [4, 'x must be an array of extents, got 4'],
    [null, 'x must be an array of extents, got null'],
  ])('refuses %j', (shape, message) => {
    expect(() => checkShape('x', shape as number[])).toThrow(ShapeError);
    expect(() => checkShape('x', shape as number[])).toThrow(message);
  });
});

describe('bindShapes', () => {
  const specs = { q: 'b n h d', k: 'b m g d' };

  test('gives the extent of every letter', () => {
    expect(bindShapes(specs, { q: [1, 2, 3, 4], k: [1, 5, 6, 4] })).toEqual({ b: 1, n: 2, h: 3, d: 4, m: 5, g: 6 });
  });

  test.each([
    [{ q: [1, 2, 3], k: [1, 5, 6, 4] }, 'q must have shape [b, n, h, d], got [1, 2, 3]'],
    [
      { q: [1, 2, 3, 4], k: [2, 5, 6, 4] },
      'k must have shape [b, m, g, d] with b = 1 as in q [1, 2, 3, 4], got [2, 5, 6, 4]',
    ],
    [
      { q: [1, 2, 3, 4], k: [1, 5, 6, 7] },
      'k must have shape [b, m, g, d] with d = 4 as in q [1, 2, 3, 4], got [1, 5, 6, 7]',
    ],
    [{ q: [1, 0, 3, 4], k: [1, 5, 6, 4] }, 'q [1, 0, 3, 4] is empty along n'],
  ])('refuses %j', (shapes, message) => {
    expect(() => bindShapes(specs, shapes)).toThrow(ShapeError);
    expect(() => bindShapes(specs, shapes)).toThrow(message);
  });

  test('leading axes that broadcast', () => {
    const specs = { a: '* r k', b: '* k c' };
    expect(bindShapes(specs, { a: [2, 1, 3, 4], b: [5, 4, 6] })).toEqual({ r: 3, k: 4, c: 6 });
    const message = 'b must have leading axes that broadcast with those of a [2, 3, 4], got [3, 4, 6]';
    expect(() => bindShapes(specs, { a: [2, 3, 4], b: [3, 4, 6] })).toThrow(message);
    expect(() => bindShapes({ x: '*', y: '*' }, { x: [2, 3], y: [2] })).toThrow(
      'y must have a shape that broadcasts with x [2, 3], got [2]',
    );
  });

  test('a letter may come twice in one shape', () => {
    expect(bindShapes({ a: 'n n' }, { a: [3, 3] })).toEqual({ n: 3 });
    expect(() => bindShapes({ a: 'n n' }, { a: [3, 4] })).toThrow('a must have shape [n, n] with n = 3');
  });
});
