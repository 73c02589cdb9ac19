import { afterEach, describe, expect, inject, test } from 'vitest';
import { expectClose, outcomeOf } from '../../../test/expect';
import { callersDevice, disguised, limited, strongDevice } from '../../../test/gpu-device';
import {
  add,
  attention,
  createRuntime,
  linearAttention,
  linearAttentionBackward,
  matmul,
  type Runtime,
  softmax,
  type Tensor,
  UnsupportedError,
} from '../../index';

const runtimes: Runtime[] = [];

async function open(device?: GPUDevice): Promise<Runtime> {
  const runtime = await createRuntime({ backend: 'webgpu', webgpu: { device } });
  runtimes.push(runtime);
  return runtime;
}

afterEach(() => {
  for (const runtime of runtimes.splice(0)) runtime.dispose();
});

/** A device that has no room for buffers of such usage of more than so many bytes. */
function crowded(device: GPUDevice, room: number, usage = 0x80): GPUDevice {
  const refused: boolean[] = [];
  return disguised(device, {
    createBuffer(descriptor: GPUBufferDescriptor) {
      const isRefused = descriptor.size > room && (descriptor.usage & usage) !== 0;
      refused.push(isRefused);
      if (!isRefused) return device.createBuffer(descriptor);
      // Too large for the device, which makes the buffer invalid as one without memory is.
      device.pushErrorScope('validation');
      const buffer = device.createBuffer({ ...descriptor, size: 2 ** 50 });
      device.popErrorScope();
      return Object.defineProperty(buffer, 'size', { value: descriptor.size });
    },
    async popErrorScope() {
      const isRefused = refused.pop();
      return (await device.popErrorScope()) ?? (isRefused ? { message: 'out of memory' } : null);
    },
  });
}

