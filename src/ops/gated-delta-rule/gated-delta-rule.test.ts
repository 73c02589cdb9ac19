import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, isOnGpu, randomCases } from '../../../test/backends';
import { relativeError, smallGradient } from '../../../test/describe-method';
import { expectClose, expectRefusal, guarded, outcomeOf } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import {
  createRuntime,
  gatedDeltaRule as deltaRule,
  gatedDeltaRuleBackward as deltaRuleBackward,
  gatedDeltaRuleStep as deltaRuleStep,
  type GatedDeltaRuleOptions,
  linearAttentionStep,
  type Runtime,
  type Tensor,
} from '../../index';
import { type HostTensor, hostTensor, toFloat64 } from '../../tensor/host';
import { normal, uniform } from '../../tensor/random';
import { gatedDeltaRule, gatedDeltaRuleBackward } from './recurrence';

interface Shapes {
  readonly b: number;
  readonly n: number;
  readonly h: number;
  readonly d: number;
  readonly e: number;
}

const INPUTS = ['q', 'k', 'v', 'g', 'beta', 'initialState', 'gradOut', 'gradState'] as const;
type Problem = Record<(typeof INPUTS)[number], HostTensor<'f32'>>;

const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);
const random = (shape: readonly number[], seed: number) => hostTensor(normal(size(shape), seed), shape, 'f32');

/** Keys of norm 1, log decays down to -`decay`, betas from 0 to 1. */
function given({ b, n, h, d, e }: Shapes, decay = 0.2): Problem {
  const k = random([b, n, h, d], 2);
  for (let at = 0; at < k.data.length; at += d) {
    const key = k.data.subarray(at, at + d);
    const norm = Math.hypot(...key);
    key.forEach((x, c) => {
      key[c] = x / norm;
    });
  }
  return {
    q: random([b, n, h, d], 1),
    k,
    v: random([b, n, h, e], 3),
    g: hostTensor(
      uniform(b * n * h, 4).map((x) => -decay * x),
      [b, n, h],
      'f32',
    ),
    beta: hostTensor(uniform(b * n * h, 5), [b, n, h], 'f32'),
    initialState: random([b, h, d, e], 6),
    gradOut: random([b, n, h, e], 7),
    gradState: random([b, h, d, e], 8),
  };
}

const filled = (like: HostTensor<'f32'>, value: number) =>
  hostTensor(new Float32Array(like.data.length).fill(value), like.shape, 'f32');

const LENGTHS = [1, 2, 5, 6, 7, 12, 23, 24, 25, 47, 48, 49, 72, 95, 96, 97, 150];

async function run(runtime: Runtime, problem: Problem, options: GatedDeltaRuleOptions = {}) {
  return scoped(runtime, async () => {
    const [q, k, v, g, beta] = INPUTS.map((name) => runtime.fromHost(problem[name])) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const initialState = runtime.fromHost(problem.initialState);
    const { out, state } = await deltaRule(q, k, v, g, beta, { initialState, ...options });
    return { out: await out.toHost(), state: await state.toHost() };
  });
}

async function gradients(runtime: Runtime, problem: Problem, states: boolean): Promise<Record<string, HostTensor>> {
  return scoped(runtime, async () => {
    const tensors = Object.fromEntries(INPUTS.map((name) => [name, runtime.fromHost(problem[name])])) as Record<
      (typeof INPUTS)[number],
      Tensor
    >;
    const { q, k, v, g, beta, initialState, gradOut, gradState } = tensors;
    const grads = await deltaRuleBackward(
      q,
      k,
      v,
      g,
      beta,
      { gradOut, ...(states && { gradState }) },
      { ...(states && { initialState }) },
    );
    const hosts = Object.entries(grads).map(async ([name, tensor]) => [name, await tensor.toHost()] as const);
    return Object.fromEntries(await Promise.all(hosts));
  });
}

const shapes = fc.record({
  b: fc.integer({ min: 1, max: 2 }),
  n: fc.integer({ min: 1, max: 110 }),
  h: fc.integer({ min: 1, max: 3 }),
  d: fc.integer({ min: 1, max: 21 }),
  e: fc.integer({ min: 1, max: 21 }),
});
const decays = fc.constantFrom(0, 0.05, 1, 30, 1e5);

