import * as fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, differentiated, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { numericGradient } from '../../../../test/numeric-gradient';
import { scoped } from '../../../../test/scoped';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import { dydila } from '.';
import { type DydilaInputs, focused } from './reference';

function random(shape: readonly number[], seed: number, shift = 0): HostTensor<'f32'> {
  return hostTensor(
    normal(sizeOf(shape), seed).map((value) => value + shift),
    shape,
    'f32',
  );
}

/** Exponents from 1.5 to 3.5, all different. */
const exponents = (f: number, u: number) =>
  hostTensor(
    Float32Array.from({ length: f * u }, (_, at) => 1.5 + (2 * at) / (f * u)),
    [f, u],
  );

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      m: fc.integer({ min: 1, max: 70 }),
      params: fc.record(
        { gamma: fc.constantFrom(1, 2.5), lambda: fc.constantFrom(-0.3, 0.5), scale: fc.constantFrom(-1, 0.1) },
        { requiredKeys: [] },
      ),
      isDifferential: fc.boolean(),
      u: fc.integer({ min: 0, max: 4 }),
      s: fc.integer({ min: 0, max: 4 }),
    })
    .map(({ m, params, isDifferential, u, s }) => {
      const f = isDifferential ? 4 : 2;
      const others = {
        ...(isDifferential && { q_redundant: random([b, n, h, d], 5), k_redundant: random([b, m, g, d], 6) }),
        ...(u > 0 && { gamma: exponents(f, u) }),
        ...(u > 1 && { gamma_router: random([f, d, u], 8) }),
        ...(isDifferential && s > 0 && { lambda: random([s], 9) }),
        ...(isDifferential && s > 1 && { lambda_router: random([2, 2 * d, s], 10) }),
      };
      return { q: [b, n, h, d], k: [b, m, g, d], v: [b, m, g, e], params, others };
    }),
);

// Few runs: float32 may choose otherwise where two logits are all but equal.
describeMethod(dydila, cases, 20);

const plain = { q: random([1, 6, 2, 4], 1), k: random([1, 6, 2, 4], 2), v: random([1, 6, 2, 3], 3) };
const differential = { ...plain, q_redundant: random([1, 6, 2, 4], 5), k_redundant: random([1, 6, 2, 4], 6) };
const outOf = (inputs: DydilaInputs<HostTensor>, params: object = {}) =>
  dydila.reference(inputs, dydila.parse(params)).out!.data as Float64Array;
const relu = (x: HostTensor<'f32'>): HostTensor<'f32'> => ({ ...x, data: x.data.map((value) => Math.max(0, value)) });

/** sum_j (a_i . c_j) v_j / 6 for heads of four numbers. */
function linear(a: ArrayLike<number>, c: ArrayLike<number>, v: ArrayLike<number>): Float64Array {
  const out = new Float64Array(36);
  for (let at = 0; at < 72; at++) {
    const [i, head, j] = [Math.floor(at / 12), Math.floor(at / 6) % 2, at % 6];
    let weight = 0;
    for (let r = 0; r < 4; r++) weight += a[(i * 2 + head) * 4 + r]! * c[(j * 2 + head) * 4 + r]!;
    for (let r = 0; r < 3; r++) out[(i * 2 + head) * 3 + r]! += (weight * v[(j * 2 + head) * 3 + r]!) / 6;
  }
  return out;
}

