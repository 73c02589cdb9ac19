import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { relativeError, smallGradient } from '../../../test/describe-method';
import { expectClose, expectRefusal, guarded, outcomeOf } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import {
  createRuntime,
  type LinearAttentionSettings,
  linearAttention,
  linearAttentionBackward,
  linearAttentionStep,
  type Runtime,
  type Tensor,
} from '../../index';
import { convert, type HostTensor, hostTensor, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import * as reference from './recurrence';

interface Case {
  readonly b: number;
  readonly n: number;
  readonly m: number;
  readonly h: number;
  readonly g: number;
  readonly d: number;
  readonly e: number;
  readonly causal: boolean;
  readonly decay?: readonly number[] | undefined;
  readonly normalise?: boolean | undefined;
  /** Whether there is a state before the first row. */
  readonly stated: boolean;
}

const extent = (max: number) => fc.integer({ min: 1, max });
const cases: fc.Arbitrary<Case> = fc
  .record({
    b: extent(2),
    n: extent(150),
    other: extent(150),
    g: extent(2),
    repeat: extent(3),
    d: extent(21),
    e: extent(21),
    causal: fc.boolean(),
    normalise: fc.boolean(),
    stated: fc.boolean(),
    rates: fc.option(
      fc.array(fc.constantFrom(1, 0.999, 0.9, 0.5, 1e-3, 1e-40, 5e-324), { minLength: 6, maxLength: 6 }),
    ),
  })
  .map(({ other, repeat, rates, ...shape }) => ({
    ...shape,
    m: shape.causal ? shape.n : other,
    h: shape.g * repeat,
    decay: rates && shape.causal ? rates.slice(0, shape.g * repeat) : undefined,
  }));

function random(shape: readonly number[], seed: number, map: (x: number) => number = (x) => x): HostTensor<'f32'> {
  return hostTensor(normal(sizeOf(shape), seed).map(map) as Float32Array, shape, 'f32') as HostTensor<'f32'>;
}

/** Features that are positive where there are denominators, as these must not come near 0. */
function given({ b, n, m, h, g, d, e, normalise, stated }: Case) {
  const feature = normalise ? (x: number) => Math.abs(x) + 0.1 : undefined;
  return {
    q: random([b, n, h, d], 1, feature),
    k: random([b, m, g, d], 2, feature),
    v: random([b, m, g, e], 3),
    gradOut: random([b, n, h, e], 4),
    gradState: random([b, h, d, e], 5),
    ...(normalise && { gradKeySum: random([b, h, d], 6) }),
    ...(stated && { initialState: random([b, h, d, e], 7) }),
    ...(stated && normalise && { initialKeySum: random([b, h, d], 8, feature) }),
  };
}

const settingsOf = ({ causal, decay, normalise }: Case) => ({ causal, decay, normalise });

/** Everything that the two passes return, by name. */
async function computed(runtime: Runtime, host: ReturnType<typeof given>, settings: LinearAttentionSettings) {
  return scoped(runtime, async () => {
    const entries = Object.entries(host).map(([name, x]) => [name, runtime.fromHost(x as HostTensor<'f32'>)]);
    const { q, k, v, gradOut, gradState, gradKeySum, initialState, initialKeySum } = Object.fromEntries(entries);
    const options = { ...settings, initialState, initialKeySum };
    const results = await linearAttention(q, k, v, options);
    const { out, denominator } = results;
    const gradients = { gradOut, gradState, gradKeySum, out, denominator };
    const grads = await linearAttentionBackward(q, k, v, gradients, options);
    const named = Object.entries({ ...results, ...grads }).map(async ([name, x]) => [name, await x.toHost()] as const);
    return Object.fromEntries(await Promise.all(named)) as Record<string, HostTensor>;
  });
}

function expected(c: Case, host: ReturnType<typeof given>): Record<string, HostTensor> {
  const { q, k, v, gradOut, gradState, gradKeySum, initialState: state, initialKeySum: keySum } = host;
  const decay = c.decay ?? new Array<number>(c.h).fill(1);
  const inputs = { q, k, v, state, keySum, causal: c.causal, decay, epsilon: c.normalise ? 1e-6 : undefined };
  const results = reference.linearAttention(inputs);
  const grads = reference.linearAttentionBackward({ ...inputs, gradOut, gradState, gradKeySum });
  return {
    out: results.out,
    state: results.state,
    ...(c.normalise && { keySum: results.keySum, denominator: results.denominator }),
    gradQ: grads.gradQ,
    gradK: grads.gradK,
    gradV: grads.gradV,
    ...(c.stated && { gradInitialState: grads.gradState }),
    ...(c.stated && c.normalise && { gradInitialKeySum: grads.gradKeySum }),
  };
}

function expectAgreement(actual: Record<string, HostTensor>, wanted: Record<string, HostTensor>, tolerance = 3e-5) {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(wanted).sort());
  // What cancels is small beside the others.
  const small = Math.min(1, smallGradient(Object.values(wanted)));
  for (const [name, x] of Object.entries(actual))
    expect(relativeError(x, wanted[name] as HostTensor, small), name).toBeLessThan(tolerance);
}

