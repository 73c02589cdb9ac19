import { expect, test } from 'vitest';
import { shownAs } from './shown';

const counted = (shape: readonly number[], dtype = 'f32') => ({
  shape,
  dtype,
  data: Array.from({ length: shape.reduce((size, extent) => size * extent, 1) }, (_, at) => at),
});

test('pictures are told by letters, one for each channel of the first of a batch', () => {
  const { kind, planes, rows, columns, data } = shownAs('x', 'b c rows columns', counted([2, 3, 4, 5]));
  expect([kind, planes, rows, columns, data.length]).toEqual(['picture', 3, 4, 5, 60]);
  expect(shownAs('labels', 'b rows columns', counted([2, 4, 5], 'i32'))).toMatchObject({ kind: 'picture', planes: 1 });
});

test('vectors and rows of them are curves along the longer axis', () => {
  expect(shownAs('y', 'm c', counted([9, 1]))).toMatchObject({ kind: 'curves', rows: 1, columns: 9 });
  const { rows, columns, data } = shownAs('y', 'm c', counted([9, 2]));
  expect([rows, columns, Array.from(data).slice(0, 9)]).toEqual([2, 9, [0, 2, 4, 6, 8, 10, 12, 14, 16]]);
  expect(shownAs('y', 'c m', counted([2, 9])).data).toEqual(counted([2, 9]).data);
});

test('anything else is a table, or its beginning', () => {
  expect(shownAs('out', 'e', counted([2]))).toMatchObject({ kind: 'table', rows: 1, columns: 2, data: [0, 1] });
  expect(shownAs('boxes', 'count 5', counted([0, 5], 'i32'))).toMatchObject({ kind: 'table', rows: 0, data: [] });
  const { rows, columns, data } = shownAs('neighbors', 'b g s', counted([1, 40, 20], 'i32'));
  expect([rows, columns, Array.from(data).slice(7, 9)]).toEqual([12, 8, [7, 20]]);
});
