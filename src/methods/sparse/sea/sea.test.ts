import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { createRuntime } from '../../../index';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { cellOf } from '../../../ops/cell-attention/cells';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal, uniform } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
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
  )
  .map(([{ b, n: tokens, g, h, d, e }, w, keys, pool]) => ({
    ...{ n: Math.ceil(tokens / 3) },
    b,
    g,
    h,
    d,
    e,
    w,
    keys,
    pool,
  }))
  .map(({ b, n, g, h, d, e, w, keys, pool }) => ({
    q: [b, n, h, d],
    k: [b, n, g, d],
    v: [b, n, g, e],
    params: { keys, causal: pool === 'causal-batch', ...(pool && { pool }) },
    others: { estimate: maps([b, h, n, w], 5), prob: shares([b, n, h], 6), mix: shares([b, n, h], 7) },
  }));

describeMethod(method, cases, 10);

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

  test('refuses what does not fit by name', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const tensor = (host: HostTensor) => runtime.fromHost(host as HostTensor<'f32'>);
    const q = tensor(random([1, 4, 1, 2], 1));
    const gate = tensor(shares([1, 4, 1], 1));
    const inputs = { q, k: q, v: q, estimate: tensor(maps([1, 1, 4, 3], 1)), prob: gate, mix: gate };
    const refuse = (params: object, message: string) =>
      expectRefusal(runtime, () => method.forward(inputs, method.parse(params as never)), message);
    await refuse({ keys: 0 }, 'keys');
    await refuse({ pool: 'causal-batch' }, 'pool must be query, head or batch unless causal, got causal-batch');
    await refuse({ pool: 'head', causal: true }, 'pool must be causal-batch if causal, got head');
    const short = { ...inputs, estimate: tensor(maps([1, 1, 3, 3], 1)) };
    await expectRefusal(runtime, () => method.forward(short, method.parse({})), 'estimate');
  });
});
