/** What the shared tests of attention's gradients do not reach: both kernels whatever the device, sentinels, views, bits. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { device } from '../../../../../test/backends';
import { expectClose, guarded } from '../../../../../test/expect';
import { callersDevice } from '../../../../../test/gpu-device';
import { inOrder } from '../../../../../test/in-order';
import { scoped } from '../../../../../test/scoped';
import {
  type AttentionSettings,
  attention,
  attentionBackward,
  createRuntime,
  type Runtime,
  type Tensor,
} from '../../../..';
import * as masks from '../../../../masks';
import { full } from '../../../../masks/band';
import { clear, factorIn, multiply, stage } from '../../../../runtime/webgpu/kernels/product';
import * as scores from '../../../../scores';
import { convert, hostTensor, toFloat64 } from '../../../../tensor/host';
import { normal } from '../../../../tensor/random';
import { backward } from '../..';
import type { AttentionSizes } from '../../webgpu/sizes';

const KERNELS: readonly (readonly [string, AttentionSizes[]])[] = [
  ['tiles', [{ tiled: { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 } }]],
  [
    'rows',
    [
      { rows: { lanes: 8, rows: 1, keys: 4, shares: false }, below: Number.MAX_SAFE_INTEGER },
      { rows: { lanes: 8, rows: 1, keys: 4, shares: false } },
    ],
  ],
];

/** A timeout for adapters in software, which compile each kernel for seconds. */
const COMPILING = 600_000;

const NAMES = ['gradQ', 'gradK', 'gradV'] as const;

const bias = (heads: number, reach: number) =>
  scores.relativeBias(hostTensor(normal(heads * (2 * reach - 1), 9), [heads, 2 * reach - 1], 'f32'));

/** [b, n, m, h, g, d, e]: a few blocks of columns, gradients of keys and values in kernels of their own, arranged tiles. */
const CASES: readonly { readonly shape: readonly number[]; readonly settings?: AttentionSettings }[] = [
  { shape: [2, 70, 45, 4, 2, 12, 20] },
  { shape: [1, 65, 90, 2, 2, 66, 7], settings: { causal: true } },
  { shape: [1, 40, 70, 2, 1, 130, 100], settings: { window: [20, 3] } },
  { shape: [1, 117, 117, 1, 1, 8, 8], settings: { mask: masks.neighborhood({ grid: [9, 13], window: [3, 5] }) } },
  { shape: [1, 40, 33, 2, 1, 8, 8], settings: { causal: true, score: scores.compose(bias(2, 40), scores.softcap(2)) } },
];

