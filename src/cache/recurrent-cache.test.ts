import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose } from '../../test/expect';
import { scoped } from '../../test/scoped';
import {
  concat,
  createRecurrentCache,
  differentiate,
  findMethod,
  gather,
  type Method,
  type RecurrentCache,
  type Runtime,
  sum,
  type Tensor,
} from '../index';
import type { FromInputs } from '../methods/continuation';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import { openRecurrentCache } from './recurrent-cache';

const [ROWS, N, H, D, E] = [2, 30, 2, 4, 3];

/** Inputs of whole sequences, and a part of the rows' own. */
function sequences(runtime: Runtime, method: Method) {
  const of = (name: string, letters: string): Tensor => {
    const extents: Record<string, number> = { b: ROWS, n: N, m: N, h: H, g: H, d: D, e: E };
    const shape = letters.split(' ').map((letter) => extents[letter] as number);
    const numbers = normal(sizeOf(shape), name.length + (name.codePointAt(0) as number));
    // Logarithms of decays are not positive.
    return runtime.tensor(name === 'g' ? numbers.map((value) => -Math.abs(value)) : numbers, shape);
  };
  return Object.fromEntries(
    Object.entries(method.inputs as Record<string, string>).map(([name, all]) => [name, of(name, all)]),
  );
}

/** From each row the tokens from `from[r]` on, `n` of them. */
function tokens(x: Tensor, from: readonly number[], n: number, numbers: Float32Array): Tensor {
  const [, , ...rest] = x.shape;
  const width = rest.reduce((a, b) => a * b, 1);
  const data = from.flatMap((first, row) => {
    const at = (row * N + Math.min(first, N - n)) * width;
    return Array.from(numbers.subarray(at, at + n * width));
  });
  return x.runtime.tensor(Float32Array.from(data), [from.length, n, ...rest]);
}

