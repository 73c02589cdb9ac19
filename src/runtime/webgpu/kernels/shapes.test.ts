/** Shapes that only large problems have, against the float64 reference: long rows, split products, many tiles. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { device as strongDevice } from '../../../../test/backends';
import { expectClose, guarded } from '../../../../test/expect';
import { asOnHardware, callersDevice } from '../../../../test/gpu-device';
import { scoped } from '../../../../test/scoped';
import {
  conv,
  createRuntime,
  crossEntropy,
  cumulativeSum,
  focus,
  focusBackward,
  gather,
  groupNorm,
  layerNorm,
  logSumExp,
  matmul,
  max,
  mean,
  multiply,
  parallax,
  pullback,
  type Runtime,
  reluAttention,
  reluAttentionBackward,
  rmsNorm,
  rmsNormBackward,
  route,
  softmax,
  sum,
  type Tensor,
} from '../../../index';

type Results = readonly Tensor<'f32'>[];

// Kernels differ by what a device has and by whether it is hardware; each pair is compiled once, in Node or in a page.
const isPage = 'document' in globalThis;

describe.runIf(inject('hasGpu')).each([
  [`all that the adapter has${isPage ? '' : ', as on hardware'}`, () => strongDevice as GPUDevice, !isPage],
  [`what every device has${isPage ? ', as on hardware' : ''}`, callersDevice, isPage],
])('large shapes on WebGPU with %s', (_, open, isHardware) => {
  let device: GPUDevice;
  let gpu: Runtime;
  let reference: Runtime;
  beforeAll(async () => {
    device = await open();
    gpu = await createRuntime({ backend: 'webgpu', webgpu: { device: isHardware ? asOnHardware(device) : device } });
    reference = await createRuntime({ backend: 'reference' });
  });
  afterAll(() => {
    gpu.dispose();
    if (device !== strongDevice) device.destroy();
    reference.dispose();
  });

  /** Both runtimes have the same random inputs. */
  async function expectAgreement(compute: (runtime: Runtime) => Results, tolerance: number): Promise<void> {
    await scoped(gpu, () =>
      scoped(reference, async () => {
        const [ours, theirs] = [compute(gpu), compute(reference)];
        for (const [at, result] of ours.entries()) {
          const expected = await (theirs[at] as Tensor<'f32'>).read();
          const scale = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0) / expected.length);
          expectClose(await result.read(), expected, tolerance * Math.max(1e-3, scale));
        }
      }),
    );
  }

  test.each([33, 4095, 4096, 9001])('rows of %i', async (c) => {
    await expectAgreement((runtime) => {
      const x = runtime.random([3, c], { seed: 1 });
      const y = runtime.random([3, c], { seed: 2 });
      const gain = runtime.random([c], { seed: 3 });
      const sums = [cumulativeSum(x), cumulativeSum(x, { reverse: true })];
      const targets = runtime.tensor(Int32Array.of(0, c - 1, 7), [3]);
      const losses = crossEntropy(x, targets, { reduction: 'none' });
      const groups = groupNorm(x, c % 3 === 0 ? 3 : 1, { gain });
      return [
        losses,
        groups,
        softmax(x),
        layerNorm(x, { gain, bias: gain }),
        rmsNorm(x),
        rmsNormBackward(x, y),
        ...sums,
      ];
    }, 2e-5);
  });

  test.each([
    { shape: [3, 9001], axes: [1] },
    { shape: [9001, 3], axes: [0] },
    { shape: [700, 300], axes: [0] },
    { shape: [3, 5000, 70], axes: [1] },
    { shape: [300, 41, 7], axes: [0, 2] },
    { shape: [600, 700], axes: [0, 1] },
  ])('reductions of %j', async ({ shape, axes }) => {
    await expectAgreement((runtime) => {
      const x = runtime.random(shape, { seed: 1 });
      return [sum(x, { axes }), mean(x, { axes }), max(x, { axes }), logSumExp(x, { axes })];
    }, 2e-5);
  });

  // In a page its own test has the kernels for software.
  test.runIf(isHardware || !isPage)('Parallax, and its gradients', async () => {
    await expectAgreement((runtime) => {
      const random = (seed: number, heads: number) => runtime.random([1, 70, heads, 12], { seed });
      const inputs = { q: random(1, 2), r: random(2, 2), k: random(3, 1), v: random(4, 1) };
      const { results, pull } = pullback(({ q, r, k, v }) => parallax(q, r, k, v, { causal: true }), inputs);
      return [results.out as Tensor<'f32'>, ...Object.values(pull({ out: random(5, 2) }))] as Results;
    }, 1e-4);
  });

  test.each([33, 300])('choices of and from %i', async (c) => {
    await expectAgreement((runtime) => {
      // Long rows would make logits of some tens, of whose exponentials float32 has lost digits.
      const share = runtime.tensor([1 / Math.sqrt(c)], []);
      const inputs = {
        x: multiply(runtime.random([70, c], { seed: 1 }), share),
        router: runtime.random([c, c], { seed: 2 }),
        bank: runtime.random([c], { seed: 3 }),
      };
      const { results, pull } = pullback(({ x, router, bank }) => route(x, router, bank), inputs);
      return [results, ...Object.values(pull(runtime.random([70, 1], { seed: 4 })))];
    }, 1e-4);
  });

  test.each([33, 300, 4099])('powers of %i', async (c) => {
    await expectAgreement((runtime) => {
      const x = runtime.random([5, c], { seed: 1 });
      const exponents = runtime.tensor(new Float32Array(5).fill(3), [5, 1]);
      const { gradX, gradExponents } = focusBackward(x, exponents, x);
      return [focus(x, exponents), gradX, gradExponents];
    }, 2e-4);
  });

  test('a choice is the first of equal ones wherever they lie', async () => {
    using logits = gpu.tensor(
      Float32Array.from(
        { length: 3 * 777 },
        (_, i) => [i % 777 === 500 || i % 777 === 501 ? 2 : -0, i % 5, -i][Math.floor(i / 777)]!,
      ),
      [3, 777],
    );
    using rows = gpu.tensor([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]);
    using bank = gpu.tensor(
      Float32Array.from({ length: 777 }, (_, i) => i),
      [777],
    );
    using out = route(rows, logits, bank);
    const host = await logits.read();
    const places = [0, 1, 2].map((r) => {
      const row = host.subarray(777 * r, 777 * (r + 1));
      return row.indexOf(Math.max(...row));
    });
    expect([...(await out.read())]).toEqual(places);
  });

  test.each([
    [1, 3000, 5],
    [7, 2049, 9],
    [3, 5000, 1],
    [130, 40, 700],
    [700, 300, 3],
    [150, 260, 131],
    [600, 9, 1100],
    [4, 40, 20_000],
  ])('products of %i by %i by %i, split where tiles are few', async (r, k, c) => {
    await expectAgreement((runtime) => {
      const a = runtime.random([r, k], { seed: 1 });
      const b = runtime.random([c, k], { seed: 2 });
      return [matmul(a, b.permute([1, 0]))];
    }, 1e-5);
  });

  test('products leave what surrounds their result alone', async () => {
    using a = gpu.random([5, 3000], { seed: 1 });
    using b = gpu.random([3000, 7], { seed: 2 });
    const { out, check } = guarded(gpu, [5, 7]);
    matmul(a, b, { out });
    out.dispose();
    await check();
  });

  test.each([
    [
      [1, 9, 30, 6],
      [7, 7],
      [1, 1],
    ],
    [
      [2, 20, 41, 5],
      [5, 9],
      [2, 3],
    ],
    [
      [1, 3, 70, 8],
      [1, 51],
      [1, 1],
    ],
    [
      [1, 4, 3, 4],
      [3, 3],
      [5, 7],
    ],
  ] as const)('convolutions of %j with kernels of %j and dilation %j', async (shape, taps, dilation) => {
    await expectAgreement((runtime) => {
      const x = runtime.random(shape, { seed: 1 });
      const weight = runtime.random([shape[3], 1, ...taps], { seed: 2 });
      const gradOut = runtime.random(shape, { seed: 3 });
      const options = { dilation, groups: shape[3], padding: 'same' } as const;
      const { results, pull } = pullback((given) => conv(given.x, given.weight, options), { x, weight });
      const gradients = pull(gradOut);
      return [results, gradients.x, gradients.weight];
    }, 1e-5);
  });

  test.each([
    [{ n: 100, h: 3, g: 1, d: 20, e: 70 }, {}],
    [{ n: 130, h: 2, g: 2, d: 9, e: 131 }, { causal: true }],
    [
      { n: 150, h: 4, g: 2, d: 8, e: 8 },
      { block: 7, causal: true },
    ],
    [{ n: 99, h: 1, g: 1, d: 33, e: 5 }, { block: 64 }],
  ])('relu attention of %j, %j', async ({ n, h, g, d, e }, options) => {
    await expectAgreement((runtime) => {
      const [q, k] = [runtime.random([2, n, h, d], { seed: 1 }), runtime.random([2, n, g, d], { seed: 2 })];
      const [v, gradOut] = [runtime.random([2, n, g, e], { seed: 3 }), runtime.random([2, n, h, e], { seed: 4 })];
      const { gradQ, gradK, gradV } = reluAttentionBackward(q, k, v, gradOut, options);
      return [reluAttention(q, k, v, options), gradQ, gradK, gradV];
    }, 1e-5);
  });

  test('values that no query has a weight for do not matter, whatever they are', async () => {
    using q = gpu.tensor(new Float32Array(40).fill(1), [1, 40, 1, 1]);
    using k = gpu.tensor(
      Float32Array.from({ length: 40 }, (_, j) => (j % 2 === 0 ? 1 : -1)),
      [1, 40, 1, 1],
    );
    using v = gpu.tensor(
      Float32Array.from({ length: 40 }, (_, j) => (j % 2 === 0 ? 1 : Number.NaN)),
      [1, 40, 1, 1],
    );
    using out = reluAttention(q, k, v, { causal: true });
    expect([...(await out.read())]).toEqual(Array.from({ length: 40 }, (_, i) => Math.floor(i / 2) + 1));
  });

  test('rows of a table and elements that do not fill vectors', async () => {
    await expectAgreement((runtime) => {
      const table = runtime.random([50, 37], { seed: 1 });
      const indices = runtime.tensor(
        Int32Array.from({ length: 999 }, (_, i) => (i * 7) % 50),
        [999],
      );
      const rows = gather(table, indices);
      const weights = runtime.random([999, 1], { seed: 2 });
      const bias = runtime.random([37], { seed: 3 });
      return [rows, multiply(rows, weights), multiply(rows, bias)];
    }, 1e-6);
  });
});
