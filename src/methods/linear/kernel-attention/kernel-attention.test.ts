import * as fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, differentiated, relativeError, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { numericGradient } from '../../../../test/numeric-gradient';
import { scoped } from '../../../../test/scoped';
import { compare } from '../../../compare/compare';
import { ParameterError } from '../../../errors';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { createRuntime } from '../../../ops/create-runtime';
import { type HostTensor, hostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { findMethod } from '../../registry';
import { kernelAttention } from '.';
import { hostFeatures } from './reference';
import { drawn } from './settings';

const UPDATES = ['tokens', 'batch', 'mean', 'sum', 'frozen'] as const;

const random = (shape: readonly number[], seed: number, factor = 1) =>
  hostTensor(
    normal(sizeOf(shape), seed).map((x) => factor * x),
    shape,
    'f32',
  );

const shared = {
  features: fc.integer({ min: 1, max: 24 }),
  seed: fc.integer({ min: 0, max: 9 }),
};
const layers = fc
  .record({
    extents: sequences,
    m: fc.integer({ min: 1, max: 40 }),
    isGiven: fc.boolean(),
    params: fc.record(
      { ...shared, norm: fc.constantFrom('maximum', 'none'), epsilon: fc.constantFrom(0, 1e-6, 0.5) },
      { requiredKeys: ['features'] },
    ),
    lengths: fc.constantFrom('once', 'twice'),
  })
  .map(({ extents: { b, n, g, h, d, e }, m, isGiven, params, lengths }) => ({
    q: [b, n, h, d],
    k: [b, m, g, d],
    v: [b, m, g, e],
    // Longer directions overflow float32 without the maxima.
    params: { ...params, ...(params.norm !== 'none' && { lengths }) },
    others: isGiven ? { directions: random([params.features, d], 5) } : {},
  }));
const advisors = fc
  .record({
    extents: sequences,
    m: fc.integer({ min: 1, max: 60 }),
    isGiven: fc.boolean(),
    hasAdvisor: fc.boolean(),
    params: fc.record(
      {
        ...shared,
        norm: fc.constantFrom('maximum', 'unit'),
        update: fc.constantFrom(...UPDATES),
        alpha: fc.double({ min: 0, max: 1, noNaN: true }),
        beta: fc.double({ min: 0, max: 1, noNaN: true }),
      },
      { requiredKeys: ['features'] },
    ),
  })
  .map(({ extents: { b, n, h, d, e }, m, isGiven, hasAdvisor, params }) => ({
    q: [b, n, h, d],
    k: [b, m, h, d],
    v: [b, m, h, e],
    params: { ...params, part: 'advisor' },
    others: {
      ...(isGiven && { directions: random([params.features, d], 5) }),
      ...((hasAdvisor || params.update === 'frozen') && { advisor: random([b, h, params.features, e], 6) }),
    },
  }));

describe('the layer', () => describeMethod(kernelAttention, layers, 20));
describe('the advisor', () => describeMethod(kernelAttention, advisors, 30));

type HostInputs = Record<'q' | 'k' | 'v', HostTensor> & { advisor?: HostTensor; directions?: HostTensor };
const referenceOf = (inputs: HostInputs, params: object, gradOut?: HostTensor) =>
  kernelAttention.reference(inputs, kernelAttention.parse(params), gradOut);
const outOf = (inputs: HostInputs, params: object) => toFloat64(referenceOf(inputs, params).out as HostTensor);
const inputsOf = (n: number, factor = 1) => ({
  q: random([1, n, 2, 8], 1, factor),
  k: random([1, n, 2, 8], 2, factor),
  v: random([1, n, 2, 3], 3),
});

describe('the layer by its definition', () => {
  test('comes to softmax attention with many features, and nearer with more', () => {
    const inputs = inputsOf(12, 0.4);
    const { out } = softmaxAttention(inputs, 1 / Math.sqrt(8), () => true);
    for (const norm of ['maximum', 'none']) {
      const errors = [4, 256].map((features) => {
        const draws = Array.from({ length: 12 }, (_, seed) => {
          const estimate = referenceOf(inputs, { features, seed, norm }).out as HostTensor;
          return relativeError(estimate, out);
        });
        return draws.reduce((a, c) => a + c) / draws.length;
      });
      // Sixteen times the features; a quarter, but for rare large ones.
      expect(errors[1]! / errors[0]!).toBeLessThan(0.4);
    }
  });

  test('with directions that are too long it does not', () => {
    const inputs = inputsOf(12, 0.4);
    const { out } = softmaxAttention(inputs, 1 / Math.sqrt(8), () => true);
    const error = (lengths: string) =>
      relativeError(referenceOf(inputs, { features: 256, norm: 'none', lengths }).out as HostTensor, out);
    expect(error('twice')).toBeGreaterThan(3 * error('once'));
  });

  test('the maxima cancel, but for what is added', () => {
    const [maximum, none] = ['maximum', 'none'].map((norm) => outOf(inputsOf(9, 0.5), { norm, epsilon: 0 }));
    expectClose(maximum as Float64Array, none as Float64Array, 1e-4);
    expect(maximum).not.toEqual(none);
  });

  test('with the identity as values the outputs are the weights: not negative, with sum 1, and those of the maps', async () => {
    const n = 9;
    const identity = Float64Array.from({ length: n * n }, (_, at) => Number(Math.floor(at / n) === at % n));
    const inputs = { q: random([1, n, 1, 4], 1), k: random([1, n, 1, 4], 2), v: hostTensor(identity, [1, n, 1, n]) };
    const weights = outOf(inputs, { epsilon: 0 });
    expect(Math.min(...weights)).toBeGreaterThan(0);
    const { data } = await weightsOf(kernelAttention, inputs, {}, [0, 1, 2]);
    for (let i = 0; i < n; i++) {
      const row = weights.subarray(i * n, (i + 1) * n);
      expect(row.reduce((a, c) => a + c)).toBeCloseTo(1, 12);
      if (i < 3)
        expectClose(
          row,
          data.subarray(i * n, (i + 1) * n).map((x) => x / sum(data, i, n)),
          1e-5,
        );
    }
  });

  test('phi by hand: two features of one number', () => {
    const one = (value: number) => hostTensor(Float64Array.of(value), [1, 1, 1, 1]);
    const twoKeys = hostTensor(Float64Array.of(1, -1), [1, 2, 1, 1]);
    const values = hostTensor(Float64Array.of(1, 0), [1, 2, 1, 1]);
    const directions = hostTensor(Float64Array.of(1, 0), [2, 1]);
    // phi(x) = 2^-1/2 exp(-x^2 / 2) [e^x, 1]: of the query 2 with the key 1, up to what is common, e^3 + 1.
    const inputs = { q: one(2), k: twoKeys, v: values, directions };
    const expected = (Math.E ** 3 + 1) / (Math.E ** 3 + 1 + Math.E + 1);
    expect(outOf(inputs, { norm: 'none', epsilon: 0 })[0]).toBeCloseTo(expected, 12);
  });
});

/** One token a call, of features phi = 1. */
function oneToken(params: object, v: number, calls: number): number[] {
  const number = (value: number) => hostTensor(Float64Array.of(value), [1, 1, 1, 1]);
  let advisor = number(0);
  return Array.from({ length: calls }, () => {
    const inputs = { q: number(0), k: number(0), v: number(v), advisor };
    const result = referenceOf(inputs, { part: 'advisor', norm: 'unit', features: 1, ...params });
    advisor = result.advisor as HostTensor<'f64'>;
    return toFloat64(advisor)[0] as number;
  });
}

describe('the advisor by its definition', () => {
  const state = (inputs: HostInputs, params: object) =>
    toFloat64(referenceOf(inputs, { part: 'advisor', ...params }).advisor as HostTensor);
  const advisor = random([1, 2, 10, 3], 9);

  test.each(['tokens', 'batch', 'mean'])('%s: the values 2 at one key, as the sheet has them', (update) => {
    expectClose(oneToken({ update }, 2, 4), [2.38, 3.094, 3.3082, 3.37246], 1e-9);
    expectClose(oneToken({ update, alpha: 0.1, beta: 0.1 }, 2, 3), [0.22, 0.418, 0.5962], 1e-9);
    expect(oneToken({ update }, 2, 40).at(-1)).toBeCloseTo(3.4, 10);
    expect(oneToken({ update, alpha: 0.1, beta: 0.1 }, 2, 400).at(-1)).toBeCloseTo(2.2, 10);
  });

  test('beta 0 leaves it as it is; beta 1 and alpha 0 write the last value at its key', () => {
    expect(state({ ...inputsOf(5), advisor }, { beta: 0 })).toEqual(toFloat64(advisor));
    const inputs = inputsOf(5);
    // The last token's own query.
    const { out } = referenceOf({ ...inputs, q: inputs.k }, { part: 'advisor', norm: 'unit', alpha: 0, beta: 1 });
    expectClose(toFloat64(out as HostTensor).slice(-6), toFloat64(inputs.v).slice(-6), 1e-12);
  });

  test('the work on features grows as the tokens do', () => {
    const inputs = inputsOf(40);
    const from = vi.spyOn(Array, 'from');
    hostFeatures(inputs, kernelAttention.parse({}));
    const listed = from.mock.results.reduce((sum, { value }) => sum + value.length, 0);
    from.mockRestore();
    expect(listed).toBeLessThan(5 * 40);
  });

  test('sums are linear attention without a denominator', async () => {
    const inputs = inputsOf(6);
    const plain = outOf(inputs, { part: 'advisor', update: 'sum' });
    const normalised = outOf(inputs, { epsilon: 0 });
    const params = { part: 'advisor', update: 'sum' };
    const { data: rows } = await weightsOf(kernelAttention, inputs, params, [0, 1, 2, 3, 4, 5]);
    const scaled = normalised.map((value, at) => value * sum(rows, Math.floor(at / 3), 6));
    expectClose(plain, scaled, 1e-5);
  });

  test('frozen outputs do not depend on keys and values, and the advisor stays', () => {
    const inputs = { ...inputsOf(5), advisor };
    const params = { part: 'advisor', update: 'frozen' };
    const other = { ...inputs, k: random([1, 5, 2, 8], 20), v: random([1, 5, 2, 3], 21) };
    expect(outOf(inputs, params)).toEqual(outOf(other, params));
    expect(state(inputs, params)).toEqual(toFloat64(advisor));
  });

  test('token by token is all at once but for the square of beta', () => {
    const inputs = { ...inputsOf(5), advisor };
    const difference = (beta: number) => {
      const [a, b] = ['tokens', 'batch'].map((update) => state(inputs, { update, beta }));
      return Math.max(...(a as Float64Array).map((x, at) => Math.abs(x - b![at]!)));
    };
    expect(difference(0.02) / difference(0.01)).toBeCloseTo(4, 1);
  });

  test('two calls are one of both, token by token', () => {
    const { q, k, v } = inputsOf(6);
    const part = (x: HostTensor, from: number) => {
      const length = x.data.length / 6;
      const half = toFloat64(x).slice(from * length, (from + 3) * length);
      return hostTensor(half, [1, 3, ...x.shape.slice(2)]);
    };
    // Unit length, since the maxima are those of a call.
    const params = { part: 'advisor', norm: 'unit' };
    const first = referenceOf({ q: part(q, 0), k: part(k, 0), v: part(v, 0) }, params).advisor as HostTensor;
    const then = { q: part(q, 3), k: part(k, 3), v: part(v, 3), advisor: first };
    expectClose(state(then, params), state({ q, k, v }, params), 1e-12);
  });
});

test('gradients are those of finite differences', () => {
  const gradOut = random([1, 5, 2, 3], 7);
  const directions = random([4, 8], 8);
  const advisor = random([1, 2, 4, 3], 9);
  const cases: [object, object][] = [
    [{ norm: 'none' }, { directions }],
    ...UPDATES.map((update): [object, object] => [
      { part: 'advisor', update, norm: 'none' },
      { directions, advisor },
    ]),
    ...UPDATES.map((update): [object, object] => [
      { part: 'advisor', update, norm: 'unit' },
      { directions, advisor },
    ]),
  ];
  for (const [params, more] of cases) {
    const inputs: HostInputs = { ...inputsOf(5, 0.5), ...more };
    const grads = referenceOf(inputs, params, gradOut);
    for (const [name, tensor] of Object.entries(inputs)) {
      const f = (moved: Float64Array) => outOf({ ...inputs, [name]: hostTensor(moved, tensor.shape) }, params);
      const expected = numericGradient(f, toFloat64(tensor), toFloat64(gradOut), 1e-6);
      expectClose(toFloat64(grads[`grad_${name}`] as HostTensor), expected, 1e-6);
    }
  }
});

test('directions are as long as said', () => {
  const lengths = (params: object, d: number) => {
    const values = drawn(kernelAttention.parse({ features: 256, ...params }), d);
    return Array.from({ length: 256 }, (_, row) => Math.hypot(...values.subarray(row * d, (row + 1) * d)));
  };
  const mean = (values: number[]) => values.reduce((a, c) => a + c ** 2, 0) / values.length;
  expect(mean(lengths({}, 16)) / 16).toBeCloseTo(1, 0);
  expect(mean(lengths({ lengths: 'twice' }, 16)) / 256).toBeCloseTo(1, 0);
});

describeOnBackends('kernel-attention', (runtime) => {
  test('stays right where plain exponentials of the scores overflow', async () => {
    const host = inputsOf(6, 6);
    await scoped(runtime(), async () => {
      const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x));
      for (const params of [{}, { part: 'advisor' }, { part: 'advisor', norm: 'unit' }]) {
        const { out } = kernelAttention.forward({ q: q!, k: k!, v: v! }, kernelAttention.parse(params as never));
        expect(relativeError(await out!.toHost(), referenceOf(host, params).out as HostTensor)).toBeLessThan(1e-3);
      }
    });
  });

  test('samples of a batch do not meet', async () => {
    const host = { q: random([2, 7, 2, 8], 1), k: random([2, 7, 2, 8], 2), v: random([2, 7, 2, 3], 3) };
    await scoped(runtime(), async () => {
      const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x)) as [Tensor, Tensor, Tensor];
      for (const params of [{}, { part: 'advisor' }].map((given) => kernelAttention.parse(given as never))) {
        const { out } = kernelAttention.forward({ q, k, v }, params);
        const second = { q: q.slice(0, 1, 2), k: k.slice(0, 1, 2), v: v.slice(0, 1, 2) };
        const { out: alone } = kernelAttention.forward(second, params);
        expectClose(await out!.slice(0, 1, 2).read(), await alone!.read(), 1e-6);
      }
    });
  });

  test('leaves nothing allocated but results', async () => {
    const before = runtime().memory().live;
    {
      using q = runtime().random([1, 9, 2, 4], { seed: 1 });
      using advisor = runtime().random([1, 2, 10, 4], { seed: 2 });
      using directions = runtime().random([10, 4], { seed: 3 });
      for (const params of [{}, ...UPDATES.map((update) => ({ part: 'advisor' as const, update }))]) {
        const settings = kernelAttention.parse(params);
        const inputs = { q, k: q, v: q, directions, ...('part' in params && { advisor }) };
        const { results, gradients } = differentiated(kernelAttention, inputs, settings, q);
        for (const tensor of [...Object.values(results), ...Object.values(gradients)]) tensor.dispose();
      }
    }
    await runtime().finish();
    expect(runtime().memory().live).toBe(before);
  });

  test('refuses inputs that do not fit, by name, and frees everything', async () => {
    using x = runtime().random([1, 3, 2, 4]);
    using longer = runtime().random([1, 5, 2, 4]);
    using single = runtime().random([1, 3, 1, 4]);
    using half = runtime().random([1, 3, 2, 4], { dtype: 'f16' });
    using advisor = runtime().random([1, 2, 10, 4]);
    using narrow = runtime().random([1, 2, 9, 4]);
    using flat = runtime().random([10, 3]);
    using many = runtime().random([8193, 4]);
    using swapped = x.permute([0, 2, 1, 3]);
    const refuse = (inputs: object, params: object, message: string) =>
      expectRefusal(
        runtime(),
        () => kernelAttention.forward({ q: x, k: x, v: x, ...inputs }, kernelAttention.parse(params)),
        message,
      );
    await refuse({ v: longer }, {}, 'v must have shape [b, m, g, e]');
    await refuse({ q: swapped, k: swapped, v: swapped }, {}, 'q [1, 2, 3, 4] must be contiguous');
    await refuse({ q: half }, {}, 'q must be f32, got f16');
    await refuse({ q: single }, {}, 'the 2 heads of k [1, 3, 2, 4] must divide the 1 heads of q [1, 3, 1, 4]');
    await refuse({ advisor }, {}, 'advisor is an input of part advisor');
    await refuse({}, { norm: 'unit' }, 'norm unit is for part advisor');
    await refuse({}, { part: 'advisor', update: 'frozen' }, 'update frozen needs the input advisor');
    await refuse({ k: single, v: single }, { part: 'advisor' }, 'part advisor needs as many heads of k as of q');
    await refuse({ advisor: narrow }, { part: 'advisor' }, 'advisor must be of 10 features, got 9 in [1, 2, 9, 4]');
    await refuse({ directions: flat }, {}, 'directions must have shape [f, d]');
    await refuse({ directions: many }, {}, 'directions must have at most 8192 rows, got 8193');
    await refuse({ directions: many }, { features: 3 }, 'directions must be of 3 features, got 8193');
    const delta = 'update tokens, the delta rule, takes at most 256 features, got 257: choose batch, mean or sum';
    await refuse({}, { part: 'advisor', features: 257 }, delta);
  });
});

