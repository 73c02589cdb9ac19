import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { attention, localLinearAttention, localLinearAttentionBackward, type Runtime } from '../../index';

interface Problem {
  readonly b: number;
  readonly n: number;
  readonly m: number;
  readonly g: number;
  readonly h: number;
  readonly d: number;
  readonly e: number;
}

interface Settings {
  readonly ridge?: number;
  readonly causal?: boolean;
  readonly scale?: number;
}

const problems = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    n: fc.integer({ min: 1, max: 40 }),
    more: fc.integer({ min: 0, max: 9 }),
    g: fc.integer({ min: 1, max: 2 }),
    repeat: fc.integer({ min: 1, max: 2 }),
    d: fc.integer({ min: 1, max: 11 }),
    e: fc.integer({ min: 1, max: 14 }),
  })
  .map(({ repeat, more, ...rest }): Problem => ({ ...rest, m: rest.n + more, h: rest.g * repeat }));
const settings = fc.record({ ridge: fc.constantFrom(10, 1, 0.1), causal: fc.boolean(), scale: fc.constantFrom(0.5, -0.3, 0) });

function inputsOf(runtime: Runtime, { b, n, m, g, h, d, e }: Problem, seed = 1) {
  const q = runtime.random([b, n, h, d], { seed });
  const k = runtime.random([b, m, g, d], { seed: seed + 1 });
  const v = runtime.random([b, m, g, e], { seed: seed + 2 });
  return { q, k, v };
}

describeOnBackends('localLinearAttention', (runtime) => {
  const isReference = () => runtime().backend.name === 'reference';

  test.for(['cg', 'direct'] as const)('agrees with the centred form, solved by %s', async (solver) => {
    await fc.assert(
      fc.asyncProperty(problems, settings, async (problem, options) => {
        const { q, k, v } = inputsOf(runtime(), problem);
        const result = localLinearAttention(q, k, v, { ...options, solver });
        const [queries, keys, values] = (await Promise.all([q, k, v].map((x) => x.read()))) as Float32Array[];
        const expected = centred(problem, options, queries!, keys!, values!);
        expectClose(await result.out.read(), expected.out, 2e-5);
        expectClose(await result.lse.read(), expected.lse, 1e-5);
        expectClose(await result.solution.read(), expected.solution, expected.solution.map((x) => 1e-4 * (1 + Math.abs(x))));
        for (const x of [q, k, v, ...Object.values(result)]) x.dispose();
      }),
      { numRuns: 15 },
    );
  });

  test.for(['cg', 'direct'] as const)('has the gradients of differences, solved by %s', async (solver) => {
    await fc.assert(
      fc.asyncProperty(problems, settings, async (large, options) => {
        const problem = { ...large, n: Math.min(large.n, 5), m: Math.min(large.n, 5) + 2, d: Math.min(large.d, 4) };
        const { b, n, h, e } = problem;
        const { q, k, v } = inputsOf(runtime(), problem);
        const gradOut = runtime().random([b, n, h, e], { seed: 9 });
        const ridgeRows = runtime().tensor(new Float32Array(b * n * h).fill(options.ridge), [b, n, h]);
        const { ridge, ...others } = options;
        const set = { ...others, ridgeRows, solver };
        const result = localLinearAttention(q, k, v, set);
        const { lse, solution } = result;
        const grads = localLinearAttentionBackward(q, k, v, { lse, solution, gradOut }, set);
        const [queries, keys, values, weights] = (await Promise.all([q, k, v, gradOut].map((x) => x.read()))) as Float32Array[];
        const of = (...inputs: [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>]) =>
          centred(problem, options, ...inputs).out;
        const expected = {
          gradQ: numericGradient((x) => of(x, keys!, values!), queries!, weights!, 1e-5),
          gradK: numericGradient((x) => of(queries!, x, values!), keys!, weights!, 1e-5),
          gradV: numericGradient((x) => of(queries!, keys!, x), values!, weights!, 1e-5),
        };
        for (const [name, numbers] of Object.entries(expected)) {
          const got = await grads[name as keyof typeof expected].read();
          expectClose(got, numbers, numbers.map((x) => 2e-4 * (1 + Math.abs(x))));
        }
        const byRidge = numericGradient(([x]) => centred(problem, { ...options, ridge: x! }, queries!, keys!, values!).out, [ridge], weights!, 1e-5);
        const sum = ((await grads.gradRidgeRows!.read()) as Float32Array).reduce((total, x) => total + x, 0);
        expect(sum).toBeCloseTo(byRidge[0]!, 3);
        for (const x of [q, k, v, gradOut, ridgeRows, ...Object.values(result), ...Object.values(grads)]) x.dispose();
      }),
      { numRuns: 10 },
    );
  });
});

/** The centred form: from the means under the weights, as a parallax whose probe is the solution. */
function centred(
  { b, n, m, g, h, d, e }: Problem,
  { ridge = 10, causal = false, scale = 1 / Math.sqrt(d) }: Settings,
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
) {
  const out = new Float64Array(b * n * h * e);
  const solution = new Float64Array(b * n * h * d);
  const lse = new Float64Array(b * n * h);
  for (let at = 0; at < b * n * h; at++) {
    const [head, i, batch] = [at % h, Math.floor(at / h) % n, Math.floor(at / (n * h))];
    const query = Array.from({ length: d }, (_, c) => q[at * d + c]!);
    const seen = causal ? i + m - n + 1 : m;
    const places = Array.from({ length: seen }, (_, j) => (batch * m + j) * g + Math.floor((head * g) / h));
    const keys = places.map((place) => Array.from({ length: d }, (_, c) => k[place * d + c]!));
    const values = places.map((place) => Array.from({ length: e }, (_, c) => v[place * e + c]!));
    const scores = keys.map((key) => scale * dot(key, query));
    const largest = Math.max(...scores);
    const total = scores.reduce((sum, score) => sum + Math.exp(score - largest), 0);
    const p = scores.map((score) => Math.exp(score - largest) / total);
    lse[at] = largest + Math.log(total);
    const mean = Array.from({ length: d }, (_, c) => keys.reduce((sum, key, j) => sum + p[j]! * key[c]!, 0));
    const x = keys.map((key) => key.map((y, c) => y - mean[c]!));
    const matrix = Array.from({ length: d }, (_, r) =>
      Array.from({ length: d }, (_, c) => x.reduce((sum, y, j) => sum + p[j]! * y[r]! * y[c]!, r === c ? ridge : 0)),
    );
    const r = solved(matrix, mean.map((y, c) => y - query[c]!));
    solution.set(r, at * d);
    values.forEach((value, j) => {
      const weight = p[j]! * (1 - dot(x[j]!, r));
      value.forEach((y, c) => {
        out[at * e + c]! += weight * y;
      });
    });
  }
  return { out, lse, solution };
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, c) => sum + x * b[c]!, 0);

/** Gauss and Jordan, for positive definite matrices. */
function solved(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, r) => [...row, right[r]!]);
  rows.forEach((row, c) => {
    const pivot = row[c]!;
    row.forEach((x, at) => {
      row[at] = x / pivot;
    });
    rows.forEach((other, r) => {
      const factor = other[c]!;
      if (r !== c) row.forEach((x, at) => { other[at]! -= factor * x; });
    });
  });
  return rows.map((row) => row.at(-1)!);
}
