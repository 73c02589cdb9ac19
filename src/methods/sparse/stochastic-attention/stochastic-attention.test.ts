import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, differentiated, relativeError, sequences } from '../../../../test/describe-method';
import { scoped } from '../../../../test/scoped';
import { DTypeError, ParameterError, ShapeError } from '../../../errors';
import { oneHead } from '../../../masks/mask';
import { gather } from '../../../ops/gather';
import type { Runtime } from '../../../runtime/runtime';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal, uniform } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { problemOfLetters } from '../../define';
import { exactAttention } from '../../dense/attention';
import { stochasticAttention } from '.';

const identity = (n: number) => Int32Array.from({ length: n }, (_, token) => token);
const i32 = (tokens: Int32Array) => hostTensor(tokens, [tokens.length], 'i32');

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      params: fc.record(
        {
          window: fc.integer({ min: 1, max: 80 }),
          causal: fc.boolean(),
          strict: fc.boolean(),
          clamped: fc.boolean(),
          seed: fc.integer({ min: -5, max: 2 ** 40 }),
          gated: fc.boolean(),
          scale: fc.double({ min: -2, max: 2, noNaN: true }),
        },
        { requiredKeys: ['window'] },
      ),
      permutation: fc.option(
        fc.shuffledSubarray([...identity(n)], { minLength: n }).map((tokens) => i32(Int32Array.from(tokens))),
      ),
      gates: fc.subarray(['gate_sa', 'gate_swa']),
    })
    .map(({ params: { strict, ...params }, permutation, gates }) => {
      const given = params.gated ? gates : [];
      const shape = [b, n, h];
      const others: Record<string, HostTensor> = Object.fromEntries(
        given.map((name, at) => [name, hostTensor(uniform(sizeOf(shape), at), shape, 'f32')]),
      );
      if (permutation) others.permutation = permutation;
      return {
        q: [b, n, h, d],
        k: [b, n, g, d],
        v: [b, n, g, e],
        params: { ...params, ...(strict && params.causal && { strict }) },
        others,
      };
    }),
);

describeMethod(stochasticAttention, cases);

const [b, n, h, d, e] = [2, 45, 2, 5, 4] as const;
const random = (shape: readonly number[], seed: number) => hostTensor(normal(sizeOf(shape), seed), shape, 'f32');
const q = random([b, n, h, d], 1);
const k = random([b, n, h, d], 2);
const v = random([b, n, h, e], 3);
const shuffled = Int32Array.from(identity(n), (token) => (token * 17 + 3) % n);

async function forward(runtime: Runtime, inputs: Readonly<Record<string, HostTensor>>, params: object) {
  return scoped(runtime, async () => {
    const tensors = Object.fromEntries(
      Object.entries(inputs).map(([name, host]) => [name, runtime.fromHost(host as HostTensor<'f32'>)]),
    );
    const { out, lse } = stochasticAttention.forward(tensors as never, stochasticAttention.parse(params as never));
    return { out: await out!.toHost(), lse: await lse!.toHost() };
  });
}

const exact = (params: object) => exactAttention.reference({ q, k, v }, exactAttention.parse(params)).out!;
const ones = (value: number) => hostTensor(new Float32Array(b * n * h).fill(value), [b, n, h], 'f32');

