import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { createRuntime, type RandomOptions, random } from '../../index';
import { philox } from './reference';

const reference = await createRuntime({ backend: 'reference' });
const expected = async (shape: readonly number[], options: RandomOptions) => {
  using numbers = random(reference, shape, options);
  return numbers.read();
};

describe('philox', () => {
  // The vectors that come with its authors' library, Random123.
  test.each([
    [0, 0, 0, 0, 0, 0, '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ])('gives the published words of %s %s %s %s, key %s %s', (a, b, c, d, low, high, words) => {
    expect(
      philox([a, b, c, d], [low, high])
        .map((word) => word.toString(16).padStart(8, '0'))
        .join(' '),
    ).toBe(words);
  });
});

describeOnBackends('random', (runtime) => {
  test('gives the words of Philox as uniform numbers', async () => {
    using numbers = random(runtime(), [2, 2], { distribution: 'uniform' });
    const words = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];
    expect([...(await numbers.read())]).toEqual(words.map((word) => (word >>> 8) / 2 ** 24));
  });

  test('gives the same numbers everywhere: uniform ones to the bit', async () => {
    for (const [shape, seed] of [
      [[], 0],
      [[1], 1],
      [[3, 5], -1],
      [[2, 8], 2 ** 40 + 3],
      [[67, 3, 101], Number.MAX_SAFE_INTEGER],
      [[8192], 7],
    ] as const) {
      await scoped(runtime(), async () => {
        const uniform = random(runtime(), shape, { seed, distribution: 'uniform' });
        expect(await uniform.read()).toEqual(await expected(shape, { seed, distribution: 'uniform' }));
        expectClose(await random(runtime(), shape, { seed }).read(), await expected(shape, { seed }), 3e-6);
      });
    }
  });

  test('gives numbers as their distribution has them, others for other seeds', async () => {
    const size = 1 << 16;
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    await scoped(runtime(), async () => {
      const [x, y, next] = [0, 0, 1].map((seed) => random(runtime(), [size], { seed }));
      const values = [...(await x!.read())];
      const others = [...(await next!.read())];
      expect([...(await y!.read())]).toEqual(values);
      const uniform = [...(await random(runtime(), [size], { distribution: 'uniform' }).read())];
      // Each within five standard errors.
      const near = (value: number, expected: number, deviation: number) =>
        expect(Math.abs(value - expected)).toBeLessThan((5 * deviation) / Math.sqrt(size));
      near(mean(values), 0, 1);
      near(mean(values.map((value) => value ** 2)), 1, Math.sqrt(2));
      near(mean(values.map((value) => value ** 4)), 3, Math.sqrt(96));
      near(mean(values.map((value) => Number(Math.abs(value) < 1))), 0.6826895, 0.47);
      near(mean(values.map((value, at) => value * others[at]!)), 0, 1);
      near(mean(values.slice(1).map((value, at) => value * values[at]!)), 0, 1);
      near(mean(uniform), 0.5, Math.sqrt(1 / 12));
      near(mean(uniform.map((value) => Number(value < 0.1))), 0.1, 0.3);
      expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...uniform)).toBeLessThan(1);
    });
  });

  test('refuses what it cannot make, by name', async () => {
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => random({} as never, [2]), 'runtime must be a Runtime, got an object');
    await refuse(() => random(runtime(), [-1]), 'shape must have non-negative integer extents, got [-1]');
    await refuse(() => random(runtime(), [2], { seed: 0.5 }), 'seed must be an integer, got 0.5');
    await refuse(
      () => random(runtime(), [2], { distribution: 'cauchy' as never }),
      "distribution must be one of normal, uniform, got 'cauchy'",
    );
    await refuse(() => random(runtime(), [2], { dtype: 'f16' } as never), "random has no option 'dtype'");
  });
});

test.skipIf('document' in globalThis)('has the same bits on any number of threads', async () => {
  const bits: string[] = [];
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    bits.push((await random(runtime, [40_001], { seed: 5 }).read()).join());
  }
  expect(new Set(bits).size).toBe(1);
});
