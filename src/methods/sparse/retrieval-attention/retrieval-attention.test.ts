import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { expectClose } from '../../../../test/expect';
import { attention, createRuntime } from '../../../index';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import { retrievalAttention as method } from '.';

const random = (shape: readonly number[], seed: number) => hostTensor(normal(sizeOf(shape), seed), shape, 'f32');

/** Beams that go on from all keys, so that a rounding that changes the graph changes no result. */
const cases = fc
  .record({
    extents: sequences,
    m: fc.integer({ min: 1, max: 60 }),
    index: fc.constantFrom('flat', 'graph', 'ivf', 'causal'),
    topK: fc.integer({ min: 1, max: 8 }),
    first: fc.integer({ min: 0, max: 4 }),
    recent: fc.integer({ min: 0, max: 9 }),
  })
  .map(({ extents: { b, n: some, g, h, d, e }, m, index, ...params }) => {
    const n = Math.min(some, index === 'causal' ? m : 4);
    const queries = { queries: random([b, 20, h, d], 5) };
    return {
      q: [b, n, h, d],
      k: [b, m, g, d],
      v: [b, m, g, e],
      params: { ...params, ...(index === 'causal' ? { causal: true } : { index }), beam: 64, degree: 8, neighbors: 6 },
      others: index === 'graph' ? queries : {},
    };
  });

describeMethod(method, cases, 16);

describe('retrieval attention', () => {
  const inputs = { q: random([1, 2, 2, 4], 1), k: random([1, 40, 1, 4], 2), v: random([1, 40, 1, 3], 3) };
  const run = (params: Parameters<typeof method.parse>[0]) => method.reference(inputs, method.parse(params));

  test('a window that has all, or as many retrieved as there are, is attention', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const [q, k, v] = Object.values(inputs).map((host) => runtime.fromHost(host));
    const exact = await attention(q!, k!, v!, { causal: false }).out.read();
    for (const params of [
      {},
      { topK: 30, first: 5, recent: 5 },
      { topK: 29, first: 5, recent: 6, index: 'graph' as const },
    ])
      expectClose((run(params).out as { data: Float64Array }).data, exact, 1e-6);
    expect((run({}).scanned as { data: Float64Array }).data).toEqual(new Float64Array(4));
  });

  test('what is left out bounds the error: twice its share of the weights, times the largest value', () => {
    const [exact, some] = [run({}), run({ topK: 8, first: 2, recent: 4 })];
    const share = (at: number) => 1 - Math.exp((some.lse!.data[at] as number) - (exact.lse!.data[at] as number));
    const largest = Math.max(...[...(inputs.v.data as Float32Array)].map(Math.abs)) * Math.sqrt(3);
    for (let at = 0; at < 4; at++) {
      expect(share(at)).toBeGreaterThan(0);
      const error = Math.hypot(
        ...[0, 1, 2].map((c) => Number(some.out!.data[3 * at + c]) - Number(exact.out!.data[3 * at + c])),
      );
      expect(error).toBeLessThanOrEqual(2 * share(at) * largest);
    }
  });

  test('the largest products keep more of the weights than others: a graph at most what a look at all keeps', () => {
    const lse = (index: 'flat' | 'graph') => run({ index, topK: 4, first: 0, recent: 0, beam: 4, degree: 2 }).lse!.data;
    for (let at = 0; at < 4; at++) expect(lse('graph')[at]).toBeLessThanOrEqual(lse('flat')[at] as number);
  });
});
