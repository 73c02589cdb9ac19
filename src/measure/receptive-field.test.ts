import { expect, test } from 'vitest';
import { expectClose } from '../../test/expect';
import { attention, conv, createRuntime, effectiveReceptiveField, type Tensor } from '../index';

test('of box filters one after another is as wide as their variances say', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using box = runtime.full([1, 1, 3, 3], 1 / 9);
  using pictures = runtime.random([2, 41, 41, 1], { seed: 1 });
  const stack = (x: Tensor) => {
    for (let layer = 0; layer < 12; layer++) x = conv(x, box, { padding: 1 });
    return x;
  };
  const { deviation, curve, side, field, picture } = await effectiveReceptiveField(stack, pictures);
  expectClose(deviation, [Math.sqrt(8), Math.sqrt(8)], 1e-4);
  expect(field.shape).toEqual([41, 41]);
  expect(side(1)).toBeLessThanOrEqual(25);
  expect(curve[0]!.share).toBeLessThan(curve[5]!.share);
  expect(picture().data[4 * (20 * 41 + 20)]).toBe(255);
});

test('of attention is the whole picture, of a model with channels first what it is', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using pictures = runtime.random([1, 5, 5, 4], { seed: 1 });
  const seen = await effectiveReceptiveField((x) => {
    const tokens = x.reshape([1, 25, 1, 4]);
    return attention(tokens, tokens, tokens).out.reshape([1, 5, 5, 4]);
  }, pictures);
  expect([...seen.field.data].every((value) => value > 0)).toBe(true);
  using weight = runtime.ones([1, 5, 1, 3]);
  using turned = runtime.random([1, 5, 6, 7], { seed: 2 });
  const model = { forward: (x: Tensor) => conv(x, weight, { padding: 'same', channelsFirst: true }) };
  const { field } = await effectiveReceptiveField(model, turned, { channelsFirst: true });
  expect([...field.data.keys()].filter((at) => field.data[at] !== 0)).toEqual([23, 24, 25]);
});

test('refuses what has no rows and columns, by name', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  using row = runtime.ones([1, 4, 2]);
  using pictures = runtime.ones([1, 2, 2, 1]);
  await expect(effectiveReceptiveField((x) => x, row)).rejects.toThrow(
    'pictures must have shape [b, rows, columns, ...], got [1, 4, 2]',
  );
  await expect(effectiveReceptiveField(3 as never, pictures)).rejects.toThrow('network must be a function, got 3');
  await expect(effectiveReceptiveField((x) => x.reshape([4]), pictures)).rejects.toThrow(
    'the result of network must have shape',
  );
});
