import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, differentiated, relativeError } from '../../../../test/describe-method';
import { scoped } from '../../../../test/scoped';
import { ShapeError } from '../../../errors';
import { attention } from '../../../ops/attention';
import type { Runtime } from '../../../runtime/runtime';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { natsLinear } from '.';

function random(shape: readonly number[], seed: number, map: (x: number) => number = (x) => x): HostTensor<'f32'> {
  return hostTensor(Float32Array.from(normal(sizeOf(shape), seed), map), shape, 'f32');
}

interface Extents {
  readonly b: number;
  readonly n: number;
  readonly h: number;
  readonly d: number;
  readonly e: number;
  readonly a: number;
  readonly chunk: number;
}

const decay = (x: number) => -0.2 * Math.abs(x);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

function required({ b, n, h, d, e, a, chunk }: Extents): Record<string, HostTensor<'f32'>> {
  return {
    q: random([b, n, h, d], 1),
    k: random([b, n, h, d], 2),
    v: random([b, n, h, e], 3),
    g: random([b, n, h], 4, decay),
    beta: random([b, n, h], 5, sigmoid),
    route: random([b, Math.ceil(n / chunk), h, 2], 6),
    mix: random([b, n, a, 2], 7),
  };
}

function gains({ b, n, h, d, e, a }: Extents): Record<string, HostTensor<'f32'>> {
  return {
    gain_q: random([(h * d) / a], 8),
    gain_k: random([(h * d) / a], 9),
    gain_softmax: random([(h * e) / a], 10),
    gain_delta: random([(h * e) / a], 11),
    gate: random([b, n, h, e], 12),
  };
}

const extent = (max: number) => fc.integer({ min: 1, max });
const cases = fc
  .record({
    b: extent(2),
    n: extent(60),
    h: extent(2),
    // For each head of the delta rule: heads of softmax attention, and their channels.
    heads: extent(3),
    p: extent(7),
    r: extent(7),
    chunk: extent(25),
    forget: fc.boolean(),
    counterfactual: fc.boolean(),
    gained: fc.boolean(),
    scale: fc.option(fc.double({ min: -1, max: 1, noNaN: true }), { nil: undefined }),
  })
  .map(({ heads, p, r, gained, forget, counterfactual, scale, ...shape }) => {
    const extents = { ...shape, a: shape.h * heads, d: heads * p, e: heads * r };
    const { q, k, v, ...others } = { ...required(extents), ...(gained && gains(extents)) };
    return {
      q: q!.shape,
      k: k!.shape,
      v: v!.shape,
      others,
      // A large epsilon: the gradient of a norm of nearly nothing is nearly anything.
      params: { chunk: shape.chunk, forget, counterfactual, epsilon: 0.1, ...(scale !== undefined && { scale }) },
    };
  });

describeMethod(natsLinear, cases, 25);

const PLAIN: Extents = { b: 2, n: 150, h: 2, d: 16, e: 24, a: 4, chunk: 32 };

/** Longer, with the default epsilon, where heads are wide enough for it. */
const { q, k, v, ...others } = { ...required(PLAIN), ...gains(PLAIN) };
const wide = { q: q!.shape, k: k!.shape, v: v!.shape, others, params: { chunk: 32, counterfactual: true } };
describeMethod(natsLinear, fc.constant(wide), 1);

async function run(
  runtime: Runtime,
  host: Readonly<Record<string, HostTensor<'f32'>>>,
  params: object,
): Promise<Record<string, HostTensor>> {
  return scoped(runtime, async () => {
    const tensors = Object.fromEntries(Object.entries(host).map(([name, x]) => [name, runtime.fromHost(x)]));
    const results = await natsLinear.forward(tensors as never, natsLinear.parse(params));
    const entries = Object.entries(results).map(async ([name, x]) => [name, await x.toHost()] as const);
    return Object.fromEntries(await Promise.all(entries));
  });
}

function routedTo(to: 'softmax' | 'delta', { b, n, h, chunk }: Extents): HostTensor<'f32'> {
  const shape = [b, Math.ceil(n / chunk), h, 2];
  const first = to === 'softmax' ? 1 : 0;
  return hostTensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, at) => (at % 2 === 0 ? first : 1 - first)),
    shape,
    'f32',
  );
}

