import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { reluAttention, reluAttentionBackward } from '../../index';

interface Problem {
  readonly b: number;
  readonly n: number;
  readonly g: number;
  readonly h: number;
  readonly d: number;
  readonly e: number;
}

const problems = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    n: fc.integer({ min: 1, max: 9 }),
    g: fc.integer({ min: 1, max: 2 }),
    repeat: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 6 }),
    e: fc.integer({ min: 1, max: 6 }),
  })
  .map(({ repeat, ...extents }): Problem => ({ ...extents, h: extents.g * repeat }));
const settings = fc.record(
  { block: fc.integer({ min: 1, max: 12 }), causal: fc.boolean(), scale: fc.constantFrom(-1, 0.5) },
  { requiredKeys: [] },
);

describeOnBackends('reluAttention', (runtime) => {
  test('sums the values of a hand example', async () => {
    using q = runtime().tensor([1, 1, 2, 2], [1, 4, 1, 1]);
    using k = runtime().tensor([1, -1, 3, 1], [1, 4, 1, 1]);
    using v = runtime().tensor([1, 10, 100, 1000], [1, 4, 1, 1]);
    using out = await reluAttention(q, k, v);
    using near = await reluAttention(q, k, v, { block: 2, causal: true });
    expect([...(await out.read())]).toEqual([1301, 1301, 2602, 2602]);
    expect([...(await near.read())]).toEqual([1, 1, 600, 2600]);
  });

  test('and its gradients agree with the definition', async () => {
    await fc.assert(
      fc.asyncProperty(problems, settings, async (problem, options) => {
        const { b, n, h, g, d, e } = problem;
        using q = runtime().random([b, n, h, d], { seed: 1 });
        using k = runtime().random([b, n, g, d], { seed: 2 });
        using v = runtime().random([b, n, g, e], { seed: 3 });
        using gradOut = runtime().random([b, n, h, e], { seed: 4 });
        const [queries, keys, values, weights] = await Promise.all([q, k, v, gradOut].map((x) => x.read()));
        const definition = (...inputs: [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>]) =>
          defined(problem, options, ...inputs);
        using out = await reluAttention(q, k, v, options);
        const close = (actual: ArrayLike<number>, expected: ArrayLike<number>) =>
          expectClose(
            actual,
            expected,
            Array.from(expected, (value) => 3e-5 * Math.max(1, Math.abs(value))),
          );
        close(await out.read(), definition(queries!, keys!, values!));

        const grads = await reluAttentionBackward(q, k, v, gradOut, options);
        using gradQ = grads.gradQ;
        using gradK = grads.gradK;
        using gradV = grads.gradV;
        const numeric = [
          numericGradient((x) => definition(x, keys!, values!), queries!, weights!),
          numericGradient((x) => definition(queries!, x, values!), keys!, weights!),
          numericGradient((x) => definition(queries!, keys!, x), values!, weights!),
        ];
        close(await gradQ.read(), numeric[0]!);
        close(await gradK.read(), numeric[1]!);
        close(await gradV.read(), numeric[2]!);
      }),
      randomCases(15),
    );
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using q = runtime().random([1, 4, 3, 2]);
    using k = runtime().random([1, 4, 2, 2]);
    using v = runtime().random([1, 4, 1, 2]);
    using other = runtime().random([1, 5, 1, 2]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => reluAttention(q, k, v), 'v must have shape [b, n, g, e] with g = 2 as in k [1, 4, 2, 2]');
    await refuse(() => reluAttention(q, k, k), 'the 2 heads of k [1, 4, 2, 2] must divide the 3 heads of q');
    await refuse(() => reluAttention(q, other, v), 'k must have shape [b, n, g, d] with n = 4 as in q');
    await refuse(() => reluAttention(q, v, v, { block: 0 }), 'block must be an integer >= 1, got 0');
    await refuse(() => reluAttention(q, v, v, { scale: Number.NaN }), 'scale must be a finite number, got NaN');
    await refuse(() => reluAttention(q, v, v, { causal: 1 as never }), 'causal must be true or false, got 1');
    await refuse(
      () => reluAttentionBackward(q, v, v, v),
      'gradOut must have shape [b, n, h, e] with h = 3 as in q [1, 4, 3, 2], got [1, 4, 1, 2]',
    );
  });
});

function defined(
  { b, n, h, g, d, e }: Problem,
  { block = n, causal = false, scale = 1 / Math.sqrt(d) }: { block?: number; causal?: boolean; scale?: number },
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
): Float64Array {
  const out = new Float64Array(b * n * h * e);
  for (let at = 0; at < b * n * h * n; at++) {
    const j = at % n;
    const row = Math.floor(at / n);
    const [head, i, batch] = [row % h, Math.floor(row / h) % n, Math.floor(row / h / n)];
    if (Math.floor(i / block) !== Math.floor(j / block) || (causal && j > i)) continue;
    const key = (batch * n + j) * g + Math.floor((head * g) / h);
    let score = 0;
    for (let c = 0; c < d; c++) score += q[row * d + c]! * k[key * d + c]!;
    for (let c = 0; c < e; c++) out[row * e + c]! += Math.max(0, scale * score) * v[key * e + c]!;
  }
  return out;
}
