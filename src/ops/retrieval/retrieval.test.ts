import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { attention, createRuntime, keyIndex, retrievedAttention } from '../../index';
import type { Runtime } from '../../runtime/runtime';
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
    for (const kind of ['flat', 'graph', 'keys', 'ivf'] as const) {
      const retrieve = (on: Runtime) =>
        scoped(on, async () => {
          const { q, k, v, queries } = problem(on);
          const given = kind === 'graph' ? { queries } : {};
          const settings = { first: 3, recent: 10, degree: 5, neighbors: 4, ...given } as const;
          const index =
            kind === 'flat' ? undefined : keyIndex(k, { kind: kind === 'ivf' ? 'ivf' : 'graph', ...settings });
          const { out, lse, scanned } = retrievedAttention(q, k, v, { ...options, index, beam: 8, probes: 2 });
          return { out: await out.read(), lse: await lse.read(), scanned: [...(await scanned.read())] };
        });
      const [{ out, lse, scanned }, wanted] = [await retrieve(runtime()), await retrieve(reference)];
      expect(scanned, kind).toEqual(wanted.scanned);
      expectClose(out, wanted.out, 1e-5);
      expectClose(lse, wanted.lse, 1e-5);
    }
  });

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
