import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { map } from '../../index';

describeOnBackends('map', (runtime) => {
  test('a hand example, with captured numbers that change', async () => {
    using x = runtime().tensor([1, 2, 3], [3]);
    using y = runtime().tensor([10, 20, 30], [3]);
    for (const rate of [0.5, 2]) {
      using out = map((x, y, { rate }) => x - rate * y, x, y, { captured: { rate } });
      expect([...(await out.read())]).toEqual([1 - rate * 10, 2 - rate * 20, 3 - rate * 30]);
    }
  });
});
