import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { attention, createRuntime, keyIndex, loadKeyIndex, retrievedAttention, saveKeyIndex } from '../../index';
import type { Runtime } from '../../runtime/runtime';
import { hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';

const random = (runtime: Runtime, shape: readonly number[], seed: number) =>
  runtime.tensor(normal(sizeOf(shape), seed), shape, 'f32');

const [b, n, m, h, g, d, e] = [2, 3, 61, 4, 2, 7, 5] as const;

/** Queries, keys and values, and queries of a prompt. */
const problem = (runtime: Runtime) => ({
  q: random(runtime, [b, n, h, d], 1),
  k: random(runtime, [b, m, g, d], 2),
  v: random(runtime, [b, m, g, e], 3),
  queries: random(runtime, [b, m, h, d], 4),
});

describeOnBackends('retrievedAttention', (runtime) => {
  const options = { first: 3, recent: 10, topK: 6 };

  test('every index agrees with the reference', async () => {
    using reference = await createRuntime({ backend: 'reference' });
    for (const kind of ['flat', 'graph', 'keys', 'ivf', 'no edges'] as const) {
      const retrieve = (on: Runtime) =>
        scoped(on, async () => {
          const { q, k, v, queries } = problem(on);
          const given = kind === 'graph' ? { queries } : {};
          const none = kind === 'no edges' ? { queries, degree: 1, neighbors: 1 } : {};
          const settings = { first: 3, recent: 10, degree: 5, neighbors: 4, ...given, ...none } as const;
          const index =
            kind === 'flat' ? undefined : keyIndex(k, { kind: kind === 'ivf' ? 'ivf' : 'graph', ...settings });
          const { out, lse, scanned } = retrievedAttention(q, k, v, { ...options, index, beam: 8, probes: 2 });
          return { out: await out.read(), lse: await lse.read(), scanned: [...(await scanned.read())] };
        });
      const [{ out, lse, scanned }, wanted] = [await retrieve(runtime()), await retrieve(reference)];
      expect(scanned, kind).toEqual(wanted.scanned);
      // Lists of one key make no edges: all keys are looked at.
      if (kind === 'no edges') expect(new Set(scanned)).toEqual(new Set([m - 13]));
      expectClose(out, wanted.out, 1e-5);
      expectClose(lse, wanted.lse, 1e-5);
    }
  });

  test('an index that was saved finds the same, and is refused for other keys', () =>
    scoped(runtime(), async () => {
      const { q, k, v, queries } = problem(runtime());
      for (const kind of ['graph', 'ivf'] as const) {
        const index = keyIndex(k, { kind, queries, first: 3, recent: 10, degree: 5, neighbors: 4 });
        const saved = await saveKeyIndex(index, k);
        const loaded = await loadKeyIndex(k, saved);
        const [found, again] = [index, loaded].map((index) =>
          retrievedAttention(q, k, v, { ...options, index, beam: 8 }),
        );
        expect([...(await again!.out.read())]).toEqual([...(await found!.out.read())]);
        await expect(loadKeyIndex(random(runtime(), [b, m, g, d], 9), saved)).rejects.toThrow(
          'saved is the index of other keys: make one of these by keyIndex',
        );
        const astray = hostTensor(new Int32Array(sizeOf(saved.edges!.shape)).fill(60), saved.edges!.shape, 'i32');
        await expect(loadKeyIndex(k, { ...saved, edges: astray })).rejects.toThrow('must lead to keys of the index');
        const { edges: _, ...less } = saved;
        await expect(loadKeyIndex(k, less)).rejects.toThrow("saved must have 'edges'");
        const edges = hostTensor(new Float32Array(saved.edges!.data as Int32Array), saved.edges!.shape, 'f32');
        await expect(loadKeyIndex(k, { ...saved, edges })).rejects.toThrow(
          'must be an index of keys of shape [2, 61, 2, 7]',
        );
        const others = retrievedAttention(q, random(runtime(), [b, m, g, d], 9), v, { ...options, index });
        await expect(others.out.read()).rejects.toThrow('index is of other keys than k: make one of these by keyIndex');
      }
    }));

  test('an index that is not of these keys is refused, and a build that was ended leaves no results', () =>
    scoped(runtime(), async () => {
      const { q, k, v } = problem(runtime());
      const index = keyIndex(k, { first: 3, recent: 10 });
      expect(() => retrievedAttention(q, k, v, { first: 2, index })).toThrow(
        'index must be of 2 rows of 2 heads and begin at key 2, with at most 61 keys, got one of 2 rows of 2 heads, keys 3 to 50',
      );
      expect(() => retrievedAttention(q, k, v, { first: 3, index, causal: true })).toThrow('leave index out');
      const end = new AbortController();
      end.abort(new Error('enough'));
      expect(() => keyIndex(k, { signal: end.signal })).toThrow('enough');
      index.dispose();
      expect(() => retrievedAttention(q, k, v, { first: 3, index })).toThrow('the index of keys was disposed');
    }));

  test('many queries look at all keys together, causal or not', async () => {
    using reference = await createRuntime({ backend: 'reference' });
    for (const causal of [false, true]) {
      const retrieve = (on: Runtime) =>
        scoped(on, async () => {
          const [q, k, v] = [random(on, [1, m, h, d], 1), random(on, [1, m, g, d], 2), random(on, [1, m, g, e], 3)];
          const { out, scanned } = retrievedAttention(q, k, v, { first: 3, recent: 4, topK: 5, causal });
          return { out: await out.read(), scanned: [...(await scanned.read())] };
        });
      const [{ out, scanned }, wanted] = [await retrieve(runtime()), await retrieve(reference)];
      expect(scanned).toEqual(wanted.scanned);
      expectClose(out, wanted.out, 1e-5);
    }
  });

  test('where keys are not finite, many queries find what each finds alone', () =>
    scoped(runtime(), async () => {
      for (const spoilt of [20, m - 9]) {
        const [q, v] = [random(runtime(), [1, m, h, d], 1), random(runtime(), [1, m, g, e], 3)];
        const keys = normal(m * g * d, 2).fill(Number.NaN, 4 * g * d, (4 + spoilt) * g * d);
        const k = runtime().tensor(keys, [1, m, g, d], 'f32');
        const found = [q, q.slice(1, 0, 1)].map((queries) =>
          retrievedAttention(queries, k, v, { ...options, topK: 3 }),
        );
        const [all, alone] = await Promise.all(found.map(({ out }) => out.read()));
        expectClose((all as Float32Array).slice(0, h * e), alone as Float32Array, 1e-5);
      }
    }));

  test('retrieving all keys is attention', async () => {
    await scoped(runtime(), async () => {
      const { q, k, v } = problem(runtime());
      const { out, lse, scanned } = retrievedAttention(q, k, v, { ...options, topK: 100 });
      const all = attention(q, k, v, { causal: false });
      expectClose(await out.read(), await all.out.read(), 1e-5);
      expectClose(await lse.read(), await all.lse.read(), 1e-5);
      expect(new Set(await scanned.read())).toEqual(new Set([m - 13]));
    });
  });
});
