import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { expectGradients } from '../../test/tape-gradients';
import { createRuntime } from '../ops/create-runtime';
import { toFloat64 } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { mlp } from './mlp';
import { countParameters, initial } from './module';
import { bundleLayers, snnkAdapter } from './snnk';

describeOnBackends('adapters of random features', (runtime) => {
  test('an adapter is x at first, and has the gradients of differences', () =>
    scoped(runtime(), async () => {
      for (const hidden of [undefined, 3]) {
        const adapter = snnkAdapter({ width: 5, features: 7, hidden, floor: -0.2, seed: 3 });
        const parameters = initial(adapter, runtime());
        const x = runtime().random([1, 4, 5]);
        expect(await adapter.forward(x, parameters).read()).toEqual(await x.read());
        if (hidden) continue;
        const shapes = Object.entries(adapter.parameters).map(([name, { shape }]) => [name, shape]);
        await expectGradients(runtime(), {
          fn: ({ x, ...given }) => adapter.forward(x as Tensor, given),
          inputs: { x: [1, 4, 5], ...Object.fromEntries(shapes) },
        });
      }
    }));
});

test('adapters in BERT-base have as many parameters as the paper counts', () => {
  const count = (features: number) => 24 * countParameters(snnkAdapter({ width: 768, features }));
  expect([count(8), count(16)]).toEqual([165_888, 313_344]);
  expect(() => snnkAdapter({ width: 4, features: 0 })).toThrow('features must be an integer from 1 to');
  expect(() => snnkAdapter({ width: 4, features: 1, floor: Number.NaN })).toThrow('floor must be a finite number');
});

test('a bundle is the least of its squared error, and interpolates where features are many', async () => {
  const runtime = await createRuntime({ backend: 'reference' });
  const network = mlp({ width: 3, hidden: 8, bias: true });
  const trained = initial(network, runtime, 1);
  for (const [name, [m, error]] of Object.entries({ few: [9, 0.5], many: [60, 1e-2] } as const)) {
    const [n, ridge] = [24, name === 'few' ? 0.01 : 1e-6];
    const x = runtime.random([n, 3], { seed: 2 });
    const bundle = await bundleLayers(network, trained, x, { features: [20, m], ridge, seed: 4 });
    expect([bundle.before, bundle.after, bundle.random]).toEqual([3 * 8 * 2 + 8 + 3, 3 * m + 3, 20 * 4 + m * 20]);
    expect(Object.keys(bundle.parameters).sort()).toEqual(Object.keys(bundle.module.parameters).sort());
    const [wanted, found] = await Promise.all(
      [network.forward(x, trained), bundle.module.forward(x, bundle.parameters)].map(async (each) =>
        toFloat64(await each.toHost()),
      ) as [Promise<Float64Array>, Promise<Float64Array>],
    );
    const host = Object.fromEntries(
      await Promise.all(
        Object.entries(bundle.parameters).map(async ([key, each]) => [key, toFloat64(await each.toHost())] as const),
      ),
    );
    const features = towerOf(toFloat64(await x.toHost()), [host['projections.0']!, host['projections.1']!], [20, m]);
    // The module is the layers one after another, multiplied out.
    const weights = host.weight!;
    const product = (i: number, o: number) =>
      host.bias![o]! + features[i]!.reduce((sum, value, j) => sum + value * weights[o * m + j]!, 0);
    const layered = Array.from({ length: n * 3 }, (_, at) => product(Math.floor(at / 3), at % 3));
    expectClose(found, layered, 1e-5);
    const distance = Math.hypot(...found.map((value, at) => value - wanted[at]!)) / Math.hypot(...wanted);
    expect(distance).toBeLessThan(error);
    if (name === 'few')
      for (let o = 0; o < 3; o++)
        for (let j = 0; j < m; j++) {
          const terms = features.map((row, i) => row[j]! * (product(i, o) - wanted[i * 3 + o]!));
          const gradient = terms.reduce((sum, value) => sum + value, ridge * weights[o * m + j]!);
          expect(Math.abs(gradient)).toBeLessThan(1e-5 * n);
        }
  }
  await expect(bundleLayers(network, trained, runtime.random([4, 3]), { features: [] })).rejects.toThrow(
    'features must be at least one number, got none',
  );
  runtime.dispose();
});

/** psi_2(psi_1((x, 1))) in float64. */
function towerOf(x: Float64Array, projections: readonly Float64Array[], sizes: readonly number[]): number[][] {
  let rows = Array.from({ length: x.length / 3 }, (_, i) => [...x.subarray(3 * i, 3 * i + 3), 1]);
  for (const [at, g] of projections.entries()) {
    const m = sizes[at] as number;
    rows = rows.map((row) =>
      Array.from(
        { length: m },
        (_, j) =>
          Math.max(
            row.reduce((sum, value, k) => sum + value * g[j * row.length + k]!, 0),
            0,
          ) / Math.sqrt(m),
      ),
    );
  }
  return rows;
}
