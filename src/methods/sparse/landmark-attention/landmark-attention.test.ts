import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, isOnGpu } from '../../../../test/backends';
import { describeMethod, differentiated, relativeError, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import { createRuntime, rope } from '../../../index';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { FromOwn, OwnCache } from '../../continuation';
import type { Method } from '../../define';
import { landmarkAttention as method } from '.';

/** The context-miss token's key, and every other block behind it. */
const missOf = (n: number, g: number, d: number, block: number) => ({
  miss: hostTensor(normal(g * d, 5), [g, d], 'f32'),
  gated: hostTensor(
    Int32Array.from({ length: n }, (_, at) => Math.floor(at / (block + 1)) % 2),
    [n],
    'i32',
  ),
});

const cases = fc
  .tuple(
    sequences,
    fc.integer({ min: 1, max: 20 }),
    fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    fc.boolean(),
  )
  .map(([{ b, n, g, h, d, e }, block, topBlocks, hasMiss]) => ({
    q: [b, n, h, d],
    k: [b, n, g, d],
    v: [b, n, g, e],
    params: { block, ...(topBlocks && { topBlocks }) },
    ...(hasMiss && { others: missOf(n, g, d, block) }),
  }));

describeMethod(method, cases, 12);

describeOnBackends('landmark attention of hard inputs', (runtime) => {
  const shape = [1, 400, 2, 6];
  const scaled = (by: number, seed: number) =>
    hostTensor(
      normal(sizeOf(shape), seed).map((x) => by * x),
      shape,
      'f32',
    );
  /** Scores beside which others vanish, and blocks that hold nearly nothing; huge ones; longer blocks than kernels take. */
  const hard = fewOnGpu(
    [
      { block: 50, scores: 6 },
      { block: 167, scores: 3 },
      { block: 168, scores: 1 },
      { block: 5, scores: 1e16 },
    ],
    1,
  );
  test.each(hard)('blocks of $block, scores times $scores', async ({ block, scores }) => {
    const host = { q: scaled(scores, 1), k: scaled(scores, 2), v: scaled(1, 3) };
    const byOut = scaled(1, 4);
    const params = method.parse({ block });
    const wanted = method.reference(host, params, byOut);
    await scoped(runtime(), async () => {
      const tensors = Object.entries(host).map(([name, x]) => [name, runtime().fromHost(x as HostTensor<'f32'>)]);
      const gradOut = runtime().fromHost(byOut as HostTensor<'f32'>);
      const { results, gradients } = differentiated(method as Method, Object.fromEntries(tensors), params, gradOut);
      expect(relativeError(await results.out!.toHost(), wanted.out!)).toBeLessThan(1e-5);
      // Inputs of the backward pass are ordinary.
      if (scores > 100) return;
      for (const name of ['q', 'k', 'v'])
        expect(relativeError(await gradients[name]!.toHost(), wanted[`grad_${name}`]!)).toBeLessThan(5e-5);
    });
  });

  test.skipIf(isOnGpu)('keys that are not numbers reach the queries behind them, and no others', async () => {
    const k = scaled(1, 2);
    (k.data as Float32Array)[10 * 12 + 1] = Number.NaN;
    const host = { q: scaled(1, 1), k, v: scaled(1, 3) };
    const params = method.parse({ block: 20 });
    await scoped(runtime(), async () => {
      const [q, k, v] = [host.q, host.k, host.v].map((x) => runtime().fromHost(x as HostTensor<'f32'>));
      const out = await method.forward({ q: q!, k: k!, v: v! }, params).out.read();
      const wanted = method.reference(host, params).out!.data as Float64Array;
      expect([...out].map(Number.isNaN)).toEqual([...wanted].map(Number.isNaN));
    });
  });
});

describe('landmark attention', () => {
  const random = (shape: readonly number[], seed: number) => hostTensor(normal(sizeOf(shape), seed), shape, 'f32');
  const outOf = (inputs: Record<'q' | 'k' | 'v', HostTensor>, params: object) =>
    method.reference(inputs, method.parse(params)).out!.data as Float64Array;

  test("the paper's example: landmarks 2, 5 and 8, even scores, query 6", async () => {
    const [q, v] = [hostTensor(new Float32Array(9), [1, 9, 1, 1], 'f32'), random([1, 9, 1, 1], 1)];
    const { data } = await weightsOf(method, { q, k: q, v }, { block: 2 }, [6]);
    expectClose(data, [1 / 6, 1 / 6, 0, 1 / 6, 1 / 6, 0, 1 / 3, 0, 0], 1e-6);
    // Both landmarks share the half of the context-miss token.
    const miss = { miss: hostTensor([0], [1, 1], 'f32'), gated: hostTensor(new Int32Array(9).fill(1), [9], 'i32') };
    const behind = await weightsOf(method, { q, k: q, v, ...miss }, { block: 2 }, [6]);
    expectClose(behind.data, [1 / 8, 1 / 8, 0, 1 / 8, 1 / 8, 0, 1 / 2, 0, 0], 1e-6);
  });

  test('landmarks whose scores are those of their blocks give softmax over the other tokens; their values do not count', () => {
    const [block, n] = [4, 23];
    const { data: keys } = random([n], 2);
    const q = hostTensor(new Float32Array(n).fill(1), [1, n, 1, 1], 'f32');
    const k = hostTensor(keys as Float32Array, [1, n, 1, 1], 'f32');
    for (let at = block; at < n; at += block + 1) {
      const own = (keys as Float32Array).subarray(at - block, at);
      (keys as Float32Array)[at] = Math.log(own.reduce((sum, key) => sum + Math.exp(key), 0));
    }
    const v = random([1, n, 1, 3], 3);
    const isLandmark = (j: number) => j % (block + 1) === block;
    const exact = softmaxAttention({ q, k, v }, 1, (i, j) => j <= i && !isLandmark(j));
    const out = outOf({ q, k, v }, { block, scale: 1 });
    expectClose(out, exact.out.data, 1e-6);
    const others = {
      ...v,
      data: (v.data as Float32Array).map((value, i) => (isLandmark(Math.floor(i / 3)) ? 9 : value)),
    };
    expect(outOf({ q, k, v: others }, { block, scale: 1 })).toEqual(out);
  });

  test('one open block, of equal landmarks the earlier one; fewer tokens than a block are causal attention', () => {
    const q = hostTensor(new Float32Array(9), [1, 9, 1, 1], 'f32');
    const v = hostTensor([1, 1, 0, 5, 5, 0, 3, 3, 0], [1, 9, 1, 1], 'f32');
    // The query before last sees 3 twice, and the first landmark.
    expect(outOf({ q, k: q, v }, { block: 2, topBlocks: 1 })[7]).toBeCloseTo((3 + 3 + 1) / 3, 12);
    const [x, y] = [random([1, 7, 2, 3], 4), random([1, 7, 2, 3], 5)];
    const exact = softmaxAttention({ q: x, k: y, v: y }, 1 / Math.sqrt(3), (i, j) => j <= i);
    expectClose(outOf({ q: x, k: y, v: y }, { block: 7 }), exact.out.data, 1e-12);
  });

  describe('its cache', () => {
    const [n, h, g, d] = [17, 4, 2, 6];
    const inputs = { q: random([1, n, h, d], 6), k: random([1, n, g, d], 7), v: random([1, n, g, d], 8) };
    type Rotate = Parameters<OwnCache['append']>[2];

    /** What each token reads, if tokens come as many at a time as said. */
    async function readBy(
      given: Record<'q' | 'k' | 'v', HostTensor>,
      params: object,
      steps: readonly number[],
      turn: Rotate,
    ) {
      using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
      const { q, k, v } = given;
      const tensors = { q, k, v } as Record<string, HostTensor<'f32'>>;
      const all = Object.fromEntries(Object.entries(tensors).map(([name, host]) => [name, runtime.fromHost(host)]));
      const { open } = method.continuation(method.parse(params)) as FromOwn;
      const cache = open({ runtime, rows: 1, heads: h, keyHeads: g, d, e: d, dtype: 'f32', history: 1 });
      let from = 0;
      const outs = steps.map((count) => {
        const own = Object.entries(all).map(([name, x]) => [name, x.slice(1, from, from + count)] as const);
        from += count;
        return cache.append(Object.fromEntries(own), { counts: [count] }, turn);
      });
      const read = await Promise.all(outs.map((out) => out.read()));
      return read.map((out) => [...out]);
    }
    const ones = Array.from({ length: n }, () => 1);
    const asItIs: Rotate = (x) => x;
    const rotated: Rotate = (x, positions) => rope(x, { positions });

    test('token by token it opens the blocks that a single pass opens', async () => {
      const params = { block: 3, topBlocks: 2 };
      expectClose((await readBy(inputs, params, ones, asItIs)).flat(), outOf(inputs, params), 1e-5);
    });

    test('the order of old blocks does not count, whoever opens blocks; few blocks have their own positions', async () => {
      const swapped = (host: HostTensor) => {
        const { data, shape } = host;
        const width = (shape[2] as number) * (shape[3] as number) * 4;
        const values = Float32Array.from(data as Float32Array);
        values.set((data as Float32Array).subarray(width, 2 * width), 0);
        values.set((data as Float32Array).subarray(0, width), width);
        return { ...host, data: values };
      };
      const other = { q: inputs.q, k: swapped(inputs.k), v: swapped(inputs.v) };
      for (const openedBy of ['query-head', 'query', 'head']) {
        const params = { block: 3, topBlocks: 1, openedBy };
        const [one, two] = [inputs, other].map((given) => readBy(given, params, [12, 3, 2], rotated));
        expectClose((await one!)[2]!, (await two!)[2]!, 1e-5);
      }
      const [all, few] = [{ block: 3 }, { block: 3, topBlocks: 4 }].map((params) =>
        readBy(inputs, params, [12, 3, 2], rotated),
      );
      expectClose((await few!).flat(), (await all!).flat(), 1e-5);
    });
  });

  test('refuses what does not fit by name', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const q = runtime.fromHost(random([1, 6, 1, 2], 1));
    const k = runtime.fromHost(random([1, 5, 1, 2], 1));
    const refuse = (inputs: Record<'q' | 'k' | 'v', typeof q>, params: object, message: string) =>
      expectRefusal(runtime, () => method.forward(inputs, method.parse(params)), message);
    await refuse({ q, k: q, v: q }, { block: 0 }, 'block');
    await refuse({ q, k: q, v: q }, { topBlocks: 0 }, 'topBlocks');
    await refuse({ q, k, v: k }, {}, 'n');
  });
});
