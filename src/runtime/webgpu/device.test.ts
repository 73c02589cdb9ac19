import { afterEach, describe, expect, inject, test } from 'vitest';
import { callersDevice, disguised, strongDevice } from '../../../test/gpu-device';
import {
  add,
  BackendError,
  createRuntime,
  DisposedError,
  multiply,
  ParameterError,
  type Runtime,
  type RuntimeOptions,
  type Tensor,
  UnsupportedError,
} from '../../index';

const runtimes: Runtime[] = [];

async function open(webgpu: NonNullable<RuntimeOptions['webgpu']> = {}): Promise<Runtime> {
  const runtime = await createRuntime({ backend: 'webgpu', webgpu });
  runtimes.push(runtime);
  return runtime;
}

const ones = (runtime: Runtime, size = 8) => runtime.tensor(new Float32Array(size).fill(1), [size]);

/** Calls of every kind on ones; each promise must end one way or the other. */
function calls(runtime: Runtime, a: Tensor, b: Tensor): Promise<unknown>[] {
  const [sum, product] = [add, multiply].map((op) => () => {
    using result = op(a, b);
    return result.read();
  }) as [() => Promise<unknown>, () => Promise<unknown>];
  return [sum, () => a.read(), sum, () => runtime.finish(), product, () => b.read()].map(async (call) => call());
}

afterEach(() => {
  for (const runtime of runtimes.splice(0)) runtime.dispose();
});

