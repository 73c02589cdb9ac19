import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { numericGradient } from '../../../../test/numeric-gradient';
import { scoped } from '../../../../test/scoped';
import { pullback } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';
import { type LocalConcentrationWeights, localConcentration } from './local-concentration';
import { type LcmNumbers, lcmReference } from './reference';

const SHAPE = [2, 4, 3, 2] as const;
type Name = keyof LocalConcentrationWeights;

describeOnBackends('localConcentration', (runtime) => {
  function weightsOf(taps: number, channels: number): LocalConcentrationWeights {
    const random = (shape: number[], seed: number) => runtime().random(shape, { seed });
    return {
      first: random([taps, taps, channels], 1),
      firstBias: random([channels], 2),
      gain: random([channels], 3),
      bias: random([channels], 4),
      second: random([taps, taps, channels], 5),
      secondBias: random([channels], 6),
    };
  }

  async function numbersOf(weights: LocalConcentrationWeights): Promise<LcmNumbers> {
    const read = Object.entries(weights).map(async ([name, x]) => [name, await (x as Tensor<'f32'>).read()]);
    return Object.fromEntries(await Promise.all(read));
  }

  const closeTo = (actual: ArrayLike<number>, expected: Float64Array, tolerance: number) =>
    expectClose(
      actual,
      expected,
      expected.map((value) => tolerance * Math.max(1, Math.abs(value))),
    );

  test.each([false, true])('and its gradients agree with the definition, given statistics %s', async (isGiven) => {
    await scoped(runtime(), async () => {
      const x = runtime().random(SHAPE, { seed: 9 });
      const gradOut = runtime().random(SHAPE, { seed: 10 });
      const weights = weightsOf(3, 2);
      const statistics = isGiven
        ? { mean: runtime().tensor([0.1, 0.4], [2]), variance: runtime().tensor([0.7, 2], [2]) }
        : undefined;
      const given = statistics && { mean: [0.1, 0.4].map(Math.fround), variance: [0.7, 2].map(Math.fround) };
      const numbers = await numbersOf(weights);
      const [values, by] = [await x.read(), await gradOut.read()];

      const call = (tracked: typeof inputs) => localConcentration(tracked.x, tracked.weights, { statistics }).out;
      const inputs = { x, weights };
      const { results: out, pull } = pullback(call, inputs);
      closeTo(await out.read(), lcmReference(values, SHAPE, numbers, given), 2e-5);

      const grads = pull(gradOut);
      const byX = numericGradient((moved) => lcmReference(moved, SHAPE, numbers, given), values, by);
      closeTo(await (grads.x as Tensor<'f32'>).read(), byX, 2e-4);
      for (const name of Object.keys(weights) as Name[]) {
        const moved = (data: Float64Array) => lcmReference(values, SHAPE, { ...numbers, [name]: data }, given);
        closeTo(await (grads.weights[name] as Tensor<'f32'>).read(), numericGradient(moved, numbers[name], by), 2e-4);
      }
    });
  });

  test('with 7 by 7 kernels reads the 13 by 13 around a token', async () => {
    await scoped(runtime(), async () => {
      const values = new Float32Array(17 * 17);
      const weights = weightsOf(7, 1);
      const statistics = { mean: runtime().tensor([0], [1]), variance: runtime().tensor([1], [1]) };
      const at = async (value: number) => {
        values[8 * 17 + 8] = value;
        const { out } = localConcentration(runtime().tensor(values, [1, 17, 17, 1]), weights, { statistics });
        return out.read();
      };
      const [before, after] = [await at(0), await at(1)];
      const changed = [...before.keys()].filter((place) => before[place] !== after[place]);
      const rows = changed.map((place) => Math.floor(place / 17));
      const columns = changed.map((place) => place % 17);
      expect([Math.min(...rows), Math.max(...rows), Math.min(...columns), Math.max(...columns)]).toEqual([
        2, 14, 2, 14,
      ]);
      expect(changed).toHaveLength(13 * 13);
    });
  });

  test('of delta kernels is GELU alone', async () => {
    await scoped(runtime(), async () => {
      const delta = runtime().tensor([0, 0, 0, 0, 1, 0, 0, 0, 0], [3, 3, 1]);
      const [zero, one] = [runtime().tensor([0], [1]), runtime().tensor([1 + 1e-5], [1])];
      const gain = runtime().tensor([Math.sqrt(1 + 2e-5)], [1]);
      const weights = { first: delta, firstBias: zero, gain, bias: zero, second: delta, secondBias: zero };
      const x = runtime().tensor([-1, 0, 1, 20], [1, 2, 2, 1]);
      const { out } = localConcentration(x, weights, { statistics: { mean: zero, variance: one } });
      expectClose(await out.read(), [-0.158655, 0, 0.841345, 20], 1e-5);
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([1, 4, 4, 3]);
    await scoped(runtime(), async () => {
      const weights = weightsOf(3, 2);
      await expectRefusal(
        runtime(),
        () => localConcentration(x, weights),
        'weight must have shape [ky, kx, c] with c = 3 as in x [1, 4, 4, 3], got [3, 3, 2]',
      );
    });
  });

  test('frees what it computes on the way', async () => {
    await scoped(runtime(), async () => {
      const weights = weightsOf(3, 2);
      const x = runtime().random(SHAPE);
      const before = runtime().memory().live;
      const { results, pull } = pullback((tracked) => localConcentration(tracked, weights), x);
      for (const tensor of [...Object.values(results), pull({ out: x })]) tensor.dispose();
      await runtime().finish();
      expect(runtime().memory().live).toBe(before);
    });
  });
});
