/** What is larger than a binding is bound in parts: tensors of every operation that may be large, and its working memory. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { device as shared } from '../../../test/backends';
import { disguised, limited } from '../../../test/gpu-device';
import {
  attention,
  attentionBackward,
  createRuntime,
  gatedDeltaRule,
  gatedDeltaRuleBackward,
  linearAttention,
  linearAttentionBackward,
  matmul,
  multiply,
  type Runtime,
  type Tensor,
} from '../../index';
import * as masks from '../../masks';
import type { AttentionSizes } from '../../ops/attention/webgpu/sizes';

/** Bytes of a binding, so that the larger tensors below have two or three parts. */
const MOST = 40_960;

const TILED: AttentionSizes[] = [{ tiled: { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 } }];

/** Bindings that these have beside each other, which browsers have fewer of. */
const MANY = 16;

/** For adapters in software, which compile each kernel for seconds. */
const COMPILING = 600_000;

type Compute = (runtime: Runtime) => Promise<readonly Tensor[]>;

const numbersOf = async (tensor: Tensor) => Float64Array.from(await tensor.read());

const random = (runtime: Runtime, shape: readonly number[], seed: number) => runtime.random(shape, { seed });

const exact: Compute = async (runtime) => {
  const [q, k, v, gradOut] = [1, 2, 3, 4].map((seed) => random(runtime, [1, 117, 2, 64], seed)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const settings = { mask: masks.neighborhood({ grid: [9, 13], window: [5, 7] }) };
  const results = await attention(q, k, v, settings);
  const { gradQ, gradK, gradV } = await attentionBackward(q, k, v, { ...results, gradOut }, settings);
  return [results.out, results.lse, gradQ, gradK, gradV];
};

const decoded: Compute = async (runtime) => {
  const [k, v] = [random(runtime, [1, 300, 1, 64], 1), random(runtime, [1, 300, 1, 64], 2)];
  const { out, lse } = await attention(random(runtime, [1, 3, 1, 64], 3), k, v, { causal: true });
  return [out, lse];
};

const linear: Compute = async (runtime) => {
  const [q, k, v, gradOut] = [1, 2, 3, 4].map((seed) => random(runtime, [1, 100, 2, 64], seed)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const settings = { causal: true, decay: [0.9, 1] };
  const { out, state } = await linearAttention(q, k, v, settings);
  const { gradQ, gradK, gradV } = await linearAttentionBackward(q, k, v, { gradOut }, settings);
  return [out, state, gradQ, gradK, gradV];
};

const delta: Compute = async (runtime) => {
  const [n, d, e] = [70, 192, 32];
  const [q, long, v, gradOut] = [
    ...[random(runtime, [1, n, 1, d], 1), random(runtime, [1, n, 1, d], 2)],
    ...[random(runtime, [1, n, 1, e], 3), random(runtime, [1, n, 1, e], 4)],
  ] as [Tensor<'f32'>, Tensor<'f32'>, Tensor, Tensor];
  const k = await multiply(long, runtime.tensor(new Float32Array(d).fill(1 / Math.sqrt(d)), [d]));
  const [g, beta] = [-0.1, 0.5].map((value) => runtime.tensor(new Float32Array(n).fill(value), [1, n, 1])) as [
    Tensor,
    Tensor,
  ];
  const results = await gatedDeltaRule(q, k, v, g, beta, { form: 'chunked' });
  const grads = await gatedDeltaRuleBackward(q, k, v, g, beta, { gradOut });
  return [results.out, results.state, grads.gradQ, grads.gradK, grads.gradV, grads.gradG, grads.gradBeta];
};

const product: Compute = async (runtime) => [
  await matmul(random(runtime, [150, 100], 1), random(runtime, [100, 120], 2)),
];

describe.runIf(inject('hasGpu'))('beyond a binding of a GPU', { timeout: COMPILING }, () => {
  let reference: Runtime;
  beforeAll(async () => {
    reference = await createRuntime({ backend: 'reference' });
  });
  afterAll(() => reference.dispose());

  test.each<[string, number, Compute, AttentionSizes[]?]>([
    ['attention and its gradients, by the kernels of this device', MANY, exact],
    ['attention and its gradients, by tiles', MANY, exact, TILED],
    ['attention of few queries', 8, decoded],
    ['linear attention and its gradients', 8, linear],
    ['the gated delta rule and its gradients', MANY, delta],
    ['a matrix product', 8, product],
  ])('%s', async (_, bindings, compute, attention) => {
    const device = shared as GPUDevice;
    let parts = 0;
    const createBindGroup = (descriptor: GPUBindGroupDescriptor) => {
      for (const { resource } of descriptor.entries) if ((resource as GPUBufferBinding).offset) parts++;
      return device.createBindGroup(descriptor);
    };
    const isRefused = device.limits.maxStorageBuffersPerShaderStage < bindings;
    // What is refused has so many parts that none of its kernels is compiled first.
    const most = isRefused ? MOST / 8 : MOST;
    const small = disguised(limited(device, { maxStorageBufferBindingSize: most }), { createBindGroup });
    const runtime = await createRuntime({
      ...{ backend: 'webgpu', webgpu: { device: small, ...(attention && { sizes: { attention } }) } },
    });
    if (isRefused) {
      await compute(runtime);
      await expect(runtime.finish()).rejects.toThrow(/needs \d+ bindings for tensors this large.*split the tensors/);
      return;
    }
    const [results, expected] = await Promise.all([compute(runtime), compute(reference)]);
    for (const [at, result] of results.entries()) {
      const [got, want] = await Promise.all([numbersOf(result), numbersOf(expected[at] as Tensor)]);
      const largest = want.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
      const error = got.reduce((most, x, i) => Math.max(most, Math.abs(x - (want[i] as number))), 0);
      expect(error / largest, `result ${at}`).toBeLessThan(2e-5);
    }
    expect(parts).toBeGreaterThan(1);
    runtime.dispose();
  });
});