/** What is expected of each case, which all backends are held to. */
const known = new Map<string, Record<string, HostTensor>>();

async function agrees(runtime: Runtime, c: Case): Promise<void> {
  const host = given(c);
  const key = JSON.stringify(c);
  if (!known.has(key)) known.set(key, expected(c, host));
  expectAgreement(await computed(runtime, host, settingsOf(c)), known.get(key) as Record<string, HostTensor>);
}

const PLAIN = { b: 1, n: 100, m: 100, h: 1, g: 1, d: 5, e: 9, causal: true, stated: false };

describeOnBackends('linearAttention', (runtime) => {
  test('agrees with the recurrence, forward and backward, whatever the settings', async () => {
    await fc.assert(
      fc.asyncProperty(cases, (c) => agrees(runtime(), c)),
      randomCases(60),
    );
  });

  test.each([
    ['one head in segments', { n: 4000, m: 4000, d: 3, e: 4, decay: [0.9995], stated: true }],
    ['segments, normalised', { n: 3300, m: 3300, h: 2, d: 3, e: 8, normalise: true, stated: true }],
    ['segments without causality', { causal: false, n: 1700, m: 3400, d: 7, e: 3, normalise: true, stated: true }],
    [
      'longer than what is computed at once',
      { n: 16500, m: 16500, d: 2, e: 3, decay: [0.99], normalise: true, stated: true },
    ],
    ['parts of columns', { n: 60, m: 60, d: 4, e: 150, stated: true }],
    ['parts of columns and segments', { n: 3200, m: 3200, d: 2, e: 70, decay: [0.99] }],
    ['the widest heads', { n: 50, m: 50, d: 256, e: 256, normalise: true, stated: true }],
    ['more features than a block has', { n: 60, m: 60, h: 2, d: 257, e: 7, decay: [0.9, 1], stated: true }],
    ['a few more, shared, normalised', { n: 60, m: 60, h: 2, d: 266, e: 8, normalise: true, stated: true }],
    ['two blocks, all keys', { causal: false, n: 7, m: 60, d: 500, e: 12, normalise: true, stated: true }],
    ['two blocks in segments', { n: 3100, m: 3100, d: 260, e: 3, decay: [0.99], normalise: true }],
    ['5000 features', { n: 5, m: 5, d: 5000, e: 3, decay: [0.9], normalise: true, stated: true }],
    ['as many as there may be', { causal: false, n: 3, m: 2, d: 8192, e: 2 }],
    ['nine heads, three shared by three', { h: 9, g: 3, b: 2, decay: [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2] }],
  ])('%s', (_, change) => agrees(runtime(), { ...PLAIN, ...change }), 60_000);

  test("the sheet's hand case", async () => {
    const host = {
      q: hostTensor([1, 2], [1, 2, 1, 1]),
      k: hostTensor([3, 4], [1, 2, 1, 1]),
      v: hostTensor([5, 6], [1, 2, 1, 1]),
      gradOut: hostTensor([1, 1], [1, 2, 1, 1]),
      gradState: hostTensor([0], [1, 1, 1, 1]),
    } as ReturnType<typeof given>;
    const results = await computed(runtime(), host, { causal: true, decay: [0.5] });
    const names = ['out', 'gradQ', 'gradK', 'gradV'];
    expect(names.map((name) => [...toFloat64(results[name] as HostTensor)])).toEqual([
      [15, 63],
      [15, 31.5],
      [10, 12],
      [6, 8],
    ]);
  });

  test('gradients times their inputs all sum to the same', async () => {
    const c = { ...PLAIN, h: 2, g: 2, n: 77, m: 77, decay: [0.9, 0.4] };
    const host = given(c);
    const noGradState = { ...host, gradState: hostTensor(new Float32Array(90), [1, 2, 5, 9]) as HostTensor<'f32'> };
    const results = await computed(runtime(), noGradState, settingsOf(c));
    const sum = (a: HostTensor, b: HostTensor) =>
      toFloat64(a).reduce((total, x, at) => total + x * (toFloat64(b)[at] as number), 0);
    const total = sum(results.out as HostTensor, host.gradOut);
    for (const [grad, input] of [
      ['gradQ', host.q],
      ['gradK', host.k],
      ['gradV', host.v],
    ] as const)
      expect(sum(results[grad] as HostTensor, input)).toBeCloseTo(total, 2);
  });

  test('a sequence in two calls, the state passed on, is the sequence in one', async () => {
    await scoped(runtime(), async () => {
      const n = 131;
      const [q, k, v] = [1, 2, 3].map((seed) => runtime().random([2, n, 3, 10], { seed })) as [Tensor, Tensor, Tensor];
      const settings = { causal: true, decay: [0.99, 0.7, 1] };
      const whole = await linearAttention(q, k, v, settings);
      for (const cut of [1, 47, 48, 49, 130]) {
        const part = (from: number, to: number, initialState?: Tensor) =>
          linearAttention(q.slice(1, from, to), k.slice(1, from, to), v.slice(1, from, to), {
            ...settings,
            initialState,
          });
        const first = await part(0, cut);
        const second = await part(cut, n, first.state);
        const both = [first, second].map(({ out }) => out);
        const wanted = [whole.out.slice(1, 0, cut), whole.out.slice(1, cut, n)];
        for (const [at, out] of both.entries())
          expect(relativeError(await out.toHost(), await (wanted[at] as Tensor).toHost())).toBeLessThan(2e-6);
        expect(relativeError(await second.state.toHost(), await whole.state.toHost())).toBeLessThan(2e-6);
      }
    });
  });

  test('a decay that leaves nothing gives each row its own value only, exactly', async () => {
    await scoped(runtime(), async () => {
      const [q, k, v] = [1, 2, 3].map((seed) => runtime().random([1, 60, 1, 1], { seed })) as [Tensor, Tensor, Tensor];
      const { out } = await linearAttention(q, k, v, { causal: true, decay: [5e-324] });
      const [a, b, c] = await Promise.all([q.read(), k.read(), v.read()]);
      expectClose(
        (await out.read()) as Float32Array,
        Float32Array.from(a as Float32Array, (x, i) => Math.fround(x * (b[i] as number)) * (c[i] as number)),
        1e-6,
      );
    });
  });

  test('f16 and bf16, strided views', async () => {
    await scoped(runtime(), async () => {
      for (const [dtype, tolerance] of [
        ['f16', 1e-3],
        ['bf16', 8e-3],
      ] as const) {
        // Few features, and more than a block of them has.
        const d = dtype === 'f16' ? 5 : 260;
        const c = { ...PLAIN, h: 2, g: 2, n: 70, m: 70, d, decay: [0.9, 1] };
        const host = given(c);
        const rounded = Object.fromEntries(
          (['q', 'k', 'v', 'gradOut'] as const).map((name) => [name, convert(convert(host[name], dtype), 'f32')]),
        ) as typeof host;
        const wanted = expected(c, { ...host, ...rounded });
        // [b, h, n, d] in memory, seen as [b, n, h, d].
        const [q, k, v, gradOut] = (['q', 'k', 'v', 'gradOut'] as const).map((name) => {
          const x = host[name];
          const inOrder = runtime().fromHost(convert(x, dtype));
          return name === 'q' ? inOrder : swapped(runtime(), convert(x, dtype));
        }) as [Tensor, Tensor, Tensor, Tensor];
        const gradState = runtime().fromHost(host.gradState);
        const results = await linearAttention(q, k, v, settingsOf(c));
        const grads = await linearAttentionBackward(q, k, v, { gradOut, gradState }, settingsOf(c));
        const actual: Record<string, HostTensor> = {};
        for (const [name, x] of Object.entries({ ...results, ...grads })) {
          expect(x.dtype).toBe(name === 'state' ? 'f32' : dtype);
          actual[name] = await x.toHost();
        }
        expectAgreement(actual, wanted, tolerance);
      }
    });
  });

  test('writes into the tensors given, and nowhere else', async () => {
    await scoped(runtime(), async () => {
      const [q, k, v] = [1, 2, 3].map((seed) => runtime().random([1, 50, 2, 7], { seed })) as [Tensor, Tensor, Tensor];
      const plain = await linearAttention(q, k, v);
      const [out, state] = [guarded(runtime(), [1, 50, 2, 7]), guarded(runtime(), [1, 2, 7, 7])];
      const results = await linearAttention(q, k, v, { out: out.out, state: state.out });
      expect(results.out).toBe(out.out);
      expect(results.state).toBe(state.out);
      expect(await out.out.read()).toEqual(await plain.out.read());
      await out.check();
      await state.check();
    });
  });

  test('nothing stays allocated, and what does not fit is refused by name', async () => {
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const before = runtime().memory().live;
    await computed(runtime(), given({ ...PLAIN, normalise: true, stated: true }), { causal: true, normalise: true });
    expect(runtime().memory().live).toBe(before);
    await scoped(runtime(), async () => {
      const x = runtime().random([1, 6, 2, 3]);
      const short = runtime().random([1, 5, 2, 3]);
      const state = runtime().random([1, 2, 3, 4]);
      const zero = runtime().tensor(new Float32Array(36), [1, 6, 2, 3]);
      const causal = true;
      for (const [decay, message] of [
        [[0.5, 1.5], 'decay must be in (0, 1], got 1.5 for head 1'],
        [[0, 1], 'decay must be in (0, 1], got 0 for head 0'],
        [[1, Number.NaN], 'decay must be in (0, 1], got NaN for head 1'],
        [[1, '0.5' as unknown as number], "decay must be in (0, 1], got '0.5' for head 1"],
        [[1], 'decay must have one number for each of the 2 heads, got 1'],
      ] as const)
        await refuse(() => linearAttention(x, x, x, { causal, decay }), message);
      await refuse(() => linearAttention(x, x, x, { decay: [1, 1] }), 'decay needs causal: true');
      await refuse(() => linearAttention(x, short, short, { causal }), 'causal needs as many queries as keys');
      const wrong = 'initialState must have shape [b, h, d, e] with e = 3 as in v [1, 6, 2, 3], got [1, 2, 3, 4]';
      await refuse(() => linearAttention(x, x, x, { initialState: state }), wrong);
      const fits = runtime().random([1, 2, 3, 3]);
      const alone = 'initialState and initialKeySum belong together: pass both or neither, got initialState alone';
      await refuse(() => linearAttention(x, x, x, { normalise: true, initialState: fits }), alone);
      const start = (gradients: object) => () => linearAttentionBackward(x, x, x, gradients as { gradOut: Tensor });
      await refuse(
        start(null as unknown as object),
        'gradients of linearAttentionBackward must be an object, got null',
      );
      await refuse(
        start({ gradOut: x, gradstate: fits }),
        "linearAttentionBackward takes no 'gradstate': expected gradOut",
      );
      const none = runtime().empty([1, 6, 2, 0]);
      await refuse(() => linearAttention(none, none, x), 'q [1, 6, 2, 0] is empty along d');
      const wide = runtime().empty([1, 1, 1, 8193]);
      const one = runtime().random([1, 1, 1, 1]);
      await refuse(() => linearAttention(wide, wide, one), 'd of q must be at most 8192, got [1, 1, 1, 8193]');
      await refuse(() => linearAttention(one, one, wide), 'e of v must be at most 256, got [1, 1, 1, 8193]');
      await refuse(() => linearAttention(zero, x, x, { normalise: true, epsilon: 0 }), 'a denominator vanished');
      const unknown = runtime().tensor(new Float32Array(36).fill(Number.NaN), [1, 6, 2, 3]);
      await refuse(() => linearAttention(unknown, x, x, { normalise: true }), 'or an input is not finite');
      await refuse(() => linearAttention(x, x, x, { epsilon: 1 }), 'epsilon needs normalise: true');
      const token = x.slice(1, 0, 1);
      await refuse(
        () => linearAttentionStep(token, token, token, state),
        'state must have shape [b, h, d, e] with e = 3',
      );
      const square = runtime().random([1, 2, 3, 3]);
      const zeros = runtime().tensor(new Float32Array(6), [1, 2, 3]);
      const nothing = zero.slice(1, 0, 1);
      const options = { keySum: zeros, epsilon: 0 };
      await refuse(() => linearAttentionStep(nothing, token, token, square, options), 'a denominator vanished');
      await refuse(() => linearAttentionStep(x, x, x, square), 'q must have shape [b, 1, h, d], got [1, 6, 2, 3]');
    });
  });
});