describe.runIf(inject('hasGpu'))('GPU memory', () => {
  test('is counted, used again, and does not grow over many calls', async () => {
    const runtime = await open();
    const a = runtime.random([300, 7]);
    const b = runtime.random([300, 7], { seed: 1 });
    const before = runtime.memory();
    expect(before.live).toBe(2 * 300 * 7 * 4);
    const addFive = async () => {
      for (let i = 0; i < 5; i++) add(a, b).dispose();
      await runtime.finish();
    };
    for (let round = 0; round < 10; round++) await addFive();
    const { reserved } = runtime.memory();
    for (let round = 0; round < 1000; round++) await addFive();
    expect(runtime.memory()).toMatchObject({ live: before.live, reserved });
    expect(runtime.memory().peak).toBeGreaterThanOrEqual(3 * 300 * 7 * 4);
    expect(reserved).toBeLessThan(10 * before.live);
  });

  test('that is released beyond what is worth keeping goes back to the system', async () => {
    const runtime = await open();
    const sizes = [60, 70, 80, 90];
    for (const size of sizes) runtime.empty([size * 2 ** 20]).dispose();
    const { live, reserved } = runtime.memory();
    expect(live).toBe(0);
    expect(reserved).toBeLessThanOrEqual(2 ** 28);
  });

  test('has no room: the calls that need it say how much, others go on', async () => {
    const device = await strongDevice();
    const runtime = await open(crowded(device, 2 ** 17));
    const small = runtime.tensor([1, 2, 3], [3]);
    const large = runtime.tensor(new Float32Array(40_000), [40_000]);
    const message =
      "the GPU has no room for 160000 bytes (12 are in use): dispose tensors, make the problem smaller, or use backend 'wasm'";
    await expect(async () => large.read()).rejects.toMatchObject({ name: 'BackendError', message });
    await expect(outcomeOf(add(large, large))).rejects.toThrow('no room for 160000 bytes');
    expect(await add(small, small).read()).toEqual(Float32Array.of(2, 4, 6));
    const { live } = runtime.memory();
    large.dispose();
    await runtime.finish();
    expect(runtime.memory().live).toBe(live - 160_000);
    expect(runtime.memory().reserved).toBeLessThan(4096);
    device.destroy();
  });

  test('of which a read finds no room: it says so, and others go on', async () => {
    const device = await strongDevice();
    const runtime = await open(crowded(device, 2 ** 17, 0x1));
    const large = runtime.tensor(new Float32Array(40_000), [40_000]);
    const few = large.slice(0, 0, 2);
    await expect(async () => large.read()).rejects.toMatchObject({
      ...{ name: 'BackendError', message: 'the GPU has no room to read 160000 bytes: dispose tensors' },
    });
    expect(await add(few, few).read()).toEqual(new Float32Array(2));
    device.destroy();
  });

  test('of one tensor is bounded by a buffer', async () => {
    const device = await callersDevice();
    const runtime = await open(limited(device, { maxBufferSize: 4096 }));
    expect(() => runtime.empty([1025])).toThrow(
      "cannot allocate 4100 bytes: a buffer of this GPU holds at most 4096; split the tensor along batch or heads, or use backend 'wasm'",
    );
    runtime.empty([1024]).dispose();
    expect(runtime.memory().live).toBe(0);
    device.destroy();
  });

  test("of linear attention's states fits a buffer, whatever the number of heads", async () => {
    const device = await callersDevice();
    const reference = await createRuntime({ backend: 'reference' });
    const small = await open(limited(device, { maxBufferSize: 2 ** 16 }));
    const run = async (runtime: Runtime) => {
      const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, 65, 5, 48], { seed })) as [never, never, never];
      const initialState = runtime.random([1, 5, 48, 48], { seed: 4 });
      const settings = { causal: true, decay: [1, 0.9, 0.8, 0.7, 0.6], initialState };
      const { out, state } = linearAttention(q, k, v, settings);
      const grads = linearAttentionBackward(q, k, v, { gradOut: v, gradState: state }, settings);
      return Promise.all([out, state, ...Object.values<Tensor>({ ...grads })].map((x: Tensor) => x.read()));
    };
    const expected = await run(reference);
    for (const [i, values] of (await run(small)).entries()) {
      const right = expected[i] as Float32Array;
      expectClose(values, right, 1e-5 * right.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
    }
    reference.dispose();
    device.destroy();
  });

  test('beyond a binding is bound in parts, with the same results', async () => {
    const device = await strongDevice();
    const reference = await createRuntime({ backend: 'reference' });
    const parts = await open(
      limited(device, { maxStorageBufferBindingSize: 8192, maxStorageBuffersPerShaderStage: 16 }),
    );
    const run = async (runtime: Runtime) => {
      const a = runtime.random([61, 67]);
      const [q, k, v] = [2, 3, 4].map((seed) => runtime.random([1, 77, 2, 20], { seed })) as [never, never, never];
      const { out, lse } = attention(q, k, v, { causal: true });
      const half = runtime.random([61, 67], { seed: 5, dtype: 'f16' });
      return Promise.all([softmax(a).read(), add(a, a).read(), out.read(), lse.read(), half.read()]);
    };
    const expected = await run(reference);
    for (const [i, values] of (await run(parts)).entries()) expectClose(values, expected[i] as Float32Array, 1e-5);
    reference.dispose();
    device.destroy();
  });

  test('beyond what can be bound is used a slice at a time, as the remedy is', async () => {
    const device = await strongDevice();
    const runtime = await open(
      limited(device, { maxStorageBufferBindingSize: 4096, maxStorageBuffersPerShaderStage: 4 }),
    );
    const x = runtime.random([60, 100]);
    await expect(outcomeOf(add(x, x))).rejects.toThrow(
      'split the tensors along batch, or into tensors of some heads each',
    );
    const values = await x.read();
    const [first, last] = [x.slice(0, 3, 11), x.slice(0, 52, 60)];
    const sum = await add(first, last).read();
    expect(sum).toEqual(values.slice(300, 1100).map((value, i) => value + (values[5200 + i] as number)));
    device.destroy();
  });

  test('in more parts than can be bound is refused with the remedy', async () => {
    const device = await strongDevice();
    const runtime = await open(
      limited(device, { maxStorageBufferBindingSize: 256, maxStorageBuffersPerShaderStage: 4 }),
    );
    const x = runtime.empty([256]);
    await expect(outcomeOf(add(x, x))).rejects.toThrow(UnsupportedError);
    await expect(outcomeOf(add(x, x))).rejects.toThrow(
      /add needs \d+ bindings for tensors this large, of 256 bytes each, and this GPU has 4: split the tensors along batch, or into tensors of some heads each/,
    );
    device.destroy();
  });
});

