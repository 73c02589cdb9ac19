import { describe, expect, test } from 'vitest';
import fixture from '../../../test/fixtures/linalg.json';
import { scoped } from '../../../test/scoped';
import {
  cast,
  cholesky,
  createRuntime,
  eigh,
  inverse,
  logdet,
  qr,
  type Runtime,
  solve,
  solveRefined,
  svd,
  type Tensor,
} from '../../index';

interface Case {
  readonly condition: number;
  readonly definite: number[][];
  readonly general: number[][];
  readonly b: number[][];
  readonly answers: Readonly<Record<string, number[][] | number[] | number>>;
}
// test/fixtures/make-linalg.py
const { cases } = fixture as { readonly cases: readonly Case[] };

const runtime: Runtime = await createRuntime({ backend: 'wasm', threads: 1 });
const EPSILON = { f32: 2 ** -23, f64: 2 ** -52 };

const largest = (values: ArrayLike<number>) => Math.max(...Array.from(values, Math.abs));

/** The largest difference over the largest number. */
async function errorOf(actual: Tensor, expected: Case['answers'][string]): Promise<number> {
  const wanted = [expected].flat(2) as number[];
  const found = (await actual.read()) as Float64Array;
  expect(found.length).toBe(wanted.length);
  return largest(Array.from(found, (value, at) => value - wanted[at]!)) / largest(wanted);
}

describe.each(cases)('SciPy, condition $condition', ({ condition, definite, general, b, answers }) => {
  const of = (values: number[][], dtype: 'f32' | 'f64') =>
    cast(runtime.tensor(Float64Array.from(values.flat()), [values.length, values[0]!.length], 'f64'), dtype);

  // Beyond that an f32 matrix is another one.
  test.each(condition < 1e6 ? (['f64', 'f32'] as const) : (['f64'] as const))('%s', async (dtype) => {
    await scoped(runtime, async () => {
      const [s, a, right] = [of(definite, dtype), of(general, dtype), of(b, dtype)];
      const most = 10 * EPSILON[dtype];
      const positive = { assume: 'positive-definite' } as const;
      const found: Record<string, Tensor> = {
        cholesky: cholesky(s),
        solveDefinite: solve(s, right, positive),
        solveGeneral: solve(a, right),
        inverse: inverse(a),
        logdet: logdet(s),
      };
      for (const [name, tensor] of Object.entries(found))
        expect(await errorOf(tensor, answers[name]!), name).toBeLessThan(most * condition);
      // Those of orthogonal transformations are as near as the largest of them.
      expect(await errorOf(eigh(s).values, answers.eigenvalues!)).toBeLessThan(most);
      expect(await errorOf(svd(a).s, answers.singularValues!)).toBeLessThan(most);
      const r = Float64Array.from(await qr(a).r.read(), Math.abs);
      expect(largest(r.map((value, at) => value - (answers.r as number[][]).flat()[at]!))).toBeLessThan(most);
    });
  });

  test('refined solutions tell their condition and error, and have the digits of f64', async () => {
    await scoped(runtime, async () => {
      for (const assume of ['general', 'positive-definite'] as const) {
        const matrix = assume === 'general' ? general : definite;
        const name = assume === 'general' ? 'solveGeneral' : 'solveDefinite';
        const wide = solveRefined(of(matrix, 'f64'), of(b, 'f64'), { assume });
        expect(await errorOf(wide.x, answers[name]!)).toBeLessThan(10 * condition * EPSILON.f64);
        const told = (await wide.condition.read())[0]!;
        // That of the 2-norm is off by n at most, the estimate by less than 3.
        expect(told / condition).toBeGreaterThan(1 / 24);
        expect(told / condition).toBeLessThan(8);
        expect((await wide.error.read())[0]).toBeLessThan(1e-15);
        if (condition > 1e6) continue;
        const [a, right] = [of(matrix, 'f32'), of(b, 'f32')];
        const narrow = solveRefined(a, right, { assume });
        const exact = solve<'f64'>(cast(a, 'f64'), cast(right, 'f64'));
        const size = [...(await exact.read())];
        expect(await errorOf(narrow.x, size)).toBeLessThan(10 * condition * EPSILON.f64);
        expect((await narrow.error.read())[0]).toBeLessThan(1e-15);
        if (assume === 'positive-definite') expect((await narrow.steps.read())[0]).toBeGreaterThan(0);
      }
    });
  });
});
