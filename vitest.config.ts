import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { CHROMIUM_FOR_KERNELS } from './test/chromium.ts';

/** The operations on Node's GPU, on the CPU, and whatever else there is. */
const node = {
  extends: true as const,
  test: {
    name: 'node',
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'atlas/**/*.test.ts'],
    globalSetup: ['test/gpu.ts'],
  },
};

/** The operations on the GPU of a page; these tests import nothing of Node's. */
const chromium = {
  extends: true as const,
  test: {
    name: 'chromium',
    include: ['src/ops/**/*.test.ts', 'src/runtime/webgpu/**/*.test.ts', 'src/tune/**/*.test.ts'],
    provide: { hasGpu: true },
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
    // The machine may have two cores and the kernels bring threads of their own.
    maxWorkers: 2,
    provide: { seed: Number(process.env.SACCADE_SEED ?? 1), hasGpu: false, subgroupSizes: [] },
    projects: [node, chromium],
  },
});