describeOnBackends('nats-linear', (runtime) => {
  test('all chunks to softmax attention are causal attention of the normalised heads', async () => {
    const { b, n, h, d, e, a } = PLAIN;
    const host: Record<string, HostTensor<'f32'>> = { ...required(PLAIN), route: routedTo('softmax', PLAIN) };
    const { softmax, lse } = await run(runtime(), host, { chunk: PLAIN.chunk, epsilon: 0 });
    const width = (h * d) / a;
    const norm = ({ data }: HostTensor<'f32'>): Tensor => {
      const rows = data.map((value, at) => {
        const row = data.subarray(at - (at % width), at - (at % width) + width);
        return value / Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / width);
      });
      return runtime().tensor(rows, [b, n, a, width]);
    };
    await scoped(runtime(), async () => {
      const v = runtime().tensor(host.v!.data, [b, n, a, (h * e) / a]);
      const exact = await attention(norm(host.q!), norm(host.k!), v, { causal: true });
      const out = await exact.out.reshape([b, n, h, e]).toHost();
      expect(relativeError(softmax!, out)).toBeLessThan(1e-5);
      expect(relativeError(lse!, await exact.lse.toHost())).toBeLessThan(1e-5);
    });
  });

  test.each(['softmax', 'delta'] as const)('a chunk that holds everything may go to %s or not', async (to) => {
    const extents = { ...PLAIN, chunk: 200 };
    const host = required(extents);
    const one = await run(runtime(), { ...host, route: routedTo(to, extents) }, { chunk: 200 });
    const whole = { ...PLAIN, chunk: 32 };
    const [soft, delta] = [
      await run(runtime(), { ...host, route: routedTo('softmax', whole) }, { chunk: 32 }),
      await run(runtime(), { ...host, route: routedTo('delta', whole) }, { chunk: 32 }),
    ];
    expect(relativeError(one.softmax!, soft.softmax!)).toBeLessThan(1e-5);
    expect(relativeError(one.delta!, delta.delta!)).toBeLessThan(1e-5);
  });

  test('each token on its own chunk, and decays that vanish', async () => {
    const extents = { ...PLAIN, n: 20, chunk: 1 };
    const host: Record<string, HostTensor<'f32'>> = {
      ...required(extents),
      ...gains(extents),
      g: random([2, 20, 2], 4, (x) => (x > 0 ? -500 : 0)),
    };
    const params = natsLinear.parse({ chunk: 1 });
    const expected = natsLinear.reference(host as never, params);
    const actual = await run(runtime(), host, params);
    for (const [name, x] of Object.entries(actual)) expect(relativeError(x, expected[name]!), name).toBeLessThan(3e-5);
  });

  test.each<[string, Record<string, HostTensor>, object, string | RegExp]>([
    [
      'a route of fewer chunks',
      { route: random([2, 4, 2, 2], 1) },
      {},
      'route must have 5 chunks along its second axis',
    ],
    [
      'a route of one operator',
      { route: random([2, 5, 2, 1], 1), mix: random([2, 150, 4, 1], 1) },
      {},
      'must end with 2',
    ],
    ['softmax heads that do not fit', { mix: random([2, 150, 3, 2], 1) }, {}, 'mix must have a multiple of 2 heads'],
    ['a gain of another width', { gain_q: random([7], 1) }, {}, 'gain_q or gain_k must have 8 numbers'],
    ['keys of another length', { k: random([2, 149, 2, 16], 1) }, {}, /k must have shape \[b, n, h, d\] with n = 150/],
    ['a decay above 0', { g: random([2, 150, 2], 1, Math.abs) }, {}, 'g must be finite and at most 0, got'],
    ['a route of NaN', { route: random([2, 5, 2, 2], 1, () => Number.NaN) }, {}, 'route must be finite, got NaN at'],
    [
      'half precision',
      { v: hostTensor(new Float64Array(2 * 150 * 2 * 24), [2, 150, 2, 24], 'f16') },
      {},
      'v must be f32',
    ],
  ])('refuses %s, and keeps nothing', async (_, change, params, message) => {
    const { live } = runtime().memory();
    const host = { ...required(PLAIN), ...change } as Record<string, HostTensor<'f32'>>;
    await expect(async () => run(runtime(), host, { chunk: PLAIN.chunk, ...params })).rejects.toThrow(message);
    expect(runtime().memory().live).toBe(live);
  });

  test('refuses to go without a route by name', async () => {
    await scoped(runtime(), async () => {
      const { route: _, ...others } = required(PLAIN);
      const tensors = Object.fromEntries(Object.entries(others).map(([name, x]) => [name, runtime().fromHost(x)]));
      const params = natsLinear.parse({ chunk: PLAIN.chunk });
      expect(() => natsLinear.forward(tensors as never, params)).toThrow('route must be a Tensor, got undefined');
    });
  });

  test('keeps nothing but its results, and can be cancelled', async () => {
    await runtime().finish();
    const { live } = runtime().memory();
    const host = { ...required(PLAIN), ...gains(PLAIN) };
    const tensors = Object.fromEntries(Object.entries(host).map(([name, x]) => [name, runtime().fromHost(x)]));
    const held = runtime().memory().live;
    const params = natsLinear.parse({ chunk: PLAIN.chunk, counterfactual: true });
    const shares: number[] = [];
    for (const tensor of Object.values(
      natsLinear.forward(tensors as never, params, { onProgress: (share) => shares.push(share) }),
    ))
      tensor.dispose();
    const { results, gradients } = differentiated(natsLinear, tensors, params, tensors.v!);
    expect(Object.keys(gradients).sort()).toEqual(Object.keys(tensors).sort());
    for (const tensor of [...Object.values(results), ...Object.values(gradients)]) tensor.dispose();
    await runtime().finish();
    expect(runtime().memory().live).toBe(held);
    expect(shares.at(-1)).toBe(1);
    expect(shares.every((share, at) => share >= (shares[at - 1] ?? 0))).toBe(true);
    const signal = AbortSignal.abort(new Error('stopped'));
    expect(() => natsLinear.forward(tensors as never, params, { signal })).toThrow('stopped');
    expect(runtime().memory().live).toBe(held);
    for (const tensor of Object.values(tensors)) tensor.dispose();
    expect(runtime().memory().live).toBe(live);
  });
});

