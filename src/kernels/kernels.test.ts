import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, isOnGpu } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { expectGradients } from '../../test/tape-gradients';
import { add, multiply, type Tensor } from '../index';
import { normal } from '../tensor/random';
import { type Kernel, kernelDiagonal, kernelMatrix, kernelProduct } from '.';

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, k) => sum + x * b[k]!, 0);
const distance = (a: readonly number[], b: readonly number[], power: number) =>
  a.reduce((sum, x, k) => sum + Math.abs(x - b[k]!) ** power, 0);
const angle = (a: readonly number[], b: readonly number[]) =>
  Math.acos(Math.max(-1, Math.min(1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))));
const lengths = (a: readonly number[], b: readonly number[]) => Math.sqrt(dot(a, a) * dot(b, b));

/** By the formula of the infinite layer, for points of a query and four keys, a number each. */
function attention(a: readonly number[], b: readonly number[]): number {
  const [tokens, others] = [a, b].map((point) => point.map((value) => [value, 1])) as [number[][], number[][]];
  const terms = tokens.slice(1).flatMap((key) =>
    others.slice(1).map((other) => {
      const size = lengths(tokens[0]!, others[0]!) * lengths(key, other);
      const rho = (dot(tokens[0]!, others[0]!) * dot(key, other)) / size;
      const expected = (Math.sqrt(Math.max(0, 1 - rho * rho)) + rho * (Math.PI - Math.acos(rho))) / (2 * Math.PI);
      return 0.25 * size * expected * dot(key, other);
    }),
  );
  return terms.reduce((sum, term) => sum + term, 0) / terms.length;
}

type Formula = (a: readonly number[], b: readonly number[]) => number;
const CASES: readonly (readonly [kernel: Kernel, formula: Formula])[] = [
  [{ kernel: 'gaussian', bandwidth: 1.5 }, (a, b) => Math.exp(-distance(a, b, 2) / 4.5)],
  [{ kernel: 'laplace', bandwidth: 2 }, (a, b) => Math.exp(-distance(a, b, 1) / 2)],
  [
    { kernel: 'arc-cosine' },
    (a, b) => (lengths(a, b) * (Math.sin(angle(a, b)) + (Math.PI - angle(a, b)) * Math.cos(angle(a, b)))) / Math.PI,
  ],
  [{ kernel: 'arc-cosine', order: 0 }, (a, b) => 1 - angle(a, b) / Math.PI],
  [
    { kernel: 'arc-cosine', order: 2 },
    (a, b) => {
      const t = angle(a, b);
      return (
        (lengths(a, b) ** 2 * (3 * Math.sin(t) * Math.cos(t) + (Math.PI - t) * (1 + 2 * Math.cos(t) ** 2))) / Math.PI
      );
    },
  ],
  [{ kernel: 'attention', width: 1 }, attention],
  [{ kernel: 'linear' }, dot],
  [{ kernel: 'polynomial', degree: 2, offset: 0.5 }, (a, b) => (dot(a, b) + 0.5) ** 2],
  [{ kernel: 'matern', smoothness: 0.5 }, (a, b) => Math.exp(-Math.sqrt(distance(a, b, 2)))],
  [
    { kernel: 'matern', bandwidth: 2 },
    (a, b) => {
      const r = Math.sqrt((3 * distance(a, b, 2)) / 4);
      return (1 + r) * Math.exp(-r);
    },
  ],
  [
    { kernel: 'matern', smoothness: 2.5 },
    (a, b) => {
      const r = Math.sqrt(5 * distance(a, b, 2));
      return (1 + r + (r * r) / 3) * Math.exp(-r);
    },
  ],
];

