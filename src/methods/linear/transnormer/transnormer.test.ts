import * as fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, differentiated, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { numericGradient } from '../../../../test/numeric-gradient';
import { scoped } from '../../../../test/scoped';
import { concat, createKeyValueCache, type Tensor } from '../../../index';
import { type HostTensor, hostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { FromKeys } from '../../continuation';
import { exactAttention } from '../../dense/attention';
import { transnormer } from '.';
import { features, normalised, normalisedGradient } from './reference';

const random = (shape: readonly number[], seed: number, factor = 1) =>
  hostTensor(
    normal(sizeOf(shape), seed).map((value) => factor * value),
    shape,
    'f32',
  );

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      m: fc.integer({ min: 1, max: 70 }),
      params: fc.record(
        {
          attention: fc.constantFrom('norm', 'diag'),
          causal: fc.boolean(),
          // Sums of features of either sign may all but cancel: the norm would then magnify their rounding.
          phi: fc.constantFrom('1+elu', 'relu'),
          block: fc.integer({ min: 1, max: 80 }),
          weights: fc.constantFrom('softmax', 'relu'),
          epsilon: fc.constantFrom(0.1, 1),
          positions: fc.constantFrom('none', 'lrpe'),
          seed: fc.integer({ min: 0, max: 9 }),
        },
        { requiredKeys: ['epsilon'] },
      ),
      given: fc.subarray(['theta', 'reflection']),
    })
    .map(({ m, params, given }) => {
      const keys = params.attention === 'diag' || params.causal ? n : m;
      const isTurned = params.positions === 'lrpe';
      const others = {
        ...(isTurned && d > 1 && given.includes('theta') && { theta: random([Math.floor(d / 2)], 7) }),
        ...(isTurned && given.includes('reflection') && { reflection: unit(d, 8) }),
      };
      return { q: [b, n, h, d], k: [b, keys, g, d], v: [b, keys, g, e], params, others };
    }),
);

describeMethod(transnormer, cases);

function unit(d: number, seed: number): HostTensor<'f32'> {
  const values = normal(d, seed);
  const length = Math.hypot(...values);
  return hostTensor(values.map((value) => value / length) as Float32Array, [d], 'f32') as HostTensor<'f32'>;
}
const inputsOf = (n: number, { h = 2, d = 5, e = 4 } = {}) => ({
  q: random([1, n, h, d], 1),
  k: random([1, n, h, d], 2),
  v: random([1, n, h, e], 3),
});
const outOf = (inputs: Record<'q' | 'k' | 'v', HostTensor>, params: object) =>
  transnormer.reference(inputs, transnormer.parse(params)).out!.data as Float64Array;