describe.runIf(inject('hasGpu'))("a caller's GPU buffer", () => {
  const usage = 0x80 | 0x4 | 0x8;

  test('is a tensor without a copy, and a tensor is a buffer', async () => {
    const device = await callersDevice();
    const runtime = await open(device);
    const buffer = device.createBuffer({ size: 64, usage });
    device.queue.writeBuffer(
      buffer,
      0,
      Float32Array.from({ length: 16 }, (_, i) => i),
    );
    const a = runtime.fromGpuBuffer(buffer, [2, 3], 'f32', 8);
    const b = runtime.fromGpuBuffer(buffer, [2, 3], 'f32', 32);
    expect(await a.read()).toEqual(Float32Array.of(2, 3, 4, 5, 6, 7));
    expect(a.gpuBuffer).toEqual({ buffer, byteOffset: 8, bytes: 24 });
    expect(runtime.memory().live).toBe(0);

    const sum = add(a, b);
    await runtime.finish();
    const place = sum.gpuBuffer;
    expect(place.bytes).toBe(24);
    const copy = device.createBuffer({ size: 24, usage: 0x1 | 0x8 });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(place.buffer as GPUBuffer, place.byteOffset, copy, 0, place.bytes);
    device.queue.submit([encoder.finish()]);
    await copy.mapAsync(1);
    expect(new Float32Array(copy.getMappedRange())).toEqual(Float32Array.of(10, 12, 14, 16, 18, 20));

    // The op writes into the caller's own buffer, and nothing beside the tensor.
    const target = device.createBuffer({ size: 64, usage });
    device.queue.writeBuffer(target, 0, new Float32Array(16).fill(9));
    const [out, all] = [runtime.fromGpuBuffer(target, [2, 3], 'f32', 20), runtime.fromGpuBuffer(target, [16])];
    add(a, b, { out });
    expect(await all.read()).toEqual(Float32Array.of(9, 9, 9, 9, 9, 10, 12, 14, 16, 18, 20, 9, 9, 9, 9, 9));
    for (const tensor of [a, b, sum, out, all]) tensor.dispose();
    runtime.dispose();
    device.pushErrorScope('validation');
    device.queue.writeBuffer(buffer, 0, new Float32Array(16));
    expect(await device.popErrorScope()).toBeNull();
    device.destroy();
  });

  test('holds halves and integers, at odd places, and ends where it ends', async () => {
    const device = await callersDevice();
    const runtime = await open(device);
    const buffer = device.createBuffer({ size: 20, usage });
    const x = runtime.fromGpuBuffer(buffer, [5], 'f32');
    const from = runtime.tensor([1, 2, 3, 4, 5], [5]);
    add(from, from, { out: x });
    expect(await x.read()).toEqual(Float32Array.of(2, 4, 6, 8, 10));
    expect(await add(x, x).read()).toEqual(Float32Array.of(4, 8, 12, 16, 20));
    const halves = runtime.fromGpuBuffer(buffer, [3], 'f16', 12);
    expect(halves.offset).toBe(6);
    expect((await halves.read()).length).toBe(3);
    expect(await runtime.fromGpuBuffer(buffer, [1], 'i32', 16).read()).toEqual(Int32Array.of(0x41200000));
    device.destroy();
  });

  test('holds tensors of different dtypes, read and written by one call', async () => {
    const device = await callersDevice();
    const runtime = await open(device);
    const buffer = device.createBuffer({ size: 8192, usage });
    const inputs = [0, 1, 2].map((seed) => runtime.random([1, 20, 1, 6], { seed, dtype: 'f16' }));
    const [q, k, v] = (await Promise.all(
      inputs.map(async (input, at) => {
        device.queue.writeBuffer(buffer, 1000 * at, (await input.read()) as Uint16Array<ArrayBuffer>);
        return runtime.fromGpuBuffer(buffer, [1, 20, 1, 6], 'f16', 1000 * at);
      }),
    )) as [Tensor, Tensor, Tensor];
    const given = {
      out: runtime.fromGpuBuffer(buffer, [1, 20, 1, 6], 'f16', 3000),
      lse: runtime.fromGpuBuffer(buffer, [1, 20, 1], 'f32', 4000),
    };
    const expected = attention(...(inputs as [Tensor, Tensor, Tensor]));
    attention(q, k, v, given);
    expect(await given.out.read()).toEqual(await expected.out.read());
    expect(await given.lse.read()).toEqual(await expected.lse.read());
    device.destroy();
  });

  test('that does not fit is refused by name', async () => {
    const device = await callersDevice();
    const runtime = await open(device);
    const good = device.createBuffer({ size: 64, usage });
    const refusals = [
      [
        () => runtime.fromGpuBuffer(good, [17]),
        'buffer must hold 68 bytes for this shape from byteOffset 0 on, it has 64',
      ],
      [
        () => runtime.fromGpuBuffer(good, [16], 'f32', 4),
        'buffer must hold 64 bytes for this shape from byteOffset 4 on',
      ],
      [() => runtime.fromGpuBuffer(good, [1], 'f16', 2), 'byteOffset must be a multiple of 4 and not negative, got 2'],
      [
        () => runtime.fromGpuBuffer(good, [1], 'f32', -4),
        'byteOffset must be a multiple of 4 and not negative, got -4',
      ],
      [
        () => runtime.fromGpuBuffer(device.createBuffer({ size: 64, usage: 0x80 | 0x4 }), [1]),
        'buffer must have the usages STORAGE, COPY_SRC and COPY_DST: it lacks COPY_DST',
      ],
      [
        () => runtime.fromGpuBuffer(device.createBuffer({ size: 62, usage }), [1]),
        'buffer must have a multiple of 4 bytes, got 62',
      ],
      [
        () => runtime.fromGpuBuffer(device.createBuffer({ size: 64, usage, mappedAtCreation: true }), [1]),
        'buffer must be unmapped, it is mapped',
      ],
      [() => runtime.fromGpuBuffer(new Float32Array(4) as never, [1]), 'buffer must be a GPUBuffer, got object'],
      [
        () => runtime.fromGpuBuffer({ mapState: 'unmapped', usage, size: 64 } as never, [1]),
        'buffer must be a GPUBuffer',
      ],
      [() => runtime.fromGpuBuffer(undefined as never, [1]), 'buffer must be a GPUBuffer, got undefined'],
      [
        () => runtime.fromGpuBuffer(good, [1], 'f8' as never),
        "dtype must be one of f32, f16, bf16, i32, u8, i8, f64, got 'f8'",
      ],
      [() => runtime.fromGpuBuffer(good, [1.5]), 'shape'],
    ] as const;
    for (const [call, message] of refusals) expect(call).toThrow(message);

    const reference = await createRuntime({ backend: 'reference' });
    expect(() => reference.fromGpuBuffer(good, [1])).toThrow(
      "fromGpuBuffer() needs backend 'webgpu', this runtime's is 'reference'",
    );
    expect(() => reference.tensor([1], [1]).gpuBuffer).toThrow(
      "gpuBuffer of a reference tensor: it is in no GPU's memory",
    );
    expect(() => runtime.random([2, 3]).permute([1, 0]).gpuBuffer).toThrow('strided view');
    reference.dispose();
    device.destroy();
  });

  test('of another device is refused by what uses it', async () => {
    const [device, other] = [await callersDevice(), await callersDevice()];
    const runtime = await open(device);
    const foreign = runtime.fromGpuBuffer(other.createBuffer({ size: 64, usage }), [16]);
    await expect(outcomeOf(add(foreign, foreign))).rejects.toThrow("buffer must be of the runtime's own device");
    await expect(async () => foreign.read()).rejects.toThrow("buffer must be of the runtime's own device");
    const own = runtime.tensor([1], [1]);
    expect(await add(own, own).read()).toEqual(Float32Array.of(2));
    device.destroy();
    other.destroy();
  });

  test('that was destroyed before is refused by what uses it, and others go on', async () => {
    const device = await callersDevice();
    const runtime = await open(device);
    const buffer = device.createBuffer({ size: 64, usage });
    buffer.destroy();
    const x = runtime.fromGpuBuffer(buffer, [16]);
    await expect(outcomeOf(add(x, x))).rejects.toThrow(/and not destroyed: .*destroyed/s);
    await expect(async () => x.read()).rejects.toThrow('and not destroyed');
    const own = runtime.tensor([1], [1]);
    expect(await add(own, own).read()).toEqual(Float32Array.of(2));
    device.destroy();
  });

  test('is refused for a result where an input lies, and taken beside it', async () => {
    const device = await callersDevice();
    const runtime = await open(device);
    const buffer = device.createBuffer({ size: 256, usage });
    const x = runtime.fromGpuBuffer(buffer, [2, 4]);
    const view = runtime.fromGpuBuffer(buffer, [4, 4], 'f32', 64).slice(1, 0, 2);
    await expect(async () => add(x, x, { out: runtime.fromGpuBuffer(buffer, [2, 4], 'f32', 28) })).rejects.toThrow(
      'out shares memory with a: pass a tensor of its own',
    );
    await expect(async () =>
      matmul(x, view, { out: runtime.fromGpuBuffer(buffer, [2, 2], 'f32', 116) }),
    ).rejects.toThrow('out shares memory with b: pass a tensor of its own');
    await add(x, x, { out: runtime.fromGpuBuffer(buffer, [2, 4], 'f32', 32) });
    await matmul(x, view, { out: runtime.fromGpuBuffer(buffer, [2, 2], 'f32', 120) });
    device.destroy();
  });
});