describe.runIf(inject('hasGpu')).each(KERNELS)('GPU attention backward by %s', { timeout: COMPILING }, (_, sizes) => {
  let [runtime, reference] = [undefined, undefined] as unknown as [Runtime, Runtime];
  beforeAll(async () => {
    runtime = await createRuntime({ backend: 'webgpu', webgpu: { device, sizes: { attention: sizes } } });
    reference = await createRuntime({ backend: 'reference' });
  });
  afterAll(() => {
    runtime.dispose();
    reference.dispose();
  });

  const inputs = (on: Runtime, [b, n, m, h, g, d, e]: readonly number[]) => {
    const make = (shape: readonly (number | undefined)[], seed: number) => on.random(shape as number[], { seed });
    return {
      ...{ q: make([b, n, h, d], 1), k: make([b, m, g, d], 2), v: make([b, m, g, e], 3) },
      gradOut: make([b, n, h, e], 4),
    };
  };

  test.each(CASES)('of $shape, $settings, between sentinels', async ({ shape, settings = {} }) => {
    await scoped(runtime, async () => {
      const { q, k, v, gradOut } = inputs(runtime, shape);
      const [b, n, m, h, g] = shape as [number, number, number, number, number];
      const results = await attention(q, k, v, settings);
      const captured = settings.score !== undefined;
      const grads = {
        ...{ gradQ: guarded(runtime, q.shape), gradK: guarded(runtime, k.shape), gradV: guarded(runtime, v.shape) },
        ...(captured && { gradTables: guarded(runtime, [h * 79]) }),
      };
      const written = Object.fromEntries(Object.entries(grads).map(([name, { out }]) => [name, out]));
      const mask = settings.mask ?? (settings.causal ? masks.causal() : settings.window ? masks.band(20, 3) : full());
      const call = { ...{ q, k, v, gradOut, ...results, mask, score: settings.score }, ...written };
      const scale = 1 / Math.sqrt(shape[5] as number);
      await runtime.finish();
      await inOrder()(runtime.backend.run(backward, { ...call, scale } as never, {}));
      const given = inputs(reference, [b, n, m, h, g, ...shape.slice(5)]);
      const right = await attention(given.q, given.k, given.v, settings);
      const options = { ...settings, captured };
      const expected = await attentionBackward(
        given.q,
        given.k,
        given.v,
        { ...right, gradOut: given.gradOut },
        options,
      );
      const wanted = { ...expected, gradTables: expected.gradCaptured.table };
      for (const [name, { out, check }] of Object.entries(grads)) {
        const [got, want] = [await out.read(), await wanted[name as keyof typeof grads]!.read()];
        const largest = Float64Array.from(want).reduce((most, x) => Math.max(most, Math.abs(x)), 1);
        let error = 0;
        want.forEach((x, at) => {
          error = Math.max(error, Math.abs(x - (got[at] as number)));
        });
        expect(error / largest, name).toBeLessThan(2e-5);
        await check();
      }
      for (const tensor of [...Object.values(given), right.out, right.lse]) tensor.dispose();
      for (const { gradQ, gradK, gradV, gradCaptured } of [expected])
        for (const tensor of [gradQ, gradK, gradV, ...Object.values(gradCaptured)]) tensor.dispose();
    });
  });

  test('reads views, at offsets and with other strides', async () => {
    await scoped(runtime, async () => {
      const { q, k, v, gradOut } = inputs(runtime, [1, 33, 40, 2, 1, 8, 8]);
      const plain = await attention(q, k, v);
      const wanted = await attentionBackward(q, k, v, { ...plain, gradOut });
      // Heads before queries, and rows of eleven of which the first three are not these.
      const views = await Promise.all(
        [q, k, v, gradOut].map(async (x) => {
          const [, rows, heads, columns] = x.shape as [number, number, number, number];
          const values = await x.read();
          const padded = new Float32Array(heads * rows * (columns + 3)).fill(Number.NaN);
          values.forEach((value, at) => {
            const [row, head, c] = [Math.floor(at / columns / heads), Math.floor(at / columns) % heads, at % columns];
            padded[(head * rows + row) * (columns + 3) + 3 + c] = value;
          });
          return runtime
            .tensor(padded, [1, heads, rows, columns + 3])
            .permute([0, 2, 1, 3])
            .slice(3, 3, columns + 3);
        }),
      );
      const [viewQ, viewK, viewV, viewOut] = views as [typeof q, typeof q, typeof q, typeof q];
      const grads = await attentionBackward(viewQ, viewK, viewV, { ...plain, gradOut: viewOut });
      for (const name of NAMES)
        expectClose(await grads[name].read(), (await wanted[name].read()) as Float32Array, 1e-6);
    });
  });

  test.each(['f16', 'bf16'] as const)('reads %s, and rounds the gradients to it', async (dtype) => {
    await scoped(runtime, async () => {
      const { q, k, v, gradOut } = inputs(runtime, [1, 33, 40, 2, 1, 8, 9]);
      const narrow = await Promise.all(
        [q, k, v, gradOut].map(async (x) => runtime.fromHost(convert(await x.toHost(), dtype))),
      );
      const wide = await Promise.all(
        narrow.map(async (x) => runtime.tensor(Float32Array.from(toFloat64(await x.toHost())), x.shape)),
      );
      const gradients = async ([q, k, v, gradOut]: readonly Tensor[]) => {
        const results = await attention(q!, k!, v!, { causal: true });
        return attentionBackward(q!, k!, v!, { ...results, gradOut: gradOut! }, { causal: true });
      };
      const [got, wanted] = [await gradients(narrow), await gradients(wide)];
      for (const name of NAMES) {
        expect(got[name].dtype).toBe(dtype);
        const want = await wanted[name].read();
        const largest = Float64Array.from(want).reduce((most, x) => Math.max(most, Math.abs(x)), 1);
        // The outputs that delta follows from are rounded too.
        expectClose(
          toFloat64(await got[name].toHost()),
          want as Float32Array,
          (dtype === 'f16' ? 2e-3 : 2e-2) * largest,
        );
      }
    });
  });

  test('gives the same bits each time, and keeps nothing', async () => {
    await scoped(runtime, async () => {
      const { q, k, v, gradOut } = inputs(runtime, [1, 65, 90, 2, 2, 66, 7]);
      const results = await attention(q, k, v, { causal: true });
      const { live } = runtime.memory();
      const [first, second] = await Promise.all(
        [0, 1].map(async () => {
          const grads = await attentionBackward(q, k, v, { ...results, gradOut }, { causal: true });
          const read = await Promise.all(NAMES.map((name) => grads[name].read()));
          for (const name of NAMES) grads[name].dispose();
          return read;
        }),
      );
      expect(second).toEqual(first);
      expect(runtime.memory().live).toBe(live);
    });
  });
});