/** The tensor with rows and heads the other way round in memory. */
function swapped(runtime: Runtime, { data, shape, dtype }: HostTensor<'f16' | 'bf16'>): Tensor {
  const [b, n, h, c] = shape as [number, number, number, number];
  const values = new Uint16Array(data.length);
  for (let at = 0; at < data.length; at++) {
    const [batch, row, head, column] = [
      Math.floor(at / (n * h * c)),
      Math.floor(at / (h * c)) % n,
      Math.floor(at / c) % h,
      at % c,
    ];
    values[((batch * h + head) * n + row) * c + column] = data[at] as number;
  }
  return runtime.tensor(values, [b, h, n, c], dtype).permute([0, 2, 1, 3]);
}

describeOnBackends('linearAttentionStep', (runtime) => {
  test.each([true, false])('token by token is the whole sequence; in place: %s', async (inPlace) => {
    for (const [d, e, keys, decay] of [
      [5, 9, false, [0.5, 1]],
      [16, 32, true, [1e-3, 0.99]],
      [7, 6, true, undefined],
      [8192, 5, true, [0.9, 1]],
    ] as const) {
      await scoped(runtime(), async () => {
        const b = 2;
        const h = 2;
        const n = d > 1000 ? 2 : 9;
        const c = { b, n, m: n, h, g: 1, d, e, causal: true, stated: true, normalise: keys, decay };
        const host = given(c);
        const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x)) as [Tensor, Tensor, Tensor];
        let state: Tensor = runtime().fromHost(host.initialState as HostTensor<'f32'>);
        let keySum: Tensor | undefined = host.initialKeySum && runtime().fromHost(host.initialKeySum);
        const wanted = expected(c, host);
        const outs: number[][] = [];
        const [first, firstSum] = [state, keySum];
        for (let i = 0; i < n; i++) {
          const [qi, ki, vi] = [q, k, v].map((x) => x.slice(1, i, i + 1)) as [Tensor, Tensor, Tensor];
          const step = await linearAttentionStep(qi, ki, vi, state, { decay, keySum, inPlace });
          expect(step.state === state).toBe(inPlace);
          ({ state, keySum } = step);
          outs.push([...((await step.out.read()) as Float32Array)]);
        }
        expect([state === first, keySum === firstSum]).toEqual([inPlace, inPlace || !keys]);
        const rows = (wanted.out as HostTensor).data as Float64Array;
        const perRow = h * e;
        outs.forEach((row, i) => {
          const right = Array.from({ length: b }, (_, batch) => [
            ...rows.subarray((batch * n + i) * perRow, (batch * n + i + 1) * perRow),
          ]).flat();
          expectClose(row, right, 2e-5);
        });
        expect(relativeError(await state.toHost(), wanted.state as HostTensor)).toBeLessThan(1e-5);
        if (keySum) expect(relativeError(await keySum.toHost(), wanted.keySum as HostTensor)).toBeLessThan(1e-5);
      });
    }
  });
});