describeOnBackends('stochastic attention', (runtime) => {
  test('of tokens in their own order, causally: the sliding window', async () => {
    const permutation = i32(identity(n));
    const { out } = await forward(runtime(), { q, k, v, permutation }, { window: 7, causal: true });
    expect(relativeError(out, exact({ causal: true, window: [6, 0] }))).toBeLessThan(1e-5);
  });

  test('of tokens in their own order, all around: the sliding window but for the ends', async () => {
    const permutation = i32(identity(n));
    const { out } = await forward(runtime(), { q, k, v, permutation }, { window: 7 });
    const inner = ({ data }: HostTensor) => hostTensor(data.slice(3 * h * e, (n - 3) * h * e), [(n - 6) * h * e]);
    expect(relativeError(inner(out), inner(exact({ window: [3, 3] })))).toBeLessThan(1e-5);
  });

  test.each([false, true])('of a window over everything is exact attention (causal: %s)', async (causal) => {
    const { out } = await forward(runtime(), { q, k, v }, { window: n, causal, seed: 3 });
    expect(relativeError(out, exact({ causal }))).toBeLessThan(1e-5);
  });

  test.each([false, true])('of a window of one gives the own value (causal: %s)', async (causal) => {
    const { out } = await forward(runtime(), { q, k, v }, { window: 1, causal, seed: 3 });
    expect(relativeError(out, v)).toBeLessThan(1e-6);
  });

  test('is the window after gathering, scattered back', async () => {
    // One batch, since the gather takes rows.
    const token = (host: HostTensor) =>
      hostTensor((host.data as Float32Array).slice(0, sizeOf(host.shape) / b), [1, ...host.shape.slice(1)], 'f32');
    const rows = { q: token(q), k: token(k), v: token(v) };
    const masked = await forward(runtime(), { ...rows, permutation: i32(shuffled) }, { window: 8 });
    const moved = await scoped(runtime(), async () => {
      const slots = runtime().tensor(shuffled, [n]);
      const tokenOrder = Int32Array.from(identity(n), (t) => shuffled.indexOf(t));
      const gathered: Record<string, HostTensor> = {};
      for (const [name, host] of Object.entries(rows)) {
        const flat = runtime()
          .fromHost(host as HostTensor<'f32'>)
          .reshape([n, -1]);
        gathered[name] = { ...(await gather(flat, slots).toHost()), shape: host.shape };
      }
      const { out } = await forward(runtime(), { ...gathered, permutation: i32(identity(n)) }, { window: 8 });
      const back = gather(
        runtime()
          .fromHost(out as HostTensor<'f32'>)
          .reshape([n, -1]),
        runtime().tensor(tokenOrder, [n]),
      );
      return { ...(await back.toHost()), shape: out.shape };
    });
    expect(relativeError(moved, masked.out)).toBeLessThan(1e-6);
  });

  test.each([false, true])('gated by ones and zeros is one of the two paths (causal: %s)', async (causal) => {
    const params = { window: 6, causal, seed: 5 };
    const pair = (sa: number, swa: number) =>
      forward(runtime(), { q, k, v, gate_sa: ones(sa), gate_swa: ones(swa) }, { ...params, gated: true });
    const [alone, sa, swa, both] = [
      await forward(runtime(), { q, k, v }, params),
      await pair(1, 0),
      await pair(0, 1),
      await pair(1, 1),
    ];
    expect(relativeError(sa.out, alone.out)).toBeLessThan(1e-6);
    expect(relativeError(sa.lse, alone.lse)).toBe(0);
    expect(relativeError(swa.out, exact({ window: causal ? [5, 0] : [3, 2], causal }))).toBeLessThan(1e-5);
    // A sum, not a merged softmax.
    const sum = sa.out.data.map((value, at) => Number(value) + Number(swa.out.data[at])) as Float32Array;
    expect(relativeError(both.out, { ...both.out, data: sum } as HostTensor)).toBeLessThan(1e-6);
  });

  test('gated without gates is the mean of the two', async () => {
    const params = { window: 6, gated: true };
    const absent = await forward(runtime(), { q, k, v }, params);
    const halves = await forward(runtime(), { q, k, v, gate_sa: ones(0.5), gate_swa: ones(0.5) }, params);
    expect(relativeError(absent.out, halves.out)).toBe(0);
  });

  test.each([
    [
      'a token twice',
      { permutation: i32(Int32Array.of(0, 1, 1, ...identity(n).slice(3))) },
      {},
      ParameterError,
      /permutation must hold each of 0 to 44 once, got 1 at 1 and again at 2/,
    ],
    [
      'a token too high',
      { permutation: i32(Int32Array.of(n, ...identity(n).slice(1))) },
      {},
      ParameterError,
      /permutation must hold each of 0 to 44 once, got 45 at 0/,
    ],
    [
      'another length',
      { permutation: i32(identity(n - 1)) },
      {},
      ShapeError,
      /permutation must have shape \[n\] with n = 45.*got \[44\]/,
    ],
    [
      'another dtype',
      { permutation: hostTensor(new Float32Array(n), [n], 'f32') },
      {},
      DTypeError,
      /permutation must be i32, got f32/,
    ],
    ['other keys than queries', { k: random([b, 9, h, d], 2), v: random([b, 9, h, e], 3) }, {}, ShapeError, /45/],
    [
      'a gate without a pair',
      { gate_sa: ones(1) },
      {},
      ParameterError,
      'gate_sa is for the gated pair: set the param gated, or leave it out',
    ],
    [
      'a gate of another shape',
      { gate_swa: random([b, n, h + 1], 1) },
      { gated: true },
      ShapeError,
      /gate_swa must have shape \[b, n, h\] with h = 2/,
    ],
    [
      'a gate of another dtype',
      { gate_sa: hostTensor(new Float64Array(b * n * h), [b, n, h], 'f16') },
      { gated: true },
      DTypeError,
      'gate_sa must be f32, got f16',
    ],
    [
      'a pair of another dtype',
      { q: hostTensor(new Float64Array(b * n * h * d), [b, n, h, d], 'f16') },
      { gated: true },
      DTypeError,
      'q must be f32, got f16',
    ],
  ])('refuses %s, and keeps nothing', async (_, more, params, type, message) => {
    const { live } = runtime().memory();
    const call = () => forward(runtime(), { q, k, v, ...more }, { window: 4, ...params });
    await expect(async () => call()).rejects.toThrow(message);
    await expect(async () => call()).rejects.toThrow(type);
    expect(runtime().memory().live).toBe(live);
  });

  test('keeps nothing but its results', async () => {
    const { live } = runtime().memory();
    const tensors = Object.fromEntries(
      Object.entries({ q, k, v, gate_sa: ones(1), gate_swa: ones(2) }).map(([name, host]) => [
        name,
        runtime().fromHost(host as HostTensor<'f32'>),
      ]),
    );
    const settings = stochasticAttention.parse({ window: 5, gated: true });
    const { results, gradients } = differentiated(stochasticAttention, tensors, settings, tensors.v!);
    expect(Object.keys(gradients)).toEqual(['q', 'k', 'v', 'gate_sa', 'gate_swa']);
    for (const tensor of [tensors, results, gradients].flatMap(Object.values<Tensor>)) tensor.dispose();
    await runtime().finish();
    expect(runtime().memory().live).toBe(live);
  });
});

