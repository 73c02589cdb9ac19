import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, randomCases } from '../../../test/backends';
import { centredLocalLinear as centred, type LocalLinearExtents as Problem } from '../../../test/centred-local-linear';
import { expectClose, expectRefusal } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import {
  attention,
  cast,
  createRuntime,
  differentiate,
  type LocalLinearSettings,
  localLinearAttention,
  localLinearAttentionBackward,
  multiply,
  type Runtime,
  sum,
  type Tensor,
} from '../../index';

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
const settings = fc.record({
  causal: fc.boolean(),
  scale: fc.constantFrom(0.5, -0.3, 0),
  solver: fc.constantFrom('cg' as const, 'direct' as const),
  stopGradRidge: fc.boolean(),
});
/** Two tiles of rows and three of keys, neither full. */
const LARGE: Problem = { b: 1, n: 30, m: 50, g: 1, h: 2, d: 9, e: 5 };

function inputsOf(runtime: Runtime, { b, n, m, g, h, d, e }: Problem) {
  const q = runtime.random([b, n, h, d], { seed: 1 });
  const k = runtime.random([b, m, g, d], { seed: 2 });
  const v = runtime.random([b, m, g, e], { seed: 3 });
  return { q, k, v };
}

/** Ridges from 0.1 to 2.1. */
function ridgesOf(runtime: Runtime, { b, n, h }: Problem): Tensor<'f32'> {
  return runtime.tensor(
    Float32Array.from({ length: b * n * h }, (_, at) => 0.1 + (at % 5) / 2),
    [b, n, h],
  );
}

/** How far queries and keys spread, about what, and how sharp the weights are. */
interface Spread {
  readonly deviation: number;
  readonly offset: number;
  readonly ridge: number;
  readonly scale: number;
}

/** Problems of a spread; more of them, or with more columns, make a sweep. */
const SPREAD_OUT: Problem = { b: 4, n: 30, m: 30, g: 1, h: 1, d: 8, e: 5 };
const spreads = spreadsFrom([
  { offset: 1000, ridge: 1, scale: 0 },
  { deviation: 4, ridge: 1 },
  { deviation: 8, ridge: 0.1 },
  { offset: 100, ridge: 0.1, scale: 0 },
  { offset: 1000, ridge: 10 },
  ...[0.5, 1, 2, 4, 8].flatMap((deviation) => [0.1, 1, 10, 100].map((ridge) => ({ deviation, ridge }))),
]);

function spreadsFrom(some: readonly (Partial<Spread> & Pick<Spread, 'ridge'>)[]): readonly Spread[] {
  return some.map((spread) => ({ deviation: 1, offset: 0, scale: 1 / Math.sqrt(SPREAD_OUT.d), ...spread }));
}

interface Errors {
  readonly forward: number;
  readonly backward: number;
}

/** What a spread's problems are, what they give, and how far the centred form in float32 is from that. */
async function spreadOut(spread: Spread) {
  let made = madeSpreads.get(spread);
  if (!made) {
    const { deviation, offset, ridge } = spread;
    const problem = SPREAD_OUT;
    const { q, k, v } = await read(inputsOf(truth, problem));
    using gradOut = truth.random([problem.b, problem.n, problem.h, problem.e], { seed: 4 });
    const moved = (x: Float32Array) => x.map((y) => offset + deviation * y);
    const inputs = {
      ...{ q: moved(q!), k: moved(k!), v: v!, gradOut: await gradOut.read() },
      ridge: new Float32Array(problem.b * problem.n * problem.h).fill(ridge),
    };
    const expected = await ofSpread(truth, spread, inputs, {});
    const rounded = centred(problem, { scale: spread.scale, causal: true }, inputs, Math.fround);
    made = { inputs, expected, least: errorsOf(rounded, expected) };
    madeSpreads.set(spread, made);
  }
  return made;
}
const madeSpreads = new Map<
  Spread,
  { inputs: Record<string, Float32Array>; expected: Record<string, Float32Array>; least: Errors }
>();

/** Results and gradients of a spread's problems, under causal attention. */
function ofSpread(
  runtime: Runtime,
  { scale }: Spread,
  inputs: Readonly<Record<string, Float32Array>>,
  settings: LocalLinearSettings,
) {
  const { b, n, m, g, h, d, e } = SPREAD_OUT;
  const shapes = { q: [b, n, h, d], k: [b, m, g, d], v: [b, m, g, e], gradOut: [b, n, h, e], ridge: [b, n, h] };
  return read(
    runtime.scope(() => {
      const of = (name: keyof typeof shapes) => runtime.tensor(inputs[name]!, shapes[name]);
      const [q, k, v, gradOut] = [of('q'), of('k'), of('v'), of('gradOut')];
      const options = { ...settings, ridgeRows: of('ridge'), scale, causal: true };
      const { out, lse, solution } = localLinearAttention(q, k, v, options);
      return { out, ...localLinearAttentionBackward(q, k, v, { lse, solution, gradOut }, options) };
    }),
  );
}