describe('the reference', () => {
  test.each(['1+elu', 'elu', 'relu', 'identity'])('has the gradients of its differences, phi %s', (phi) => {
    const inputs = inputsOf(5, { d: 3, e: 2 });
    const gradOut = random([1, 5, 2, 2], 9);
    for (const more of [
      {},
      { causal: true },
      { attention: 'diag', block: 2 },
      { attention: 'diag', weights: 'relu' },
      { positions: 'lrpe' },
      { attention: 'diag', block: 3, positions: 'lrpe' },
    ]) {
      const params = transnormer.parse({ phi, ...more } as never);
      const given = { ...inputs, ...('positions' in more && { theta: random([1], 4) }) };
      const grads = transnormer.reference(given, params, gradOut);
      for (const [name, { shape, data }] of Object.entries(given)) {
        const moved = (values: Float64Array) => outOf({ ...given, [name]: hostTensor(values, shape, 'f64') }, params);
        const expected = numericGradient(moved, data as Float32Array, gradOut.data as Float32Array);
        expectClose(
          grads[`grad_${name}`]!.data as Float64Array,
          expected,
          expected.map((value) => 1e-5 * Math.max(1, Math.abs(value))),
        );
      }
    }
  });

  test('with positions multiplies queries and keys by how far apart they are, whatever the reflection', () => {
    const [n, d] = [6, 5];
    // The same row everywhere.
    const same = (seed: number) => {
      const row = normal(d, seed);
      return hostTensor(
        Float64Array.from({ length: n * d }, (_, at) => row[at % d]!),
        [1, n, 1, d],
      );
    };
    const qkv = { q: same(1), k: same(2), v: same(3) };
    const params = transnormer.parse({ phi: 'identity', positions: 'lrpe' });
    const theta = hostTensor([0.7, 0.2], [2]);
    const products = [3, 4].map((seed) => {
      const given = { ...qkv, theta, reflection: unit(d, seed) };
      const [a, b] = [features(qkv.q, given, params), features(qkv.k, given, params)];
      return (i: number, j: number) =>
        a.subarray(i * d, (i + 1) * d).reduce((sum, value, c) => sum + value * b[j * d + c]!, 0);
    });
    for (const product of products)
      for (let i = 1; i < n - 2; i++) expect(product(i + 2, i)).toBeCloseTo(product(2, 0), 12);
    const plain = toFloat64(qkv.q)
      .subarray(0, d)
      .reduce((sum, value, c) => sum + value * toFloat64(qkv.k)[c]!, 0);
    for (const product of products) expect(product(4, 4)).toBeCloseTo(plain, 6);
    expect(products[0]!(3, 0)).not.toBeCloseTo(products[0]!(0, 0), 3);
  });

  test('of NormAttention is the recurrence', () => {
    const inputs = inputsOf(9, { h: 1, d: 3, e: 2 });
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => x.data as Float32Array);
    const state = new Float64Array(6);
    const sums = new Float64Array(18);
    const phi = (x: number) => (x > 0 ? 1 + x : Math.exp(x));
    for (let i = 0; i < 9; i++) {
      for (let r = 0; r < 3; r++) for (let c = 0; c < 2; c++) state[r * 2 + c]! += phi(k![i * 3 + r]!) * v![i * 2 + c]!;
      for (let r = 0; r < 3; r++)
        for (let c = 0; c < 2; c++) sums[i * 2 + c]! += phi(q![i * 3 + r]!) * state[r * 2 + c]!;
    }
    expectClose(outOf(inputs, { causal: true }), normalised(sums, 2, 1e-8), 1e-12);
  });

  test('of NormAttention does not see the size of the values, nor with phi = identity that of the queries', () => {
    const inputs = inputsOf(11);
    const larger = { ...inputs, v: random([1, 11, 2, 4], 3, 8) };
    expectClose(outOf(larger, {}), outOf(inputs, {}), 1e-6);
    const queries = { ...inputs, q: random([1, 11, 2, 5], 1, 8) };
    expectClose(outOf(queries, { phi: 'identity' }), outOf(inputs, { phi: 'identity' }), 1e-6);
  });

  test.each([true, false])('of DiagAttention in one block is exact attention, causal %s', (causal) => {
    const inputs = inputsOf(13);
    const { out } = exactAttention.reference(inputs, exactAttention.parse({ causal }));
    expectClose(outOf(inputs, { attention: 'diag', causal, block: 13 }), out!.data as Float64Array, 1e-14);
  });

  test('of DiagAttention in blocks of one returns the values', () => {
    const inputs = inputsOf(7);
    expectClose(outOf(inputs, { attention: 'diag', block: 1 }), inputs.v.data as Float32Array, 0);
  });

  test('of DiagAttention is changed by a token in its own block alone, the short last one included', () => {
    const inputs = inputsOf(10);
    const before = outOf(inputs, { attention: 'diag', block: 4 });
    for (const token of [0, 5, 9]) {
      const v = (inputs.v.data as Float32Array).slice();
      v[token * 8] = 100;
      const after = outOf({ ...inputs, v: hostTensor(v, inputs.v.shape) }, { attention: 'diag', block: 4 });
      const changed = Array.from({ length: 10 }, (_, i) => i).filter((i) => before[i * 8] !== after[i * 8]);
      expect(changed).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].filter((i) => i >> 2 === token >> 2));
    }
  });

  test('the gradient of the norm is orthogonal to its input', () => {
    const [t, by] = [Float64Array.from(normal(12, 1)), Float64Array.from(normal(12, 2))];
    const grad = normalisedGradient(t, by, 12, 0);
    expect(Math.abs(grad.reduce((sum, value, at) => sum + value * t[at]!, 0))).toBeLessThan(1e-14);
  });
});

