import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeWithMachineCode, fewOnGpu, isOnGpu, randomCases } from '../../../../test/backends';
import { relativeError, smallGradient } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import {
  type AttentionResult,
  type AttentionSettings,
  attention,
  attentionBackward,
  createRuntime,
  type Runtime,
  type Tensor,
} from '../../..';
import * as masks from '../../../masks';
import { band, causal, full } from '../../../masks/band';
import { KeyWords } from '../../../masks/key-words';
import { type Mask, oneHead } from '../../../masks/mask';
import * as scores from '../../../scores';
import { partsOf, type Score } from '../../../scores/score';
import { type HostTensor, hostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { softmaxAttention, softmaxAttentionBackward } from '../softmax';

interface Shapes {
  readonly b: number;
  readonly n: number;
  readonly m: number;
  readonly h: number;
  readonly g: number;
  readonly d: number;
  readonly e: number;
}

/** The keys that lie a multiple of `step` away, in a closed form. */
const every = (step: number): Mask => ({
  name: `every ${step}`,
  sees: (i, j) => (i + j) % step === 0,
  intervals(i, { m }) {
    const ends: number[] = [];
    for (let j = 0; j < m; j++) if ((i + j) % step === 0) ends.push(j, j + 1);
    return step === 1 ? [0, m] : ends;
  },
});

/** Each head sees another third of the keys; without a closed form. */
const byHead: Mask = {
  name: 'by head',
  sees: (i, j, { head }) => (i + Math.floor(j / 9) + head) % 3 === 0,
  variant: ({ head }) => head,
  words(queries, place) {
    const result = new KeyWords();
    for (let j = 0; j < place.m; j++) {
      let word = 0;
      for (let r = 0; r < queries.length; r++) if (byHead.sees(queries[r] as number, j, place)) word |= 1 << r;
      result.push(j, word);
    }
    result.push(place.m, 0);
    return result;
  },
};

const MASKS = { full: full(), causal: causal(), window: band(20, 3), 'every 2': every(2), 'by head': byHead };

function given({ b, n, m, h, g, d, e }: Shapes, size = 1) {
  const make = (shape: readonly number[], seed: number, factor = 1) =>
    hostTensor(
      normal(
        shape.reduce((a, x) => a * x, 1),
        seed,
      ).map((x) => x * factor) as Float32Array,
      shape,
      'f32',
    );
  return {
    q: make([b, n, h, d], 1, size),
    k: make([b, m, g, d], 2, size),
    v: make([b, m, g, e], 3),
    gradOut: make([b, n, h, e], 4),
    gradLse: make([b, n, h], 5),
  };
}

type Given = Readonly<Record<keyof ReturnType<typeof given>, HostTensor<'f32' | 'f16'>>>;

const stored = (x: HostTensor<'f32'>, dtype: 'f32' | 'f16'): HostTensor<'f32' | 'f16'> =>
  dtype === 'f32' ? x : hostTensor(Float16Array.from(x.data), x.shape, dtype);

async function gradients(runtime: Runtime, host: Given, mask: Mask, withLse: boolean, scale?: number) {
  const [q, k, v, gradOut, gradLse] = (['q', 'k', 'v', 'gradOut', 'gradLse'] as const).map((name) =>
    runtime.fromHost(host[name]),
  ) as [Tensor, Tensor, Tensor, Tensor, Tensor<'f32'>];
  const { out, lse } = await attention(q, k, v, { mask, scale });
  const grads = await attentionBackward(q, k, v, { out, lse, gradOut, ...(withLse && { gradLse }) }, { mask, scale });
  const results = {
    gradQ: await grads.gradQ.toHost(),
    gradK: await grads.gradK.toHost(),
    gradV: await grads.gradV.toHost(),
  };
  for (const tensor of [q, k, v, gradOut, gradLse, out, lse, grads.gradQ, grads.gradK, grads.gradV]) tensor.dispose();
  return results;
}

function expected({ gradLse, ...host }: Given, mask: Mask, withLse: boolean, scale: number) {
  const [b, n, h] = host.q.shape as [number, number, number];
  const [, m, g] = host.k.shape as [number, number, number];
  return softmaxAttentionBackward({ ...host, ...(withLse && { gradLse }) }, scale, (i, j, head, batch) =>
    mask.sees(i, j, { b, n, m, h, g, head, batch }),
  );
}

const NAMES = ['gradQ', 'gradK', 'gradV'] as const;

describeWithMachineCode('attentionBackward', (runtime) => {
  test('agrees with the definition on odd shapes, grouped heads and every kind of mask', async () => {
    const extent = (max: number) => fc.integer({ min: 1, max });
    await fc.assert(
      fc.asyncProperty(
        fc.record({ b: extent(2), n: extent(110), m: extent(110), g: extent(2), d: extent(21), e: extent(21) }),
        extent(3),
        fc.constantFrom(...(Object.keys(MASKS) as (keyof typeof MASKS)[])),
        fc.boolean(),
        async (shape, heads, name, withLse) => {
          const host = given({ ...shape, h: shape.g * heads });
          const scale = 1 / Math.sqrt(shape.d);
          const actual = await gradients(runtime(), host, MASKS[name], withLse);
          const right = expected(host, MASKS[name], withLse, scale);
          for (const grad of NAMES)
            expect(relativeError(actual[grad], right[grad], smallGradient(Object.values(right))), grad).toBeLessThan(
              2e-5,
            );
        },
      ),
      randomCases(40),
    );
  });

  test.each(Object.keys(MASKS) as (keyof typeof MASKS)[])('crosses blocks and parts of keys: %s', async (name) => {
    const host = given({ b: 1, n: 100, m: 700, h: 2, g: 1, d: 5, e: 9 });
    const actual = await gradients(runtime(), host, MASKS[name], true);
    const right = expected(host, MASKS[name], true, 1 / Math.sqrt(5));
    for (const grad of NAMES)
      expect(relativeError(actual[grad], right[grad], smallGradient(Object.values(right))), grad).toBeLessThan(2e-5);
  });

  test('large scores: one key takes all the weight', async () => {
    const host = given({ b: 1, n: 60, m: 70, h: 1, g: 1, d: 8, e: 8 }, 12);
    const actual = await gradients(runtime(), host, full(), false);
    const right = expected(host, full(), false, 1 / Math.sqrt(8));
    for (const grad of NAMES)
      expect(relativeError(actual[grad], right[grad], smallGradient(Object.values(right))), grad).toBeLessThan(1e-3);
  });

  test('a query that sees no key gives and gets no gradient', async () => {
    const host = given({ b: 1, n: 9, m: 4, h: 1, g: 1, d: 3, e: 2 });
    const { gradQ, gradK, gradV } = await gradients(runtime(), host, causal(), false);
    expect([...gradQ.data].slice(0, 15)).toEqual(new Array(15).fill(0));
    for (const { data } of [gradQ, gradK, gradV]) expect([...data].every(Number.isFinite)).toBe(true);
  });

  test('nothing stays allocated, also when refused', async () => {
    const { q, k, v, gradOut, gradLse } = given({ b: 1, n: 30, m: 30, h: 1, g: 1, d: 4, e: 4 });
    const before = runtime().memory().live;
    await gradients(runtime(), { q, k, v, gradOut, gradLse }, causal(), true);
    expect(runtime().memory().live).toBe(before);
    using x = runtime().fromHost(q);
    using lse = runtime().empty([1, 30, 1]);
    using wrong = runtime().empty([1, 29, 1, 4]);
    await expectRefusal(
      runtime(),
      () => attentionBackward(x, x, x, { out: x, lse, gradOut: wrong }),
      'gradOut must have shape [b, n, h, e] with n = 30 as in q [1, 30, 1, 4], got [1, 29, 1, 4]',
    );
    const start = (gradients: unknown) => () =>
      attentionBackward(x, x, x, gradients as { out: Tensor; lse: Tensor<'f32'>; gradOut: Tensor });
    await expectRefusal(runtime(), start(undefined), 'gradients of attentionBackward must be an object, got undefined');
    await expectRefusal(
      runtime(),
      start({ out: x, lse, gradOut: x, gradlse: lse }),
      "attentionBackward takes no 'gradlse'",
    );
  });
});

describeWithMachineCode('score modifiers', (runtime) => {
  const n = 30;
  const m = 41;
  const L = 50;
  const table = hostTensor(normal(2 * (2 * L - 1), 6), [2, 2 * L - 1], 'f32');
  const bias = hostTensor(normal(2 * n * m, 7), [2, n, m], 'f32');
  const modifiers: Record<string, Score> = {
    softcap: scores.softcap(1.5),
    'arrays of one name': scores.compose(scores.relativeBias(table), scores.softcap(2), scores.additiveBias(bias)),
    'a function': scores.from((s, _b, h, q, k, { weights }) => s * (weights[(q * 3 + k) % 7] as number) - 0.1 * h, {
      weights: [1, 2, -1, 0.5, 0, 1, 3],
    }),
    'a bias of each key': scores.from((s, _b, _h, _q, k, { keys }) => s + (keys[k] as number), { keys: normal(m, 9) }),
    alibi: scores.alibi([0.5, 0.0625]),
    'relative bias': scores.relativeBias(table),
    'additive bias': scores.additiveBias(bias),
    'a cap on a bias': scores.compose(scores.relativeBias(table), scores.softcap(2)),
    'an array without elements': scores.from((s, _b, _h, q, _k, { none }) => (q < 0 ? (none[q] as number) : s), {
      none: [] as number[],
    }),
  };

  test.each(fewOnGpu(Object.keys(modifiers), 4))('%s, forward and backward, by captured arrays too', async (name) => {
    const score = modifiers[name] as Score;
    const mask = band(25, 9);
    const host = given({ b: 2, n, m, h: 2, g: 1, d: 5, e: 6 });
    await scoped(runtime(), async () => {
      const [q, k, v, gradOut] = (['q', 'k', 'v', 'gradOut'] as const).map((input) =>
        runtime().fromHost(host[input]),
      ) as [Tensor, Tensor, Tensor, Tensor];
      const { out, lse } = await attention(q, k, v, { mask, score });
      const grads = await attentionBackward(q, k, v, { out, lse, gradOut }, { mask, score, captured: true });
      using reference = await createRuntime({ backend: 'reference' });
      const [rq, rk, rv, byOut] = [q, k, v, gradOut].map(async (x) => reference.fromHost(await x.toHost()));
      const inputs = [await rq!, await rk!, await rv!] as const;
      const right = await attention(...inputs, { mask, score });
      const expected = await attentionBackward(
        ...inputs,
        { ...right, gradOut: await byOut! },
        { mask, score, captured: true },
      );
      const check = async (actual: Tensor, wanted: Tensor, what: string) =>
        expect(relativeError(await actual.toHost(), await wanted.toHost()), what).toBeLessThan(2e-5);
      await check(out, right.out, 'out');
      await check(lse, right.lse, 'lse');
      for (const grad of NAMES) await check(grads[grad], expected[grad], grad);
      expect(Object.keys(grads.gradCaptured)).toEqual(Object.keys(expected.gradCaptured));
      expect(Object.values(grads.gradCaptured).map(({ size }) => size)).toEqual(
        partsOf(score).map(({ length }) => length),
      );
      for (const [array, grad] of Object.entries(grads.gradCaptured))
        await check(grad, expected.gradCaptured[array] as Tensor, array);
    });
  });
});

describeWithMachineCode('a modifier that hides every key of some queries', (runtime) => {
  test.each([1, Number.POSITIVE_INFINITY])('gives them zeros, and no gradient, beside values of %d', async (value) => {
    const score = scores.from((s, _b, _h, q, k, { hidden }) => (k < q - 3 ? s : hidden), {
      hidden: Number.NEGATIVE_INFINITY,
    });
    await scoped(runtime(), async () => {
      const host = given({ b: 1, n: 30, m: 30, h: 1, g: 1, d: 3, e: 2 });
      (host.q.data as Float32Array)[10 * 3] = value;
      const [q, k, v, gradOut] = [host.q, host.k, host.v, host.gradOut].map((x) => runtime().fromHost(x)) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const { out, lse } = await attention(q, k, v, { score });
      expect([...(await lse.read())].slice(0, 4)).toEqual(new Array(4).fill(Number.NEGATIVE_INFINITY));
      expect([...(await out.read())].slice(0, 8)).toEqual(new Array(8).fill(0));
      if (value !== 1) return;
      const { gradQ, gradV } = await attentionBackward(q, k, v, { out, lse, gradOut }, { score });
      expect([...(await gradQ.read())].slice(0, 12)).toEqual(new Array(12).fill(0));
      expect((await gradV.read()).every(Number.isFinite)).toBe(true);
    });
  });
});

describeWithMachineCode('a key that a modifier hides by -Infinity is as one that a mask hides', (runtime) => {
  const mask = masks.from((_b, _h, q, k) => q > 0 && (k + q) % 3 !== 0);
  // Some have infinite slopes.
  const score = scores.from(
    (s, _b, _h, q, k, { hidden }) => (q > 0 && (k + q) % 3 !== 0 ? s : s < 0 ? hidden * s * s : hidden),
    { hidden: Number.NEGATIVE_INFINITY },
  );
  const shape = { b: 1, m: 41, h: 1, g: 1, d: 3, e: 2 };
  const attend = async (host: ReturnType<typeof given>, settings: AttentionSettings) => {
    const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x)) as [Tensor, Tensor, Tensor];
    return { q, k, v, ...(await attention(q, k, v, settings)) };
  };

  // Few queries have a kernel of their own on GPUs.
  test.each([30, 5])('whatever its key and value are, for %i queries', async (n) => {
    const host = given({ ...shape, n });
    // A third of the queries does not see these.
    (host.k.data as Float32Array)[20 * 3] = Number.NaN;
    (host.v.data as Float32Array).fill(Number.NaN, 23 * 2, 24 * 2);
    (host.v.data as Float32Array)[26 * 2] = Number.POSITIVE_INFINITY;
    await scoped(runtime(), async () => {
      const [hidden, masked] = [await attend(host, { score }), await attend(host, { mask })];
      for (const name of ['out', 'lse'] as const) {
        const [got, wanted] = [await hidden[name].read(), (await masked[name].read()) as Float32Array];
        expectClose(got as Float32Array, wanted, 1e-5);
      }
      expect((await hidden.lse.read())[0]).toBe(Number.NEGATIVE_INFINITY);
      expect([...(await hidden.out.read()).subarray(0, 4)].every(Number.isFinite)).toBe(true);
    });
  });

  test('without gradients', async () => {
    const host = given({ ...shape, n: 30 });
    await scoped(runtime(), async () => {
      const gradOut = runtime().fromHost(host.gradOut);
      const [hidden, masked] = [await attend(host, { score }), await attend(host, { mask })];
      const grads = await attentionBackward(hidden.q, hidden.k, hidden.v, { gradOut, ...resultsOf(hidden) }, { score });
      const wanted = await attentionBackward(masked.q, masked.k, masked.v, { gradOut, ...resultsOf(masked) }, { mask });
      for (const name of NAMES)
        expect(relativeError(await grads[name].toHost(), await wanted[name].toHost()), name).toBeLessThan(2e-5);
    });
  });
});

