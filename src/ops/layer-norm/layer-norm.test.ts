import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { show } from '../../check';
import { layerNorm } from '../../index';

describeOnBackends('layerNorm', (runtime) => {
  test('normalises a hand example', async () => {
    using x = runtime().tensor([1, 3, -5, 5], [2, 2]);
    using gain = runtime().tensor([1, 2], [2]);
    using bias = runtime().tensor([0, 10], [2]);
    using out = await layerNorm(x, gain, bias, { epsilon: 0 });
    expectClose(await out.read(), [-1, 12, -1, 12], 1e-5);
  });

  test('agrees with the definition on any shape', async () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 2 });
    const epsilons = fc.constantFrom(undefined, 1e-6, 0.5);
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer({ min: 1, max: 300 }), epsilons, async (leading, c, epsilon) => {
        using x = runtime().random([...leading, c], { seed: c });
        using gain = runtime().random([c], { seed: 2 });
        using bias = runtime().random([c], { seed: 3 });
        const { out, check } = guarded(runtime(), [...leading, c]);
        await layerNorm(x, gain, bias, { epsilon, out });
        const expected = normalised(await x.read(), await gain.read(), await bias.read(), epsilon ?? 1e-5);
        expectClose(await out.read(), expected, 2e-5);
        out.dispose();
        await check();
      }),
      { numRuns: 30 },
    );
  });

  test('holds its accuracy far from zero and on constant rows', async () => {
    const c = 64;
    using x = runtime().tensor(
      Float32Array.from({ length: 2 * c }, (_, i) => (i < c ? 1000 + (i % 7) : 42)),
      [2, c],
    );
    using gain = runtime().tensor(new Float32Array(c).fill(1), [c]);
    using bias = runtime().tensor(new Float32Array(c), [c]);
    using out = await layerNorm(x, gain, bias);
    expectClose(await out.read(), normalised(await x.read(), await gain.read(), await bias.read(), 1e-5), 1e-3);
    expect([...(await out.read()).subarray(c)].every((value) => value === 0)).toBe(true);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 4]);
    using c = runtime().random([4]);
    using short = runtime().random([3]);
    using swapped = x.permute([1, 0]);
    using two = runtime().random([2]);
    using single = runtime().random([]);
    using integers = runtime().tensor(new Int32Array(4), [4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => layerNorm(x, short, c), 'gain must have shape [c] with c = 4 as in x [2, 4], got [3]');
    await refuse(() => layerNorm(x, c, x), 'bias must have shape [c] with c = 4 as in x [2, 4], got [2, 4]');
    await refuse(() => layerNorm(x, c, integers), 'bias must be f32, got i32');
    await refuse(() => layerNorm(swapped, two, two), 'x [4, 2] must be contiguous, got strides [1, 4]');
    await refuse(() => layerNorm(single, c, c), 'x must have shape [..., c], got []');
    for (const epsilon of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1' as unknown as number])
      await refuse(() => layerNorm(x, c, c, { epsilon }), `epsilon must be a finite number >= 0, got ${show(epsilon)}`);
  });
});

function normalised(x: Float32Array, gain: Float32Array, bias: Float32Array, epsilon: number): number[] {
  const c = gain.length;
  return Array.from({ length: x.length / c }, (_, r) => {
    const row = [...x.subarray(r * c, (r + 1) * c)];
    const mean = row.reduce((sum, value) => sum + value) / c;
    const variance = row.map((value) => (value - mean) ** 2).reduce((sum, value) => sum + value) / c;
    return row.map((value, i) => ((value - mean) / Math.sqrt(variance + epsilon)) * gain[i]! + bias[i]!);
  }).flat();
}
