import { globSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { CHROMIUM_FOR_KERNELS } from './test/chromium.ts';

const onCpu = { maxWorkers: 2, sequence: { groupOrder: 0 } };
// A GPU in software takes a core for itself: one in a page and one in Node, then pages, share the second group.
const onGpu = { maxWorkers: 1, sequence: { groupOrder: 1 } };
// Mesa's driver in software compiles kernels in half the time where it optimises none.
const MESA = { GALLIVM_PERF: 'nopt' };

/** They replace modules, which those that share a worker must not. */
const MOCKING = [
  ...['src/bench/pytorch.test.ts', 'src/cli/bench.test.ts', 'src/runtime/wasm/pool.test.ts'],
  'test/tune.test.ts',
];
const PAGES = ['test/{bench-browser,browser}.test.ts'];
const ATLAS = ['test/atlas.test.ts', 'atlas/{build,site}/**/*.test.ts'];

/** Those of the files that test on a GPU: to load all the others, only to skip what they test, takes long. */
const onAnyGpu = (files: string) =>
  globSync(files).filter((path) => /gpu|wgsl|describeMethod|describeOnBackends/i.test(readFileSync(path, 'utf8')));

/** Each room in Node: the reference, and WebAssembly. */
const node = {
  extends: true as const,
  test: { ...onCpu, isolate: false, name: 'node', include: ['src/**/*.test.ts'], exclude: MOCKING },
};

/** The atlas, whose long test begins before all others, as projects of a group follow each other by name; and what mocks. */
const alone = {
  extends: true as const,
  test: { ...onCpu, name: 'alone', include: [...ATLAS, ...MOCKING], env: MESA, globalSetup: ['test/gpu.ts'] },
};

/** What crosses rooms: the packed package, the command line, Firefox. */
const system = {
  extends: true as const,
  test: {
    ...onCpu,
    isolate: false,
    name: 'system',
    include: ['test/**/*.test.ts'],
    exclude: [...ATLAS, ...PAGES, ...MOCKING],
    env: MESA,
    globalSetup: ['test/gpu.ts'],
  },
};

/** Pages as users have them. */
const pages = {
  extends: true as const,
  test: { ...onGpu, name: 'pages', include: PAGES },
};

/** Ops and their gradients on the GPU of a page, one for all files; these tests import nothing of Node's. */
const chromium = {
  extends: true as const,
  test: {
    ...onGpu,
    isolate: false,
    name: 'chromium',
    include: [...onAnyGpu('src/{ops,runtime/webgpu,tune}/**/*.test.ts'), 'src/tape/gradients.test.ts'],
    provide: { hasGpu: true, onGpu: true },
    setupFiles: ['test/only-gpu.ts'],
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: CHROMIUM_FOR_KERNELS }),
      instances: [{ browser: 'chromium' as const }],
    },
  },
};

/** What stands on ops, on the GPU of Node; all files share one device, so that its slow compiler meets a kernel once. */
const gpu = {
  extends: true as const,
  test: {
    ...onGpu,
    isolate: false,
    name: 'gpu',
    include: onAnyGpu('src/**/*.test.ts'),
    // What pages test; the backend's own tests run on both.
    exclude: ['src/{ops,tune}/**', 'src/tape/gradients.test.ts', 'src/runtime/webgpu/parts.test.ts'],
    provide: { onGpu: true },
    env: MESA,
    globalSetup: ['test/gpu.ts'],
    setupFiles: ['test/only-gpu.ts'],
  },
};

export default defineConfig({
  test: {
    setupFiles: ['test/seed.ts'],
    // Most processes that tests start run the command line.
    env: { NODE_COMPILE_CACHE: join(tmpdir(), 'saccade-compiled') },
    // A GPU in software compiles each kernel for a second or more, and machines may be busy.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    provide: { seed: Number(process.env.SACCADE_SEED ?? 1), hasGpu: false, onGpu: false, subgroupSizes: [] },
    reporters: ['default', './test/kernel-paths.ts'],
    projects: [alone, node, system, chromium, gpu, pages],
  },
});
