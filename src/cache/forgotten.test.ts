import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import {
  createKeyValueCache,
  createRecurrentCache,
  createRuntime,
  findMethod,
  type Method,
  type Runtime,
} from '../index';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Appends to a cache and returns it. */
type Append = () => { readonly bytes: number };

test.each([
  [
    'keys and values',
    (runtime: Runtime): Append => {
      const cache = createKeyValueCache(runtime, { layers: 1, heads: 1, d: 8, capacity: 64 });
      return () => {
        const k = runtime.random([1, 40, 1, 8]);
        cache.append(0, k, k);
        return cache;
      };
    },
  ],
  [
    'states',
    (runtime: Runtime): Append => {
      const method = findMethod('lightning-attention') as Method;
      const cache = createRecurrentCache(runtime, { layers: [{ method }] });
      return () => {
        const q = runtime.random([1, 3, 1, 8]);
        cache.append(0, { q, k: q, v: q });
        return cache;
      };
    },
  ],
])(
  'a cache of %s that is forgotten is collected, though it was appended to in a scope, and not before',
  async (_, open) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const append = open(runtime);
    const held = runtime.scope(append);
    for (let forgotten = 0; forgotten < 5; forgotten++) runtime.scope(open(runtime));
    const { bytes } = held;
    await expect
      .poll(() => {
        collect();
        return runtime.memory().live;
      })
      .toBe(bytes);
    expect(held.bytes).toBe(bytes);
  },
);
