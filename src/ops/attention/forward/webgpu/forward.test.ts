/** What the shared tests of attention do not reach: kernels of other sizes than the device's own, splits, marked rows. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { device } from '../../../../../test/backends';
import { expectClose, guarded } from '../../../../../test/expect';
import { callersDevice, strongDevice } from '../../../../../test/gpu-device';
import { type AttentionOptions, attention, createRuntime, type Runtime } from '../../../..';
import * as masks from '../../../../masks';
import * as scores from '../../../../scores';
import { tilesCode } from '../../block-map/tiles';
import type { AttentionSizes } from '../../webgpu/sizes';

interface Case {
  /** [b, n, m, h, g, d, e] */
  readonly shape: readonly number[];
  readonly options?: AttentionOptions;
}

const PLAIN: Case = { shape: [2, 70, 45, 2, 1, 12, 20] };
const grid = (e: number): Case => ({
  shape: [1, 117, 117, 1, 1, 8, e],
  options: { mask: masks.neighborhood({ grid: [9, 13], window: [3, 5] }) },
});
const MODIFIED: Case = { shape: [1, 80, 80, 2, 1, 20, 8], options: { window: [20, 3], score: scores.softcap(2) } };

/** Each compiles for long in software, so not all meet all. */
const KERNELS: readonly (readonly [name: string, kernel: AttentionSizes, cases: readonly Case[]])[] = [
  [
    'tiles of a GPU',
    { tiled: { queries: 64, keys: 32, columns: 8, rows: 4, depth: 16, values: 8 } },
    [{ shape: [1, 65, 90, 2, 2, 33, 7], options: { causal: true } }],
  ],
  [
    'eight rows an invocation',
    { tiled: { queries: 32, keys: 16, columns: 4, rows: 8, depth: 8, values: 16 } },
    [PLAIN],
  ],
  [
    'the smallest tiles',
    { tiled: { queries: 16, keys: 8, columns: 2, rows: 4, depth: 4, values: 8 } },
    [PLAIN, grid(34), MODIFIED],
  ],
  ['lanes on their own', { rows: { lanes: 8, rows: 2, keys: 3, shares: false } }, [PLAIN, grid(130), MODIFIED]],
];

describe.runIf(inject('hasGpu')).each(KERNELS)('WebGPU attention by %s', (_, kernel, cases) => {
  let [runtime, reference] = [undefined, undefined] as unknown as [Runtime, Runtime];
  beforeAll(async () => {
    runtime = await createRuntime({ backend: 'webgpu', webgpu: { device, sizes: { attention: [kernel] } } });
    reference = await createRuntime({ backend: 'reference' });
  });
  afterAll(() => {
    runtime.dispose();
    reference.dispose();
  });

  test.each(cases)('of $shape, $options', async ({ shape, options = {} }) => {
    await expectSame(runtime, reference, shape, options);
  });
});

describe.runIf(inject('hasGpu')).each([
  ['all that the adapter has', strongDevice],
  ['what every device has', callersDevice],
])('WebGPU attention of few queries with %s', (_, open) => {
  let [runtime, reference, device] = [undefined, undefined, undefined] as unknown as [Runtime, Runtime, GPUDevice];
  beforeAll(async () => {
    device = await open();
    runtime = await createRuntime({ backend: 'webgpu', webgpu: { device, sizes: { workgroups: 64 } } });
    reference = await createRuntime({ backend: 'reference' });
  });
  afterAll(() => {
    runtime.dispose();
    device.destroy();
    reference.dispose();
  });

  test.each([
    { shape: [1, 1, 3000, 2, 1, 64, 64] },
    { shape: [2, 3, 1025, 2, 1, 20, 7], options: { causal: true } },
    { shape: [1, 8, 700, 1, 1, 256, 256], options: { window: [300, -1] } },
    { shape: [1, 7, 3, 2, 2, 5, 5], options: { causal: true } },
    { shape: [1, 4, 900, 2, 1, 16, 33], options: { score: scores.alibi([0.5, 0.1]) } },
  ] satisfies Case[])('of $shape, $options', async ({ shape, options = {} }) => {
    await expectSame(runtime, reference, shape, options);
  });

  test('a part of the keys with what is no number marks the row, and what is not seen does not', async () => {
    using q = runtime.random([1, 2, 1, 8], { seed: 1 });
    using k = runtime.random([1, 2000, 1, 8], { seed: 2 });
    using numbers = runtime.random([1, 2000, 1, 4], { seed: 3 });
    const values = await numbers.read();
    values[1999 * 4 + 2] = Number.NaN;
    using v = runtime.tensor(values, [1, 2000, 1, 4]);
    const { out, lse } = await attention(q, k, v, { causal: true });
    const result = await out.read();
    expect([...result.subarray(0, 4)].every(Number.isFinite)).toBe(true);
    expect([...result.subarray(4)].map(Number.isNaN)).toEqual([false, false, true, false]);
    expect([...(await lse.read())].every(Number.isFinite)).toBe(true);
    out.dispose();
    lse.dispose();
  });
});