describeOnBackends('a recurrent cache', (runtime) => {
  // With the numbers of a head's state.
  const given = [
    ['lightning-attention', { schedule: 'paper' }, D * E],
    ['gated-delta-rule', {}, D * E],
    ['performer', { causal: true, features: 9 }, 9 * (E + 1) + 1],
    ['performer', { causal: true, features: 24, kernel: 'relu' }, 24 * (E + 1)],
    ['transnormer', { causal: true }, D * E],
    ['transnormer', { causal: true, positions: 'lrpe' }, D * E],
  ] as const;
  test.each(given)('of %s %j reads what whole sequences do', async (name, params, numbersOfHead) => {
    await scoped(runtime(), async () => {
      const method = findMethod(name) as Method;
      const reference = runtime();
      using cache = createRecurrentCache(reference, { layers: [{ method, params }], rows: ROWS, history: 2 });
      const inputs = sequences(reference, method);
      const numbers = Object.fromEntries(
        await Promise.all(Object.entries(inputs).map(async ([key, x]) => [key, (await x.read()) as Float32Array])),
      );
      const hosts = Object.entries(inputs).map(async ([key, x]) => [key, await x.toHost()] as const);
      const { out } = method.reference(Object.fromEntries(await Promise.all(hosts)), method.parse(params) as never);
      const whole = out?.data as Float64Array;
      const append = async (counts: readonly number[]) => {
        const from = cache.lengths;
        const n = Math.max(1, ...counts);
        const given = Object.fromEntries(
          Object.entries(inputs).map(([key, x]) => [key, tokens(x, from, n, numbers[key] as Float32Array)]),
        );
        const out = (await cache.append(0, given, { counts }).read()) as Float32Array;
        for (const [row, count] of counts.entries()) {
          const at = (row * N + (from[row] as number)) * H * E;
          expectClose(
            out.subarray(row * n * H * E, (row * n + count) * H * E),
            whole.subarray(at, at + count * H * E),
            1e-4,
          );
          expect(out.subarray((row * n + count) * H * E, (row + 1) * n * H * E).every((x) => x === 0)).toBe(true);
        }
      };
      await append([0, 0]);
      await append([5, 5]);
      await append([1, 1]);
      await append([3, 0]);
      await append([0, 0]);
      expect(cache.lengths).toEqual([9, 6]);
      expect(cache.bytes).toBe(3 * ROWS * H * numbersOfHead * 4);
      cache.truncate([6, 6]);
      await append([2, 7]);
      using fork = cache.fork([1, 0, 1]);
      expect(fork.lengths).toEqual([13, 8, 13]);
      await append([1, 1]);
      expect(() => cache.truncate([8, 1])).toThrow(
        'lengths[1] must be 0 or 6 or 13 or 14, where layer 0 keeps a state, got 1',
      );
      // Each row goes back as far as it is asked to.
      cache.truncate([9, 13]);
      await append([2, 1]);
      cache.truncate([0, 14]);
      await append([3, 2]);
      cache.truncate(0);
      await append([4, 4]);
    });
  });

  test('an append at fault is one of the rows whose tokens it has, until they are taken back', async () => {
    await scoped(runtime(), async () => {
      const method = findMethod('lightning-attention') as Method;
      using cache = createRecurrentCache(runtime(), { layers: [{ method }], rows: 2 });
      const x = runtime().random([2, 1, 1, 4]);
      const first = cache.append(0, { q: x, k: x, v: x });
      using alike = cache.fork([0, 1]);
      const expected = await alike.append(0, { q: x, k: x, v: x }).read();
      const bad = gather(x.reshape([2, 4]), runtime().tensor(Int32Array.of(5, 0), [2])).reshape([2, 1, 1, 4]);
      const out = cache.append(0, { q: x, k: bad, v: x }, { counts: [1, 0] });
      await expect(out.slice(0, 0, 1).read()).rejects.toThrow('got 5 at element 0 of indices');
      expect([...(await out.slice(0, 1, 2).read())]).toEqual([0, 0, 0, 0]);
      using apart = cache.fork([1]);
      const own = x.slice(0, 1, 2);
      expectClose(await apart.append(0, { q: own, k: own, v: own }).read(), expected.subarray(4), 1e-6);
      cache.truncate([1, 1]);
      expectClose(await cache.append(0, { q: x, k: x, v: x }).read(), expected, 1e-6);
      expect((await first.read()).every(Number.isFinite)).toBe(true);
    });
  });

  test('inputs of all tokens of a row are not copied while there is room, and earlier ones stay what they were', async () => {
    await scoped(runtime(), async () => {
      const method = findMethod('local-linear-attention') as Method;
      const params = method.parse({ causal: true });
      const continuation = method.continuation(params) as FromInputs;
      const { q, k, v } = sequences(runtime(), method) as Record<'q' | 'k' | 'v', Tensor>;
      // Of the first row before `turn` tokens, of the second from there on.
      const part = (x: Tensor, from: number, past: number, row = 0) => x.slice(0, row, row + 1).slice(1, from, past);
      const inputs = (...at: [number, number, number?]) => ({
        q: part(q, ...at),
        k: part(k, ...at),
        v: part(v, ...at),
      });
      const expected = async (turn: number, past: number) => {
        const first = Math.min(turn, past);
        const whole = (x: Tensor) => concat([part(x, 0, first), part(x, first, past, 1)] as Tensor<'f32'>[], 1);
        const { out } = method.forward({ q: whole(q), k: whole(k), v: whole(v) }, params);
        return (await (out as Tensor).slice(1, past - 1, past).read()) as Float32Array;
      };
      const read = (cache: RecurrentCache, ...at: [number, number, number?]) =>
        cache.append(0, inputs(...at)).read() as Promise<Float32Array>;
      using cache = openRecurrentCache(runtime(), [{ method, params, continuation }], 1, 1);
      await read(cache, 0, 8);
      await read(cache, 8, 9);
      for (let at = 9; at < 13; at++) {
        expectClose(await read(cache, at, at + 1), await expected(30, at + 1), 1e-5);
        expect(cache.bytes, 'a table with room for 13').toBe(4 * 13 * H * (D + E));
      }
      using fork = cache.fork([0]);
      cache.truncate(12);
      expectClose(await read(cache, 12, 13, 1), await expected(12, 13), 1e-5);
      expectClose(await read(fork, 13, 14), await expected(30, 14), 1e-5);
      const { k: taken } = inputs(13, 14, 1);
      const bad = gather(taken.reshape([H, D]), runtime().tensor(Int32Array.of(5, 0), [H])).reshape([1, 1, H, D]);
      await expect(cache.append(0, { ...inputs(13, 14, 1), k: bad }).read()).rejects.toThrow('got 5 at element 0');
      cache.truncate(13);
      for (const at of [13, 14]) expectClose(await read(cache, at, at + 1, 1), await expected(12, at + 1), 1e-5);
      // Keys that a tape keeps are copied.
      const { gradients } = differentiate(
        (q: Tensor) => {
          const steps = [15, 16].map((at) => cache.append(0, { ...inputs(at, at + 1, 1), q }));
          return sum(concat(steps as Tensor<'f32'>[], 1));
        },
        part(q, 15, 16, 1),
      );
      expect((await gradients.read()).every(Number.isFinite)).toBe(true);
    });
  });

  test('refuses methods without a state, and what does not fit', async () => {
    const method = findMethod('lightning-attention') as Method;
    expect(() =>
      createRecurrentCache(runtime(), { layers: [{ method: findMethod('power-attention') as Method }] }),
    ).toThrow("method of layers[0] must go on from a state, such as lightning-attention, got 'power-attention'");
    expect(() => createRecurrentCache(runtime(), { layers: [] })).toThrow('layers must be one at least');
    using cache = createRecurrentCache(runtime(), { layers: [{ method }] });
    using x = runtime().tensor(new Float32Array(8), [2, 1, 2, 2]);
    expect(() => cache.append(0, { q: x, k: x, v: x })).toThrow('q must have 1 rows as the cache, got [2, 1, 2, 2]');
    expect(() => cache.append(1, { q: x, k: x, v: x })).toThrow('layer must be an integer from 0 to 0, got 1');
    expect(() => cache.fork([1])).toThrow('rows[0] must be an integer from 0 to 0, got 1');
    cache.dispose();
    expect(() => cache.fork([0])).toThrow('the recurrent cache was disposed');
  });
});