describe('the feature map', () => {
  test.each([
    [1, [3, 4]],
    [2, [2.451, 4.358]],
    [3, [1.943, 4.607]],
  ])('of (3, 4) by %d is as worked out by hand', (exponent, expected) => {
    expectClose(focused(Float64Array.of(3, 4), exponent), expected, 1e-3);
  });

  test('keeps the length of relu(z), is homogeneous, and goes to the largest coordinate', () => {
    const z = Float64Array.from(normal(9, 1));
    const size = Math.hypot(...z.map((value) => Math.max(0, value)));
    for (const exponent of [1, 2, 3, 7.5]) {
      const phi = focused(z, exponent);
      expect(Math.hypot(...phi)).toBeCloseTo(size, 12);
      expectClose(
        focused(
          z.map((value) => 3 * value),
          exponent,
        ),
        phi.map((value) => 3 * value),
        1e-12,
      );
    }
    expect(Math.max(...focused(z, 500))).toBeCloseTo(size, 6);
    expectClose(focused(Float64Array.of(-1, 2.5, -3), 7), [0, 2.5, 0], 1e-14);
    expectClose(focused(Float64Array.of(-1, -2), 3), [0, 0], 0);
    const root = vi.spyOn(Math, 'sqrt');
    focused(new Float64Array(100).fill(2), 3);
    // The lengths of a row are computed once, not for each element.
    expect(root).toHaveBeenCalledTimes(2);
    root.mockRestore();
  });

  test('parts random pairs the more, the larger the exponent: the means of the sheet', () => {
    const [pairs, d] = [4000, 16];
    const numbers = normal(2 * pairs * d, 3);
    const means = [1, 2, 3, 5].map((exponent) => {
      let sum = 0;
      for (let pair = 0; pair < pairs; pair++) {
        const [a, c] = [0, 1].map((side) => {
          const first = (2 * pair + side) * d;
          return focused(Float64Array.from(numbers.subarray(first, first + d)), exponent);
        }) as [Float64Array, Float64Array];
        sum += a.reduce((product, value, r) => product + value * c[r]!, 0) / (Math.hypot(...a) * Math.hypot(...c));
      }
      return sum / pairs;
    });
    expectClose(means, [0.335, 0.222, 0.168, 0.122], 0.01);
  });
});

