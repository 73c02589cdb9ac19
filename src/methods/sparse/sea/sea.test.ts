import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../../../test/backends';
import { describeMethod, relativeError, sequences } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import { createRuntime, differentiate } from '../../../index';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { cellAttention } from '../../../ops/cell-attention';
import { cellOf } from '../../../ops/cell-attention/cells';
import { contiguous } from '../../../ops/copy';
import { map } from '../../../ops/map/map';
import { sum } from '../../../ops/reduce';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal, uniform } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { sea as method } from '.';

const random = (shape: readonly number[], seed: number) => hostTensor(normal(sizeOf(shape), seed), shape, 'f32');
const shares = (shape: readonly number[], seed: number) => hostTensor(uniform(sizeOf(shape), seed), shape, 'f32');
/** Maps of few values, so that there are ties, whose rows sum to 1. */
function maps(shape: readonly number[], seed: number): HostTensor {
  const w = shape.at(-1) as number;
  const values = uniform(sizeOf(shape), seed).map((value) => 1 + Math.floor(4 * value));
  return hostTensor(
    values.map((value, at) => {
      const first = at - (at % w);
      return value / values.subarray(first, first + w).reduce((sum, each) => sum + each, 0);
    }),
    shape,
    'f32',
  );
}

const cases = fc
  .tuple(
    sequences,
    fc.integer({ min: 1, max: 30 }),
    fc.integer({ min: 1, max: 24 }),
    fc.constantFrom('query', 'head', 'batch', 'causal-batch', undefined),
    fc.boolean(),
  )
  .map(([{ b, n: tokens, g, h, d, e }, w, keys, pool, causal]) => ({
    ...{ n: Math.ceil(tokens / 3) },
    b,
    g,
    h,
    d,
    e,
    w,
    keys,
    pool,
    causal: causal && (pool === undefined || pool === 'causal-batch'),
  }))
  .map(({ b, n, g, h, d, e, w, keys, pool, causal }) => ({
    q: [b, n, h, d],
    k: [b, n, g, d],
    v: [b, n, g, e],
    params: { keys, causal, ...(pool && { pool }) },
    others: { estimate: maps([b, h, n, w], 5), prob: shares([b, n, h], 6), mix: shares([b, n, h], 7) },
  }));

describeMethod(method, cases, 10);

describeOnBackends('attention to cells', (runtime) => {
  test('the last queries of a sequence choose, read and hand back gradients as they do among all', async () => {
    const [n, last, h, g, d, w] = [11, 3, 4, 2, 5, 4];
    await scoped(runtime(), async () => {
      const tensor = (host: HostTensor) => runtime().fromHost(host as HostTensor<'f32'>);
      const [q, k, v] = [
        tensor(random([1, n, h, d], 1)),
        tensor(random([1, n, g, d], 2)),
        tensor(random([1, n, g, d], 3)),
      ];
      const estimate = tensor(maps([1, h, n, w], 4));
      const ofLast = (x: Tensor, axis: number) => contiguous(x.slice(axis, n - last, n) as Tensor<'f32'>);
      const lossOf = (attend: (k: Tensor, v: Tensor) => Tensor) =>
        differentiate(({ k, v }) => sum(map((x) => x * x, attend(k, v))), { k, v });
      const all = lossOf((k, v) => ofLast(cellAttention(q, k, v, estimate, { keys: 4, causal: true }), 1));
      const few = lossOf((k, v) => cellAttention(ofLast(q, 1), k, v, ofLast(estimate, 2), { keys: 4, causal: true }));
      for (const [one, other] of [
        [few.loss, all.loss],
        [few.gradients.k, all.gradients.k],
        [few.gradients.v, all.gradients.v],
      ] as const)
        expect(relativeError(await one.toHost(), await other.toHost())).toBeLessThan(1e-5);
    });
  });
});

describe('SEA', () => {
  test('cells of keys, as the sheet counts them', () => {
    const cells = (width: number, visible: number) =>
      Array.from({ length: visible }, (_, j) => cellOf(j, visible, width));
    expect(cells(4, 8)).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect(cells(4, 2)).toEqual([0, 2]);
    expect(cells(4, 1)).toEqual([1]);
    expect(cells(5, 5)).toEqual([0, 1, 2, 3, 4]);
  });

  test('all keys and full gates are exact attention; a gate of 0 is the mean of the values so far', () => {
    const [b, n, h, d] = [1, 13, 2, 3];
    const [q, k, v] = [1, 2, 3].map((seed) => random([b, n, h, d], seed)) as [HostTensor, HostTensor, HostTensor];
    const gate = (value: number) => hostTensor(new Float32Array(b * n * h).fill(value), [b, n, h], 'f32');
    const estimate = maps([b, h, n, 4], 4);
    const outOf = (mix: number) =>
      method.reference({ q, k, v, estimate, prob: gate(1), mix: gate(mix) }, method.parse({ keys: n, causal: true }))
        .out!;
    const exact = softmaxAttention({ q, k, v }, 1 / Math.sqrt(d), (i, j) => j <= i);
    expectClose(outOf(1).data as Float64Array, exact.out.data, 1e-12);
    const mean = softmaxAttention({ q, k, v }, 0, (i, j) => j <= i);
    expectClose(outOf(0).data as Float64Array, mean.out.data, 1e-12);
  });

  test('its layer estimates maps of long texts in parts, which no part shows', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const [n, few, d] = [1100, 1030, 2];
    const { parameters, inputs } = method.layer!(
      { width: d, heads: 1, keyHeads: 1, d, e: d, layer: 0, layers: 1 },
      method.parse({ causal: true, cells: 4 }),
    );
    const weights = Object.fromEntries(
      Object.entries(parameters).map(([name, { shape }], at) => [
        name,
        runtime.fromHost(random(shape, at) as HostTensor<'f32'>),
      ]),
    );
    const estimateOf = (count: number) => {
      const [q, k, v] = [1, 2, 3].map((seed) => {
        const all = runtime.fromHost(random([1, n, 1, d], seed) as HostTensor<'f32'>);
        return contiguous(all.slice(1, 0, count));
      });
      return (inputs(q!, { q: q!, k: k!, v: v! }, weights).estimate as Tensor).read();
    };
    const [all, some] = [await estimateOf(n), await estimateOf(few)];
    expectClose(all.slice(0, some.length), some, 1e-5);
  });

  test('refuses what does not fit by name', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const tensor = (host: HostTensor) => runtime.fromHost(host as HostTensor<'f32'>);
    const q = tensor(random([1, 4, 1, 2], 1));
    const gate = tensor(shares([1, 4, 1], 1));
    const inputs = { q, k: q, v: q, estimate: tensor(maps([1, 1, 4, 3], 1)), prob: gate, mix: gate };
    const refuse = (params: object, message: string) =>
      expectRefusal(runtime, () => method.forward(inputs, method.parse(params as never)), message);
    await refuse({ keys: 0 }, 'keys');
    await refuse({ pool: 'head', causal: true }, 'pool must be causal-batch if causal, got head');
    const short = { ...inputs, estimate: tensor(maps([1, 1, 3, 3], 1)) };
    await expectRefusal(runtime, () => method.forward(short, method.parse({})), 'estimate');
  });
});
