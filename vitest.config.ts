import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { CHROMIUM_FOR_KERNELS } from './test/chromium.ts';

// A GPU in software takes a core for itself: the two of them share the first group, one in Node and one in a page.
const onGpu = { isolate: false, maxWorkers: 1, sequence: { groupOrder: 0 } };
const onCpu = { maxWorkers: 2, sequence: { groupOrder: 1 } };

/** Each room in Node: the reference, and WebAssembly. */
const node = {
  extends: true as const,
  test: { ...onCpu, name: 'node', include: ['src/**/*.test.ts'] },
};

/** What crosses rooms: the packed package, the command line, browsers, the atlas. */
const system = {
  extends: true as const,
  test: {
    ...onCpu,
    name: 'system',
    include: ['test/**/*.test.ts', 'atlas/**/*.test.ts'],
    globalSetup: ['test/gpu.ts'],
  },
};

/** The same rooms on Node's GPU, with subgroups where it has them. */
const gpu = {
  extends: true as const,
  test: {
    ...onGpu,
    name: 'gpu',
    include: ['src/**/*.test.ts'],
    provide: { onGpu: true },
    // Mesa's driver in software compiles kernels in half the time where it optimises none.
    env: { GALLIVM_PERF: 'nopt' },
    globalSetup: ['test/gpu.ts'],
    setupFiles: ['test/only-gpu.ts'],
  },
};

/** And on the GPU of a page, without subgroups; these tests import nothing of Node's. */
const chromium = {
  extends: true as const,
  test: {
    ...onGpu,
    name: 'chromium',
    include: ['src/ops/**/*.test.ts', 'src/runtime/webgpu/**/*.test.ts', 'src/tune/**/*.test.ts'],
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

export default defineConfig({
  test: {
    setupFiles: ['test/seed.ts'],
    // A GPU in software compiles each kernel for a second or more.
    testTimeout: 240_000,
    provide: { seed: Number(process.env.SACCADE_SEED ?? 1), hasGpu: false, onGpu: false, subgroupSizes: [] },
    reporters: ['default', './test/kernel-paths.ts'],
    projects: [node, gpu, chromium, system],
  },
});
