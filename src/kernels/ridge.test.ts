import { expect, test } from 'vitest';
import { expectClose, expectRefusal } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { createRuntime, matmul, multiply, type Runtime } from '../index';
import { conjugateGradients, fitKernelRidge, kernelMatrix } from '.';

const runtime: Runtime = await createRuntime({ backend: 'wasm', threads: 2 });

const SMOOTH = { kernel: 'gaussian', bandwidth: 1.5 } as const;

test('direct solves, conjugate gradients and as many centres as points agree, and leave nothing allocated', async () => {
  const before = runtime.memory().live;
  await scoped(runtime, async () => {
    const [x, y, asked] = [
      runtime.random([90, 3], { seed: 1 }),
      runtime.random([90, 2], { seed: 2 }),
      runtime.random([20, 3], { seed: 3 }),
    ];
    const direct = await fitKernelRidge(SMOOTH, x, y, { ridge: 0.5 });
    const wanted = await direct.predict(asked).read();
    const cg = await fitKernelRidge(SMOOTH, x, y, { ridge: 0.5, solver: 'cg', tolerance: 1e-6 });
    expectClose(await cg.predict(asked).read(), wanted, 1e-4);
    expect(cg.residual).toBeLessThan(1e-6);
    expect(cg.iterations).toBeGreaterThan(3);
    const all = await fitKernelRidge(SMOOTH, x, y, { ridge: 0.5, solver: 'nystrom', centres: 90, tolerance: 1e-6 });
    expectClose(await all.predict(asked).read(), wanted, 2e-3);
    const few = await fitKernelRidge(SMOOTH, x, y, { ridge: 0.5, solver: 'nystrom', centres: 30 });
    expect(few.support.shape).toEqual([30, 3]);
    // A function of fewer points is near, and not the same.
    const distance = [...(await few.predict(asked).read())].reduce(
      (sum, value, at) => sum + (value - wanted[at]!) ** 2,
      0,
    );
    const size = wanted.reduce((sum, value) => sum + value ** 2, 0);
    expect(distance / size).toBeGreaterThan(1e-6);
    expect(distance / size).toBeLessThan(0.5);
    for (const each of [direct, cg, all, few]) each.dispose();
  });
  await runtime.finish();
  expect(runtime.memory().live).toBe(before);
});

test('conjugate gradients end at the exact solution of a few distinct eigenvalues, sooner with a preconditioner', async () => {
  await scoped(runtime, async () => {
    const n = 30;
    const values = Array.from({ length: n }, (_, i) => [1, 10, 100][i % 3] as number);
    const diagonal = runtime.tensor(values, [n, 1]);
    const inverse = runtime.tensor(
      values.map((value) => 1 / value),
      [n, 1],
    );
    const b = runtime.random([n, 2], { seed: 4 });
    const product = (v: typeof b) => multiply(v, diagonal);
    const plain = await conjugateGradients(product as never, b);
    expect(plain.iterations).toBeLessThan(6);
    const exact = await multiply(b, inverse).read();
    expectClose(await plain.x.read(), exact, 1e-4);
    const helped = await conjugateGradients(product as never, b, { preconditioner: (r) => multiply(r, inverse) });
    expect(helped.iterations).toBe(1);
    const none = await conjugateGradients(product as never, runtime.zeros([n, 1]));
    expect(none.iterations).toBe(0);
  });
});

test('what cannot be fitted is refused by name', async () => {
  await scoped(runtime, async () => {
    const [x, y, fewer] = [runtime.random([6, 2]), runtime.ones([6, 1]), runtime.ones([5, 1])];
    const refuse = (options: object, message: string) =>
      expectRefusal(runtime, () => fitKernelRidge(SMOOTH, x, y, options), message);
    await refuse({ ridge: -1 }, 'ridge must be a finite number >= 0, got -1');
    await refuse({ solver: 'lu' }, 'solver must be one of direct, primal, cg, nystrom');
    await refuse({ centres: 3 }, 'centres needs solver nystrom, got direct');
    await refuse({ solver: 'nystrom', centres: 7 }, 'centres must be an integer from 1 to 6');
    await expectRefusal(runtime, () => fitKernelRidge(SMOOTH, x, fewer), 'x and y must have shapes [n, p] and [n, c]');
    const negative = runtime.tensor([-1], []);
    await expectRefusal(
      runtime,
      () => conjugateGradients((v) => multiply(v, negative), y),
      'is not positive definite: v . A v is -6',
    );
    const matrix = kernelMatrix({ kernel: 'linear' }, x, x);
    await expectRefusal(
      runtime,
      () => conjugateGradients(() => matmul(matrix, x), y),
      'product must return a tensor of shape [6, 1], got [6, 2]',
    );
  });
});
