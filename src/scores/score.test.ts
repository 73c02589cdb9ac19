import { expect, test } from 'vitest';
import { evaluate } from '../expressions/evaluate';
import type { Expression, Table } from '../expressions/expression';
import { compileProgram } from '../expressions/program';
import { createRuntime } from '../index';
import type { Extent } from '../masks/mask';
import { type HostTensor, hostTensor } from '../tensor/host';
import { from } from './from';
import { additiveBias, alibi, compose, partsOf, relativeBias, type Score, softcap } from './score';

const extent: Extent = { b: 2, n: 3, m: 5, h: 2, g: 1 };

/** `expected` for every place, of `expression` or of the new score. */
function expectEverywhere(
  expression: Expression,
  expected: (score: number, b: number, h: number, q: number, k: number) => number,
): void {
  for (let b = 0; b < extent.b; b++)
    for (let h = 0; h < extent.h; h++)
      for (let q = 0; q < extent.n; q++)
        for (let k = 0; k < extent.m; k++) {
          const score = 7 * Math.sin(b + 2 * h + 4 * q + 8 * k);
          const actual = evaluate(expression, q, k, { b, h, n: extent.n, m: extent.m }, score);
          expect(actual).toBeCloseTo(expected(score, b, h, q, k), 12);
        }
}

const check = (score: Score, other: Partial<Extent> = {}) => score.check?.({ ...extent, ...other });

test('softcap', () => {
  const score = softcap(3);
  expect(score.name).toBe('softcap 3');
  expectEverywhere(score.expression, (s) => 3 * Math.tanh(s / 3));
  expectEverywhere(score.derivative, (s) => 1 - Math.tanh(s / 3) ** 2);
  for (const c of [0, -1, 1e-46, 1e39, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => softcap(c)).toThrow(`softcap needs a positive number that float32 can hold, got ${c}`);
  }
});