describe('the reference', () => {
  test('with exponent 1 and no redundant features is ReLU linear attention', () => {
    const expected = linear(relu(plain.q).data, relu(plain.k).data, plain.v.data);
    expectClose(outOf(plain, { gamma: 1 }), expected, 1e-13);
    expectClose(outOf(differential, { gamma: 1, lambda: 0 }), expected, 1e-13);
  });

  test('with equal redundant features is (1 - lambda)^2 of the plain output, and 0 at lambda = 1', () => {
    const same = { ...plain, q_redundant: plain.q, k_redundant: plain.k };
    const expected = outOf(plain).map((value) => 0.49 * value);
    expectClose(outOf(same, { lambda: 0.3 }), expected, 1e-14);
    expect(outOf(same, { lambda: 1 }).every((value) => value === 0)).toBe(true);
  });

  test('expands into four products', () => {
    const l = 0.4;
    const phi = (x: HostTensor<'f32'>) => {
      const rows = Array.from({ length: 12 }, (_, r) => [
        ...focused(Float64Array.from(x.data.subarray(r * 4, r * 4 + 4)), 3),
      ]);
      return rows.flat();
    };
    const [a, c, a2, c2] = [plain.q, plain.k, differential.q_redundant, differential.k_redundant].map(phi);
    const v = plain.v.data;
    const [aa, ab, ba, bb] = [linear(a!, c!, v), linear(a!, c2!, v), linear(a2!, c!, v), linear(a2!, c2!, v)];
    expectClose(
      outOf(differential, { lambda: l }),
      aa.map((value, at) => value - l * ab[at]! - l * ba[at]! + l * l * bb[at]!),
      1e-12,
    );
  });

  test('moves with its tokens', () => {
    const turned = (x: HostTensor<'f32'>) => {
      const row = x.data.length / 6;
      return { ...x, data: Float32Array.from([...x.data.subarray(row), ...x.data.subarray(0, row)]) };
    };
    const moved = Object.fromEntries(Object.entries(differential).map(([name, x]) => [name, turned(x)]));
    expectClose(outOf(moved as unknown as typeof differential).subarray(0, 30), outOf(differential).subarray(6), 1e-13);
  });

  test('takes the first of equal choices', () => {
    const routed = { ...plain, gamma: exponents(2, 3), gamma_router: hostTensor(new Float32Array(24), [2, 4, 3]) };
    const bank = routed.gamma.data as Float32Array;
    const first = [bank[0]!, bank[3]!];
    expectClose(outOf(routed), outOf({ ...plain, gamma: hostTensor(first, [2, 1]) }), 1e-14);
  });

  test('has the gradients of its differences where nothing is chosen', () => {
    const given: Record<string, HostTensor> = {
      ...differential,
      gamma: exponents(4, 1),
      lambda: hostTensor([0.4], [1]),
    };
    checkGradients(given, Object.keys(given));
  });

  test('has the gradients of its differences by the banks where something is', () => {
    const given: Record<string, HostTensor> = {
      ...differential,
      gamma: exponents(4, 3),
      gamma_router: random([4, 4, 3], 8),
      lambda: random([3], 9),
      lambda_router: random([2, 8, 3], 10),
    };
    checkGradients(given, ['v', 'lambda']);
    // A router of lambda sees features, through which gamma has a straight-through gradient too.
    const { lambda_router: _, ...fixed } = given;
    checkGradients({ ...fixed, lambda: hostTensor([0.4], [1]) }, ['v', 'gamma', 'lambda']);
  });

  test.each([1e-6, 0.3])('has the gradients of its differences over sums of weights, epsilon %d', (epsilon) => {
    checkGradients(differential, Object.keys(differential), { normalise: 'sum', lambda: 0.4, epsilon });
  });

  test('over sums of weights gives means of the values, whatever the scale', () => {
    const out = outOf(plain, { normalise: 'sum' });
    expectClose(outOf(plain, { normalise: 'sum', scale: 3 }), out, 1e-13);
    for (const [at, value] of out.entries()) {
      const column = plain.v.data.filter((_, i) => i % 6 === at % 6);
      expect(value).toBeGreaterThanOrEqual(Math.min(...column, 0));
      expect(value).toBeLessThanOrEqual(Math.max(...column, 0));
    }
  });

  function checkGradients(given: Record<string, HostTensor>, names: readonly string[], params: object = {}): void {
    const gradOut = random([1, 6, 2, 3], 11);
    const all = given as unknown as DydilaInputs<HostTensor> & Record<'q' | 'k' | 'v', HostTensor>;
    const grads = dydila.reference(all, dydila.parse(params), gradOut);
    for (const name of names) {
      const input = given[name] as HostTensor;
      const moved = (data: Float64Array) => outOf({ ...all, [name]: hostTensor(data, input.shape, 'f64') }, params);
      const expected = numericGradient(moved, input.data as Float32Array, gradOut.data);
      expectClose(
        grads[`grad_${name}`]!.data as Float64Array,
        expected,
        expected.map((value) => 1e-6 * Math.max(1, Math.abs(value))),
      );
    }
  }

  test('goes straight through a choice: the gradient of the mean of the bank under the softmax', () => {
    const one = {
      q: random([1, 1, 1, 3], 1, 1),
      k: random([1, 1, 1, 3], 2, 1),
      v: random([1, 1, 1, 2], 3),
      q_redundant: random([1, 1, 1, 3], 4, 1),
      k_redundant: random([1, 1, 1, 3], 5, 1),
    };
    const gradOut = random([1, 1, 1, 2], 6);
    const routed = { ...one, gamma: exponents(4, 2), gamma_router: random([4, 3, 2], 7) };
    const bank = routed.gamma.data as Float32Array;
    const grads = dydila.reference(routed, dydila.parse({}), gradOut);
    // By each exponent, of the same problem with the entries that were chosen and no choice.
    const choices = [one.q, one.k, one.q_redundant, one.k_redundant].map((x, f) => {
      const logits = logitsOf(x.data, routed.gamma_router.data.subarray(f * 6, f * 6 + 6), 2);
      return logits.indexOf(Math.max(...logits));
    });
    const chosen = choices.map((u, f) => bank[2 * f + u]!);
    const unrouted = { ...one, gamma: hostTensor(chosen, [4, 1]) };
    const fixed = dydila.reference(unrouted, dydila.parse({}), gradOut);
    expectClose(outOf(routed), fixed.out!.data as Float64Array, 1e-14);
    const expected = [one.q, one.k, one.q_redundant, one.k_redundant].flatMap((x, f) => {
      const entries = bank.subarray(2 * f, 2 * f + 2);
      const soft = (router: Float64Array) => [meanUnderSoftmax(logitsOf(x.data, router, 2), entries)];
      const router = routed.gamma_router.data.subarray(f * 6, f * 6 + 6);
      return [...numericGradient(soft, router, [fixed.grad_gamma!.data[f] as number])];
    });
    expectClose(grads.grad_gamma_router!.data as Float64Array, expected, 1e-7);
  });
});

