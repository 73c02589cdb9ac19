/** Methods of large kernels: as their references say, as their papers say, and refused by name. */
import { describe, expect, test } from 'vitest';
import { describeOnBackends, isOnGpu } from '../../../test/backends';
import { differentiated, relativeError } from '../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import type { Runtime, Tensor } from '../../index';
import { fullConvFusion, lska, mergeDilatedReparam, slak } from '../../nn';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import type { Method } from '../define';
import { asymmetricConvFusion } from './asymmetric-conv-fusion';
import { dilatedReparamConv } from './dilated-reparam-conv';
import { largeKernelAttention } from './large-kernel-attention';
import { sdlska } from './sdlska';

type Extents = Readonly<Record<string, number>>;
type Specs = Readonly<Record<string, string>>;

/** Normal numbers in the shapes of specifications; variances are positive. */
function inputsOf(specs: Specs, extents: Extents): Record<string, HostTensor<'f32'>> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, spec], at) => {
      const shape = spec.split(' ').map((letter) => extents[letter] ?? Number(letter));
      const numbers = normal(sizeOf(shape), at + 1);
      return [name, hostTensor(name.endsWith('running_var') ? numbers.map((x) => x * x + 0.5) : numbers, shape, 'f32')];
    }),
  );
}

/** The specifications of the branches of a kernel. */
const branchesOf = (...names: readonly string[]): Specs =>
  Object.fromEntries(
    Object.entries(dilatedReparamConv.optional as Specs).filter(([name]) =>
      names.some((each) => name.includes(`k${each}.`)),
    ),
  );

const PICTURE = { b: 2, c: 5, rows: 6, columns: 7 };
const CASES: readonly (readonly [
  method: unknown,
  specs: Specs,
  extents: Extents,
  params: Readonly<Record<string, unknown>>,
])[] = [
  [largeKernelAttention, largeKernelAttention.inputs, { ...PICTURE, u: 5, v: 3, s: 7, t: 3 }, {}],
  [largeKernelAttention, largeKernelAttention.inputs, { ...PICTURE, u: 3, v: 3, s: 4, t: 4 }, { dilation: 2 }],
  [sdlska, sdlska.inputs, { ...PICTURE, p: 5, t: 7, r: 3 }, { kernel: 23 }],
  [sdlska, sdlska.inputs, { ...PICTURE, b: 1, p: 3, t: 5, r: 2 }, { kernel: 11 }],
  [
    dilatedReparamConv,
    { ...dilatedReparamConv.inputs, ...branchesOf('5_1', '3_2', '3_3') },
    { ...PICTURE, k: 7 },
    { kernel: 7 },
  ],
  [asymmetricConvFusion, asymmetricConvFusion.inputs, { b: 2, n: 9, m: 4, c: 3 }, {}],
  [asymmetricConvFusion, asymmetricConvFusion.inputs, { b: 1, n: 5, m: 5, c: 2 }, { padding: 'valid' }],
];

describeOnBackends('methods of large kernels', (runtime) => {
  test.each(isOnGpu ? CASES.slice(0, 1) : CASES)(
    '%# agree with their references',
    async (given, specs, extents, params) => {
      const method = given as Method;
      const host = inputsOf(specs, extents);
      const settings = method.parse(params as never);
      const { out } = method.reference(host, settings);
      const gradOut = hostTensor(normal(sizeOf(out!.shape), 99), out!.shape, 'f32');
      const expected = method.reference(host, settings, gradOut);
      await scoped(runtime(), async () => {
        const tensors = tensorsOf(runtime(), host);
        const { results, gradients } = differentiated(method, tensors, settings, runtime().fromHost(gradOut));
        const named = Object.entries(gradients).map(([name, tensor]) => [`grad_${name}`, tensor] as const);
        const actual: Record<string, Tensor> = { ...results, ...Object.fromEntries(named) };
        expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
        for (const [name, tensor] of Object.entries(actual)) {
          const error = relativeError(await tensor.toHost(), expected[name] as HostTensor, 0.1);
          expect(error, name).toBeLessThan(5e-5);
        }
      });
    },
  );
});