describeOnBackends('transnormer', (runtime) => {
  test.each(['elu', 'identity'])('agrees with the reference for features of either sign, phi %s', async (phi) => {
    const host = inputsOf(40);
    for (const causal of [false, true]) {
      const params = transnormer.parse({ phi, causal } as never);
      await scoped(runtime(), async () => {
        const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x));
        const { out } = transnormer.forward({ q: q!, k: k!, v: v! }, params);
        expectClose((await out!.read()) as Float32Array, outOf(host, params), 2e-5);
      });
    }
  });

  test.each([
    { weights: 'softmax', positions: 'lrpe', block: 3 },
    { weights: 'relu', block: 35 },
    { weights: 'relu', positions: 'lrpe', block: 40 },
  ] as const)('a step of %j takes the tokens of its block alone', async (given) => {
    const params = transnormer.parse({ attention: 'diag', causal: true, ...given });
    const continuation = transnormer.continuation(params) as FromKeys;
    const host = { q: random([2, 85, 4, 5], 1), k: random([2, 85, 2, 5], 2), v: random([2, 85, 2, 3], 3) };
    const theta = random([2], 4);
    const turns = <T>(theta: T) => ('positions' in given ? { theta } : {});
    const out = transnormer.reference({ ...host, ...turns(theta) }, params).out!.data as Float64Array;
    await scoped(runtime(), async () => {
      const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x)) as [Tensor, Tensor, Tensor];
      const { window } = continuation;
      using cache = createKeyValueCache(runtime(), {
        layers: [{ window }],
        rows: 2,
        heads: 2,
        d: 5,
        e: 3,
        capacity: 99,
      });
      const forward = vi.spyOn(transnormer, 'forward');
      for (const counts of [[50, 33], [0, 1], [3, 7], ...Array.from({ length: 32 }, () => [1, 1])]) {
        const before = cache.lengths;
        const n = Math.max(...counts);
        const next = (x: Tensor) =>
          concat(before.map((from, row) => x.slice(0, row, row + 1).slice(1, from, from + n)) as Tensor<'f32'>[], 0);
        cache.append(0, next(k), next(v), { counts });
        const found = (await continuation
          .attend({ q: next(q), ...turns(runtime().fromHost(theta)) }, cache.layer(0), { counts }, undefined)
          .read()) as Float32Array;
        for (const [row, count] of counts.entries()) {
          const [at, past] = [12 * (85 * row + before[row]!), 12 * (row * n + count)];
          expectClose(found.subarray(12 * row * n, past), out.subarray(at, at + 12 * count), 2e-5);
          expect(found.subarray(past, 12 * (row + 1) * n).every((x) => x === 0)).toBe(true);
        }
      }
      const tokens = forward.mock.calls.map(([{ k }]) => k.shape[1] as number);
      forward.mockRestore();
      const inBlock = (length: number) => ((length - 1) % given.block) + 1;
      expect(tokens.slice(-64)).toEqual(Array.from({ length: 32 }, (_, at) => [54 + at, 42 + at].map(inBlock)).flat());
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using q = runtime().random([1, 4, 2, 3]);
    using k = runtime().random([1, 5, 2, 3]);
    using half = runtime().random([1, 4, 2, 3], { dtype: 'f16' });
    const run = (params: object, inputs = { q, k, v: k }) => transnormer.forward(inputs, transnormer.parse(params));
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const counts = 'needs as many queries as keys, got q [1, 4, 2, 3] and k [1, 5, 2, 3]';
    await refuse(() => run({ causal: true }), `causal ${counts}`);
    using theta = runtime().random([2]);
    using reflection = runtime().tensor([1, 1, 1], [3]);
    const same = { q, k: q, v: q };
    await refuse(() => run({}, { ...same, theta } as never), 'theta is for positions lrpe: set the param');
    const lrpe = { positions: 'lrpe' };
    await refuse(() => run(lrpe, { ...same, theta } as never), 'theta must have shape [1], got [2]');
    await refuse(() => run(lrpe, { ...same, reflection } as never), 'reflection must have length 1, got 1.73');

    await refuse(() => run({ attention: 'diag' }), `attention diag ${counts}`);
    await refuse(() => run({}, { q: half as never, k, v: k }), 'q must be f32, got f16');
    await refuse(() => run({}, { q, k, v: q }), 'v must have shape [b, m, g, e] with m = 5');
  });

  test('frees what it computes on the way', async () => {
    using q = runtime().random([1, 20, 2, 4]);
    using gradOut = runtime().random([1, 20, 2, 4]);
    const before = runtime().memory().live;
    for (const params of [{}, { phi: 'identity' }, { attention: 'diag' }, { attention: 'diag', weights: 'relu' }]) {
      const settings = transnormer.parse(params as never);
      const { results, gradients } = differentiated(transnormer, { q, k: q, v: q }, settings, gradOut);
      for (const tensor of [...Object.values(results), ...Object.values(gradients)]) tensor.dispose();
      await runtime().finish();
      expect(runtime().memory().live).toBe(before);
    }
  });
});