describe('the mask', () => {
  const maskOf = (size: number, params: object) =>
    stochasticAttention.mask!(stochasticAttention.parse(params as never), problemOfLetters({ n: size, m: size }));

  test.each([1, 2, 7, 16, 40])('has exactly %i ones in every row and column', (window) => {
    const mask = maskOf(40, { window, seed: 2 })!;
    const place = oneHead(40, 40);
    for (let i = 0; i < 40; i++) {
      const row = [...identity(40)].filter((j) => mask.sees(i, j, place));
      const column = [...identity(40)].filter((j) => mask.sees(j, i, place));
      expect([row.length, column.length]).toEqual([window, window]);
    }
  });

  test('sees any other token in (w - 1) / (n - 1) of the orders', () => {
    const [size, window, draws] = [24, 6, 4000];
    let seen = 0;
    for (let seed = 0; seed < draws; seed++)
      if (maskOf(size, { window, seed })!.sees(3, 17, oneHead(size, size))) seen++;
    expect(seen / draws).toBeCloseTo((window - 1) / (size - 1), 1);
  });

  test('if strict, has at most as many keys as the window, about half of them', () => {
    const place = oneHead(60, 60);
    const seen = (params: object) => {
      const mask = maskOf(60, { window: 13, causal: true, seed: 3, ...params })!;
      return [...identity(60)].map((t) => [...identity(60)].filter((u) => mask.sees(t, u, place)));
    };
    const strict = seen({ strict: true });
    // The last token sees all of its slots: those of the circle. Ends leave none more.
    expect(strict[59]).toHaveLength(13);
    expect(strict.flat()).toHaveLength((60 * 14) / 2);
    const clamped = seen({ strict: true, clamped: true });
    clamped.forEach((keys, t) => {
      expect(keys.every((u) => strict[t]!.includes(u))).toBe(true);
    });
    expect(clamped.flat().length).toBeLessThan(strict.flat().length);
    // By default a causal window is twice as wide, and has ends.
    expect(seen({})).toEqual(seen({ strict: false, clamped: true }));
    expect(seen({ clamped: false })[59]).toHaveLength(25);
  });

  test('of the gated pair is none', () => {
    expect(maskOf(8, { window: 2, gated: true })).toBeUndefined();
  });
});

describe('cost', () => {
  const letters = { b: 2, n: 50, m: 50, h: 4, g: 2, d: 3, e: 5 };
  const cost = (params: object) => stochasticAttention.cost(letters, stochasticAttention.parse(params as never));

  test('is that of n w pairs, twice and the gates when gated', () => {
    expect(cost({ window: 8 })).toMatchObject({ flops: 2 * 4 * 50 * 8 * 2 * (3 + 5), visited: 8 / 50, state: 0 });
    // 10 + 6 keys of the sliding window, 4 before and 3 after, lie beyond the ends.
    const pairs = 50 * 8 + (50 * 8 - 16);
    expect(cost({ window: 8, gated: true }).flops).toBe(2 * 4 * (pairs * 2 * (3 + 5) + 3 * 50 * 5));
    expect(cost({ window: 8, gated: true }).visited).toBeCloseTo(pairs / 2500, 12);
    expect(cost({ window: 8, gated: true }).bytes - cost({ window: 8 }).bytes).toBe(4 * 2 * 2 * 50 * 4);
  });
});

describe('params', () => {
  test('have defaults', () => {
    expect(stochasticAttention.parse({ window: 4 })).toEqual({
      window: 4,
      causal: false,
      strict: false,
      seed: 0,
      gated: false,
    });
  });

  test.each([
    [{}, 'param window of stochastic-attention: expected integer >= 1, got undefined'],
    [{ window: 0 }, 'param window of stochastic-attention: expected integer >= 1, got 0'],
    [{ window: 2, seed: 0.5 }, 'param seed of stochastic-attention: expected integer, got 0.5'],
    [{ window: 2, strict: 1 }, 'param strict of stochastic-attention: expected true or false, got 1'],
    [{ window: 2, gated: 1 }, 'param gated of stochastic-attention: expected true or false, got 1'],
    [{ window: 2, windows: 2 }, 'stochastic-attention has no param'],
  ])('%j is refused by name', (params, message) => {
    expect(() => stochasticAttention.parse(params as never)).toThrow(message);
  });

  test.each([1, 2, 3, 100, 4096])('variants are valid for %i tokens', (size) => {
    const letters = { b: 1, n: size, m: size, h: 1, g: 1, d: 1, e: 1 };
    for (const variant of stochasticAttention.variants(letters)) stochasticAttention.parse(variant);
    expect(stochasticAttention.variants({ ...letters, m: size + 1 })).toEqual([]);
  });
});