describeOnBackends('gatedDeltaRule', (runtime) => {
  test('agrees with the recurrence on odd shapes, in both forms, whatever the decay', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, decays, fc.constantFrom('chunked', 'recurrent'), async (shape, decay, form) => {
        const problem = given(shape, decay);
        const actual = await run(runtime(), problem, { form: form as 'chunked' });
        const expected = gatedDeltaRule(problem, 1 / Math.sqrt(shape.d));
        expect(relativeError(actual.out, expected.out)).toBeLessThan(5e-6);
        expect(relativeError(actual.state, expected.state)).toBeLessThan(5e-6);
      }),
      randomCases(60),
    );
  });

  test.each(LENGTHS)('%i tokens: chunked is recurrent', async (n) => {
    const problem = given({ b: 1, n, h: 2, d: 16, e: 24 });
    const chunked = await run(runtime(), problem, { form: 'chunked' });
    const recurrent = await run(runtime(), problem, { form: 'recurrent' });
    expect(relativeError(chunked.out, recurrent.out)).toBeLessThan(5e-6);
    expect(relativeError(chunked.state, recurrent.state)).toBeLessThan(5e-6);
  });

  test('gradients agree with those of the recurrence, whatever the decay', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, decays, fc.boolean(), async (shape, decay, states) => {
        const problem = given(shape, decay);
        const actual = await gradients(runtime(), problem, states);
        const expected = gatedDeltaRuleBackward(
          states ? problem : { ...problem, initialState: undefined },
          { gradOut: problem.gradOut, gradState: states ? problem.gradState : undefined },
          1 / Math.sqrt(shape.d),
        );
        expect('gradInitialState' in actual).toBe(states);
        for (const [name, grad] of Object.entries(actual))
          expect(
            relativeError(grad, expected[name as keyof typeof expected], smallGradient(Object.values(expected))),
            name,
          ).toBeLessThan(3e-5);
      }),
      randomCases(40),
    );
  });

  test('states before every so many tokens agree with the recurrence, and gradients with respect to them', async () => {
    const forms = fc.constantFrom('chunked', 'recurrent');
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer({ min: 1, max: 60 }), forms, async (shape, every, form) => {
        const problem = given(shape);
        const scale = 1 / Math.sqrt(shape.d);
        const expected = gatedDeltaRule(problem, scale, every);
        const gradStates = random(expected.states.shape, 9);
        const byStates = gatedDeltaRuleBackward(problem, { ...problem, gradStates }, scale, every);
        await scoped(runtime(), async () => {
          const [q, k, v, g, beta, initialState, gradOut, gradState] = INPUTS.map((name) =>
            runtime().fromHost(problem[name]),
          ) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
          const { states, out } = deltaRule(q, k, v, g, beta, { initialState, every, form: form as 'chunked' });
          expect(relativeError(await states!.toHost(), expected.states)).toBeLessThan(5e-6);
          expect(relativeError(await out.toHost(), expected.out)).toBeLessThan(5e-6);
          const gradients = { gradOut, gradState, gradStates: runtime().fromHost(gradStates) };
          const grads = deltaRuleBackward(q, k, v, g, beta, gradients, { initialState, every });
          expect(Object.keys(grads).sort()).toEqual(Object.keys(byStates).sort());
          for (const [name, grad] of Object.entries(grads)) {
            const want = byStates[name as keyof typeof byStates];
            const error = relativeError(await grad.toHost(), want, smallGradient(Object.values(byStates)));
            expect(error, name).toBeLessThan(3e-5);
          }
        });
      }),
      randomCases(25),
    );
  });

  test('what lies before a token is where a call up to there ends', async () => {
    const problem = given({ b: 2, n: 9, h: 2, d: 3, e: 4 });
    await scoped(runtime(), async () => {
      const [q, k, v, g, beta] = INPUTS.map((name) => runtime().fromHost(problem[name])) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const { states } = deltaRule(q, k, v, g, beta, { every: 4 });
      expect(states!.shape).toEqual([2, 3, 2, 3, 4]);
      const first = (x: Tensor) => x.slice(1, 0, 8);
      const { state } = deltaRule(first(q), first(k), first(v), first(g), first(beta));
      expectClose(await states!.slice(1, 0, 1).read(), new Float32Array(48), 0);
      expectClose(await states!.slice(1, 2, 3).read(), await state.read(), 1e-6);
    });
  });

  test('sequences longer than what is computed at once', async () => {
    const problem = given({ b: 1, n: isOnGpu ? 4200 : 8300, h: 1, d: 3, e: 2 }, 0.01);
    const scale = 1 / Math.sqrt(3);
    const { out, state } = await run(runtime(), problem, { form: 'chunked' });
    const expected = gatedDeltaRule(problem, scale);
    expect(relativeError(out, expected.out)).toBeLessThan(5e-6);
    expect(relativeError(state, expected.state)).toBeLessThan(5e-6);
    const right = gatedDeltaRuleBackward(problem, problem, scale);
    for (const [name, grad] of Object.entries(await gradients(runtime(), problem, true)))
      expect(
        relativeError(grad, right[name as keyof typeof right], smallGradient(Object.values(right))),
        name,
      ).toBeLessThan(3e-5);
  });

  test.each(['chunked', 'recurrent'] as const)('%s: 1-d example, half of the error is written', async (form) => {
    const states = [2, 3, 3.5];
    const { out, state } = await run(runtime(), line([4, 4, 4], { beta: 0.5 }), { form, scale: 1 });
    expectClose(out.data as Float32Array, states, 1e-6);
    expectClose(state.data as Float32Array, [3.5], 1e-6);
  });

  test.each(['chunked', 'recurrent'] as const)('%s: a second write with the same key overwrites', async (form) => {
    const values = Array.from({ length: 60 }, (_, t) => t - 30);
    const { out } = await run(runtime(), line(values, { beta: 1 }), { form, scale: 1 });
    expectClose(out.data as Float32Array, values, 1e-5);
  });

  test.each(['chunked', 'recurrent'] as const)('%s: orthonormal keys recall perfectly', async (form) => {
    const d = 20;
    const n = 2 * d;
    const problem = given({ b: 1, n, h: 1, d, e: 7 });
    const unit = hostTensor(new Float32Array(n * d), [1, n, 1, d], 'f32');
    for (let t = 0; t < n; t++) unit.data[t * d + (t % d)] = 1;
    const { out } = await run(
      runtime(),
      { ...problem, q: unit, k: unit, g: filled(problem.g, 0), beta: filled(problem.beta, 1) },
      { form, scale: 1 },
    );
    expectClose(out.data as Float32Array, problem.v.data, 1e-5);
  });

  test.each(['chunked', 'recurrent'] as const)('%s: beta 0 only decays', async (form) => {
    const problem = given({ b: 1, n: 60, h: 1, d: 5, e: 3 }, 0.01);
    const { state } = await run(runtime(), { ...problem, beta: filled(problem.beta, 0) }, { form });
    const kept = Math.exp(problem.g.data.reduce((sum, x) => sum + x, 0));
    expectClose(
      state.data as Float32Array,
      problem.initialState.data.map((x) => kept * x),
      1e-5,
    );
  });

  test.each(['chunked', 'recurrent'] as const)('%s: a decay to nothing forgets all, and nothing else', async (form) => {
    const shape = { b: 1, n: 100, h: 1, d: 6, e: 6 };
    const problem = given(shape);
    const [cut, lowest] = [70, -3e38];
    const forgetful = { ...problem, g: hostTensor(problem.g.data.slice(), problem.g.shape, 'f32') };
    forgetful.g.data[cut] = lowest;
    const { out, state } = await run(runtime(), forgetful, { form });
    const expected = gatedDeltaRule(forgetful, 1 / Math.sqrt(6));
    expect(relativeError(out, expected.out)).toBeLessThan(5e-6);
    expect(relativeError(state, expected.state)).toBeLessThan(5e-6);
    const grads = await gradients(runtime(), forgetful, true);
    const right = gatedDeltaRuleBackward(forgetful, forgetful, 1 / Math.sqrt(6));
    for (const [name, grad] of Object.entries(grads))
      expect(
        relativeError(grad, right[name as keyof typeof right], smallGradient(Object.values(right))),
        name,
      ).toBeLessThan(3e-5);
  });

  test.each([1, 30, 48, 77])('a sequence split after %i tokens and resumed is the same', async (cut) => {
    const problem = given({ b: 2, n: 130, h: 2, d: 9, e: 10 });
    const whole = await run(runtime(), problem);
    const first = await run(runtime(), part(problem, 0, cut));
    const second = await run(runtime(), { ...part(problem, cut, 130), initialState: first.state as HostTensor<'f32'> });
    expect(relativeError(second.state, whole.state)).toBeLessThan(5e-6);
    for (const [piece, from, to] of [
      [first, 0, cut],
      [second, cut, 130],
    ] as const)
      expect(relativeError(piece.out, rows(whole.out as HostTensor<'f32'>, from, to))).toBeLessThan(5e-6);
  });

  test('steps are the sequence, token by token, into given tensors', async () => {
    const [b, n, h, d, e] = [2, 7, 3, 5, 9];
    const problem = given({ b, n, h, d, e });
    const whole = gatedDeltaRule(problem, 1 / Math.sqrt(d));
    const at = (x: HostTensor<'f32'>, t: number) => runtime().fromHost(rows(x, t, t + 1));
    await scoped(runtime(), async () => {
      let states = [runtime().fromHost(problem.initialState), runtime().empty([b, h, d, e])] as const;
      const out = runtime().empty([b, 1, h, e]);
      for (let t = 0; t < n; t++) {
        const [q, k, v, g, beta] = (['q', 'k', 'v', 'g', 'beta'] as const).map((name) => at(problem[name], t)) as [
          Tensor,
          Tensor,
          Tensor,
          Tensor,
          Tensor,
        ];
        const { live } = runtime().memory();
        const result = deltaRuleStep(q, k, v, g, beta, states[0], { out, state: states[1] });
        await runtime().finish();
        expect(runtime().memory().live).toBe(live);
        expect(result.out).toBe(out);
        expect(relativeError(await out.toHost(), rows(whole.out, t, t + 1))).toBeLessThan(5e-6);
        states = [states[1], states[0]];
      }
      expect(relativeError(await states[0].toHost(), whole.state)).toBeLessThan(5e-6);
    });
  });

  test('steps take the shapes of those of linear attention', async () => {
    await scoped(runtime(), async () => {
      const [q, k, v, two] = [3, 3, 4, 3].map((width, at) => runtime().random([1, at === 3 ? 2 : 1, 2, width])) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const gate = runtime().tensor(new Float32Array(2), [1, 1, 2]);
      const state = runtime().random([1, 2, 3, 4]);
      const shapes = (results: object) =>
        Object.fromEntries(Object.entries(results).map(([name, x]) => [name, x.shape]));
      const expected = { out: [1, 1, 2, 4], state: [1, 2, 3, 4] };
      expect(shapes(linearAttentionStep(q, k, v, state))).toEqual(expected);
      expect(shapes(deltaRuleStep(q, k, v, gate, gate, state))).toEqual(expected);
      const flat = q.reshape([1, 2, 3]);
      for (const [wrong, got] of [
        [two, '[1, 2, 2, 3]'],
        [flat, '[1, 2, 3]'],
      ] as const) {
        const call = () => deltaRuleStep(wrong, k, v, gate, gate, state);
        await expectRefusal(runtime(), call, `q must have shape [b, 1, h, d], got ${got}`);
      }
      const call = () => deltaRuleStep(q, k, v, gate, gate, runtime().random([1, 2, 4, 4]));
      await expect(async () => call()).rejects.toThrow('state must have shape [b, h, d, e] with d = 3');
    });
  });

  test('takes strided views and half precision, and writes nothing but its results', async () => {
    const [b, n, h, d, e] = [2, 53, 2, 6, 10];
    const problem = given({ b, n, h, d, e });
    await scoped(runtime(), async () => {
      // Heads before tokens in memory, and states transposed.
      const swapped = (x: HostTensor<'f32'>) => {
        const rest = x.shape.slice(3);
        const width = rest[0] ?? 1;
        const data = new Float32Array(x.data.length);
        for (let at = 0; at < x.data.length; at++) {
          const [c, head, t, batch] = [
            at % width,
            Math.floor(at / width) % h,
            Math.floor(at / width / h) % n,
            Math.floor(at / width / h / n),
          ];
          data[((batch * h + head) * n + t) * width + c] = x.data[at] as number;
        }
        const turned = runtime().tensor(data, [b, h, n, ...rest]);
        return turned.permute(rest.length > 0 ? [0, 2, 1, 3] : [0, 2, 1]);
      };
      const [q, k, v, g, beta] = (['q', 'k', 'v', 'g', 'beta'] as const).map((name) => swapped(problem[name])) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const { out, check } = guarded(runtime(), [b, n, h, e]);
      const state = guarded(runtime(), [b, h, d, e]);
      await deltaRule(q, k, v, g, beta, { out, state: state.out });
      const expected = gatedDeltaRule({ ...problem, initialState: undefined }, 1 / Math.sqrt(d));
      expect(relativeError(await out.toHost(), expected.out)).toBeLessThan(5e-6);
      expect(relativeError(await state.out.toHost(), expected.state)).toBeLessThan(5e-6);
      await check();
      await state.check();

      const half = (x: HostTensor<'f32'>) => runtime().tensor(Float64Array.from(x.data), x.shape, 'f16');
      const results = await deltaRule(
        half(problem.q),
        half(problem.k),
        half(problem.v),
        half(problem.g),
        half(problem.beta),
      );
      expect(results.out.dtype).toBe('f16');
      expect(results.state.dtype).toBe('f32');
      expect(relativeError(await results.out.toHost(), expected.out)).toBeLessThan(5e-3);
      const grads = await deltaRuleBackward(
        half(problem.q),
        half(problem.k),
        half(problem.v),
        half(problem.g),
        half(problem.beta),
        { gradOut: half(problem.gradOut) },
      );
      const right = gatedDeltaRuleBackward(
        { ...problem, initialState: undefined },
        { gradOut: problem.gradOut },
        1 / Math.sqrt(d),
      );
      for (const [name, grad] of Object.entries(grads)) {
        expect(grad.dtype, name).toBe('f16');
        expect(relativeError(await grad.toHost(), right[name as keyof typeof right]), name).toBeLessThan(2e-2);
      }
    });
  });
});