describeOnBackends('kernels of points', (runtime) => {
  test.each(fewOnGpu(CASES, 4))('%j', async (kernel, formula) => {
    const [n, m, p] = [37, 21, 5];
    const values = Array.from(normal((n + m) * p, 7));
    const points = Array.from({ length: n + m }, (_, i) => values.slice(i * p, (i + 1) * p));
    // Some of both are the same points.
    for (let i = 0; i < 3; i++) points[n + i] = points[i] as number[];
    const [x, y] = [points.slice(0, n), points.slice(n)];
    await scoped(runtime(), async () => {
      const [left, right] = [runtime().tensor(x), runtime().tensor(y)];
      const expected = x.flatMap((a) => y.map((b) => formula(a, b)));
      const largest = Math.max(1, ...expected.map(Math.abs));
      expectClose(await kernelMatrix(kernel, left, right).read(), expected, 1e-6 * largest);
      expectClose(
        await kernelDiagonal(kernel, left).read(),
        x.map((a) => formula(a, a)),
        2e-6 * largest,
      );
      const v = runtime().random([m, 2], { seed: 3 });
      const factors = await v.read();
      const products = x.flatMap((a) =>
        [0, 1].map((c) => y.reduce((sum, b, j) => sum + formula(a, b) * factors[2 * j + c]!, 0)),
      );
      expectClose(await kernelProduct(kernel, left, right, v).read(), products, 2e-5 * largest);
    });
  });

  test.each(
    fewOnGpu(
      CASES.map(([kernel]) => kernel),
      1,
    ),
  )('gradients of %j', async (kernel) => {
    await expectGradients(runtime(), {
      fn: ({ x, y, v }) => ({ matrix: kernelMatrix(kernel, x!, y!), product: kernelProduct(kernel, x!, y!, v!) }),
      inputs: { x: [4, 3], y: [3, 3], v: [3, 2] },
    });
  });

  test('of the bandwidth, too', async () => {
    if (isOnGpu) return;
    const bandwidthOf = (s: Tensor) => add(multiply(s, s), s.runtime.ones([]));
    await expectGradients(runtime(), {
      fn: ({ x, y, s, v }) => ({
        gaussian: kernelMatrix({ kernel: 'gaussian', bandwidth: bandwidthOf(s!) }, x!, y!),
        laplace: kernelProduct({ kernel: 'laplace', bandwidth: bandwidthOf(s!) }, x!, y!, v!),
        matern: kernelMatrix({ kernel: 'matern', bandwidth: bandwidthOf(s!) }, x!, y!),
      }),
      inputs: { x: [3, 2], y: [3, 2], s: [1], v: [3, 1] },
    });
  });

  test('a product over more than a tile holds no matrix', async () => {
    if (isOnGpu || runtime().backend.name === 'reference') return;
    await scoped(runtime(), async () => {
      const [n, m] = [9000, 2000];
      const [x, y, v] = [runtime().random([n, 3]), runtime().random([m, 3]), runtime().ones([m, 1])];
      await runtime().finish();
      runtime().backend.resetPeak();
      const before = runtime().memory().live;
      const out = kernelProduct({ kernel: 'gaussian' }, x, y, v);
      await out.read();
      expect(runtime().memory().peak - before).toBeLessThan((4 * n * m) / 3);
    });
  });

  test('what is no kernel is refused by name', async () => {
    await scoped(runtime(), async () => {
      const [x, y] = [runtime().ones([3, 2]), runtime().ones([3, 4])];
      const refuse = (kernel: object, message: string) =>
        expectRefusal(runtime(), () => kernelMatrix(kernel as Kernel, x, x), message);
      await refuse({ kernel: 'cosine' }, 'kernel of kernel must be one of linear, gaussian');
      await refuse({ kernel: 'attention' }, 'width must be an integer >= 1, got NaN');
      await refuse({ kernel: 'attention', width: 2 }, 'must be a query and at least one key of width 2 side by side');
      await refuse({ kernel: 'gaussian', bandwidth: 0 }, 'bandwidth must be a finite number > 0');
      await refuse({ kernel: 'gaussian', degree: 2 }, "the gaussian kernel takes no 'degree'");
      await refuse({ kernel: 'matern', smoothness: 1 }, 'smoothness must be 0.5, 1.5 or 2.5, got 1');
      await expectRefusal(runtime(), () => kernelMatrix({ kernel: 'linear' }, x, y), 'y must have shape [m, p]');
      const many = runtime().ones([70_000, 1]);
      await expectRefusal(runtime(), () => kernelMatrix({ kernel: 'linear' }, many, many), 'use kernelProduct');
    });
  });
});
