import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { crossEntropy, matmul, pullback, type Runtime } from '../index';
import { linearCrossEntropy } from './index';

const [N, D, CLASSES] = [37, 5, 23];

function problem(runtime: Runtime) {
  const labels = Int32Array.from({ length: N }, (_, r) => (r * 7) % CLASSES);
  return {
    x: runtime.random([N, D], { seed: 1 }),
    weight: runtime.random([CLASSES, D], { seed: 2 }),
    targets: runtime.tensor(labels, [N]),
  };
}

describeOnBackends('linearCrossEntropy', (runtime) => {
  test.each([
    { chunk: undefined, reduction: undefined },
    { chunk: 10, reduction: 'none' },
    { chunk: 1, ignore: 7, smoothing: 0.1 },
    { chunk: 100, ignore: -1 },
  ] as const)('and its gradients are those of all logits: $chunk', async ({ chunk, ...options }) => {
    await scoped(runtime(), async () => {
      const { targets, ...inputs } = problem(runtime());
      const logits = matmul(inputs.x, inputs.weight, { transposeB: true });
      const whole = pullback((all) => crossEntropy(all, targets, options), logits);
      const parts = pullback(({ x, weight }) => linearCrossEntropy(x, weight, targets, { chunk, ...options }), inputs);
      const expected = await whole.results.read();
      expectClose(await parts.results.read(), expected, 1e-5);
      const gradOut = runtime().random(whole.results.shape, { seed: 3 });
      const [found, gradLogits] = [parts.pull(gradOut), whole.pull(gradOut)];
      expectClose(await found.x.read(), await matmul(gradLogits, inputs.weight).read(), 1e-5);
      expectClose(await found.weight.read(), await matmul(gradLogits, inputs.x, { transposeA: true }).read(), 3e-5);
    });
  });

  test('never holds all logits', async () => {
    await scoped(runtime(), async () => {
      const [n, classes] = [512, 1024];
      const inputs = { x: runtime().random([n, 4], { seed: 1 }), weight: runtime().random([classes, 4], { seed: 2 }) };
      const targets = runtime().tensor(new Int32Array(n), [n]);
      await runtime().finish();
      runtime().backend.resetPeak();
      const before = runtime().memory().live;
      const { pull } = pullback(({ x, weight }) => linearCrossEntropy(x, weight, targets, { chunk: 32 }), inputs);
      await pull(runtime().tensor([1], [])).weight.read();
      expect(runtime().memory().peak - before).toBeLessThan((4 * n * classes) / 2);
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    await scoped(runtime(), async () => {
      const { x, weight, targets } = problem(runtime());
      const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
      const far = runtime().tensor(
        Int32Array.from({ length: N }, (_, r) => (r === 20 ? CLASSES : 0)),
        [N],
      );
      await refuse(
        () => linearCrossEntropy(x, weight, far, { chunk: 8 }),
        'targets must be classes from 0 to 22, got 23 at element 20 of targets',
      );
      await refuse(() => linearCrossEntropy(x, x, targets.slice(0, 0, 3)), 'targets must have shape [n] with n = 37');
      await refuse(() => linearCrossEntropy(x, targets as never, targets), 'weight must be f32, got i32');
      await refuse(
        () => linearCrossEntropy(x, weight.reshape([D, CLASSES]), targets),
        'weight must have shape [classes, d] with d = 5 as in x [37, 5], got [5, 23]',
      );
      await refuse(
        () => linearCrossEntropy(x.reshape([N * D]), weight, targets),
        'x must have shape [n, d], got [185]',
      );
      await refuse(() => linearCrossEntropy(x, weight, targets, { chunk: 0 }), 'chunk must be an integer >= 1, got 0');
    });
  });
});
