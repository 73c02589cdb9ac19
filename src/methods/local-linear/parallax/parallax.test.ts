import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import { parallax } from '.';

const params = fc.record(
  { causal: fc.boolean(), window: fc.integer({ min: 1, max: 90 }), scale: fc.double({ min: -1, max: 1, noNaN: true }) },
  { requiredKeys: [] },
);

describeMethod(
  parallax,
  fc
    .record({ s: sequences, m: fc.integer({ min: 1, max: 70 }), params })
    .map(({ s: { b, n, h, g, d, e }, m, params }) => ({
      q: [b, n, h, d],
      k: [b, m, g, d],
      v: [b, m, g, e],
      params,
      others: { r: hostTensor(normal(sizeOf([b, n, h, d]), 5), [b, n, h, d], 'f32') },
    })),
  12,
);

const f64 = (values: readonly number[], shape: readonly number[]) =>
  hostTensor(Float64Array.from(values), shape, 'f64');

test('the example of the page: keys 0 and 2 seen alike, values 0 and 4, r = -1', () => {
  const inputs = { q: f64([0], [1, 1, 1, 1]), r: f64([-1], [1, 1, 1, 1]) };
  const { out } = parallax.reference(
    { ...inputs, k: f64([0, 2], [1, 2, 1, 1]), v: f64([0, 4], [1, 2, 1, 1]) },
    parallax.parse({}),
  );
  expect(out?.data).toEqual(Float64Array.of(4));
});

test('a window of all keys is causal; of one it gives the own value; costs follow from what is seen', () => {
  const random = (seed: number) => f64([...normal(12, seed)], [1, 4, 1, 3]);
  const inputs = { q: random(1), r: random(2), k: random(3), v: random(4) };
  const of = (given: object) => parallax.reference(inputs, parallax.parse(given)).out?.data;
  expect(of({ window: 4 })).toEqual(of({ causal: true }));
  expect(of({ window: 1 })).toEqual(inputs.v.data);
  const letters = { b: 1, n: 4, m: 4, h: 2, g: 1, d: 3, e: 3 };
  expect(parallax.cost(letters, parallax.parse({ window: 1 })).flops).toBe(4 * 6 * 2 * 4);
});

test('params are refused by name', () => {
  expect(() => parallax.parse({ window: 0 })).toThrow('window');
  expect(() => parallax.parse({ window: 1.5 })).toThrow('window');
  expect(() => parallax.parse({ scale: Number.POSITIVE_INFINITY })).toThrow('scale');
});
