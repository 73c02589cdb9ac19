import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { numericGradient } from '../../../../test/numeric-gradient';
import { scoped } from '../../../../test/scoped';
import { pullback } from '../../../tape';
import { dynamicProjection } from './dynamic-projection';

const [B, N, C, P, W] = [2, 5, 4, 3, 6];

describeOnBackends('dynamicProjection', (runtime) => {
  const make = () => ({
    x: runtime().random([B, N, C], { seed: 1 }),
    router: runtime().random([C, P], { seed: 2 }),
    bank: runtime().random([P, C, W], { seed: 3 }),
  });

  test('and its gradients agree with the definition, straight through the choice', async () => {
    await scoped(runtime(), async () => {
      const inputs = make();
      const gradOut = runtime().random([B, N, W], { seed: 4 });
      const [x, router, bank, by] = await Promise.all(
        [inputs.x, inputs.router, inputs.bank, gradOut].map((y) => y.read()),
      );
      const { out, choices } = dynamicProjection(inputs);
      const chosen = choicesOf(x!, router!);
      expectClose(await out.read(), mixed(x!, bank!, chosen), 1e-5);
      expect([...(await choices.read())]).toEqual(chosen.flat());

      // The choice, and beside it what its softmax moves by.
      const base = sharesOf(x!, router!);
      const through = (data: ArrayLike<number>, weights: ArrayLike<number>, matrices: ArrayLike<number>) =>
        mixed(
          data,
          matrices,
          sharesOf(data, weights).map((row, i) => row.map((share, u) => share - base[i]![u]! + chosen[i]![u]!)),
        );
      const grads = pullback(dynamicProjection, inputs).pull({ out: gradOut });
      const numeric = {
        x: numericGradient((y) => through(y, router!, bank!), x!, by!),
        router: numericGradient((y) => through(x!, y, bank!), router!, by!),
        bank: numericGradient((y) => through(x!, router!, y), bank!, by!),
      };
      for (const name of ['x', 'router', 'bank'] as const) expectClose(await grads[name].read(), numeric[name], 1e-4);
    });
  });

  test('of a bank of one is a plain projection', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().tensor([1, 2], [1, 1, 2]);
      const bank = runtime().tensor([1, 10, 100, 1000], [1, 2, 2]);
      const { out, choices } = dynamicProjection({ x, router: runtime().random([2, 1]), bank });
      expect([...(await out.read())]).toEqual([201, 2010]);
      expect([...(await choices.read())]).toEqual([1]);
    });
  });

  test('frees what it computes on the way', async () => {
    const inputs = make();
    using gradOut = runtime().random([B, N, W]);
    const before = runtime().memory().live;
    const { results, pull } = pullback(dynamicProjection, inputs);
    const grads = pull({ out: gradOut });
    for (const tensor of [...Object.values(results), ...Object.values(grads)]) tensor.dispose();
    await runtime().finish();
    expect(runtime().memory().live).toBe(before);
    for (const tensor of Object.values(inputs)) tensor.dispose();
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    await scoped(runtime(), async () => {
      const inputs = make();
      const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
      const other = runtime().random([C, 2]);
      await refuse(
        () => dynamicProjection({ ...inputs, router: other }),
        'bank must have shape [p, c, w] with p = 2 as in router [4, 2], got [3, 4, 6]',
      );
    });
  });
});

function logitsOf(x: ArrayLike<number>, router: ArrayLike<number>): number[][] {
  return Array.from({ length: x.length / C }, (_, i) =>
    Array.from({ length: P }, (_, u) => {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += x[i * C + c]! * router[c * P + u]!;
      return sum;
    }),
  );
}

function choicesOf(x: ArrayLike<number>, router: ArrayLike<number>): number[][] {
  return logitsOf(x, router).map((row) => row.map((_, u) => Number(row.indexOf(Math.max(...row)) === u)));
}

function sharesOf(x: ArrayLike<number>, router: ArrayLike<number>): number[][] {
  return logitsOf(x, router).map((row) => {
    const powers = row.map(Math.exp);
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  });
}

/** For each token the sum of its shares of all projections. */
function mixed(x: ArrayLike<number>, bank: ArrayLike<number>, shares: readonly number[][]): number[] {
  return shares.flatMap((row, i) =>
    Array.from({ length: W }, (_, w) => {
      let sum = 0;
      for (let u = 0; u < P; u++)
        for (let c = 0; c < C; c++) sum += row[u]! * x[i * C + c]! * bank[(u * C + c) * W + w]!;
      return sum;
    }),
  );
}