/** One head of dimension 1, keys and queries 1, no decay, no state before. */
function line(values: readonly number[], { beta }: { readonly beta: number }): Problem {
  const n = values.length;
  const problem = given({ b: 1, n, h: 1, d: 1, e: 1 });
  return {
    ...problem,
    q: filled(problem.q, 1),
    k: filled(problem.k, 1),
    v: hostTensor(Float32Array.from(values), [1, n, 1, 1], 'f32'),
    g: filled(problem.g, 0),
    beta: filled(problem.beta, beta),
    initialState: filled(problem.initialState, 0),
  };
}

/** The tokens `from` to `to` of [b, n, ...]. */
function rows<D extends 'f32' | 'f64'>({ data, shape, dtype }: HostTensor<D>, from: number, to: number): HostTensor<D> {
  const [b, n, ...rest] = shape as [number, number, ...number[]];
  const width = size(rest);
  const pieces = Array.from({ length: b }, (_, batch) => [
    ...data.slice((batch * n + from) * width, (batch * n + to) * width),
  ]);
  return hostTensor(Float64Array.from(pieces.flat()), [b, to - from, ...rest], dtype);
}

function part(problem: Problem, from: number, to: number): Problem {
  const tokens = (['q', 'k', 'v', 'g', 'beta', 'gradOut'] as const).map((name) => [
    name,
    rows(problem[name], from, to),
  ]);
  return { ...problem, ...(Object.fromEntries(tokens) as Partial<Problem>) };
}