describe.runIf(inject('hasGpu'))('WebGPU attention backward with no more bindings than every device has', () => {
  test('has gradients beside a score that captured a table', { timeout: COMPILING }, async () => {
    const device = await callersDevice();
    const runtime = await createRuntime({ backend: 'webgpu', webgpu: { device } });
    const reference = await createRuntime({ backend: 'reference' });
    const settings = { causal: true, score: bias(2, 40) };
    const [got, wanted] = await Promise.all(
      [runtime, reference].map(async (on) => {
        const q = on.random([1, 40, 2, 12], { seed: 1 });
        const [k, v] = [on.random([1, 33, 1, 12], { seed: 2 }), on.random([1, 33, 1, 20], { seed: 3 })];
        const gradOut = on.random([1, 40, 2, 20], { seed: 4 });
        const results = await attention(q, k, v, settings);
        const grads = await attentionBackward(q, k, v, { ...results, gradOut }, settings);
        return Promise.all(NAMES.map((name) => grads[name].read()));
      }),
    );
    for (const [at, grad] of (got ?? []).entries()) expectClose(grad, wanted?.[at] as Float32Array, 2e-5);
    runtime.dispose();
    reference.dispose();
    device.destroy();
  });
});

test('a product', () => {
  const block = { rows: 1, columns: 1 } as const;
  const text = [
    clear('sum', block),
    stage(factorIn('staged', 1), 1, (term, column) => `load4_x(at_x(first + ${term}, ${column}))`),
    multiply('sum', block, factorIn('weights', 1), factorIn('staged', 1)),
  ];
  expect(text.join('\n')).toMatchInlineSnapshot(`
    "var sum0_0 = vec4f(); var sum1_0 = vec4f(); var sum2_0 = vec4f(); var sum3_0 = vec4f();

    for (var at = lane; at < 128u; at += 64u) {
      staged[0 + (at / 8) * 9 + at % 8] = load4_x(at_x(first + at / 8, 4 * (at % 8)));
    }

    for (var term = 0u; term < 16u; term++) {
      let a0 = weights[0 + (term) * 9 + lane / 8 + 0];
      let b0 = staged[0 + (term) * 9 + lane % 8 + 0];
      sum0_0 = fma(vec4f(a0[0]), b0, sum0_0);
      sum1_0 = fma(vec4f(a0[1]), b0, sum1_0);
      sum2_0 = fma(vec4f(a0[2]), b0, sum2_0);
      sum3_0 = fma(vec4f(a0[3]), b0, sum3_0);
    }"
  `);
});
