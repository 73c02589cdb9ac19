import { expect, test, vi } from 'vitest';
import { createRuntime } from '../../index';
import { hostTensor } from '../../tensor/host';
import { Tensor } from '../../tensor/tensor';
import { packWeight } from '../../weights';
import { identityOf } from './identity';

test('weights are known by a few blocks from their first number to their last', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const shape = [375, 160] as const;
  const numbers = Float32Array.from({ length: 60_000 }, (_, at) => Math.sin(at));
  const of = (changed: number) => {
    const host = hostTensor(
      numbers.map((x, at) => (at === changed ? x + 1 : x)),
      shape,
      'f32',
    );
    return {
      weight: runtime.fromHost(host),
      packed: packWeight(runtime, host, { type: 'q8' }),
      bias: runtime.tensor(numbers.slice(0, 3), [3]),
    };
  };
  const read = vi.spyOn(Tensor.prototype, 'toHost');
  const first = await identityOf(of(-1) as never, { layers: 1 });
  expect((read.mock.contexts as Tensor[]).reduce((sum, { size }) => sum + size, 0)).toBeLessThan(5 * 4096);
  read.mockRestore();
  expect(await identityOf(of(-1) as never, { layers: 1 })).toBe(first);
  expect(await identityOf(of(-1) as never, { layers: 2 })).not.toBe(first);
  for (const changed of [0, 59_999]) expect(await identityOf(of(changed) as never, { layers: 1 })).not.toBe(first);
});
