/** The runtimes on which one test body runs: on the CPU in the project `node`, on a GPU in `gpu` and `chromium`. */
import { afterAll, beforeAll, describe, inject } from 'vitest';
import { createRuntime, type Runtime, type RuntimeOptions } from '../src/index';
import { asOnHardware, strongDevice } from './gpu-device';

type Variant = readonly [name: string, options: RuntimeOptions];

const ON_CPU: readonly Variant[] = [
  ['reference', { backend: 'reference' }],
  ['wasm relaxed, with machine code where there is some, 3 threads', { backend: 'wasm', native: 'auto', threads: 3 }],
  ['wasm baseline, 1 thread', { backend: 'wasm', simd: 'baseline', threads: 1, native: false }],
];
/** What an op that is machine code too has where that cannot be: all others run it above. */
const RELAXED: Variant = ['wasm relaxed, 2 threads', { backend: 'wasm', simd: 'relaxed', threads: 2, native: false }];

/** Whether this project tests on a GPU, where each kernel takes about a second to compile if it is one in software. */
export const isOnGpu = inject('onGpu');

/** One for all tests, so that a slow compiler meets a kernel once. */
export const device = isOnGpu && inject('hasGpu') ? await strongDevice() : undefined;

const GPU_VARIANTS: readonly (readonly [name: string, subgroups?: boolean | number])[] =
  'document' in globalThis
    ? [['webgpu'], ['webgpu without subgroups', false]]
    : [['webgpu'], ...inject('subgroupSizes').map((size) => [`webgpu, subgroups of ${size}`, size] as const)];

const onDevice = (device: GPUDevice): Variant[] =>
  GPU_VARIANTS.map(([name, subgroups]) => [name, { backend: 'webgpu', webgpu: { device, subgroups } }]);

function describeEach(variants: readonly Variant[], title: string, body: (runtime: () => Runtime) => void): void {
  describe.each(variants)(`${title} on %s`, (_, options) => {
    let runtime: Runtime;
    beforeAll(async () => {
      runtime = await createRuntime(options);
    });
    afterAll(() => runtime.dispose());
    body(() => runtime);
  });
}

const backends = (): readonly Variant[] => (!isOnGpu ? ON_CPU : device ? onDevice(device) : []);

/** Describes `body` once for every backend, with a runtime that lives as long as its tests. */
export function describeOnBackends(title: string, body: (runtime: () => Runtime) => void): void {
  describeEach(backends(), title, body);
}

/** The same for an op whose kernels are machine code too. */
export function describeWithMachineCode(title: string, body: (runtime: () => Runtime) => void): void {
  describeEach(isOnGpu ? backends() : [...ON_CPU, RELAXED], title, body);
}

/** Describes `body` for GPUs alone, by the kernels that one in hardware would have, whatever is at hand. */
export function describeAsOnHardware(title: string, body: (runtime: () => Runtime) => void): void {
  describeEach(device ? onDevice(asOnHardware(device)) : [], title, body);
}

/** The cases of a test on backends: all on the CPU, on a GPU in software the first, which are to reach all of its kernels. */
export const fewOnGpu = <T>(cases: readonly T[], count: number): readonly T[] =>
  isOnGpu ? cases.slice(0, count) : cases;

/** Random cases of a test on backends: `count` on the CPU; fewer on a GPU in software, where most want a kernel of their own. */
export const randomCases = (count: number) => ({ numRuns: isOnGpu ? Math.ceil(count / 10) : count });