/** [b, n, m, h, g, d, e] on both runtimes; the GPU's results lie between sentinels. */
async function expectSame(
  runtime: Runtime,
  reference: Runtime,
  shape: readonly number[],
  options: AttentionOptions,
): Promise<void> {
  const [b, n, m, h, g, d, e] = shape as [number, number, number, number, number, number, number];
  const inputs = (on: Runtime) =>
    [
      on.random([b, n, h, d], { seed: 1 }),
      on.random([b, m, g, d], { seed: 2 }),
      on.random([b, m, g, e], { seed: 3 }),
    ] as const;
  const [given, expectedOf] = [inputs(runtime), inputs(reference)];
  const [out, lse] = [guarded(runtime, [b, n, h, e]), guarded(runtime, [b, n, h])];
  await attention(...given, { ...options, out: out.out, lse: lse.out });
  const expected = await attention(...expectedOf, options);
  expectClose(await out.out.read(), (await expected.out.read()) as Float32Array, 1e-5);
  expectClose(await lse.out.read(), await expected.lse.read(), 1e-5);
  for (const tensor of [...given, ...expectedOf, out.out, lse.out, expected.out, expected.lse]) tensor.dispose();
  await out.check();
  await lse.check();
}

test('what kernels read of a map', () => {
  expect(tilesCode({ queries: 64, keys: 32 })).toMatchInlineSnapshot(`
    "
    const TILE = 64u;
    const PANEL = 32u;
    const PARTS = 2u;

    struct Span { first: u32, past: u32, others: u32 }
    struct Run { first: u32, past: u32, is_full: bool, at: u32 }

    fn owner_of(row: u32, at: u32) -> u32 {
      return u32(load_map(numbers.map_order + u32(load_map(row)) * numbers.map_owners + at));
    }
    fn span_of(row: u32, owner: u32) -> Span {
      let at = numbers.map_spans + 3 * (u32(load_map(row)) * numbers.map_owners + owner);
      return Span(u32(load_map(at)), u32(load_map(at + 1)), u32(load_map(at + 2)));
    }
    fn run_at(i: u32) -> Run {
      let at = numbers.map_runs + 4 * i;
      let patterns = load_map(at + 2) | load_map(at + 3);
      return Run(u32(load_map(at)), u32(load_map(at + 1)), patterns == 0, at);
    }
    fn pattern_of(run: Run, part: u32) -> i32 { return load_map(run.at + 2 + part); }
    fn seen_word(pattern: i32, key: u32) -> u32 {
      if (pattern < 0) { return 0; }
      return u32(load_map(numbers.map_patterns + u32(pattern) * PANEL + key));
    }
    fn query_at(slot: u32) -> i32 {
      if (numbers.map_queries > 0) { return load_map(numbers.map_queries + slot); }
      return select(-1, i32(slot), slot < numbers.map_n);
    }
    fn key_at(slot: u32) -> i32 {
      if (numbers.map_keys > 0) { return load_map(numbers.map_keys + slot); }
      return select(-1, i32(slot), slot < numbers.map_m);
    }"
  `);
});
