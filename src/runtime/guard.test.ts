import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { matmul, type Runtime } from '../index';
import { guard } from './guard';

const deaf = new RangeError('deaf');
const DEAF: Record<string, () => void> = {
  throws() {
    throw deaf;
  },
  async rejects() {
    throw deaf;
  },
};

describeOnBackends('a call whose onProgress', (runtime) => {
  const product = async (on: Runtime, onProgress?: () => void) => {
    using a = on.tensor([1, 2, 3, 4], [2, 2]);
    using out = await matmul(a, a, { onProgress });
    return [...(await out.read())];
  };

  test.each(Object.keys(DEAF))('%s rejects with that, leaks nothing, and the next call works', async (name) => {
    const { live } = runtime().memory();
    await expect(async () => product(runtime(), DEAF[name])).rejects.toBe(deaf);
    expect(runtime().memory().live).toBe(live);
    expect(await product(runtime())).toEqual([7, 10, 15, 22]);
  });
});

test("the caller's signal goes on ending work that reports progress, with its own reason", () => {
  const controller = new AbortController();
  const { control, check } = guard({ signal: controller.signal, onProgress: () => controller.abort('enough') });
  check();
  control.onProgress?.(0.5);
  expect(control.signal?.reason).toBe('enough');
  expect(check).toThrow('enough');
});