describe('cost', () => {
  const letters = { b: 2, n: 10, m: 10, h: 4, g: 2, d: 3, e: 5 };

  test('of NormAttention are two products with a state, the features and the norm', () => {
    const { flops, state } = transnormer.cost(letters, transnormer.parse({}));
    expect(flops).toBe(2 * (2 * 15 * (10 * 2 + 10 * 4) + 3 * (10 * 4 + 10 * 2) + 3 * 10 * 4 * 5));
    expect(state).toBe(4 * 2 * 4 * 15);
  });

  test('of DiagAttention counts the pairs of the blocks', () => {
    const cost = (params: object) => transnormer.cost(letters, transnormer.parse({ attention: 'diag', ...params }));
    expect(cost({ block: 4 }).flops).toBe(2 * 2 * 4 * (16 + 16 + 4) * 8);
    expect(cost({ block: 4, causal: true }).flops).toBe(2 * 2 * 4 * (10 + 10 + 3) * 8);
    expect(cost({ block: 4, weights: 'relu' }).flops).toBe(2 * 2 * 4 * 36 * 8 + 3 * 2 * 10 * 4 * 5);
    expect(cost({ block: 4 }).visited).toBe(0.36);
    expect(cost({ block: 64 }).state).toBe(4 * 2 * 2 * 10 * 8);
  });
});

test('weights are those of the reference', async () => {
  const inputs = inputsOf(6, { h: 1 });
  const ones = hostTensor(
    Float32Array.from({ length: 36 }, (_, at) => (at % 7 === 0 ? 1 : 0)),
    [1, 6, 1, 6],
  );
  for (const params of [
    {},
    { causal: true },
    { attention: 'diag', block: 4 },
    { attention: 'diag', weights: 'relu' },
    { positions: 'lrpe' },
  ]) {
    const settings = transnormer.parse(params as never);
    const { data } = await weightsOf(transnormer, inputs, params, [2, 5]);
    const expected = outOf({ ...inputs, v: ones }, settings);
    for (const [row, query] of [2, 5].entries()) {
      const found = data.subarray(row * 6, row * 6 + 6);
      const shares = expected.subarray(query * 6, query * 6 + 6);
      const [a, c] = [found, shares].map((x) => (x as Float64Array).reduce((sum, value) => sum + value, 0));
      expectClose(
        found.map((value) => value / a!),
        shares.map((value) => value / c!),
        1e-6,
      );
    }
  }
});

describe('params', () => {
  test('have the defaults of T2', () => {
    const preset = {
      attention: 'norm',
      causal: false,
      phi: '1+elu',
      block: 64,
      weights: 'softmax',
      epsilon: 1e-8,
      positions: 'none',
      seed: 0,
    };
    expect(transnormer.parse({})).toEqual(preset);
  });

  test.each([
    [{ attention: 'both' }, 'param attention of transnormer: expected one of norm, diag, got "both"'],
    [{ phi: 'exp' }, 'param phi of transnormer: expected one of 1+elu, elu, relu, identity, got "exp"'],
    [{ block: 0 }, 'param block of transnormer: expected integer >= 1, got 0'],
    [{ weights: 1 }, 'param weights of transnormer: expected one of softmax, relu, got 1'],
    [{ epsilon: -1 }, 'param epsilon of transnormer: expected finite float32 number >= 0, got -1'],
    [{ causal: 1 }, 'param causal of transnormer: expected true or false, got 1'],
    [{ scale: 1 }, "transnormer has no param 'scale': expected attention, causal, phi, block, weights, epsilon"],
  ])('%j is refused by name', (params, message) => {
    expect(() => transnormer.parse(params as never)).toThrow(message);
  });
});