const tensorsOf = (runtime: Runtime, host: Readonly<Record<string, HostTensor<'f32'>>>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(host).map(([name, each]) => [name, runtime.fromHost(each)]));

describe.skipIf(isOnGpu)('by hand', async () => {
  const { createRuntime } = await import('../../index');
  const runtime = await createRuntime({ backend: 'wasm', threads: 1 });

  test('the gate of an impulse sees 23 by 23 places, and keeps only the impulse', async () => {
    const extents = { b: 1, c: 1, rows: 31, columns: 31, u: 5, v: 5, s: 7, t: 7 };
    const host = inputsOf(largeKernelAttention.inputs, extents);
    const ones = Object.fromEntries(
      Object.entries(host).map(([name, { shape, data }]) => [
        name,
        hostTensor(data.fill(name.endsWith('weight') ? 1 : 0), shape, 'f32'),
      ]),
    );
    ones.x!.data[15 * 31 + 15] = 1;
    await scoped(runtime, async () => {
      const { out } = largeKernelAttention.forward(tensorsOf(runtime, ones) as never, { dilation: 3 });
      const kept = await out.read();
      expect([...kept.keys()].filter((place) => kept[place] !== 0)).toEqual([15 * 31 + 15]);
      // The gate itself, of a picture of ones with the impulse: places that it changes.
      const plain = { ...ones, x: hostTensor(new Float32Array(31 * 31).fill(1), [1, 1, 31, 31], 'f32') };
      const changed = { ...plain, x: hostTensor(Float32Array.from(plain.x.data), [1, 1, 31, 31], 'f32') };
      changed.x.data[15 * 31 + 15] = 2;
      const [before, after] = await Promise.all(
        [plain, changed].map((each) =>
          largeKernelAttention.forward(tensorsOf(runtime, each) as never, { dilation: 3 }).out.read(),
        ),
      );
      const seen = [...before!.keys()].filter((place) => before![place] !== after![place]);
      expect(seen).toHaveLength(23 * 23);
    });
  });

  test('a merged block is one kernel: of dilated taps at even rows and columns', async () => {
    await scoped(runtime, async () => {
      const one = (shape: readonly number[], value = 1) => runtime.full(shape, value);
      const norm = (name: string, gain: number) => ({
        [`${name}.weight`]: one([1], gain),
        [`${name}.bias`]: one([1]),
        [`${name}.running_mean`]: one([1], 0.5),
        [`${name}.running_var`]: one([1], 4 - 1e-5),
      });
      const parameters = {
        'lk_origin.weight': one([1, 1, 5, 5], 0),
        ...norm('origin_bn', 3),
        'dil_conv_k3_1.weight': one([1, 1, 3, 3], 0),
        ...norm('dil_bn_k3_1', 0),
        'dil_conv_k3_2.weight': runtime.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 1, 3, 3]),
        ...norm('dil_bn_k3_2', 2),
      };
      const { weight, bias } = mergeDilatedReparam(parameters, 5);
      const rows = [1, 0, 2, 0, 3, 0, 0, 0, 0, 0, 4, 0, 5, 0, 6, 0, 0, 0, 0, 0, 7, 0, 8, 0, 9];
      expectClose(await weight.read(), rows, 1e-6);
      // beta - mean gamma / sigma, of gamma 3, 0 and 2.
      expectClose(await bias.read(), [0.25 + 1 + 0.5], 1e-6);
    });
  });

  test('the full fusion with a kernel for each pair of channels agrees with that by channel', async () => {
    await scoped(runtime, async () => {
      const [x, y] = [runtime.random([2, 7, 3], { seed: 1 }), runtime.random([2, 4, 3], { seed: 2 })];
      const diagonal = Float32Array.from({ length: 2 * 4 * 9 }, (_, i) => (Math.floor(i / 3) % 3 === i % 3 ? 1 : 0));
      const kernels = runtime.tensor(diagonal, [2, 4, 3, 3]);
      const { multiply } = await import('../../index');
      const full = multiply(kernels, y.reshape([2, 4, 3, 1]));
      for (const padding of ['same', 'valid'] as const) {
        const { out } = asymmetricConvFusion.forward({ x, y }, { padding });
        expectClose(await fullConvFusion(x, full, padding).read(), await out.read(), 1e-5);
      }
    });
  });

  test('strips one after another see a square, strips side by side a cross', async () => {
    await scoped(runtime, async () => {
      const layer = (name: string, ...space: number[]) => ({
        [`${name}.weight`]: runtime.ones([1, 1, ...space]),
        [`${name}.bias`]: runtime.zeros([1]),
      });
      const mix = layer('pwconv', 1, 1);
      const one = runtime.ones([1, 1, 15, 15]);
      const impulse = runtime.tensor(
        Float32Array.from({ length: 225 }, (_, i) => (i === 112 ? 2 : 1)),
        [1, 1, 15, 15],
      );
      const gates = {
        lska: (x: Tensor) =>
          lska(
            x,
            {
              ...layer('DW_conv_h', 1, 3),
              ...layer('DW_conv_v', 3, 1),
              ...layer('DW_D_conv_h', 1, 5),
              ...layer('DW_D_conv_v', 5, 1),
              ...mix,
            } as never,
            2,
          ),
        slak: (x: Tensor) =>
          slak(x, { ...layer('small', 3, 3), ...layer('across', 3, 9), ...layer('down', 9, 3), ...mix } as never),
      };
      const seen: Record<string, number> = {};
      for (const [name, gate] of Object.entries(gates)) {
        const [before, after] = [await gate(one).read(), await gate(impulse).read()];
        seen[name] = [...before.keys()].filter((place) => before[place] !== after[place]).length;
      }
      expect(seen).toEqual({ lska: 11 * 11, slak: 2 * 3 * 9 - 9 });
    });
  });

  test('refuses what does not fit, by name', async () => {
    const large = dilatedReparamConv.inputs as Specs;
    const { inputs } = largeKernelAttention;
    const kernels = { u: 3, v: 3, s: 3, t: 3 };
    const refused: readonly (readonly [
      method: unknown,
      specs: Specs,
      extents: Extents,
      params: Readonly<Record<string, unknown>>,
      message: string,
    ])[] = [
      [
        ...[largeKernelAttention, inputs, { ...PICTURE, ...kernels, u: 4, v: 4 }, { dilation: 3 }],
        'conv0.weight must reach as far to both sides: (extent - 1) * dilation must be even, got [5, 1, 4, 4] with dilation 1',
      ] as const,
      [
        ...[largeKernelAttention, { ...inputs, x: '1 4 2 2' }, { ...PICTURE, ...kernels }, { dilation: 3 }],
        'conv0.weight must have shape [c, 1, u, v] with c = 4 as in x [1, 4, 2, 2]',
      ] as const,
      [
        ...[sdlska, sdlska.inputs, { ...PICTURE, p: 5, t: 7, r: 3 }, { kernel: 7 }],
        'DW_conv.dwconv.weight must have shape [c, 1, 3, 3] with kernel 7, got [5, 1, 5, 5]',
      ] as const,
      [
        ...[dilatedReparamConv, { ...large, ...branchesOf('3_2') }, { ...PICTURE, k: 5 }, { kernel: 5 }],
        "kernel 5 needs 'dil_conv_k3_1.weight', which is missing",
      ] as const,
      [
        ...[dilatedReparamConv, { ...large, ...branchesOf('3_1', '3_2', '9_2') }, { ...PICTURE, k: 5 }, { kernel: 5 }],
        "kernel 5 has no 'dil_conv_k9_2.weight', only dil_conv_k3_1, dil_bn_k3_1",
      ] as const,
      [
        ...[asymmetricConvFusion, asymmetricConvFusion.inputs, { b: 1, n: 2, m: 3, c: 1 }, { padding: 'valid' }],
        'y [1, 3, 1] must have no more rows than x [1, 2, 1] where padding is valid',
      ] as const,
    ] as never;
    for (const [method, specs, extents, params, message] of refused)
      await scoped(runtime, async () => {
        const given = tensorsOf(runtime, inputsOf(specs, extents));
        await expectRefusal(runtime, () => (method as Method).forward(given as never, params), message);
      });
    runtime.dispose();
  });
});