const resultsOf = ({ out, lse }: AttentionResult) => ({ out, lse });

describeWithMachineCode('a modifier that gives NaN or infinity', (runtime) => {
  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    'of %d spoils the queries that see it, and no others',
    async (value) => {
      const score = scores.from((s, _b, _h, q, k, { value }) => (q === 3 && k === 7 ? value : s), { value });
      await scoped(runtime(), async () => {
        const host = given({ b: 1, n: 30, m: 41, h: 1, g: 1, d: 3, e: 2 });
        const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x)) as [Tensor, Tensor, Tensor];
        const { out, lse } = await attention(q, k, v, { score });
        const plain = await attention(q, k, v);
        const [got, wanted] = [toFloat64(await out.toHost()), toFloat64(await plain.out.toHost())];
        got.forEach((x, at) => {
          if (at === 6 || at === 7) expect(x).toBeNaN();
          else expect(x).toBeCloseTo(wanted[at] as number, 5);
        });
        expect([...(await lse.read())].map(Number.isNaN).indexOf(true)).toBe(3);
        // Where nobody sees it, it does no harm.
        const masked = await attention(q, k, v, { score, mask: band(2, 2) });
        expect((await masked.out.read()).every(Number.isFinite)).toBe(true);
      });
    },
  );
});

// So many columns of queries that the parts go in rounds; in half precision what these leave is kept in float32.
test.skipIf(isOnGpu).each([
  ['f32', 2e-5],
  ['f16', 2e-3],
] as const)('parts of the keys that go in rounds, in %s', async (dtype, tolerance) => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const { q, k, v, ...others } = given({ b: 1, n: 1500, m: 600, h: 12, g: 1, d: 256, e: 3 });
  const host = { q: stored(q, dtype), k: stored(k, dtype), v: stored(v, dtype), ...others };
  const mask = every(97);
  const actual = await gradients(runtime, host, mask, true);
  const right = expected(host, mask, true, 1 / 16);
  for (const grad of NAMES)
    expect(relativeError(actual[grad], right[grad], smallGradient(Object.values(right))), grad).toBeLessThan(tolerance);
});

