/** The runtimes on which one test body runs. */
import { afterAll, beforeAll, describe } from 'vitest';
import { createRuntime, type Runtime, type RuntimeOptions } from '../src/index';

const BACKENDS: readonly (readonly [name: string, options: RuntimeOptions])[] = [
  ['reference', { backend: 'reference' }],
  ['wasm relaxed, 1 thread', { backend: 'wasm', simd: 'relaxed', threads: 1 }],
  ['wasm relaxed, 3 threads', { backend: 'wasm', simd: 'relaxed', threads: 3 }],
  ['wasm baseline, 2 threads', { backend: 'wasm', simd: 'baseline', threads: 2 }],
  ...(process.env.SACCADE_WEBGPU
    ? ([
        ['webgpu', { backend: 'webgpu' }],
        ['webgpu without subgroups', { backend: 'webgpu', webgpu: { subgroups: false } }],
      ] as const)
    : []),
];

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
