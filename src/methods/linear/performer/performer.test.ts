import * as fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, relativeError, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import { ParameterError } from '../../../errors';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { type HostTensor, hostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { findMethod } from '../../registry';
import { performer } from '.';
import { compressedTopK, seaPositions } from './sea';

const cases = fc
  .record({
    extents: sequences,
    m: fc.integer({ min: 1, max: 40 }),
    params: fc.record(
      {
        features: fc.integer({ min: 1, max: 24 }),
        kernel: fc.constantFrom('softmax' as const, 'relu' as const),
        orthogonal: fc.boolean(),
        seed: fc.integer({ min: 0, max: 9 }),
        causal: fc.boolean(),
        epsilon: fc.constantFrom(0, 1e-6),
        scale: fc.constantFrom(0.25, -0.1, 0),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ extents: { b, n, g, h, d, e }, m, params }) => {
    const keys = params.causal ? n : m;
    // Where all of a few features are at the floor, denominators are tiny and gradients nothing but rounding. Inputs are
    // of seeds below 10: directions drawn from the same would stand at right angles to them, where relu has its kink.
    const { features = 0, seed = 0 } = params;
    const relu = params.kernel === 'relu' && { features: 20 + features, seed: 10 + seed };
    return { q: [b, n, h, d], k: [b, keys, g, d], v: [b, keys, g, e], params: { ...params, ...relu } };
  });

describeMethod(performer, cases, 25);

const random = (shape: readonly number[], seed: number, factor = 1) =>
  hostTensor(
    Float64Array.from(
      normal(
        shape.reduce((a, c) => a * c),
        seed,
      ),
      (x) => factor * x,
    ),
    shape,
  );
const inputsOf = (n: number, factor: number) => ({
  q: random([1, n, 2, 8], 1, factor),
  k: random([1, n, 2, 8], 2, factor),
  v: random([1, n, 2, 3], 3),
});
const referenceOf = (inputs: Record<'q' | 'k' | 'v', HostTensor>, params: unknown, gradOut?: HostTensor) =>
  performer.reference(inputs, performer.parse(params as never), gradOut);

test.each([false, true])(
  'the weights of some queries, normalised, are what the reference mixes values by (causal: %s)',
  async (causal) => {
    const inputs = inputsOf(9, 1);
    const params = performer.parse({ causal, features: 5 });
    const queries = [0, 4, 8];
    const { data, shape } = await weightsOf(performer, inputs, params, queries);
    expect(shape).toEqual([1, 3, 2, 9]);
    const out = toFloat64(performer.reference(inputs, params).out as HostTensor);
    const v = toFloat64(inputs.v);
    for (let row = 0; row < 6; row++) {
      const weights = data.subarray(row * 9, (row + 1) * 9);
      const total = weights.reduce((a, c) => a + c, 0);
      const [query, head] = [queries[Math.floor(row / 2)]!, row % 2];
      const mixed = [0, 1, 2].map((c) => weights.reduce((a, w, j) => a + (w / total) * v[(j * 2 + head) * 3 + c]!, 0));
      const at = (query * 2 + head) * 3;
      expectClose(Float64Array.from(mixed), out.subarray(at, at + 3), 1e-5);
    }
  },
);

test('features are computed once for each key', () => {
  const inputs = inputsOf(9, 1);
  const exp = vi.spyOn(Math, 'exp');
  const count = (work: () => unknown) => {
    exp.mockClear();
    work();
    return exp.mock.calls.length;
  };
  const ofTokens = 5 * 9 * 2;
  const params = (causal: boolean) => performer.parse({ causal, features: 5 });
  expect(count(() => performer.reference(inputs, params(true)))).toBe(2 * ofTokens);
  exp.mockRestore();
});

describe('the reference', () => {
  test('comes to softmax attention with many features, and nearer with more', () => {
    for (const causal of [false, true]) {
      const inputs = inputsOf(12, 0.3);
      const { out } = softmaxAttention(inputs, 1 / Math.sqrt(8), (i, j) => !causal || j <= i);
      const errors = [4, 256].map((features) =>
        mean(
          Array.from({ length: 12 }, (_, seed) =>
            relativeError(referenceOf(inputs, { features, seed, causal }).out as HostTensor, out),
          ),
        ),
      );
      expect(errors[1]! / errors[0]!).toBeLessThan(0.3);
      expect(errors[1]).toBeLessThan(0.1);
    }
  });

  test('one key gives its value', () => {
    const inputs = { ...inputsOf(1, 3), v: random([1, 1, 2, 3], 3) };
    expectClose(toFloat64(referenceOf(inputs, { features: 3 }).out as HostTensor), toFloat64(inputs.v), 1e-14);
  });

  test('with the identity as values the outputs are the weights: not negative, with sum 1', () => {
    const n = 9;
    const identity = Float64Array.from({ length: n * n }, (_, at) => Number(Math.floor(at / n) === at % n));
    const inputs = {
      q: random([1, n, 1, 4], 1),
      k: random([1, n, 1, 4], 2),
      v: hostTensor(identity, [1, n, 1, n]),
    };
    const weights = toFloat64(referenceOf(inputs, { features: 5 }).out as HostTensor);
    expect(Math.min(...weights)).toBeGreaterThan(0);
    const sums = Array.from({ length: n }, (_, i) => weights.subarray(i * n, (i + 1) * n).reduce((a, c) => a + c));
    expectClose(sums, new Array(n).fill(1), 1e-14);
  });

  test('gradients are those of finite differences', () => {
    for (const params of [
      { features: 6 },
      { features: 6, causal: true, scale: -0.3 },
      { features: 6, causal: true, kernel: 'relu' },
    ]) {
      const inputs = inputsOf(5, 1);
      const gradOut = random([1, 5, 2, 3], 7);
      const grads = referenceOf(inputs, params, gradOut);
      for (const name of ['q', 'k', 'v'] as const) {
        const expected = toFloat64(inputs[name]).map((_, at) => {
          const loss = (step: number) => {
            const moved = toFloat64(inputs[name]).map((value, other) => value + (other === at ? step : 0));
            const { out } = referenceOf({ ...inputs, [name]: hostTensor(moved, inputs[name].shape) }, params);
            return toFloat64(out as HostTensor).reduce((sum, x, other) => sum + x * toFloat64(gradOut)[other]!, 0);
          };
          return (loss(1e-5) - loss(-1e-5)) / 2e-5;
        });
        expectClose(toFloat64(grads[`grad_${name}`] as HostTensor), expected, 1e-8);
      }
    }
  });
});

describeOnBackends('performer', (runtime) => {
  test('stays right where plain exponentials of the scores overflow', async () => {
    const inputs = inputsOf(6, 12);
    const host = Object.fromEntries(
      Object.entries(inputs).map(([name, x]) => [name, hostTensor(Float32Array.from(x.data as Float64Array), x.shape)]),
    ) as Record<'q' | 'k' | 'v', HostTensor<'f32'>>;
    await scoped(runtime(), async () => {
      const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x));
      const { out } = performer.forward({ q: q!, k: k!, v: v! }, performer.parse({}));
      expect(relativeError(await out!.toHost(), referenceOf(host, {}).out as HostTensor)).toBeLessThan(1e-3);
    });
  });

  test('heads whose keys are much longer than those of others do not silence these', async () => {
    const { q, k, v } = inputsOf(6, 1);
    const apart = hostTensor(
      Float32Array.from(k.data as Float64Array, (x, at) => x * (Math.floor(at / 8) % 2 === 1 ? 12 : 0.1)),
      k.shape,
    );
    const host = { q, k: apart, v };
    await scoped(runtime(), async () => {
      const tensors = [q, apart, v].map((x) => runtime().tensor(Float32Array.from(x.data as Float64Array), x.shape));
      const { out } = performer.forward({ q: tensors[0]!, k: tensors[1]!, v: tensors[2]! }, performer.parse({}));
      expect(relativeError(await out!.toHost(), referenceOf(host, {}).out as HostTensor)).toBeLessThan(1e-3);
    });
  });

  test('refuses inputs that do not fit, by name, and frees everything', async () => {
    using x = runtime().random([1, 3, 2, 4]);
    using longer = runtime().random([1, 5, 2, 4]);
    using half = runtime().random([1, 3, 2, 4], { dtype: 'f16' });
    using swapped = x.permute([0, 2, 1, 3]);
    const refuse = (inputs: Record<'q' | 'k' | 'v', typeof x>, params: object, message: string) =>
      expectRefusal(runtime(), () => performer.forward(inputs, performer.parse(params)), message);
    await refuse({ q: x, k: longer, v: longer }, { causal: true }, 'causal needs as many queries as keys');
    await refuse({ q: x, k: x, v: longer }, {}, 'v');
    await refuse({ q: swapped, k: swapped, v: swapped }, {}, 'q [1, 2, 3, 4] must be contiguous');
    await refuse({ q: half as never, k: x, v: x }, {}, 'q must be f32, got f16');
  });
});

