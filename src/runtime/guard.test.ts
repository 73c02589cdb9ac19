import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { matmul } from '../index';
import { guard } from './guard';

const deaf = new RangeError('deaf');

describeOnBackends('a call whose onProgress throws', (runtime) => {
  test('ends with that, leaks nothing, and the next call works', async () => {
    using a = runtime().tensor([1, 2, 3, 4], [2, 2]);
    const product = (onProgress?: () => void) => {
      using out = matmul(a, a, { onProgress });
      return out.read();
    };
    const { live } = runtime().memory();
    const throws = () => {
      throw deaf;
    };
    await expect(product(throws)).rejects.toBe(deaf);
    expect(runtime().memory().live).toBe(live);
    expect([...(await product())]).toEqual([7, 10, 15, 22]);
  });
});

test('a promise that onProgress returns ends the work if it rejects meanwhile', async () => {
  const { control, check } = guard({ onProgress: () => Promise.reject(deaf) });
  control.onProgress?.(0.5);
  check();
  await Promise.resolve();
  expect(check).toThrow(deaf);
});

test("the caller's signal goes on ending work that reports progress, with its own reason", () => {
  const controller = new AbortController();
  const { control, check } = guard({ signal: controller.signal, onProgress: () => controller.abort('enough') });
  check();
  control.onProgress?.(0.5);
  expect(control.signal?.reason).toBe('enough');
  expect(check).toThrow('enough');
});
