import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { createRuntime } from '../../../index';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { adaptiveTokenPruning as method } from '.';

const cases = fc
  .record({ extents: sequences, masks: fc.option(fc.integer({ min: 1, max: 3 })) })
  .map(({ extents: { b, n: some, h, d, e }, masks }) => {
    const n = (some % 30) + 2;
    const policy = Int32Array.from({ length: b * n }, (_, i) =>
      i % n === 0 || (i * 7) % ((masks ?? 1) + 1) > 0 ? 1 : 0,
    );
    const [q, v] = [
      [b, n, h, d],
      [b, n, h, e],
    ];
    const others = masks === null ? {} : { policy: hostTensor(policy, [b, n], 'i32') };
    return { q, k: q, v, params: { threshold: 1 / n }, others };
  });

describeMethod(method, cases, 12);

describe('adaptive token pruning', () => {
  const random = (shape: readonly number[], seed: number) =>
    hostTensor(
      normal(
        shape.reduce((a, b) => a * b),
        seed,
      ),
      shape,
      'f32',
    );

  test('one head: the score is what the class token sees; equal norms: the mean over heads', () => {
    const [q, k] = [random([1, 6, 1, 4], 1), random([1, 6, 1, 4], 2)];
    const v = hostTensor(Array(6).fill(1), [1, 6, 1, 1], 'f32');
    const { score } = method.reference({ q, k, v }, method.parse({ threshold: 0 }));
    const rest = [...(score!.data as Float64Array)].reduce((sum, each) => sum + each, 0);
    expect(rest).toBeGreaterThan(0);
    expect(rest).toBeLessThan(1);
  });

  test('a threshold below all scores keeps all, one above keeps the class token alone', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const [q, k, v] = [1, 2, 3].map((seed) => runtime.fromHost(random([2, 9, 2, 4], seed)));
    const keep = (threshold: number) =>
      method.forward({ q: q!, k: k!, v: v! }, method.parse({ threshold })).keep.read();
    expect([...(await keep(-1))]).toEqual(Array(18).fill(1));
    expect([...(await keep(1))]).toEqual(Array.from({ length: 18 }, (_, i) => (i % 9 === 0 ? 1 : 0)));
  });

  test('masking tokens is leaving them out, up to epsilon', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const hosts = [1, 2, 3].map((seed) => random([1, 8, 2, 4], seed));
    const kept = [0, 2, 3, 7];
    const params = method.parse({ threshold: 0 });
    const policy = runtime.tensor(
      Int32Array.from({ length: 8 }, (_, i) => (kept.includes(i) ? 1 : 0)),
      [1, 8],
      'i32',
    );
    const [q, k, v] = hosts.map((host) => runtime.fromHost(host!));
    const masked = await method.forward({ q: q!, k: k!, v: v!, policy }, params).out.read();
    const rows = (data: ArrayLike<number>) => kept.flatMap((i) => Array.from(data).slice(8 * i, 8 * i + 8));
    const [a, b, c] = hosts.map((host) => runtime.tensor(rows(host!.data as Float32Array), [1, 4, 2, 4]));
    expectClose(rows(masked), await method.forward({ q: a!, k: b!, v: c! }, params).out.read(), 1e-5);
  });

  test('refuses a class token that is alone', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const q = runtime.fromHost(random([1, 1, 1, 2], 1));
    await expectRefusal(
      runtime,
      () => method.forward({ q, k: q, v: q }, method.parse({ threshold: 0 })),
      'q must have the class token and at least one more, got 1 token',
    );
  });
});