test.each([
  ['segments and parts', { n: 3500, m: 3500, d: 9, e: 70, decay: [0.999] }],
  ['groups of heads', { n: 130, m: 130, h: 22, g: 11, b: 2, d: 9, e: 7, normalise: true }],
])('the same bits on any number of threads: %s', async (_, change) => {
  const c = { ...PLAIN, stated: true, ...change };
  const host = given(c);
  const all: string[] = [];
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    const results = await computed(runtime, host, settingsOf(c));
    all.push(JSON.stringify(Object.values(results).map(({ data }) => [...new Uint32Array(data.buffer.slice(0))])));
  }
  expect(new Set(all).size).toBe(1);
});

test('many features need the working memory of one block of them', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, 50, 1, seed < 3 ? 8192 : 8], { seed })) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  runtime.backend.resetPeak();
  const before = runtime.memory().live;
  using out = (await linearAttention(q, k, v)).out;
  // Beside the results the state of 256 features, in whole panels.
  const results = runtime.memory().live - before;
  expect(results).toBeGreaterThanOrEqual(out.size * 4 + 8192 * 8 * 4);
  expect(runtime.memory().peak - before - results).toBeLessThan(2 * 256 * 8 * 4);
});

test('a long call stops when it is cancelled, and says how far it is', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using x = runtime.random([1, 40_000, 8, 48]);
  const before = runtime.memory().live;
  const shares: number[] = [];
  const abort = new AbortController();
  const settings = { causal: true, signal: abort.signal, onProgress: (share: number) => shares.push(share) };
  const outcome = outcomeOf(linearAttention(x, x, x, settings));
  setTimeout(() => abort.abort(new Error('enough')), 5);
  await expect(outcome).rejects.toThrow('enough');
  expect(runtime.memory().live).toBe(before);
  await outcomeOf(linearAttention(x, x, x, { ...settings, signal: undefined }));
  expect(shares.at(-1)).toBe(1);
});

