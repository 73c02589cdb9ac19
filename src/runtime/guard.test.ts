import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { differentiate, matmul, multiply, straightThrough, sum, type Tensor, withDerivative } from '../index';
import { guard } from './guard';

const deaf = new RangeError('deaf');

describeOnBackends('a call whose onProgress throws', (runtime) => {
  test('ends with that, leaks nothing, and the next call works', async () => {
    using a = runtime().tensor([1, 2, 3, 4], [2, 2]);
    const product = (onProgress?: () => void) => {
      using out = matmul(a, a, { onProgress });
      return out.read();
    };
    const { live } = runtime().memory();
    const throws = () => {
      throw deaf;
    };
    await expect(product(throws)).rejects.toBe(deaf);
    expect(runtime().memory().live).toBe(live);
    expect([...(await product())]).toEqual([7, 10, 15, 22]);
  });

  test('or rejects, at once or later, ends with that, whatever its size', async () => {
    using a = runtime().tensor([1, 2, 3, 4], [2, 2]);
    const rejects = (error: Error) => async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      throw error;
    };
    using out = matmul(a, a, { onProgress: rejects(deaf) });
    using later = multiply(out, a);
    await expect(later.read()).rejects.toBe(deaf);
    await runtime().finish();
    const other = new RangeError('other');
    using _ = matmul(a, a, { onProgress: rejects(other) });
    await expect(runtime().finish()).rejects.toBe(other);
    await runtime().finish();
  });

  test('a backward pass ends with that, is told once, and leaks nothing', async () => {
    using x = runtime().tensor([1, 2], [2]);
    const loss = (y: Tensor) => sum(multiply(y, y));
    await runtime().finish();
    const { live } = runtime().memory();
    for (const last of [false, true]) {
      const throws = (share: number) => {
        if (!last || share === 1) throw deaf;
      };
      const outcome = (async () => {
        const { loss: value, gradients } = differentiate(loss, x, { onProgress: throws });
        value.dispose();
        using gradient = gradients;
        return await gradient.read();
      })();
      await expect(outcome).rejects.toBe(deaf);
      await runtime().finish();
      expect(runtime().memory().live).toBe(live);
    }
    const rejects = async () => {
      throw deaf;
    };
    const { loss: value, gradients } = differentiate(loss, x, { onProgress: rejects });
    await expect(gradients.read()).rejects.toBe(deaf);
    for (const each of [value, gradients]) each.dispose();
    await runtime().finish();
  });
});

describeOnBackends('a function that is not to wait', (runtime) => {
  test('and rejects is refused, by name, and nobody else hears of it', async () => {
    using x = runtime().tensor([1, 2], [2]);
    const rejects = (async () => {
      throw deaf;
    }) as never;
    const plain = (y: Tensor) => multiply(y, y);
    for (const [call, what] of [
      [() => runtime().scope(rejects), 'work of scope()'],
      [() => straightThrough(rejects, x), 'fn of straightThrough()'],
      [() => withDerivative(rejects, () => [])(x as never), 'fn of withDerivative()'],
      [() => differentiate((y) => sum(withDerivative(plain, rejects)(y)), x), 'derivative of withDerivative()'],
    ] as const)
      expect(call).toThrow(`${what} must not wait, got a promise`);
    await runtime().finish();
  });
});

test('a promise that onProgress returns ends the work if it rejects meanwhile', async () => {
  const { control, check } = guard({ onProgress: () => Promise.reject(deaf) });
  control.onProgress?.(0.5);
  check();
  await Promise.resolve();
  expect(check).toThrow(deaf);
});

test("the caller's signal goes on ending work that reports progress, with its own reason", () => {
  const controller = new AbortController();
  const { control, check } = guard({ signal: controller.signal, onProgress: () => controller.abort('enough') });
  check();
  control.onProgress?.(0.5);
  expect(control.signal?.reason).toBe('enough');
  expect(check).toThrow('enough');
});