function logitsOf(x: ArrayLike<number>, router: ArrayLike<number>, u: number): number[] {
  return Array.from({ length: u }, (_, choice) =>
    Array.from(x).reduce((sum, value, c) => sum + value * router[c * u + choice]!, 0),
  );
}

function meanUnderSoftmax(logits: readonly number[], bank: ArrayLike<number>): number {
  const powers = logits.map(Math.exp);
  const sum = powers.reduce((a, b) => a + b);
  return powers.reduce((mean, power, u) => mean + (power / sum) * bank[u]!, 0);
}

describeOnBackends('dydila', (runtime) => {
  test('refuses what does not fit, by name, and frees everything', async () => {
    const make = (...shape: number[]) => runtime().random(shape);
    using q = make(1, 4, 2, 3);
    using long = make(1, 5, 2, 3);
    using two = make(2, 1);
    using bank = make(2, 2);
    using router = make(2, 3, 2);
    using lambda = make(2);
    using narrow = make(2, 3, 2);
    const run = (given: object) => dydila.forward({ q, k: q, v: q, ...given }, dydila.parse({}));
    const both = { q_redundant: q, k_redundant: q };
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => run({ q_redundant: q }), 'q_redundant needs k_redundant');
    await refuse(() => run({ ...both, k_redundant: long }), 'k_redundant must have shape [b, m, g, d] with m = 4');
    await refuse(() => run({ lambda }), 'lambda needs q_redundant');
    await refuse(() => run({ gamma_router: router }), 'gamma_router needs gamma');
    await refuse(() => run({ gamma: bank }), 'gamma [2, 2] needs gamma_router to pick from it');
    await refuse(
      () => run({ ...both, gamma: two }),
      'gamma must have 4 rows, for q, k, q_redundant and k_redundant, got [2, 1]',
    );
    await refuse(() => run({ ...both, lambda }), 'lambda [2] needs lambda_router to pick from it');
    await refuse(
      () => run({ ...both, lambda, lambda_router: narrow }),
      'lambda_router must have shape [2, 2 d, s] with d = 3 as in q, got [2, 3, 2]',
    );
    using half = runtime().random([1, 4, 2, 3], { dtype: 'f16' });
    await refuse(() => run({ v: half }), 'v must be f32, got f16');
  });

  test('and its gradients agree with the reference over sums of weights', async () => {
    await scoped(runtime(), async () => {
      const gradOut = random([1, 6, 2, 3], 11);
      const tensors = Object.fromEntries(
        Object.entries(differential).map(([name, x]) => [name, runtime().fromHost(x)]),
      );
      // Where a sum all but vanishes, float32 has few digits of it.
      for (const epsilon of [0.05, 0.3]) {
        const params = dydila.parse({ normalise: 'sum', lambda: 0.4, epsilon });
        const expected = dydila.reference(differential, params, gradOut);
        const { results, gradients } = differentiated(dydila, tensors, params, runtime().fromHost(gradOut));
        for (const [name, tensor] of [['out', results.out!] as const, ...Object.entries(gradients)]) {
          const want = expected[name === 'out' ? name : `grad_${name}`]!.data as Float64Array;
          expectClose(
            (await tensor.read()) as Float32Array,
            want,
            want.map((value) => 1e-4 * Math.max(1, Math.abs(value))),
          );
        }
      }
    });
  });

  test('frees what it computes on the way', async () => {
    using q = runtime().random([1, 9, 2, 3]);
    using gamma = runtime().tensor(exponents(4, 2).data, [4, 2]);
    using gammaRouter = runtime().random([4, 3, 2]);
    using lambda = runtime().random([2]);
    using lambdaRouter = runtime().random([2, 6, 2]);
    const banks = { gamma, gamma_router: gammaRouter, lambda, lambda_router: lambdaRouter };
    const inputs = { q, k: q, v: q, q_redundant: q, k_redundant: q, ...banks };
    const before = runtime().memory().live;
    for (const normalise of ['none', 'sum']) {
      const params = dydila.parse({ normalise } as never);
      const { results, gradients } = differentiated(dydila, inputs, params, q);
      expect(Object.keys(gradients).sort()).toEqual(Object.keys(inputs).sort());
      for (const tensor of [...Object.values(results), ...Object.values(gradients)]) tensor.dispose();
      await runtime().finish();
      expect(runtime().memory().live).toBe(before);
    }
  });
});

