import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { hostTensor } from '../../../tensor/host';
import { localLinearAttention } from '.';

const cases = fc
  .record({
    extents: sequences,
    ridge: fc.constantFrom(10, 2),
    causal: fc.boolean(),
    byRow: fc.boolean(),
    solver: fc.constantFrom('cg', 'direct'),
  })
  .map(({ extents, byRow, ...params }) => {
    const { b, g, h, d, e } = extents;
    const n = Math.min(extents.n, 30);
    const rows = Float32Array.from({ length: b * n * h }, (_, at) => 2 + (at % 3));
    return {
      q: [b, n, h, d],
      k: [b, n + 3, g, d],
      v: [b, n + 3, g, e],
      params,
      ...(byRow && { others: { ridge_rows: hostTensor(rows, [b, n, h]) } }),
    };
  });
describeMethod(localLinearAttention, cases, 10);

test('costs two products of a pair for each iteration, or the matrix of each row', () => {
  const letters = { b: 1, n: 4, m: 4, h: 2, g: 1, d: 8, e: 8 };
  const flops = (params: object) => localLinearAttention.cost(letters, localLinearAttention.parse(params)).flops;
  expect(flops({})).toBe(2 * 16 * (8 * 8 + 4 * 8 * 8));
  expect(flops({ causal: true })).toBe(2 * 10 * (8 * 8 + 4 * 8 * 8));
  expect(flops({ solver: 'direct' })).toBe(2 * 16 * (8 * 8 + 8 * 9) + (2 * 4 * 512) / 3);
});

test('refuses params by name', () => {
  expect(() => localLinearAttention.parse({ ridge: -1 })).toThrow('ridge');
  expect(() => localLinearAttention.parse({ solver: 'lu' } as never)).toThrow('solver');
  expect(() => localLinearAttention.parse({ tolerance: 0 })).toThrow('tolerance');
  expect(() => localLinearAttention.parse({ maxIterations: 0 })).toThrow('maxIterations');
});
