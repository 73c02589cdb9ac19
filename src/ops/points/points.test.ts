import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { createRuntime, farthestPoints, nearestPoints, type Runtime } from '../../index';
import { normal } from '../../tensor/random';

const { NaN: nan } = Number;

describeOnBackends('points', (runtime) => {
  test('of a hand example, equal ones by index', async () => {
    await scoped(runtime(), async () => {
      const line = [0, 1, 2, 3, 4, 10].flatMap((x) => [x, 0, 0]);
      const points = runtime().tensor([...line, ...Array(18).fill(1)], [2, 6, 3]);
      // 5 is farthest from 0; then 4 (6 from 10, 4 from 0), then 2.
      const centers = farthestPoints(points, 4);
      expect([...(await centers.read())]).toEqual([0, 5, 4, 2, 0, 0, 0, 0]);
      expect([...(await farthestPoints(points, 2, { start: 3 }).read())]).toEqual([3, 5, 3, 0]);
      const some = runtime().tensor([2, 5, 0, 5], [2, 2], 'i32');
      const neighbors = await nearestPoints(points, some, 3).read();
      expect([...neighbors]).toEqual([2, 1, 3, 5, 4, 3, 0, 1, 2, 0, 1, 2]);
    });
  });

  test.each([1, 2, 65, 300])('of %i random ones are those of the reference', async (n) => {
    using reference = await createRuntime({ backend: 'reference' });
    const [groups, start] = [Math.min(n, 20), n - 1];
    const inputs = normal(6 * n, n);
    const found = async (own: Runtime) =>
      scoped(own, async () => {
        const points = own.tensor(inputs, [2, n, 3]);
        const centers = farthestPoints(points, groups, { start });
        const neighbors = [1, Math.min(n, 33), n].map((size) => nearestPoints(points, centers, size));
        return await Promise.all([centers, ...neighbors].map((each) => each.read()));
      });
    expect(await found(runtime())).toEqual(await found(reference));
  });

  test('refuse what does not fit, by name', async () => {
    await scoped(runtime(), async () => {
      const points = runtime().random([1, 4, 3]);
      const flat = runtime().random([1, 4, 2]);
      const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
      await refuse(() => farthestPoints(points, 5), 'groups must be an integer from 1 to 4, got 5');
      await refuse(() => farthestPoints(points, 2, { start: 4 }), 'start must be an integer from 0 to 3, got 4');
      await refuse(() => farthestPoints(flat, 2), 'points must have shape [b, n, 3], got [1, 4, 2]');
      const holed = runtime().tensor([0, 0, 0, 1, nan, 0], [1, 2, 3]);
      await expect(farthestPoints(holed, 1).read()).rejects.toThrow(
        'points must be finite, got NaN at point 1: leave it out',
      );
      const wrong = runtime().tensor([0, 4], [1, 2], 'i32');
      await expect(nearestPoints(points, wrong, 1).read()).rejects.toThrow(
        'indices must be from 0 to 3, got 4 at element 1',
      );
    });
  });
});