test('the reference agrees with differences by a captured array', async () => {
  using reference = await createRuntime({ backend: 'reference' });
  const host = given({ b: 2, n: 4, m: 6, h: 2, g: 2, d: 3, e: 2 });
  const [q, k, v, gradOut] = (['q', 'k', 'v', 'gradOut'] as const).map((input) => reference.fromHost(host[input])) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const table = normal(2 * 13, 8);
  const modifier = () => scores.compose(scores.softcap(2), scores.relativeBias(hostTensor(table, [2, 13], 'f32')));
  const loss = async () => {
    const { out } = await attention(q, k, v, { score: modifier() });
    const [values, weights] = [await out.read(), await gradOut.read()];
    return (values as Float32Array).reduce((sum, value, at) => sum + value * (weights[at] as number), 0);
  };
  const score = modifier();
  const results = await attention(q, k, v, { score });
  const { gradCaptured } = await attentionBackward(q, k, v, { ...results, gradOut }, { score, captured: true });
  const grad = await (gradCaptured.table as Tensor).read();
  for (let at = 0; at < table.length; at++) {
    const value = table[at] as number;
    table[at] = value + 0.02;
    const above = await loss();
    table[at] = value - 0.02;
    expect(grad[at]).toBeCloseTo((above - (await loss())) / 0.04, 3);
    table[at] = value;
  }
});