describe('cost', () => {
  test('is that of the pairs seen and of the recurrence', () => {
    const letters = { b: 2, n: 10, h: 1, d: 4, e: 6, a: 2, c: 3, o: 2 };
    // Chunks of 4, 4 and 2 tokens, the second in softmax attention: 10 + 10 + 3 pairs within, 2 x 4 with it.
    const pairs = 31;
    const { flops, state } = natsLinear.cost(letters, natsLinear.parse({ chunk: 4 }));
    expect(flops).toBe(2 * (2 * 2 * (2 + 3) * pairs + 10 * (7 * 4 * 6 + 3 * 6) + 10 * 3 * 6));
    expect(state).toBe(2 * 4 * 4 * 6);
  });
});

describe('params', () => {
  test('are those of the paper by default', () => {
    expect(natsLinear.parse({})).toEqual({ chunk: 64, forget: true, counterfactual: false, epsilon: 1e-6 });
  });

  test.each([
    [{ chunk: 0 }, 'param chunk of nats-linear: expected integer >= 1, got 0'],
    [{ forget: 1 }, 'param forget of nats-linear: expected true or false, got 1'],
    [{ epsilon: -1 }, 'param epsilon of nats-linear: expected finite float32 number >= 0, got -1'],
    [{ chunks: 2 }, 'nats-linear has no param'],
  ])('%j is refused by name', (params, message) => {
    expect(() => natsLinear.parse(params as never)).toThrow(message);
  });

  test('the reference refuses a shape by the same error', () => {
    expect(() =>
      natsLinear.reference(
        { ...required(PLAIN), route: random([2, 4, 2, 2], 1) } as never,
        natsLinear.parse({ chunk: 32 }),
      ),
    ).toThrow(ShapeError);
  });
});