test('alibi', () => {
  const score = alibi([0.5, 0.25]);
  expectEverywhere(score.expression, (s, _b, h, q, k) => s - ([0.5, 0.25][h] as number) * Math.abs(q + 2 - k));
  expectEverywhere(score.derivative, () => 1);
  check(score);
  expect(() => check(score, { h: 3 })).toThrow('alibi needs a slope for each of 3 heads, got 2');
  for (const slope of [Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => alibi([1, slope])).toThrow(`slopes of alibi must be finite numbers, got ${slope} at element 1`);
});

test('relative bias', () => {
  const table = Float32Array.from({ length: 18 }, (_, i) => i * i);
  const score = relativeBias(hostTensor(table, [2, 9]));
  expectEverywhere(score.expression, (s, _b, h, q, k) => s + (table[9 * h + k - (q + 2) + 4] as number));
  check(score);
  expect(() => check(score, { m: 6 })).toThrow('relativeBias needs a table [2, at least 11] for 2 heads');
  expect(() => relativeBias(hostTensor(table, [3, 6]))).toThrow(
    'relativeBias needs a table [heads, 2 L - 1], got [3, 6]',
  );
  const [derivative] = score.tables;
  expect(score.tables.length).toBe(1);
  expectEverywhere(derivative!.factor, () => 1);
  expectEverywhere(derivative!.index, (_s, _b, h, q, k) => 9 * h + k - (q + 2) + 4);
});

test('additive bias, shared or not', () => {
  const values = Float32Array.from({ length: 60 }, (_, i) => i * i);
  const at = (b: number, h: number, q: number, k: number) => values[((b * 2 + h) * 3 + q) * 5 + k] as number;
  const every = additiveBias(hostTensor(values, [2, 2, 3, 5]));
  expectEverywhere(every.expression, (s, b, h, q, k) => s + at(b, h, q, k));
  check(every);
  const heads = additiveBias(hostTensor(values.slice(0, 30), [2, 3, 5]));
  expectEverywhere(heads.expression, (s, _b, h, q, k) => s + at(0, h, q, k));
  check(heads, { b: 7 });
  const shared = additiveBias(hostTensor(values.slice(0, 15), [3, 5]));
  expectEverywhere(shared.expression, (s, _b, _h, q, k) => s + at(0, 0, q, k));
  check(shared, { b: 7, h: 9 });
  const rows = additiveBias(hostTensor(values.slice(0, 6), [2, 3, 1]));
  expectEverywhere(rows.expression, (s, _b, h, q) => s + (3 * h + q) * (3 * h + q));
  check(rows, { m: 8 });
  expectEverywhere(additiveBias(hostTensor([5], [1, 1])).expression, (s) => s + 5);
  expect(() => check(shared, { n: 4 })).toThrow(
    'additiveBias needs a table [4, 5], [2, 4, 5] or [2, 2, 4, 5], got [3, 5]',
  );
  expect(() => additiveBias(hostTensor([1], [1]))).toThrow('got [1]');
});

test('float32 tables are copied as they are, halves without loss, and what becomes of them later changes nothing', () => {
  const values = Float32Array.from({ length: 8 * 130 }, (_, i) => Math.sin(i));
  const score = additiveBias(hostTensor(values, [8, 130]));
  const valuesOf = ({ tables: [place] }: Score) => (place as { readonly table: Table }).table.values;
  const expected = values.slice();
  values.fill(7);
  expect(valuesOf(score)).toEqual(expected);
  // The kernels read the very array.
  const { tables } = compileProgram('bias', score.expression, { ...extent, n: 8, m: 130 });
  expect(tables[0]).toBe(valuesOf(score));
  const halves = additiveBias(hostTensor(Uint16Array.of(0x3c00, 0xc000), [1, 2], 'f16'));
  expect(valuesOf(halves)).toEqual(Float32Array.of(1, -2));
  const integers = from((s, _b, _h, _q, k, { x }) => s + (x[k] as number), { x: Int32Array.of(2 ** 31 - 1) });
  expect(valuesOf(integers)).toEqual(Float64Array.of(2 ** 31 - 1));
});

test('tensors in the place of arrays, composed: read in the same places', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const [slopes, table, bias] = [
    [0.5, 0.25],
    Float32Array.from({ length: 18 }, (_, i) => i * i),
    Float32Array.from({ length: 15 }, (_, i) => Math.cos(i)),
  ] as const;
  const arrays = compose(
    alibi(slopes),
    relativeBias(hostTensor(table, [2, 9])),
    additiveBias(hostTensor(bias, [3, 5])),
  );
  const [x, y, z] = [runtime.tensor(slopes, [2]), runtime.tensor(table, [2, 9]), runtime.tensor(bias, [3, 5])];
  const score = compose(softcap(1e9), alibi(x), relativeBias(y), additiveBias(z));
  expect(score.tensors.map(({ tensor }) => tensor)).toEqual([x, y, z]);
  expect(partsOf(score).map(({ name, first, length }) => [name, first, length])).toEqual([
    ['slopes', 0, 2],
    ['table', 2, 18],
    ['table_2', 20, 15],
  ]);
  const tensors = [slopes, table, bias].map((values) => Float64Array.from(values));
  for (const [h, q, k] of [
    [0, 0, 0],
    [1, 2, 4],
    [1, 0, 3],
  ] as const) {
    const fixed = { b: 1, h, n: 3, m: 5, tensors };
    expect(evaluate(score.expression, q, k, fixed, 2)).toBeCloseTo(evaluate(arrays.expression, q, k, fixed, 2), 6);
  }
  expect(() => check(alibi(y))).toThrow('alibi needs a slope for each of 2 heads, got 18');
  expect(() => check(additiveBias(y))).toThrow('additiveBias needs a table [3, 5]');
  for (const each of [x, y, z]) each.dispose();
});

test('what is no table or no score is refused', () => {
  const given = [1, 2, 3] as unknown as HostTensor;
  expect(() => relativeBias(given)).toThrow('table must be a host tensor, got [1, 2, 3]');
  expect(() => additiveBias(undefined as unknown as HostTensor)).toThrow('table must be a host tensor, got undefined');
  expect(() => compose(softcap(2), 'alibi' as unknown as Score)).toThrow('score 1 of compose() must be a Score');
});

test('compose goes in order', () => {
  const bias = [1, 2, 3, 4, 5];
  const later = from((score, _b, _h, _q, k, { bias }) => score + (bias[k] as number), { bias });
  const both = compose(softcap(2), alibi([0.5, 0.25]), later);
  expect(both.name).toMatch(/^softcap 2, then alibi, then from \(/);
  expectEverywhere(
    both.expression,
    (s, _b, h, q, k) => 2 * Math.tanh(s / 2) - ([0.5, 0.25][h] as number) * Math.abs(q + 2 - k) + (bias[k] as number),
  );
  expectEverywhere(both.derivative, (s) => 1 - Math.tanh(s / 2) ** 2);
  expect(() => check(both, { h: 3 })).toThrow('alibi needs a slope');
  expectEverywhere(
    compose(later, softcap(2)).expression,
    (s, _b, _h, _q, k) => 2 * Math.tanh((s + (bias[k] as number)) / 2),
  );
  expectEverywhere(compose().expression, (s) => s);
});
