import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, differentiated, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { numericGradient } from '../../../../test/numeric-gradient';
import { scoped } from '../../../../test/scoped';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import { l2vit } from '.';

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      m: fc.integer({ min: 1, max: 70 }),
      // Without a minimum a small denominator magnifies the rounding of gradients that cancel.
      params: fc.record(
        { minimum: fc.constantFrom(1, 10, 1e4), scale: fc.double({ min: -2, max: 2, noNaN: true }) },
        { requiredKeys: [] },
      ),
      hasTau: fc.boolean(),
    })
    .map(({ m, params, hasTau }) => ({
      q: [b, n, h, d],
      k: [b, m, g, d],
      v: [b, m, g, e],
      params,
      ...(hasTau && { others: { tau: random([h], 7) } }),
    })),
);

describeMethod(l2vit, cases);

function random(shape: readonly number[], seed: number): HostTensor<'f32'> {
  return hostTensor(normal(sizeOf(shape), seed), shape, 'f32');
}

const mapped = (x: HostTensor<'f32'>, map: (value: number) => number): HostTensor<'f32'> => ({
  ...x,
  data: x.data.map(map),
});
const inputs = { q: random([1, 9, 2, 4], 1), k: random([1, 9, 2, 4], 2), v: random([1, 9, 2, 3], 3) };
const referenceOf = (given: Record<'q' | 'k' | 'v', HostTensor> & { tau?: HostTensor }, params: object) =>
  l2vit.reference(given, l2vit.parse(params));
const outOf = (...args: Parameters<typeof referenceOf>) => referenceOf(...args).out!.data as Float64Array;

describe('the reference', () => {
  test.each([0, 5, 100])('has the gradients of its differences, minimum %d', (minimum) => {
    const given: Record<'q' | 'k' | 'v' | 'tau', HostTensor> = { ...inputs, tau: random([2], 4) };
    const gradOut = random([1, 9, 2, 3], 5);
    const grads = l2vit.reference(given, l2vit.parse({ minimum }), gradOut);
    for (const [name, input] of Object.entries(given)) {
      const moved = (data: Float64Array) =>
        outOf({ ...given, [name]: hostTensor(data, input.shape, 'f64') }, { minimum });
      const expected = numericGradient(moved, input.data as Float32Array, gradOut.data);
      expectClose(
        grads[`grad_${name}`]!.data as Float64Array,
        expected,
        expected.map((value) => 1e-6 * Math.max(1, Math.abs(value))),
      );
    }
  });

  test('is keys and values first as well as queries and keys first', () => {
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => x.data);
    const expected = new Float64Array(9 * 2 * 3);
    for (let head = 0; head < 2; head++) {
      const state = new Float64Array(12);
      for (let j = 0; j < 9; j++)
        for (let r = 0; r < 4; r++)
          for (let c = 0; c < 3; c++)
            state[r * 3 + c]! += (Math.max(0, k![(j * 2 + head) * 4 + r]!) * v![(j * 2 + head) * 3 + c]!) / 2;
      for (let i = 0; i < 9; i++)
        for (let r = 0; r < 4; r++)
          for (let c = 0; c < 3; c++)
            expected[(i * 2 + head) * 3 + c]! += (Math.max(0, q![(i * 2 + head) * 4 + r]!) * state[r * 3 + c]!) / 1000;
    }
    expectClose(outOf(inputs, { minimum: 1000 }), expected, 1e-15);
  });

  test('without a minimum gives means of the values, with one less', () => {
    const [out, less] = [outOf(inputs, { minimum: 0, scale: 1 }), outOf(inputs, { minimum: 50, scale: 1 })];
    const { denominator } = referenceOf(inputs, {});
    for (let at = 0; at < out.length; at++) {
      const [row, c] = [Math.floor(at / 3), at % 3];
      const column = inputs.v.data.filter((_, i) => i % 3 === c && Math.floor(i / 3) % 2 === row % 2);
      expect(out[at]).toBeGreaterThanOrEqual(Math.min(...column));
      expect(out[at]).toBeLessThanOrEqual(Math.max(...column));
      const share = Math.min(1, (denominator!.data[row] as number) / 50);
      expect(less[at]).toBeCloseTo(out[at]! * share, 12);
    }
  });

  test('does not see the size of keys or queries above the minimum, and is linear in both below', () => {
    for (const name of ['q', 'k'] as const) {
      const larger = { ...inputs, [name]: mapped(inputs[name], (value) => 4 * value) };
      expectClose(outOf(larger, { minimum: 1e-3 }), outOf(inputs, { minimum: 1e-3 }), 1e-12);
      expectClose(
        outOf(larger, { minimum: 1e4 }),
        outOf(inputs, { minimum: 1e4 }).map((value) => 4 * value),
        1e-15,
      );
    }
  });

  test('of queries without a positive number is zero', () => {
    const q = mapped(inputs.q, (value) => -Math.abs(value));
    for (const minimum of [0, 100]) expect(outOf({ ...inputs, q }, { minimum }).every((x) => x === 0)).toBe(true);
  });

  test('moves with its tokens', () => {
    const turned = (x: HostTensor<'f32'>) => {
      const row = x.data.length / 9;
      return { ...x, data: Float32Array.from([...x.data.subarray(row), ...x.data.subarray(0, row)]) };
    };
    const out = outOf(inputs, {});
    const moved = outOf({ q: turned(inputs.q), k: turned(inputs.k), v: turned(inputs.v) }, {});
    expectClose(moved.subarray(0, 48), out.subarray(6), 1e-15);
  });
});