test('the reference agrees with differences of its own forward pass', () => {
  const host = given({ b: 1, n: 5, m: 7, h: 2, g: 1, d: 3, e: 4 });
  const sees = (i: number, j: number) => band(3, 1).sees(i, j, oneHead(5, 7));
  const loss = () => {
    const { out, lse } = softmaxAttention(wide, 0.7, sees);
    const sum = (a: HostTensor, b: HostTensor) => {
      const others = toFloat64(b);
      return toFloat64(a).reduce((total, x, at) => total + x * (others[at] as number), 0);
    };
    return sum(out, host.gradOut) + sum(lse, host.gradLse);
  };
  const wide = {
    q: hostTensor(toFloat64(host.q), host.q.shape, 'f64'),
    k: hostTensor(toFloat64(host.k), host.k.shape, 'f64'),
    v: hostTensor(toFloat64(host.v), host.v.shape, 'f64'),
  };
  const grads = softmaxAttentionBackward({ ...wide, gradOut: host.gradOut, gradLse: host.gradLse }, 0.7, sees);
  for (const [name, grad] of [
    ['q', grads.gradQ],
    ['k', grads.gradK],
    ['v', grads.gradV],
  ] as const) {
    const { data } = wide[name];
    for (let at = 0; at < data.length; at++) {
      const value = data[at] as number;
      data[at] = value + 1e-5;
      const above = loss();
      data[at] = value - 1e-5;
      const slope = (above - loss()) / 2e-5;
      data[at] = value;
      expect(grad.data[at]).toBeCloseTo(slope, 7);
    }
  }
});
