import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import type { Runtime } from '../../index';
import {
  add,
  cos,
  elu,
  eluPlusOne,
  exp,
  gelu,
  multiply,
  power,
  pullback,
  reciprocal,
  relu,
  rsqrt,
  sigmoid,
  silu,
  sin,
  step,
  subtract,
  type Tensor,
  tanh,
} from '../../index';

const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 4 });
const special = [
  ...[0, 1e-45, 1e-40, 1.2e-38, 1e-20, 1e-8, 1e-4, 5, 20, 50, 87, 90, 95, 103, 3e38, Infinity].flatMap((x) => [x, -x]),
  Number.NaN,
];

const logistic = (x: number) => 1 / (1 + Math.exp(-x));
const cube = (x: Parameters<typeof power>[0], options?: Parameters<typeof power>[2]) => power(x, 3, options);

/** What the terms add up to where two of them cancel. */
const siluTerms = (x: number) => logistic(x) + Math.abs(x) * logistic(x) * logistic(-x);
/** The exponent of e^(-x^2 / 2) is rounded where it is large. */
const geluTerms = (x: number) => (normalCdf(x) + Math.abs(x) * density(x)) * (1 + Math.min(x, 0) ** 2);

type Real = (x: number) => number;
type Accuracy = readonly [share: number, of?: Real];

/** Function, definition, derivative, and the accuracy of both. */
const FUNCTIONS = [
  ['relu', relu, (x: number) => Math.max(x, 0), (x: number) => Number(x > 0), [0], [0]],
  ['tanh', tanh, Math.tanh, (x: number) => 1 / Math.cosh(x) ** 2, [5e-7], [1e-6]],
  ['exp', exp, Math.exp, Math.exp, [3e-7], [4e-7]],
  ['sigmoid', sigmoid, logistic, (x: number) => logistic(x) * logistic(-x), [4e-7], [1e-6]],
  ['silu', silu, (x: number) => x / (1 + Math.exp(-x)), siluSlope, [5e-7], [2e-6, siluTerms]],
  ['elu', elu, (x: number) => (x > 0 ? x : Math.expm1(x)), (x: number) => (x > 0 ? 1 : Math.exp(x)), [5e-7], [4e-7]],
  [
    'eluPlusOne',
    eluPlusOne,
    (x: number) => (x > 0 ? x + 1 : Math.exp(x)),
    (x: number) => Math.exp(Math.min(x, 0)),
    [3e-7],
    [4e-7],
  ],
  ['step', step, (x: number) => Number(x > 0), (x: number) => (Number.isNaN(x) ? 0 : 0), [0], [0]],
  ['sin', sin, Math.sin, Math.cos, [3e-7], [4e-7]],
  ['cos', cos, Math.cos, (x: number) => -Math.sin(x), [3e-7], [4e-7]],
  [
    'gelu',
    gelu,
    (x: number) => x * normalCdf(x),
    (x: number) => normalCdf(x) + x * density(x),
    [5e-7, (x) => Math.abs(x) * geluTerms(x)],
    [1e-6, geluTerms],
  ],
  ['reciprocal', reciprocal, (x: number) => 1 / x, (x: number) => -1 / x ** 2, [3e-7], [6e-7]],
  ['rsqrt', rsqrt, (x: number) => 1 / Math.sqrt(x), (x: number) => -0.5 / (x * Math.sqrt(x)), [3e-7], [6e-7]],
  ['power', cube, (x: number) => x ** 3, (x: number) => 3 * x ** 2, [3e-7], [4e-7]],
] satisfies readonly (readonly [string, typeof relu, Real, Real, Accuracy, Accuracy])[];

function density(x: number): number {
  return Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI);
}

/** The integral of the density up to x, by Simpson's rule from where nothing lies below. */
function normalCdf(x: number): number {
  if (!(Math.abs(x) < 12)) return x >= 12 ? 1 : x <= -12 ? 0 : Number.NaN;
  const steps = 2000;
  const width = (x + 12) / steps;
  let sum = density(-12) + density(x);
  for (let i = 1; i < steps; i++) sum += (i % 2 === 1 ? 4 : 2) * density(-12 + i * width);
  return (sum * width) / 3;
}

/** By the product rule, unlike the code. */
function siluSlope(x: number): number {
  return logistic(x) + x * logistic(x) * logistic(-x);
}

