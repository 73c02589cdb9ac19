import { expect, test } from 'vitest';
import { createRuntime } from '../../ops/create-runtime';
import { runSuite } from '../run';
import { Runtimes } from '../runtimes';
import { localLinearSuite } from './local-linear';

test('local linear attention stands beside exact attention, its iterations counted', async () => {
  const options = {
    ...{ n: [40], d: [4], masks: ['causal'], heads: 2, backend: 'wasm', threads: 1, simd: undefined, repeats: 1 },
    ...{
      limit: 30,
      calls: 1,
      peers: false,
      browser: false,
      only: ['exact', 'ridge-10', 'ridge-1', 'parallax', 'exact-backward', 'parallax-backward'],
      inProcess: true,
    },
  } as const;
  const context = {
    runtimes: new Runtimes(() => createRuntime({ threads: 1 })),
    patience: { limit: 30_000, warmUp: 1, sample: 1 },
  };
  const { rows } = await runSuite(localLinearSuite, options as never, context);
  expect(rows.map(({ name, mask, status }) => `${name} ${mask} ${status}`)).toEqual([
    'exact causal ok',
    'ridge-10 causal ok',
    'ridge-1 causal ok',
    'parallax causal ok',
    'exact-backward causal ok',
    'parallax-backward causal ok',
  ]);
  const pairs = (2 * 40 * 41) / 2;
  for (const { measures } of rows.slice(1, 3)) {
    const { time = 0, rate = 0, error } = measures;
    const iterations = ((time * rate * 1e6) / (4 * pairs) - 10) / 6;
    expect(iterations).toBeGreaterThan(1);
    expect(iterations).toBeLessThan(8);
    expect(error).toBeLessThan(1e-5);
  }
});