describeOnBackends('l2vit', (runtime) => {
  test('gives zeros, never NaN, for queries that meet no key, without a minimum too', async () => {
    await scoped(runtime(), async () => {
      const q = runtime().tensor(
        Float32Array.from({ length: 24 }, (_, at) => (at < 12 ? -1 : 1)),
        [1, 4, 2, 3],
      );
      const gradOut = runtime().random([1, 4, 2, 3]);
      for (const minimum of [0, 1e-40, 100]) {
        const params = l2vit.parse({ minimum });
        const { out, denominator } = l2vit.forward({ q, k: q, v: q }, params);
        expectClose(((await out!.read()) as Float32Array).subarray(0, 12), new Array(12).fill(0), 0);
        expectClose((await denominator!.read()) as Float32Array, [0, 0, 0, 0, 6, 6, 6, 6], 1e-6);
        const { gradients } = differentiated(l2vit, { q, k: q, v: q }, params, gradOut);
        for (const grad of Object.values(gradients))
          expect(((await grad.read()) as Float32Array).every(Number.isFinite)).toBe(true);
      }
    });
  });

  test('agrees with the reference without a minimum', async () => {
    await scoped(runtime(), async () => {
      const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => runtime().fromHost(x));
      const { out } = l2vit.forward({ q: q!, k: k!, v: v! }, l2vit.parse({ minimum: 0 }));
      expectClose((await out!.read()) as Float32Array, outOf(inputs, { minimum: 0 }), 1e-5);
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using q = runtime().random([1, 4, 2, 3]);
    using tau = runtime().random([3]);
    using k = runtime().random([1, 4, 2, 5]);
    const run = (given: object) => l2vit.forward({ q, k: q, v: q, ...given }, l2vit.parse({}));
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => run({ tau }), 'tau must have shape [h] with h = 2 as in q [1, 4, 2, 3], got [3]');
    await refuse(() => run({ k }), 'k must have shape [b, m, g, d] with d = 3 as in q [1, 4, 2, 3]');
    using half = runtime().random([1, 4, 2, 3], { dtype: 'f16' });
    await refuse(() => run({ v: half }), 'v must be f32, got f16');
  });

  test('frees what it computes on the way', async () => {
    using q = runtime().random([1, 20, 2, 4]);
    using tau = runtime().random([2]);
    const before = runtime().memory().live;
    const { results, gradients } = differentiated(l2vit, { q, k: q, v: q, tau }, l2vit.parse({}), q);
    expect(Object.keys(gradients)).toEqual(['q', 'k', 'v', 'tau']);
    for (const tensor of [...Object.values(results), ...Object.values(gradients)]) tensor.dispose();
    await runtime().finish();
    expect(runtime().memory().live).toBe(before);
  });
});

test('the cost counts the products, 64 n c multiply-adds for heads of 32', () => {
  const { flops, state } = l2vit.cost({ b: 1, n: 49, m: 49, h: 3, g: 3, d: 32, e: 32 }, l2vit.parse({}));
  const products = 2 * 64 * 49 * 96;
  // Beside them: features, sums of keys and denominators, minimum and factor.
  expect(flops).toBe(products + 49 * 3 * (2 * 32 + 32 + 2 * 32 + 3 + 32));
  expect(state).toBe(4 * 3 * 32 * 33);
});

test('weights are the products of the features', async () => {
  const { data } = await weightsOf(l2vit, inputs, {}, [4]);
  const { denominator } = referenceOf(inputs, {});
  expect(data.subarray(0, 9).reduce((a, b) => a + b)).toBeCloseTo(denominator!.data[8] as number, 5);
});

describe('params', () => {
  test('have the minimum of the code', () => {
    expect(l2vit.parse({})).toEqual({ minimum: 100 });
    expect(l2vit.isCausal?.(l2vit.parse({}))).toBe(false);
  });

  test.each([
    [{ minimum: -1 }, 'param minimum of l2vit: expected finite float32 number >= 0, got -1'],
    [{ minimum: Number.NaN }, 'param minimum of l2vit: expected finite float32 number >= 0, got NaN'],
    [{ scale: '1' }, 'param scale of l2vit: expected finite float32 number, got "1"'],
    [{ causal: true }, "l2vit has no param 'causal': expected minimum, scale"],
  ])('%j is refused by name', (params, message) => {
    expect(() => l2vit.parse(params as never)).toThrow(message);
  });
});