describe('the reference', () => {
  test.each([
    ['causal', { causal: true, decay: [0.8, 0.5], normalise: false }],
    ['causal, normalised', { causal: true, decay: [0.8, 1], normalise: true }],
    ['not causal, normalised', { causal: false, m: 4, decay: [1, 1], normalise: true }],
  ])('agrees with differences of its own forward pass: %s', (_, change) => {
    const c = { b: 2, n: 6, m: 6, h: 2, g: 1, d: 3, e: 2, stated: true, ...change };
    const { gradOut, gradState, gradKeySum, ...host } = given(c);
    const wide = Object.fromEntries(
      Object.entries(host).map(([name, x]) => [
        name,
        hostTensor(toFloat64(x as HostTensor), (x as HostTensor).shape, 'f64'),
      ]),
    ) as Record<string, HostTensor<'f64'>>;
    const inputs = {
      ...{ q: wide.q as HostTensor, k: wide.k as HostTensor, v: wide.v as HostTensor },
      ...{ state: wide.initialState, keySum: wide.initialKeySum },
      ...{ causal: c.causal, decay: change.decay, epsilon: c.normalise ? 0.01 : undefined },
    };
    const loss = () => {
      const results = reference.linearAttention(inputs);
      const sum = (a: HostTensor, b?: HostTensor) =>
        b ? toFloat64(a).reduce((total, x, at) => total + x * (toFloat64(b)[at] as number), 0) : 0;
      return sum(results.out, gradOut) + sum(results.state, gradState) + sum(results.keySum, gradKeySum);
    };
    const grads = reference.linearAttentionBackward({ ...inputs, gradOut, gradState, gradKeySum });
    for (const [name, grad] of [
      ['q', grads.gradQ],
      ['k', grads.gradK],
      ['v', grads.gradV],
      ['initialState', grads.gradState],
      ...(c.normalise ? ([['initialKeySum', grads.gradKeySum]] as const) : []),
    ] as const) {
      const { data } = wide[name] as HostTensor<'f64'>;
      for (let at = 0; at < data.length; at++) {
        const value = data[at] as number;
        data[at] = value + 1e-5;
        const above = loss();
        data[at] = value - 1e-5;
        const slope = (above - loss()) / 2e-5;
        data[at] = value;
        expect(grad.data[at], name).toBeCloseTo(slope, 6);
      }
    }
  });

  test('the recurrence is the masked product', () => {
    const c = { ...PLAIN, n: 20, m: 20, d: 4, e: 3, decay: [0.7] };
    const { q, k, v } = given(c);
    const { out } = reference.linearAttention({ q, k, v, causal: true, decay: [0.7] });
    const right = new Float64Array(60);
    for (let i = 0; i < 20; i++) {
      for (let j = 0; j <= i; j++) {
        let score = 0.7 ** (i - j);
        score *= [0, 1, 2, 3].reduce(
          (sum, r) => sum + (q.data[i * 4 + r] as number) * (k.data[j * 4 + r] as number),
          0,
        );
        for (let e = 0; e < 3; e++)
          right[i * 3 + e] = (right[i * 3 + e] as number) + score * (v.data[j * 3 + e] as number);
      }
    }
    expectClose(out.data, right, 1e-12);
  });
});

test('a causal pass has one state for each head on one thread, and some for few heads on more', async () => {
  const [n, d] = [3300, 8];
  const working: number[] = [];
  for (const [threads, h] of [
    [1, 1],
    [1, 4],
    [2, 4],
    [2, 1],
  ] as const) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, n, h, d], { seed })) as [Tensor, Tensor, Tensor];
    const { out, state } = linearAttention(q, k, v, { causal: true });
    await runtime.finish();
    const { live, peak } = runtime.memory();
    working.push((peak - live - h * 8) / (Math.ceil(d / 6) * 6 * 8 * 4));
    for (const x of [q, k, v, out, state]) x.dispose();
  }
  // Beside them there are some cache lines.
  expect(working.map(Math.floor)).toEqual([1, 4, 4, 2]);
});