test.each([
  [{ part: 'head' }, 'param part of kernel-attention: expected one of layer, advisor, got "head"'],
  [{ features: 0 }, 'param features of kernel-attention: expected integer >= 1 and <= 8192, got 0'],
  [{ features: 8193 }, 'param features of kernel-attention: expected integer >= 1 and <= 8192, got 8193'],
  [{ norm: 'l1' }, 'param norm of kernel-attention: expected one of maximum, none, unit, got "l1"'],
  [{ lengths: 'thrice' }, 'param lengths of kernel-attention: expected one of once, twice, got "thrice"'],
  [{ epsilon: -1 }, 'param epsilon of kernel-attention: expected finite float32 number >= 0, got -1'],
  [{ update: 'ema' }, 'param update of kernel-attention: expected one of tokens, batch, mean, sum, frozen, got "ema"'],
  [{ alpha: 1e39 }, 'param alpha of kernel-attention: expected finite float32 number >= 0, got 1e+39'],
  [{ alpha: -0.1 }, 'param alpha of kernel-attention: expected finite float32 number >= 0, got -0.1'],
  [{ beta: 1.5 }, 'param beta of kernel-attention: expected finite float32 number >= 0 and <= 1, got 1.5'],
  [{ seed: 0.5 }, 'param seed of kernel-attention: expected integer'],
  [{ heads: 8 }, "kernel-attention has no param 'heads': expected part, features, norm"],
])('%j is refused by name', (params, message) => {
  expect(() => kernelAttention.parse(params as never)).toThrow(message);
  expect(() => kernelAttention.parse(params as never)).toThrow(ParameterError);
});