test('the cost counts the features and two products', () => {
  const letters = { b: 2, n: 10, m: 12, h: 4, g: 2, d: 3, e: 5 };
  const { flops, state } = dydila.cost(letters, dydila.parse({}));
  expect(flops).toBe(2 * (8 * 3 * (40 + 24) + 40 * 3 + 2 * 15 * (40 + 24)));
  expect(state).toBe(4 * 2 * 4 * 15);
  const { flops: more } = dydila.cost(letters, dydila.parse({ normalise: 'sum' }));
  expect(more - flops).toBe(2 * (2 * 3 * (40 + 24) + 40 * 7));
});

test('weights are what multiplies the values, but for the scale', async () => {
  const { data, shape } = await weightsOf(dydila, plain, {}, [1, 4]);
  expect(shape).toEqual([1, 2, 2, 6]);
  const out = outOf(plain);
  for (const [at, query] of [1, 4].entries()) {
    for (let head = 0; head < 2; head++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let j = 0; j < 6; j++) sum += data[(at * 2 + head) * 6 + j]! * plain.v.data[(j * 2 + head) * 3 + c]!;
        expect(sum / 6).toBeCloseTo(out[(query * 2 + head) * 3 + c]!, 5);
      }
    }
  }
});

describe('params', () => {
  test('have the defaults of the small setting', () => {
    expect(dydila.parse({})).toEqual({ gamma: 3, lambda: 0.01, normalise: 'none', epsilon: 1e-6 });
  });

  test.each([
    [{ gamma: 0.5 }, 'param gamma of dydila: expected finite float32 number >= 1 and <= 1000000, got 0.5'],
    [{ gamma: 1e300 }, 'param gamma of dydila: expected finite float32 number >= 1 and <= 1000000, got 1e+300'],
    [{ lambda: Number.NaN }, 'param lambda of dydila: expected finite float32 number, got NaN'],
    [{ lambda: -1e39 }, 'param lambda of dydila: expected finite float32 number, got -1e+39'],
    [{ normalise: 'rows' }, 'param normalise of dydila: expected one of none, sum, got "rows"'],
    [{ epsilon: 0 }, 'param epsilon of dydila: expected finite float32 number >= 1e-30, got 0'],
    [{ scale: '1' }, 'param scale of dydila: expected finite float32 number, got "1"'],
    [{ causal: true }, "dydila has no param 'causal': expected gamma, lambda, scale, normalise, epsilon"],
  ])('%j is refused by name', (params, message) => {
    expect(() => dydila.parse(params as never)).toThrow(message);
  });
});
