/** Retrieval attention in a decoder: steps are rows of its causal forward pass, whatever the index, if searches see all keys. */
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose } from '../../../test/expect';
import configs from '../../../test/fixtures/decoder.json';
import { scoped } from '../../../test/scoped';
import { exactAttention, retrievalAttention } from '../../methods';
import type { Tensor } from '../../tensor/tensor';
import { createDecoder, type DecoderCache } from '.';

const TEXT = Array.from({ length: 22 }, (_, at) => (at * at * 5 + at) % 7);
const few = { first: 1, recent: 3, topK: 4, beam: 64, probes: 8 };

/** A signal that is aborted as it is looked at for the last of so many times. */
function endingAfter(looks: number): AbortSignal {
  const end = new AbortController();
  const { signal } = end;
  let left = looks;
  const { aborted, throwIfAborted } = {
    aborted: () => Reflect.get(AbortSignal.prototype, 'aborted', signal),
    throwIfAborted: () => AbortSignal.prototype.throwIfAborted.call(signal),
  };
  const looking = <T>(look: () => T): T => {
    if (left-- === 0) end.abort(new Error('enough'));
    return look();
  };
  Object.defineProperty(signal, 'aborted', { get: () => looking(aborted) });
  signal.throwIfAborted = () => looking(throwIfAborted);
  return signal;
}