test('cost counts maps, sums and state', () => {
  const layer = kernelAttention.cost({ b: 2, n: 10, m: 20, h: 4, g: 2, d: 8, e: 3 }, kernelAttention.parse({}));
  expect(layer.flops).toBe(2 * (40 + 40) * (2 * 8 * 10 + 2 * 8 + 2 * 10) + 2 * 4 * 30 * 2 * 10 * 4);
  expect(layer.state).toBe(4 * 2 * 4 * 10 * 4);
  const letters = { b: 1, n: 10, m: 20, h: 2, g: 2, d: 8, e: 3 };
  const flops = (update: 'sum' | 'tokens' | 'frozen') =>
    kernelAttention.cost(letters, kernelAttention.parse({ part: 'advisor', update })).flops;
  const feature = 2 * 8 * 10 + 2 * 8 + 2 * 10;
  expect(flops('frozen')).toBe(2 * 10 * (feature + 60));
  expect(flops('sum')).toBe(2 * (30 * feature + 30 * 60));
  expect(flops('tokens')).toBe(2 * (30 * feature + 30 * 60 + 20 * (60 + 9)));
  // The size that the sheet gives: 256 x 10 numbers a module.
  const published = { b: 1, n: 1024, m: 1024, h: 1, g: 1, d: 2048, e: 256 };
  expect(kernelAttention.cost(published, kernelAttention.parse({ part: 'advisor' })).state).toBe(4 * 2560);
});

