import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { createRuntime, sum } from '../../../index';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { differentiate } from '../../../tape';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { bilevelRoutingAttention as method } from '.';

const cases = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    regions: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 })),
    region: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 })),
    h: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 9 }),
    e: fc.integer({ min: 1, max: 9 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ b, regions, region, h, d, e, share }) => {
    const space = [regions[0] * region[0], regions[1] * region[1]];
    const topRegions = 1 + Math.round(share * (regions[0] * regions[1] - 1));
    const [q, v] = [
      [b, ...space, h, d],
      [b, ...space, h, e],
    ];
    return { q, k: q, v, params: { regions, topRegions } };
  });

describeMethod(method, cases, 12);

describe('bilevel routing attention', () => {
  const random = (shape: readonly number[], seed: number) =>
    hostTensor(
      normal(
        shape.reduce((a, b) => a * b),
        seed,
      ),
      shape,
      'f32',
    );

  test('by hand: every region chooses that of the largest values', () => {
    const map = hostTensor([1, 1, 5, 5, 1, 1, 5, 5, 2, 2, 3, 3, 2, 2, 3, 3], [1, 4, 4, 1, 1], 'f32');
    const { out } = method.reference({ q: map, k: map, v: map }, method.parse({ regions: 2, topRegions: 1 }));
    expect([...(out!.data as Float64Array)]).toEqual(Array(16).fill(5));
  });

  test('all regions are exact attention; regions in another order give the same in that order', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const shape = [1, 4, 6, 2, 5];
    const [q, k, v] = [1, 2, 3].map((seed) => random(shape, seed));
    const run = (params: object, ...hosts: (typeof q)[]) => {
      const [a, b, c] = hosts.map((host) => runtime.fromHost(host!));
      return method.forward({ q: a!, k: b!, v: c! }, method.parse(params as never)).out.read();
    };
    const flat = (host: typeof q) => ({ ...host!, shape: [1, 24, 2, 5] });
    const exact = softmaxAttention({ q: flat(q), k: flat(k), v: flat(v) }, 1 / Math.sqrt(10), () => true);
    expectClose(await run({ regions: 2, topRegions: 4 }, q, k, v), exact.out.data, 1e-5);
    // Left and right halves, which are columns of regions, change places.
    const swapped = (data: ArrayLike<number>) =>
      Float32Array.from(data, (_, i) => {
        const [column, rest] = [Math.floor(i / 10) % 6, i % 10];
        return data[(Math.floor(i / 60) * 6 + ((column + 3) % 6)) * 10 + rest] as number;
      });
    const moved = [q, k, v].map((host) => ({ ...host!, data: swapped(host!.data as Float32Array) }));
    const [plain, other] = [
      await run({ regions: 2, topRegions: 2 }, q, k, v),
      await run({ regions: 2, topRegions: 2 }, ...(moved as (typeof q)[])),
    ];
    expectClose(other, swapped(plain as Float32Array), 1e-5);
  });

  test('no gradient passes through the choice', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const [q, k] = [1, 2].map((seed) => runtime.fromHost(random([1, 2, 2, 1, 3], seed)));
    const v = runtime.tensor([1, 1, 1, 1], [1, 2, 2, 1, 1]);
    const params = method.parse({ regions: 2, topRegions: 1 });
    const { gradients } = differentiate((p) => sum(method.forward({ ...p, v }, params).out), { q: q!, k: k! });
    expectClose(await gradients.q.read(), new Float32Array(12), 1e-6);
    expectClose(await gradients.k.read(), new Float32Array(12), 1e-6);
  });

  test('refuses what does not fit by name', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const q = runtime.fromHost(random([1, 4, 6, 1, 2], 1));
    const refuse = (params: object, message: string) =>
      expectRefusal(runtime, () => method.forward({ q, k: q, v: q }, method.parse(params as never)), message);
    await refuse({ regions: 3, topRegions: 1 }, 'regions must divide the extent 4 of axis 0 of the grid, got 3');
    await refuse({ regions: [2, 4], topRegions: 1 }, 'regions must divide the extent 6 of axis 1 of the grid, got 4');
    await refuse({ regions: 2, topRegions: 5 }, 'topRegions must be at most the 4 regions, got 5');
    await refuse({ regions: 2 }, 'topRegions');
    await refuse({ regions: [2, 2, 2], topRegions: 1 }, 'regions must be one for each of the 2 axes of q, got 3');
  });
});