describe('the reference', () => {
  test('has the gradients that differences of its forward pass have', () => {
    const shape = { b: 1, n: 5, h: 2, d: 3, e: 2 };
    const problem = given(shape, 1);
    const wide = Object.fromEntries(
      Object.entries(problem).map(([name, x]) => [name, hostTensor(toFloat64(x), x.shape, 'f64')]),
    ) as Record<keyof Problem, HostTensor<'f64'>>;
    const dot = (a: HostTensor<'f64'>, b: HostTensor<'f64'>) =>
      a.data.reduce((sum, x, at) => sum + x * (b.data[at] as number), 0);
    const loss = () => {
      const { out, state } = gatedDeltaRule(wide, 0.7);
      return dot(out, wide.gradOut) + dot(state, wide.gradState);
    };
    const grads = gatedDeltaRuleBackward(wide, wide, 0.7);
    for (const [input, grad] of [
      ['q', grads.gradQ],
      ['k', grads.gradK],
      ['v', grads.gradV],
      ['g', grads.gradG],
      ['beta', grads.gradBeta],
      ['initialState', grads.gradInitialState],
    ] as const) {
      const { data } = wide[input];
      for (let at = 0; at < data.length; at++) {
        const value = data[at] as number;
        data[at] = value + 1e-5;
        const above = loss();
        data[at] = value - 1e-5;
        const slope = (above - loss()) / 2e-5;
        data[at] = value;
        expect(grad.data[at], `${input} ${at}`).toBeCloseTo(slope, 7);
      }
    }
  });

  test('keeps states between segments', () => {
    const problem = given({ b: 1, n: 150, h: 1, d: 2, e: 2 });
    const first = part(problem, 0, 90);
    const second = part(problem, 90, 150);
    const middle = gatedDeltaRule(first, 1).state;
    const whole = gatedDeltaRuleBackward(problem, problem, 1);
    const later = gatedDeltaRuleBackward({ ...second, initialState: middle }, second, 1);
    const earlier = gatedDeltaRuleBackward(first, { gradOut: first.gradOut, gradState: later.gradInitialState }, 1);
    expectClose([...earlier.gradK.data, ...later.gradK.data], whole.gradK.data, 1e-12);
    expectClose(earlier.gradInitialState.data, whole.gradInitialState.data, 1e-12);
  });
});

