import { expect, test } from 'vitest';
import { createRuntime, exp } from '../index';

test('finish() tells once that calls went wrong, the first of them', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  using x = runtime.random([4]);
  const stop = (message: string) => ({
    onProgress() {
      throw new Error(message);
    },
  });
  using first = exp(x, stop('first'));
  using second = exp(x, stop('second'));
  await expect(runtime.finish()).rejects.toThrow('first');
  await runtime.finish();
  await expect(first.read()).rejects.toThrow('first');
  await expect(second.read()).rejects.toThrow('second');
});