test.each([
  [{ features: 0 }, `param features of performer: expected integer >= 1 and <= 8192, got 0`],
  [{ features: 8193 }, `param features of performer: expected integer >= 1 and <= 8192, got 8193`],
  [{ epsilon: -1 }, 'param epsilon of performer: expected finite float32 number >= 0, got -1'],
  [
    { epsilon: Number.POSITIVE_INFINITY },
    'param epsilon of performer: expected finite float32 number >= 0, got Infinity',
  ],
  [{ seed: 0.5 }, 'param seed of performer: expected integer'],
  [
    { redraw: 1000 },
    "performer has no param 'redraw': expected features, kernel, orthogonal, seed, causal, epsilon, scale",
  ],
  [{ kernel: 'gelu' }, 'param kernel of performer: expected one of softmax, relu, got "gelu"'],
])('%j is refused by name', (params, message) => {
  expect(() => performer.parse(params as never)).toThrow(message);
  expect(() => performer.parse(params as never)).toThrow(ParameterError);
});

describe('as the estimator of SEA', () => {
  test('positions are the identity stretched over the tokens', () => {
    const rows = ({ data, shape }: HostTensor) =>
      Array.from({ length: shape[1] as number }, (_, j) => [
        ...toFloat64({ data, shape, dtype: 'f32' } as HostTensor).subarray(j * 3, j * 3 + 3),
      ]);
    expect(rows(seaPositions({ b: 1, m: 5, g: 1, width: 3 }))).toEqual([
      [1, 0, 0],
      [0.5, 0.5, 0],
      [0, 1, 0],
      [0, 0.5, 0.5],
      [0, 0, 1],
    ]);
    const same = toFloat64(seaPositions({ b: 1, m: 4, g: 1, width: 4 }));
    expect([...same]).toEqual(Array.from({ length: 16 }, (_, at) => Number(at % 5 === 0)));
    expect([...toFloat64(seaPositions({ b: 2, m: 2, g: 2, width: 1 }))]).toEqual(new Array(8).fill(1));
    expect([...toFloat64(seaPositions({ b: 1, m: 1, g: 1, width: 2 }))]).toEqual([1, 0]);
    expect(() => seaPositions({ b: 1, m: 4, g: 1, width: 0 })).toThrow('width must be an integer >= 1, got 0');
    expect(() => seaPositions({ b: 1, m: 4, g: 1 } as never)).toThrow('width must be an integer >= 1, got undefined');
  });

  test('maps are the weights, compressed', async () => {
    const { q, k } = inputsOf(9, 1);
    const params = performer.parse({ features: 5 });
    const positions = seaPositions({ b: 1, m: 9, g: 2, width: 4 });
    const maps = toFloat64(performer.reference({ q, k, v: positions }, params).out as HostTensor);
    const { data } = await weightsOf(performer, { q, k, v: positions }, params, [3]);
    const weights = data.subarray(0, 9);
    const total = weights.reduce((a, c) => a + c, 0);
    const cells = toFloat64(positions);
    const expected = [0, 1, 2, 3].map((c) => weights.reduce((a, w, j) => a + (w / total) * cells[j * 2 * 4 + c]!, 0));
    expectClose(maps.subarray(3 * 8, 3 * 8 + 4), expected, 1e-5);
  });

  test('keys of the best cells', () => {
    const weights = Float64Array.from([0.1, 0.1, 0, 0.3, 0.05, 0.05, 0.2, 0.2]);
    // Cells of two keys: 0.2, 0.3, 0.1 and 0.4.
    expect([...compressedTopK(weights, { cells: 4, keys: 2 })]).toEqual([0, 0, 0, 0, 0, 0, 1, 1]);
    expect([...compressedTopK(weights, { cells: 4, keys: 4 })]).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
    expect([...compressedTopK(weights, { cells: 4, keys: 8 })]).toEqual(new Array(8).fill(1));
    // More cells than keys: as many cells as two keys fill on average, some of them empty.
    expect([...compressedTopK(weights.subarray(0, 3), { cells: 6, keys: 1 })]).toEqual([1, 1, 0]);
  });
});

test('has d ln d features by default, 266 for heads of 64 numbers', () => {
  const letters = { b: 1, n: 1, m: 1, h: 1, g: 1, d: 64, e: 1 };
  expect(performer.cost(letters, performer.parse({})).state).toBe(4 * 266 * 2);
});

test('cost counts maps, sums and state', () => {
  const letters = { b: 2, n: 10, m: 20, h: 4, g: 2, d: 8, e: 3 };
  const { flops, state } = performer.cost(letters, performer.parse({ features: 6 }));
  const attention = 2 * 4 * 30 * 2 * 6 * 4;
  expect(flops).toBe(2 * (40 + 40) * (2 * 8 * 6 + 2 * 8 + 2 * 6) + attention);
  expect(state).toBe(4 * 2 * 4 * 6 * 4);
  const relu = performer.cost(letters, performer.parse({ features: 6, kernel: 'relu' }));
  expect(relu.flops).toBe(2 * (40 + 40) * (2 * 8 * 6 + 3 * 6) + attention);
});

test('is found by name', () => expect(findMethod('performer')).toBe(performer));

const mean = (values: readonly number[]) => values.reduce((a, c) => a + c, 0) / values.length;