test.each(['relaxed', 'baseline'] as const)('%s kernels give the same bits on 1, 2 and 3 threads', async (simd) => {
  const results: Float32Array[][] = [];
  const problem = given({ b: 1, n: 200, h: 1, d: 40, e: 70 });
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', simd, threads });
    const all = [
      ...Object.values(await run(runtime, problem, { form: 'chunked' })),
      ...Object.values(await run(runtime, problem, { form: 'recurrent' })),
      ...Object.values(await gradients(runtime, problem, true)),
    ];
    results.push(all.map(({ data }) => data as Float32Array));
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test('the backward pass can be cancelled midway and frees what it took', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const [n, h, d] = [6000, 4, 64];
  using x = runtime.random([1, n, h, d], { seed: 1 });
  using k = runtime.tensor(
    (await x.read()).map((value) => value / 12),
    [1, n, h, d],
  );
  using g = runtime.tensor(new Float32Array(n * h).fill(-0.1), [1, n, h]);
  using beta = runtime.tensor(new Float32Array(n * h).fill(0.5), [1, n, h]);
  const { live } = runtime.memory();
  const controller = new AbortController();
  const pending = outcomeOf(deltaRuleBackward(x, k, x, g, beta, { gradOut: x }, { signal: controller.signal }));
  setTimeout(() => controller.abort(new Error('changed my mind')), 5);
  await expect(pending).rejects.toThrow('changed my mind');
  expect(runtime.memory().live).toBe(live);
});

describeOnBackends('what gatedDeltaRule refuses', (runtime) => {
  const shape = { b: 1, n: 9, h: 2, d: 3, e: 4 };

  async function refuse(change: Partial<Problem>, options: Record<string, unknown>, message: string) {
    const problem = { ...given(shape), ...change };
    await scoped(runtime(), async () => {
      const [q, k, v, g, beta, initialState, gradOut] = INPUTS.map((name) => runtime().fromHost(problem[name])) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const { form, ...others } = { initialState, ...options } as GatedDeltaRuleOptions;
      await expectRefusal(runtime(), () => deltaRule(q, k, v, g, beta, { ...others, ...(form && { form }) }), message);
      if (form) return;
      await expectRefusal(runtime(), () => deltaRuleBackward(q, k, v, g, beta, { gradOut }, others), message);
    });
  }

  const gates = (value: number) => {
    const g = hostTensor(new Float32Array(18), [1, 9, 2], 'f32');
    g.data[13] = value;
    return g;
  };

  test.each([
    [{ g: gates(Number.NaN) }, {}, 'g must be finite and at most 0, got NaN at [0, 6, 1]'],
    [{ g: gates(Number.NEGATIVE_INFINITY) }, {}, 'g must be finite and at most 0, got -Infinity at [0, 6, 1]'],
    [{ g: gates(0.5) }, {}, 'g must be finite and at most 0, got 0.5 at [0, 6, 1]'],
    [{ beta: gates(Number.POSITIVE_INFINITY) }, {}, 'beta must be finite, got Infinity at [0, 6, 1]'],
    [
      { k: random([1, 9, 2, 5], 1) },
      {},
      'k must have shape [b, n, h, d] with d = 3 as in q [1, 9, 2, 3], got [1, 9, 2, 5]',
    ],
    [{ g: random([1, 9, 1], 1) }, {}, 'g must have shape [b, n, h] with h = 2 as in q [1, 9, 2, 3], got [1, 9, 1]'],
    [
      { initialState: random([1, 2, 4, 3], 1) },
      {},
      'initialState must have shape [b, h, d, e] with d = 3 as in q [1, 9, 2, 3], got [1, 2, 4, 3]',
    ],
    [{}, { scale: Number.NaN }, 'scale must be a finite number, got NaN'],
    [{}, { form: 'wy' }, "form must be one of chunked, recurrent, got 'wy'"],
    [{}, { every: 0.5 }, 'every must be an integer >= 1, got 0.5'],
    [{}, { chunk: 3, form: 'chunked' }, "gatedDeltaRule has no option 'chunk'"],
  ] as const)('%#: %j', (change, options, message) => refuse(change as Partial<Problem>, options, message));

  test('gradients that are none, or misspelt', async () => {
    const problem = given(shape);
    await scoped(runtime(), async () => {
      const [q, k, v, g, beta, , gradOut] = INPUTS.map((name) => runtime().fromHost(problem[name])) as Tensor[];
      const start = (gradients: unknown) => () =>
        deltaRuleBackward(q!, k!, v!, g!, beta!, gradients as { gradOut: Tensor });
      await expectRefusal(runtime(), start(undefined), 'gradients of gatedDeltaRuleBackward must be an object');
      await expectRefusal(runtime(), start({ gradOut, gradstate: v }), "gatedDeltaRuleBackward takes no 'gradstate'");
      const gradStates = runtime().random([1, 1, 2, 3, 4]);
      await expectRefusal(runtime(), start({ gradOut, gradStates }), 'gradStates needs every, as forward');
    });
  });

  test('a state that outgrows float32, since keys are too long', async () => {
    const problem = given({ b: 1, n: 200, h: 1, d: 4, e: 4 });
    const long = {
      ...problem,
      k: hostTensor(problem.k.data.map((x) => 9 * x) as Float32Array, problem.k.shape, 'f32'),
    };
    const before = runtime().memory().live;
    for (const form of ['chunked', 'recurrent'] as const)
      await expect(async () => run(runtime(), long, { form })).rejects.toThrow(
        'the state after the last token is not finite: an input is not, or keys are too long, expected beta |k|^2 of at most 2',
      );
    expect(runtime().memory().live).toBe(before);
  });

  test('a gradient of another shape', async () => {
    const problem = given(shape);
    await scoped(runtime(), async () => {
      const [q, k, v, g, beta, initialState] = INPUTS.map((name) => runtime().fromHost(problem[name])) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      await expectRefusal(
        runtime(),
        () => deltaRuleBackward(q, k, v, g, beta, { gradOut: v.slice(1, 0, 8) }),
        'gradOut must have shape [b, n, h, e] with n = 9 as in q [1, 9, 2, 3], got [1, 8, 2, 4]',
      );
      await expectRefusal(
        runtime(),
        () => deltaRuleBackward(q, k, v, g, beta, { gradOut: v, gradState: initialState.slice(0, 0, 0) }),
        'gradState [0, 2, 3, 4] is empty',
      );
    });
  });
});
