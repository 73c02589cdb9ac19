/**
 * For the projects that test on a GPU: skips what computes on the CPU, which the project `node` tests, and notes which
 * kernels are compiled, for `kernel-paths.ts`. A test that computes on a GPU says so in its name.
 */
import { afterEach, beforeEach } from 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    /** Kernels that were compiled in this test: the name of each, and what tells its variants apart. */
    kernels?: readonly (readonly [name: string, variant: string])[];
  }
}

type Watched = typeof globalThis & { compiledKernels?: Map<string, string[]> };

/** What reads and writes operands of one element type and layout, which is the same in all kernels. */
const OPERANDS = /^(@group|fn (cell|load4?|store4?|at)_)/;

beforeEach(({ task, skip }) => skip(!/GPU|WGSL/i.test(task.fullTestName)));

const compiled = await watchCompiler();
afterEach(({ task }) => {
  task.meta.kernels = [...compiled].flatMap(([name, bodies]) => bodies.map((body) => [name, body] as const));
  compiled.clear();
});

/** Kernels by name from now on; once a process, as files of one project share it. */
async function watchCompiler(): Promise<Map<string, string[]>> {
  const shared = globalThis as Watched;
  if (shared.compiledKernels) return shared.compiledKernels;
  const kernels = new Map<string, string[]>();
  shared.compiledKernels = kernels;
  const name = 'webgpu';
  const isPage = 'document' in globalThis;
  if (!isPage) slowDownPolling();
  const { GPUDevice } = isPage
    ? globalThis
    : ((await import(/* @vite-ignore */ name)) as { globals: typeof globalThis }).globals;
  keepPipelines(GPUDevice.prototype);
  const { createShaderModule } = GPUDevice.prototype;
  GPUDevice.prototype.createShaderModule = function (descriptor) {
    const { label = '', code } = descriptor;
    const lines = code.split('\n').filter((line) => !OPERANDS.test(line));
    kernels.set(label, [...(kernels.get(label) ?? []), fingerprint(lines.join('\n'))]);
    return createShaderModule.call(this, descriptor);
  };
  return kernels;
}

/** Dawn compiles a kernel once for a device as long as its pipeline is held, here for as long as the device. */
function keepPipelines(devices: GPUDevice): void {
  const kept = new WeakMap<GPUDevice, GPUComputePipeline[]>();
  const { createComputePipelineAsync } = devices;
  devices.createComputePipelineAsync = async function (descriptor) {
    const pipeline = await createComputePipelineAsync.call(this, descriptor);
    const pipelines = kept.get(this) ?? [];
    pipelines.push(pipeline);
    kept.set(this, pipelines);
    return pipeline;
  };
}

/**
 * While anything is pending on the GPU, Dawn in Node asks at every turn of the event loop whether it is done, and keeps a
 * core busy which a GPU in software needs to compile: native functions wait for a millisecond instead.
 */
function slowDownPolling(): void {
  const { setImmediate } = globalThis;
  const isNative = (callback: () => void) => String(callback).includes('[native code]');
  const patient = (callback: () => void, ...args: []) =>
    isNative(callback) ? setTimeout(callback, 1, ...args) : setImmediate(callback, ...args);
  globalThis.setImmediate = patient as typeof setImmediate;
}

/** The same for the same text only, as far as some thousands of kernels go. */
function fingerprint(text: string): string {
  let [low, high] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    low = (Math.imul(low, 31) + text.charCodeAt(i)) | 0;
    high = (Math.imul(high, 37) + text.charCodeAt(i)) | 0;
  }
  return `${low} ${high}`;
}