describeOnBackends('decoder by retrieval attention', (runtime) => {
  const open = (params: object, attention = { method: retrievalAttention, params: { ...few, ...params } }) => {
    const decoder = createDecoder({ ...configs.qwen3, vocab_size: 7 }, { attention });
    const parameters = decoder.initialize(runtime(), { seed: 1 });
    for (const name of Object.keys(parameters))
      if (/[qk]_norm/.test(name)) parameters[name] = runtime().random([6], { seed: 2 });
    const step = async (cache: DecoderCache, tokens: readonly number[]) =>
      decoder.step(parameters, runtime().tensor([...tokens], [1, tokens.length], 'i32'), cache).read();
    return { decoder, parameters, step };
  };

  test.each(['flat', 'graph', 'ivf'] as const)(
    '%s: token by token as forward, over forks and tokens taken back',
    (index) =>
      scoped(runtime(), async () => {
        const { decoder, parameters, step } = open({ index });
        const all: Tensor = decoder.forward(parameters, runtime().tensor(TEXT, [1, TEXT.length], 'i32'));
        const expected = await all.read();
        const row = (at: number) => expected.subarray(7 * at, 7 * at + 7);
        using cache = decoder.cache(runtime(), { capacity: 32 });
        for (const [at, token] of TEXT.slice(0, 16).entries()) expectClose(await step(cache, [token]), row(at), 1e-4);
        using other = cache.fork([0]);
        for (const token of [1, 1, 2, 0]) await step(other, [token]);
        cache.truncate(13);
        for (const [at, token] of TEXT.entries()) if (at >= 13) expectClose(await step(cache, [token]), row(at), 1e-4);
        other.truncate(16);
        expectClose(await step(other, [TEXT[16] as number]), row(16), 1e-4);
      }),
  );

  test('a cache that was saved goes on with its index, as the bits that it was', () =>
    scoped(runtime(), async () => {
      const { decoder, parameters, step } = open({ index: 'graph', degree: 4, neighbors: 4 });
      const opened = () => decoder.cache(runtime(), { capacity: 32, dtype: 'i8' });
      using cache = opened();
      await step(cache, TEXT.slice(0, 17));
      const saved = await cache.save();
      const names = Object.keys(saved);
      expect(names.filter((name) => name.startsWith('memory.'))).toContain('memory.1.0.edges');
      using other = opened();
      await other.restore(saved, parameters);
      for (const token of TEXT.slice(17)) expect(await step(other, [token])).toEqual(await step(cache, [token]));
      await expect(other.restore(saved, parameters)).rejects.toThrow(
        'restore() needs a cache without tokens, got one of 22',
      );
      using empty = opened();
      const others = decoder.initialize(runtime(), { seed: 9 });
      await expect(empty.restore(saved, others)).rejects.toThrow('saved must be of these parameters and settings');
      const unlike = open({ index: 'graph', degree: 4, neighbors: 4, topK: 3 }).decoder;
      using set = unlike.cache(runtime(), { capacity: 32, dtype: 'i8' });
      await expect(set.restore(saved, parameters)).rejects.toThrow('saved must be of these parameters and settings');
      const tokens = runtime().tensor([1], [1, 1], 'i32');
      expect(() => decoder.step(others, tokens, other)).toThrow('the cache has tokens of other parameters');
      const about = { ...saved['parts.0.about'], data: Int32Array.of(32, 0, 2, 6, 6) } as never;
      await expect(empty.restore({ ...saved, 'parts.0.about': about }, parameters)).rejects.toThrow(
        'numbers of type 3, got one with 0',
      );
      const pages = saved['parts.0.pages.1.0']!;
      const changed = { ...pages, data: (pages.data as Int32Array).map((word) => word ^ 1) } as never;
      await expect(empty.restore({ ...saved, 'parts.0.pages.1.0': changed }, parameters)).rejects.toThrow(
        'saved is the index of other keys',
      );
      // It is as empty as before.
      await empty.restore(saved, parameters);
      expect(empty.lengths).toEqual([17]);
    }));

  test('a prompt that was ended, whatever it was at, leaves caches that go on as they would have', () =>
    scoped(runtime(), async () => {
      const { decoder, parameters } = open({ index: 'graph', degree: 4, neighbors: 4 });
      const step = async (cache: DecoderCache, [from, to]: readonly [number, number], signal?: AbortSignal) => {
        const tokens = runtime().tensor(TEXT.slice(from, to), [1, to - from], 'i32');
        return decoder.step(parameters, tokens, cache, { signal }).read();
      };
      // The first prompt makes an index, the second adds to it.
      const [first, second, token] = [[0, 12] as const, [12, 17] as const, [17, 18] as const];
      using whole = decoder.cache(runtime(), { capacity: 32 });
      const wanted: Float32Array[] = [];
      for (const part of [first, second, token]) wanted.push(await step(whole, part));
      for (const ended of [first, second])
        for (let looks = 0; ; looks += 17) {
          using cache = decoder.cache(runtime(), { capacity: 32 });
          if (ended === second) await step(cache, first);
          const found = await step(cache, ended, endingAfter(looks)).catch((error: Error) => error.message);
          if (typeof found !== 'string') break;
          expect(found).toBe('enough');
          cache.truncate(ended[0]);
          using other = cache.fork([0]);
          for (const each of [other, cache])
            for (const [at, part] of [first, second, token].entries())
              if (part[0] >= ended[0]) expectClose(await step(each, part), wanted[at] as Float32Array, 1e-5);
        }
    }));

  test('a prompt is exact and makes the graph, by which steps agree with a look at all', () =>
    scoped(runtime(), async () => {
      const exact = open({}, { method: exactAttention as never, params: {} as never });
      const [graph, flat] = [open({ index: 'graph', degree: 4, neighbors: 4 }), open({})];
      const caches = [exact, graph, flat].map(({ decoder }) =>
        decoder.cache(runtime(), { capacity: 32, dtype: 'f16' }),
      );
      const [first, ...others] = await Promise.all(
        [exact, graph, flat].map(({ step }, at) => step(caches[at] as DecoderCache, TEXT.slice(0, 17))),
      );
      for (const other of others) expectClose(other, first as Float32Array, 1e-5);
      for (const token of TEXT.slice(17)) {
        const [byGraph, byAll] = await Promise.all(
          [graph, flat].map(({ step }, at) => step(caches[at + 1] as DecoderCache, [token])),
        );
        expectClose(byGraph as Float32Array, byAll as Float32Array, 1e-4);
      }
      const bytes = caches.map((cache) => cache.bytes);
      expect(bytes[1]).toBeGreaterThan(bytes[2] as number);
      for (const cache of caches) cache.dispose();
    }));
});