describe.runIf(inject('hasGpu'))('a GPU device', () => {
  test('that is lost ends every pending and later call; memory() and dispose() work, and a new runtime does', async () => {
    const device = await strongDevice();
    const runtime = await open({ device });
    const [a, b] = [ones(runtime), ones(runtime)];
    // The second op waits for the compiler of the first.
    const pending = calls(runtime, a, b);
    device.destroy();
    const lost = expect.objectContaining({
      name: 'BackendError',
      message: expect.stringMatching(/device was lost \(destroyed.*its tensors are gone; make a new runtime/),
    });
    for (const { status, reason } of (await Promise.allSettled(pending)) as PromiseRejectedResult[]) {
      expect([status, reason]).toEqual(['rejected', lost]);
    }
    for (const call of calls(runtime, a, b)) await expect(call).rejects.toEqual(lost);
    expect(() => runtime.empty([4])).toThrow(BackendError);
    expect(runtime.memory().live).toBe(64);
    a.dispose();
    expect(runtime.memory().live).toBe(32);
    expect(runtime.explain()).toContain('adapter');
    runtime.dispose();
    b.dispose();
    const next = await open();
    expect(await (await add(ones(next), ones(next))).read()).toEqual(new Float32Array(8).fill(2));
  });

  test('that was lost before is refused at once', async () => {
    const device = await strongDevice();
    device.destroy();
    await device.lost;
    await expect(async () => open({ device })).rejects.toThrow(/device was lost/);
  });

  test.each(['own', "caller's"])('of a runtime disposed with calls pending ends them: %s', async (whose) => {
    const device = whose === 'own' ? undefined : await strongDevice();
    const runtime = await open({ device });
    const [a, b] = [ones(runtime), ones(runtime)];
    const pending = calls(runtime, a, b);
    runtime.dispose();
    for (const { status, reason } of (await Promise.allSettled(pending)) as PromiseRejectedResult[]) {
      expect([status, reason]).toEqual(['rejected', expect.any(DisposedError)]);
    }
    expect(() => add(a, b)).toThrow(DisposedError);
    a.dispose();
    await device?.queue.onSubmittedWorkDone();
    device?.destroy();
  });

  test("of a caller stays the caller's, with its handler of errors, and gives all memory back", async () => {
    const device = await callersDevice();
    const heard: string[] = [];
    device.onuncapturederror = ({ error }) => heard.push(error.message);
    const runtime = await open({ device });
    expect(runtime.explain()).toContain("on the caller's device");
    const [a, b] = [ones(runtime), ones(runtime)];
    const { buffer } = a.gpuBuffer;
    const { buffer: memory } = b.gpuBuffer;
    expect(await (await add(a, b)).read()).toEqual(new Float32Array(8).fill(2));

    // The runtime's own refusals reach its calls, not the caller.
    buffer.destroy();
    const refused = expect.stringMatching(/refused a command.*make a new runtime/s);
    add(a, b);
    await expect(async () => runtime.finish()).rejects.toMatchObject({ name: 'BackendError', message: refused });
    await expect(async () => b.read()).rejects.toMatchObject({ name: 'BackendError', message: refused });
    runtime.dispose();
    await device.queue.onSubmittedWorkDone();
    expect(heard).toEqual([]);

    // The device lives, as does its handler, and refuses what lay in the memory of the runtime.
    const lost = await Promise.race([device.lost.then(() => true), device.queue.onSubmittedWorkDone()]);
    expect(lost).toBeUndefined();
    const encoder = device.createCommandEncoder();
    encoder.clearBuffer(memory as GPUBuffer, 0, 4);
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard).toHaveLength(1);
    device.destroy();
  });

  test('of a caller serves two runtimes, one after the other and at once', async () => {
    const device = await callersDevice();
    const first = await open({ device });
    const second = await open({ device });
    const results = await Promise.all(
      [first, second, first].map(async (runtime) => (await add(ones(runtime), ones(runtime))).read()),
    );
    for (const result of results) expect(result).toEqual(new Float32Array(8).fill(2));
    first.dispose();
    expect(await (await add(ones(second), ones(second))).read()).toEqual(new Float32Array(8).fill(2));
    device.destroy();
  });

  test('without subgroups says so where they are asked for', async () => {
    const device = await callersDevice();
    for (const subgroups of [true, 8]) {
      await expect(async () => open({ device, subgroups })).rejects.toThrow(UnsupportedError);
      await expect(async () => open({ device, subgroups })).rejects.toThrow('lacks the feature subgroups');
    }
    const runtime = await open({ device });
    expect(runtime.explain()).toContain('subgroups: this device has none');
    expect(await (await add(ones(runtime), ones(runtime))).read()).toEqual(new Float32Array(8).fill(2));
    device.destroy();
  });

  test('has the size of subgroups that was asked for, or it is refused', async () => {
    const device = await strongDevice();
    const { subgroupMinSize: least, subgroupMaxSize: most } = device.adapterInfo as Required<GPUAdapterInfo>;
    device.destroy();
    const runtime = await open({ subgroups: least });
    expect(runtime.explain()).toContain(`subgroups: ${least} invocations`);
    await expect(async () => open({ subgroups: most * 2 })).rejects.toThrow(`those of ${least} to ${most} invocations`);
  });

  test('must be one: options are checked by name', async () => {
    for (const [options, message] of [
      [{ device: {} }, 'webgpu.device must be a GPUDevice'],
      [{ powerPreference: 'low' }, "webgpu.powerPreference must be 'low-power' or 'high-performance', got 'low'"],
      [{ subgroups: 3 }, 'webgpu.subgroups must be true, false or a power of two, got 3'],
      [{ subgroup: true }, "webgpu has no option 'subgroup'"],
    ] as const) {
      const call = createRuntime({ backend: 'webgpu', webgpu: options as never });
      await expect(call).rejects.toThrow(ParameterError);
      await expect(async () => createRuntime({ backend: 'webgpu', webgpu: options as never })).rejects.toThrow(message);
    }
    await expect(async () => createRuntime({ backend: 'wasm', webgpu: {} })).rejects.toThrow("needs backend 'webgpu'");
  });

  test('several at once compute each on its own; tensors of two do not meet', async () => {
    const all = await Promise.all([open(), open({ subgroups: false }), open()]);
    const double = async (runtime: Runtime, seed: number) => {
      const x = runtime.random([33, 17], { seed });
      return (await add(x, x)).read();
    };
    const results = await Promise.all(all.map(double));
    expect(results[0]).not.toEqual(results[1]);
    for (const [seed, result] of results.entries()) expect(await double(all[0] as Runtime, seed)).toEqual(result);
    const [a, b] = all.map((runtime) => ones(runtime)) as [Tensor, Tensor];
    expect(() => add(a, b)).toThrow('b lives on another runtime than a');
  });

  test('that refuses a kernel says which; the next call is not touched', async () => {
    const device = await strongDevice();
    let isBroken = true;
    const createShaderModule = (descriptor: GPUShaderModuleDescriptor) =>
      device.createShaderModule(isBroken ? { ...descriptor, code: `${descriptor.code} nonsense` } : descriptor);
    const runtime = await open({ device: disguised(device, { createShaderModule }) });
    const [a, b] = [ones(runtime), ones(runtime)];
    await expect(add(a, b).read()).rejects.toThrow(/compiler refused the kernel add: .*nonsense.*please report/s);
    isBroken = false;
    expect(await (await add(a, b)).read()).toEqual(new Float32Array(8).fill(2));
    device.destroy();
  });
});