/** The largest errors of results and of gradients, each over the largest number of its tensor. */
function errorsOf(
  got: Readonly<Record<string, ArrayLike<number>>>,
  expected: Readonly<Record<string, Float32Array>>,
): Errors {
  const errorOf = (name: string) => {
    const numbers = expected[name]!;
    const [worst, largest] = numbers.reduce(
      ([worst, largest], x, at) => [Math.max(worst, Math.abs(got[name]![at]! - x)), Math.max(largest, Math.abs(x))],
      [0, 0],
    );
    return worst / (largest || 1);
  };
  const gradients = ['gradQ', 'gradK', 'gradV', 'gradRidgeRows'];
  return { forward: errorOf('out'), backward: Math.max(...gradients.map(errorOf)) };
}

/** The numbers of tensors, which are disposed. */
async function read(tensors: Readonly<Record<string, Tensor>>): Promise<Record<string, Float32Array>> {
  const entries = Object.entries(tensors).map(async ([name, x]) => {
    using wide = cast(x, 'f32');
    x.dispose();
    return [name, await wide.read()] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** Results and gradients, as numbers. */
function outcome(
  runtime: Runtime,
  problem: Problem,
  options: LocalLinearSettings,
  dtype: 'f32' | 'f16' | 'bf16' = 'f32',
) {
  return read(
    runtime.scope(() => {
      const inputs = inputsOf(runtime, problem);
      const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => cast(x, dtype)) as [Tensor, Tensor, Tensor];
      const gradOut = runtime.random([...q.shape.slice(0, 3), problem.e], { seed: 4 });
      const all = { ridgeRows: ridgesOf(runtime, problem), ...options };
      const result = localLinearAttention(q, k, v, all);
      const { lse, solution } = result;
      const { iterations, residual, ...kept } = result;
      return { ...kept, ...localLinearAttentionBackward(q, k, v, { lse, solution, gradOut }, all) };
    }),
  );
}

function expectAlike(
  got: Record<string, Float32Array>,
  expected: Record<string, Float32Array>,
  tolerance: number,
): void {
  expect(Object.keys(got).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, numbers] of Object.entries(expected)) {
    expectClose(
      got[name]!,
      numbers,
      Array.from(numbers, (x) => tolerance * Math.max(1, Math.abs(x))),
    );
  }
}

let truth: Runtime;
beforeAll(async () => {
  truth = await createRuntime({ backend: 'reference' });
});
afterAll(() => truth.dispose());

describe('the reference', () => {
  test('agrees with the centred form, and with the differences of that', async () => {
    await fc.assert(
      fc.asyncProperty(problems, settings, async (random, { stopGradRidge, ...options }) => {
        const problem = {
          ...random,
          n: Math.min(random.n, 4),
          m: Math.min(random.n, 4) + 2,
          d: Math.min(random.d, 3),
          e: 2,
        };
        const inputs = await read({ ...inputsOf(truth, problem), ridge: ridgesOf(truth, problem) });
        const { out, lse, solution, ...grads } = await outcome(truth, problem, options);
        const expected = centred(problem, options, inputs);
        expectAlike(
          { out, lse, solution } as never,
          { out: expected.out, lse: expected.lse, solution: expected.solution } as never,
          1e-5,
        );
        using random4 = truth.random([...[problem.b, problem.n, problem.h], problem.e], { seed: 4 });
        const weights = await random4.read();
        for (const [name, input] of Object.entries({ gradQ: 'q', gradK: 'k', gradV: 'v', gradRidgeRows: 'ridge' })) {
          const of = (x: Float64Array) => centred(problem, options, { ...inputs, [input]: x }).out;
          expectClose(grads[name]!, numericGradient(of, inputs[input]!, weights, 1e-5), 1e-4);
        }
      }),
      randomCases(10),
    );
  });

  test('with stopGradRidge has the gradients where the ridge follows the sum of exponentials', async () => {
    const problem = { b: 1, n: 3, m: 4, g: 1, h: 1, d: 2, e: 2 };
    const inputs = await read({ ...inputsOf(truth, problem), ridge: ridgesOf(truth, problem) });
    const { gradQ, gradK } = await outcome(truth, problem, { stopGradRidge: true });
    using gradOut = truth.random([1, 3, 1, 2], { seed: 4 });
    const weights = await gradOut.read();
    const { lse } = centred(problem, {}, inputs);
    for (const [got, input] of [
      [gradQ, 'q'],
      [gradK, 'k'],
    ] as const) {
      const of = (x: Float64Array) => {
        const moved = { ...inputs, [input]: x };
        const now = centred(problem, {}, moved).lse;
        return centred(
          problem,
          {},
          { ...moved, ridge: inputs.ridge!.map((y, at) => y * Math.exp(lse[at]! - now[at]!)) },
        ).out;
      };
      expectClose(got!, numericGradient(of, inputs[input]!, weights, 1e-3), 1e-3);
    }
  });
});

describeOnBackends('localLinearAttention', (runtime) => {
  const isReference = () => runtime().backend.name === 'reference';
  const of = async (...args: Parameters<typeof localLinearAttention>) => read({ ...localLinearAttention(...args) });

  test('and its gradients agree with the reference', async () => {
    await fc.assert(
      fc.asyncProperty(problems, settings, async (problem, options) => {
        expectAlike(await outcome(runtime(), problem, options), await outcome(truth, problem, options), 1e-4);
      }),
      {
        ...randomCases(10),
        examples: [
          [LARGE, { causal: true, scale: 0.5, solver: 'cg', stopGradRidge: false }],
          [
            { ...LARGE, m: 90, d: 20 },
            { causal: true, scale: 0.2, solver: 'direct', stopGradRidge: false },
          ],
        ],
      },
    );
  });

  test.for(fewOnGpu(spreads, 3))(
    'errs at most four times the centred form in float32: deviation $deviation, offset $offset, ridge $ridge, scale $scale',
    async (spread) => {
      if (isReference()) return;
      const { inputs, expected, least } = await spreadOut(spread);
      for (const solver of ['cg', 'direct'] as const) {
        const got = await ofSpread(runtime(), spread, inputs, { solver, maxIterations: 40 });
        const error = errorsOf(got, expected);
        expect(error.forward, solver).toBeLessThan(4 * least.forward + 1e-6);
        expect(error.backward, solver).toBeLessThan(4 * least.backward + 1e-6);
        if (spread.ridge >= 1 && spread.deviation <= 4 && spread.offset === 0)
          expect(error.backward, solver).toBeLessThan(1e-4);
      }
    },
  );

  test('gives the line through three values where nothing is penalised', async () => {
    using q = runtime().tensor([3], [1, 1, 1, 1]);
    using k = runtime().tensor([0, 1, 2], [1, 3, 1, 1]);
    using v = runtime().tensor([1, 3, 5], [1, 3, 1, 1]);
    for (const solver of ['cg', 'direct'] as const) {
      const { out } = await of(q, k, v, { ridge: 0, scale: 0, solver });
      expect(out![0]).toBeCloseTo(7, 5);
    }
  });

  test('is exact on affine maps almost without a ridge, and softmax attention with a large one', async () => {
    const { q, k, v: random } = inputsOf(runtime(), { ...LARGE, d: 3 });
    random.dispose();
    const keys = await k.read();
    const affine = (x: ArrayLike<number>, at: number) => 2 * x[at]! - x[at + 1]! + 0.5 * x[at + 2]! + 1;
    using v = runtime().tensor(
      Float32Array.from({ length: 50 }, (_, j) => affine(keys, 3 * j)),
      [1, 50, 1, 1],
    );
    const queries = await q.read();
    const { out } = await of(q, k, v, { ridge: 1e-6 });
    expectClose(
      out!,
      Float32Array.from({ length: 60 }, (_, i) => affine(queries, 3 * i)),
      1e-4,
    );
    const softmax = await read({ ...attention(q, k, v) });
    const far = await of(q, k, v, { ridge: 1e9 });
    expectAlike({ out: far.out!, lse: far.lse! }, softmax, 1e-5);
    q.dispose();
    k.dispose();
  });

  test.for(['f16', 'bf16'] as const)('reads and writes %s', async (dtype) => {
    const got = await outcome(runtime(), LARGE, {}, dtype);
    const expected = await outcome(truth, LARGE, {}, dtype);
    expectAlike(got, expected, dtype === 'f16' ? 2e-3 : 2e-2);
  });

  test('reads strided views and a ridge in 16 bits, and the tape has the same gradients', async () => {
    const expected = await outcome(runtime(), LARGE, {});
    using gradOut = runtime().random([1, 30, 2, 5], { seed: 4 });
    const { q, k, v } = inputsOf(runtime(), LARGE);
    using ridgeRows = ridgesOf(runtime(), LARGE);
    const strided = (x: Tensor) => runtime().scope(() => cast(x.permute([0, 2, 1, 3]), 'f32').permute([0, 2, 1, 3]));
    const inputs = { q: strided(q), k: strided(k), v: strided(v), ridgeRows };
    const { loss, gradients } = differentiate(
      ({ q, k, v, ridgeRows }) => sum(multiply(localLinearAttention(q, k, v, { ridgeRows }).out, gradOut)),
      inputs,
    );
    loss.dispose();
    const { q: gradQ, k: gradK, v: gradV, ridgeRows: gradRidgeRows } = gradients;
    const { out, lse, solution, ...grads } = expected;
    expectAlike(await read({ gradQ, gradK, gradV, gradRidgeRows } as Record<string, Tensor>), grads, 1e-5);
    for (const x of [q, k, v, inputs.q, inputs.k, inputs.v]) x.dispose();
  });

  test('keeps what is infinite or NaN to the rows that have or see it', async () => {
    const { q, k, v } = await read(inputsOf(runtime(), LARGE));
    const clean = await from({ q: q!, k: k!, v: v! });
    q!.fill(Number.NaN, 9 * 2 * 4, 9 * 2 * 4 + 1); // query 4
    k![9 * 45] = Number.POSITIVE_INFINITY; // seen by rows from 25 on
    v![5 * 40 + 1] = Number.NaN; // seen by rows from 20 on, in column 1
    const { out } = await from({ q: q!, k: k!, v: v! });
    out!.forEach((x, at) => {
      const row = Math.floor(at / 10);
      const isTouched = row >= 25 || (row === 4 && at % 10 < 5) || (row >= 20 && at % 5 === 1);
      if (isTouched) expect(x).toBeNaN();
      else expect(Math.abs(x - clean.out![at]!)).toBeLessThan(1e-5);
    });

    async function from(numbers: Readonly<Record<'q' | 'k' | 'v', Float32Array>>) {
      using q = runtime().tensor(numbers.q, [1, 30, 2, 9]);
      using k = runtime().tensor(numbers.k, [1, 50, 1, 9]);
      using v = runtime().tensor(numbers.v, [1, 50, 1, 5]);
      return of(q, k, v, { causal: true });
    }
  });

  test.for([1e-40, 1e8])('takes queries and keys of the size of %d', async (size) => {
    const scaled = (runtime: Runtime) =>
      read(
        runtime.scope(() => {
          const { q, k, v } = inputsOf(runtime, LARGE);
          const factor = runtime.tensor([size], [1]);
          const [left, right] = [multiply(q, factor), multiply(k, factor)];
          const options = size > 1 ? { scale: size ** -2, ridge: size ** 2 } : {};
          return { out: localLinearAttention(left, right, v, options).out };
        }),
      );
    expectAlike(await scaled(runtime()), await scaled(truth), 1e-5);
  });

  test.for([1e3, 1e5, 1e8])(
    'has the value of one key where scores of the size of %d squared leave the others none',
    async (size) => {
      if (isReference()) return;
      const { q, k, v } = await read(inputsOf(truth, LARGE));
      const inputs = { q: q!.map((x) => size * x), k: k!.map((x) => size * x), v: v! };
      const { out: expected } = centred(LARGE, {}, { ...inputs, ridge: new Float32Array(60).fill(10) });
      for (const solver of ['cg', 'direct'] as const) {
        const { out } = await read(
          runtime().scope(() => {
            const queries = runtime().tensor(inputs.q, [1, 30, 2, 9]);
            const keys = runtime().tensor(inputs.k, [1, 50, 1, 9]);
            return {
              out: localLinearAttention(queries, keys, runtime().tensor(inputs.v, [1, 50, 1, 5]), { solver }).out,
            };
          }),
        );
        expectClose(out!, expected, 1e-5);
      }
    },
  );

  test('is softmax attention with the largest ridge that float32 holds', async () => {
    const { q, k, v } = inputsOf(runtime(), LARGE);
    using gradOut = runtime().random([1, 30, 2, 5], { seed: 4 });
    const softmax = await read({ ...attention(q, k, v) });
    const { lse, solution, out, ...others } = localLinearAttention(q, k, v, { ridge: 3.4e38 });
    const gradients = localLinearAttentionBackward(q, k, v, { lse, solution, gradOut }, { ridge: 3.4e38 });
    expectClose((await read({ out })).out!, softmax.out!, 1e-6);
    await read({ lse, solution, ...others, ...gradients });
    for (const x of [q, k, v]) x.dispose();
  });

  test('goes on from keys and values that were there before, as if all had come at once', async () => {
    const { q, k, v } = inputsOf(runtime(), { ...LARGE, n: 50, g: 2 });
    const { out } = await of(q, k, v, { causal: true, ridge: 1 });
    for (const first of [49, 20]) {
      using last = q.slice(1, first, 50);
      const step = await of(last, k, v, { causal: true, ridge: 1 });
      expectClose(step.out!, out!.subarray(first * 2 * 5), 1e-5);
    }
    for (const x of [q, k, v]) x.dispose();
  });

  test('gives zeros to queries that see no key', async () => {
    using q = runtime().random([1, 5, 1, 2], { seed: 1 });
    using k = runtime().random([1, 3, 1, 2], { seed: 2 });
    const { out, lse } = await of(q, k, k, { causal: true });
    expect([...out!.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    expect([...lse!.subarray(0, 2)]).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    const [first, second] = await k.read();
    expectClose(out!.subarray(4, 6), [first!, second!], 1e-6);
  });

  test('tells how many rows it did not solve, and how far they were', async () => {
    using q = runtime().random([1, 4, 1, 8], { seed: 1 });
    using k = runtime().random([1, 40, 1, 8], { seed: 2 });
    using same = k.slice(1, 0, 4);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    for (const solver of ['cg', 'direct'] as const) {
      await refuse(
        () => localLinearAttention(q, same, same, { ridge: 0, solver }),
        'localLinearAttention did not solve 4 of 4 rows',
      );
    }
    if (isReference()) return;
    await refuse(
      () => localLinearAttention(q, k, k, { ridge: 0.1, maxIterations: 1 }),
      'localLinearAttention did not solve 4 of 4 rows: after 1 iterations the largest residual is ',
    );
    const { lse, solution, ...others } = localLinearAttention(q, k, k);
    await refuse(
      () => localLinearAttentionBackward(q, k, k, { lse, solution, gradOut: q }, { ridge: 0.1, maxIterations: 1 }),
      'localLinearAttentionBackward did not solve 4 of 4 rows: after 1 iterations',
    );
    await read({ lse, solution, ...others });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using q = runtime().random([1, 4, 3, 2]);
    using k = runtime().random([1, 4, 2, 2]);
    using v = runtime().random([1, 4, 1, 2]);
    using ridges = runtime().tensor(new Float32Array(12).fill(-1), [1, 4, 3]);
    const refuse = (options: object, message: string) =>
      expectRefusal(runtime(), () => localLinearAttention(q, v, v, options), message);
    await expectRefusal(
      runtime(),
      () => localLinearAttention(q, k, k),
      'the 2 heads of k [1, 4, 2, 2] must divide the 3',
    );
    await refuse({ ridge: -1 }, 'ridge must be 0 or a number from 1.18e-38 to 3.4e38, as float32 holds, got -1');
    await refuse({ ridge: 1e-50 }, 'ridge must be 0 or a number from 1.18e-38 to 3.4e38, as float32 holds, got 1e-50');
    await refuse({ ridge: 1, ridgeRows: ridges }, 'ridge is given by row in ridgeRows: leave it out');
    await refuse(
      { ridgeRows: v },
      'ridgeRows must have shape [b, n, h] with b = 1 as in q [1, 4, 3, 2], got [1, 4, 1, 2]',
    );
    await refuse({ ridgeRows: ridges }, 'ridgeRows must be finite and at least 0, got -1 at [0, 0, 0]');
    await refuse({ solver: 'lu' }, "solver must be one of cg, direct, got 'lu'");
    await refuse({ tolerance: 0 }, 'tolerance must be a number above 0 and below 1, got 0');
    await refuse({ maxIterations: 0 }, 'maxIterations must be');
    await refuse({ causal: 1 }, 'causal must be true or false, got 1');
    const gradOut = q;
    const lse = ridges;
    await expectRefusal(
      runtime(),
      () => localLinearAttentionBackward(q, v, v, { lse, solution: v as Tensor<'f32'>, gradOut }),
      'solution must have shape [b, n, h, d] with h = 3 as in q [1, 4, 3, 2], got [1, 4, 1, 2]',
    );
  });
});