/** The largest errors at x: a share of the result or of what is given, and no less than the spacing of denormals. */
function errorsAt(runtime: Runtime, x: readonly number[], results: readonly number[], [share, terms]: Accuracy) {
  // A GPU may take denormals for zeros.
  const least = share && (runtime.backend.name === 'webgpu' ? 2 ** -126 : 2 ** -149);
  return results.map(
    (result, i) => share * (terms?.(x[i]!) ?? Math.abs(result)) + least * Math.max(1, Math.abs(x[i]!)),
  );
}

function gradientOf(operation: (x: Tensor) => Tensor<'f32'>, x: Tensor, gradOut: Tensor): Tensor {
  const { results, pull } = pullback(operation, x);
  results.dispose();
  return pull(gradOut);
}

describeOnBackends('functions of elements', (runtime) => {
  for (const [name, operation, definition, derivative, accuracy, slopeAccuracy] of FUNCTIONS) {
    test(`${name} and its derivative agree with their definitions on any shape`, async () => {
      await fc.assert(
        fc.asyncProperty(shapes, async (shape) => {
          using x = runtime().random(shape, { seed: shape.length });
          using gradOut = runtime().random(shape, { seed: 9 });
          const { out, check } = guarded(runtime(), shape);
          const values = [...(await x.read())];
          const expected = values.map(definition);
          expect(await operation(x, { out })).toBe(out);
          expectClose(await out.read(), expected, errorsAt(runtime(), values, expected, accuracy));

          using gradX = gradientOf(operation, x, gradOut);
          const grads = await gradOut.read();
          const slopes = values.map((value, i) => derivative(value) * grads[i]!);
          const errors = errorsAt(runtime(), values, values.map(derivative), slopeAccuracy);
          expectClose(
            await gradX.read(),
            slopes,
            errors.map((error, i) => error * Math.max(1, Math.abs(grads[i]!))),
          );
          out.dispose();
          await check();
        }),
        randomCases(30),
      );
    });

    test(`${name} of an element has the same bits whatever lies beside it`, async () => {
      const values = Float32Array.from({ length: 40 }, (_, i) => (i - 20) / 3);
      const besides = Float32Array.from({ length: 80 }, (_, i) =>
        i % 2 === 0 ? values[i / 2]! : special[i % special.length]!,
      );
      using x = runtime().tensor(values, [values.length]);
      using mixed = runtime().tensor(besides, [besides.length]);
      using out = await operation(x);
      using outOfMixed = await operation(mixed);
      expect((await outOfMixed.read()).filter((_, i) => i % 2 === 0)).toEqual(await out.read());
    });

    test(`${name} and its derivative are right at zeros, denormals, large numbers, infinities and NaN`, async () => {
      // Angles of which float32 says nothing are left out.
      const periodic = name === 'sin' || name === 'cos';
      const inputs = periodic ? special.filter((value) => !(Math.abs(value) === 3e38)) : special;
      using x = runtime().tensor(inputs, [inputs.length]);
      using ones = runtime().tensor(new Float32Array(inputs.length).fill(1), [inputs.length]);
      const values = [...(await x.read())];
      using out = await operation(x);
      using slopes = gradientOf(operation, x, ones);
      for (const [results, definitionOf, share] of [
        [out, definition, accuracy],
        [slopes, derivative, slopeAccuracy],
      ] as const) {
        const expected = values.map((value) => Math.fround(definitionOf(value)) + 0);
        // A GPU may take denormals for zeros.
        const isFlushed = (x: number, result: number) =>
          runtime().backend.name === 'webgpu' && Math.abs(x) < 2 ** -126 && result === definitionOf(0 * x);
        expectClose(
          Float64Array.from(await results.read(), (got, i) => (isFlushed(values[i]!, got) ? expected[i]! : got + 0)),
          expected,
          errorsAt(runtime(), values, expected, share),
        );
      }
    });
  }

  test('sin and cos hold for large angles', async () => {
    const values = Float32Array.from(
      { length: 2001 },
      (_, i) => (Math.sign(i - 1000) * 1.02 ** Math.abs(i - 1000)) % 1e9,
    );
    using x = runtime().tensor(values, [values.length]);
    using sines = await sin(x);
    using cosines = await cos(x);
    expectClose(await sines.read(), Array.from(values, Math.sin), 3e-7);
    expectClose(await cosines.read(), Array.from(values, Math.cos), 3e-7);
  });

  test('eluPlusOne stays positive and elu small where they are', async () => {
    using x = runtime().tensor([-60, -20, -1e-6], [3]);
    using positive = await eluPlusOne(x);
    using small = await elu(x);
    const [deep, low] = await positive.read();
    expectClose([deep! / Math.exp(-60), low! / Math.exp(-20)], [1, 1], 2e-6);
    expectClose([(await small.read())[2]! / Math.expm1(Math.fround(-1e-6))], [1], 2e-6);
  });

  test('tanh has a small relative error near zero', async () => {
    const values = Float32Array.from({ length: 4000 }, (_, i) => (i - 2000) / 1000);
    using x = runtime().tensor(values, [values.length]);
    using out = await tanh(x);
    const expected = Array.from(values, Math.tanh);
    expectClose(
      await out.read(),
      expected,
      expected.map((value) => 1e-6 * Math.abs(value)),
    );
  });

  for (const [name, operation, definition] of [
    ['add', add, (a: number, b: number) => a + b],
    ['subtract', subtract, (a: number, b: number) => a - b],
    ['multiply', multiply, (a: number, b: number) => a * b],
  ] as const) {
    test(`${name} repeats b along the leading axes of a`, async () => {
      await fc.assert(
        fc.asyncProperty(shapes, fc.nat({ max: 4 }), async (shape, skip) => {
          const suffix = shape.slice(skip);
          using a = runtime().random(shape, { seed: 1 });
          using b = runtime().random(suffix, { seed: 2 });
          const { out, check } = guarded(runtime(), shape);
          expect(await operation(a, b, { out })).toBe(out);
          const right = await b.read();
          const expected = Array.from(await a.read(), (value, i) => definition(value, right[i % right.length]!));
          expectClose(await out.read(), expected.map(Math.fround), 0);
          out.dispose();
          await check();
        }),
        randomCases(30),
      );
    });
  }

  test('an element of b for each row of a serves the row', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer({ min: 2, max: 40 }), async (leading, c) => {
        using a = runtime().random([...leading, c], { seed: 1 });
        using b = runtime().random([...leading, 1], { seed: 2 });
        const { out, check } = guarded(runtime(), [...leading, c]);
        await subtract(a, b, { out });
        const right = await b.read();
        const expected = Array.from(await a.read(), (value, i) => Math.fround(value - right[Math.floor(i / c)]!));
        expectClose(await out.read(), expected, 0);
        out.dispose();
        await check();
      }),
      randomCases(30),
    );
  });

  test('rows longer and shorter than a task', async () => {
    for (const [rows, c] of [
      [2, 40000],
      [40000, 2],
      [16385, 3],
    ] as const) {
      using a = runtime().random([rows, c], { seed: 1 });
      using b = runtime().random([rows, 1], { seed: 2 });
      using out = await add(a, b);
      const [left, right, sums] = [await a.read(), await b.read(), await out.read()];
      expect(sums.findIndex((sum, i) => sum !== Math.fround(left[i]! + right[Math.floor(i / c)]!))).toBe(-1);
    }
  });

  test('one tensor may be both inputs', async () => {
    using a = runtime().tensor([1, -2, 3], [3]);
    using sum = await add(a, a);
    using square = await multiply(a, a);
    expect([...(await sum.read())]).toEqual([2, -4, 6]);
    expect([...(await square.read())]).toEqual([1, 4, 9]);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using a = runtime().random([2, 3]);
    using b = runtime().random([2]);
    using bytes = runtime().tensor(new Uint8Array(3), [3]);
    using long = runtime().random([12]);
    using first = long.slice(0, 0, 8);
    using last = long.slice(0, 4, 12);
    using empty = runtime().empty([0]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => add(a, b), 'b must have a shape that broadcasts with a [2, 3], got [2]');
    await refuse(() => multiply(b, a), 'b must have a shape that broadcasts with a [2], got [2, 3]');
    await refuse(() => add(a, bytes), 'b must be f32, got u8');
    await refuse(() => tanh(empty), 'x [0] is empty');
    await refuse(() => relu(first, { out: last }), 'out shares memory with x');
    await refuse(() => add(first, last, { out: first }), 'out overlaps b otherwise than exactly');
    await refuse(() => power(a, 0), 'exponent must be an integer from 1 to 64, got 0');
    await refuse(() => power(a, 1.5), 'exponent must be an integer from 1 to 64, got 1.5');
    await refuse(() => add(a, a, { out: b }), 'out must have shape [2, 3], got [2]');
    await refuse(() => tanh(a, { signal: AbortSignal.abort(new Error('stopped')) }), 'stopped');
  });
});
