/** The runtimes on which one test body runs. */
import { afterAll, beforeAll, describe, inject } from 'vitest';
import { createRuntime, type Runtime, type RuntimeOptions } from '../src/index';
import { strongDevice } from './gpu-device';

type Variant = readonly [name: string, options: RuntimeOptions];

const ON_CPU: readonly Variant[] = [
  ['reference', { backend: 'reference' }],
  ['wasm relaxed, 1 thread', { backend: 'wasm', simd: 'relaxed', threads: 1 }],
  ['wasm relaxed, 3 threads', { backend: 'wasm', simd: 'relaxed', threads: 3 }],
  ['wasm baseline, 2 threads', { backend: 'wasm', simd: 'baseline', threads: 2 }],
];

const isPage = 'document' in globalThis;

/** One for all variants in a page, so that its slow compiler meets a kernel once. */
const device = isPage ? await strongDevice() : undefined;

const ON_GPU: readonly Variant[] = [
  ['webgpu', { backend: 'webgpu', webgpu: { device } }],
  ['webgpu without subgroups', { backend: 'webgpu', webgpu: { device, subgroups: false } }],
  ...inject('subgroupSizes').map(
    (subgroups): Variant => [`webgpu, subgroups of ${subgroups}`, { backend: 'webgpu', webgpu: { device, subgroups } }],
  ),
];

/** In a page the GPU's alone: what runs on the CPU is the same there. */
const BACKENDS = [...(isPage ? [] : ON_CPU), ...(inject('hasGpu') ? ON_GPU : [])];

/** Describes `body` once for every backend, with a runtime that lives as long as its tests. */
export function describeOnBackends(title: string, body: (runtime: () => Runtime) => void): void {
  describe.each(BACKENDS)(`${title} on %s`, (_, options) => {
    let runtime: Runtime;
    beforeAll(async () => {
      runtime = await createRuntime(options);
    });
    afterAll(() => runtime.dispose());
    body(() => runtime);
  });
}