// The published table goes so far.
test.each([{}, { part: 'advisor', update: 'batch' }])('with 5000 features, %j', async (given) => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const params = kernelAttention.parse({ features: 5000, epsilon: 0, ...given } as never);
  const host = { q: random([1, 5, 1, 4], 1), k: random([1, 5, 1, 4], 2), v: random([1, 5, 1, 3], 3) };
  const gradOut = random([1, 5, 1, 3], 4);
  const expected = kernelAttention.reference(host, params, gradOut);
  await scoped(runtime, async () => {
    const [q, k, v, byOut] = [host.q, host.k, host.v, gradOut].map((x) => runtime.fromHost(x as HostTensor<'f32'>));
    const inputs = { q, k, v } as Record<'q' | 'k' | 'v', Tensor>;
    const { results, gradients } = differentiated(kernelAttention, inputs, params, byOut as Tensor);
    for (const [name, x] of Object.entries(results))
      expect(relativeError(await x.toHost(), expected[name] as HostTensor), name).toBeLessThan(3e-5);
    for (const [name, x] of Object.entries(gradients))
      expect(relativeError(await x.toHost(), expected[`grad_${name}`] as HostTensor), name).toBeLessThan(1e-4);
  });
});

test('warns where epsilon shrinks the outputs, and compare passes it on', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const shape = [1, 64, 1, 64];
  const ones = hostTensor(new Float32Array(64).fill(1), [1, 64, 1, 1], 'f32');
  const found = async (factor: number, params: object) => {
    const host = { q: random(shape, 1, factor), k: random(shape, 2, factor), v: ones };
    const sums = outOf(host, params);
    return scoped(runtime, async () => {
      const inputs = { q: runtime.fromHost(host.q), k: runtime.fromHost(host.k), v: runtime.fromHost(ones) };
      const before = runtime.memory().live;
      const warning = await kernelAttention.warning?.(inputs as never, kernelAttention.parse(params));
      expect(runtime.memory().live).toBe(before);
      return { warning, sums };
    });
  };
  const { warning, sums } = await found(1, { features: 256 });
  const mean = sums.reduce((total, sum) => total + sum, 0) / 64;
  const share = Math.round((100 * sums.filter((sum) => sum < 0.9).length) / 64);
  expect(warning).toContain(`the weights of ${share}% of the queries sum to less than 0.9`);
  expect(warning).toContain(`those of all to ${mean.toPrecision(2)} on average`);
  for (const { warning, sums } of [
    await found(1, { features: 256, epsilon: 0 }),
    await found(0.3, { features: 256 }),
  ]) {
    expect(Math.min(...sums)).toBeGreaterThan(0.9);
    expect(warning).toBeUndefined();
  }
  const [q, k] = [1, 2].map((seed) => runtime.random(shape, { seed })) as [Tensor, Tensor];
  const { rows } = await compare({ q, k, v: q }, { seconds: 0, methods: [kernelAttention] });
  const labels = rows.filter((row) => row.warning).map(({ label }) => label);
  expect(labels).toEqual(['kernel']);
});

test('compare takes both parts', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, 40, 2, 16], { seed })) as [Tensor, Tensor, Tensor];
  const { rows } = await compare({ q, k, v }, { seconds: 0, methods: [kernelAttention] });
  const labels = ['kernel', 'kernel part advisor', 'kernel part advisor update sum'];
  const found = labels.map((label) => rows.find((row) => row.label === label));
  expect(found.map((row) => row?.entropy !== undefined)).toEqual([true, false, true]);
  for (const row of found) {
    expect(row?.error).toBeUndefined();
    expect(row?.exactness).toBeLessThan(1e-5);
  }
});

test('is found by name', () => expect(findMethod('kernel-attention')).toBe(kernelAttention));

const sum = (values: Float64Array, row: number, length: number) =>
  values.subarray(row * length, (row + 1) * length).reduce((a, c) => a + c, 0);
