import { globSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { CHROMIUM_FOR_KERNELS } from './test/chromium.ts';
import { lookAround } from './test/needs.ts';

// Mesa's driver in software compiles kernels in half the time where it optimises none.
const MESA = { GALLIVM_PERF: 'nopt' };

const { missing, subgroupSizes } = await lookAround();
const inNode = { hasGpu: !missing.gpu, subgroupSizes };

/** They replace modules, which those that share a worker must not. */
const MOCKING = [
  ...['src/bench/pytorch.test.ts', 'src/cli/bench.test.ts', 'src/runtime/wasm/pool.test.ts'],
  'test/tune.test.ts',
];
const PAGES = ['test/{bench-browser,browser}.test.ts'];
const ATLAS = ['test/atlas.test.ts', 'atlas/{build,site}/**/*.test.ts'];
/** What trains, measures, kills or waits for seconds: it is left to `npm run test:all`. */
const LONG = [
  ...['src/{bench,experiments,sweep}/**/*.test.ts', 'src/pipelines/{pipelines,anomaly/*,lit/*}.test.ts'],
  'src/cli/{anomaly,bench-*,continual,look,look-regions,paint,reproduce-all,train-pictures,webgpu}.test.ts',
  ...['src/io/fuzz.test.ts', 'src/report/compare-view.test.ts', 'src/runtime/{calls,wasm/{backend,killed}}.test.ts'],
  ...['src/methods/layer.test.ts', 'src/models/{decoder/over-ranks,universal-sentence-encoder/*}.test.ts'],
  ...['src/text/shell.test.ts', 'src/weights/cache.test.ts'],
];
/** Blocks of the README and of the guide, as they are written. */
const DOCUMENTS = ['test/{commands,programs}.test.ts'];
const QUICK = ['test/{cluster,readme,rooms,smoke}.test.ts'];

/** Those of the files that test on a GPU: to load all the others, only to skip what they test, takes long. */
const onAnyGpu = (files: string) =>
  globSync(files).filter((path) =>
    /gpu|wgsl|describeMethod|describeOnBackends|describeWithMachineCode/i.test(readFileSync(path, 'utf8')),
  );

/** Each room in Node: the reference, and WebAssembly. */
const node = {
  extends: true as const,
  test: { isolate: false, name: 'node', include: ['src/**/*.test.ts'], exclude: [...MOCKING, ...LONG] },
};

const long = {
  extends: true as const,
  test: { isolate: false, name: 'long', include: LONG, exclude: MOCKING },
};

const documents = {
  extends: true as const,
  test: { isolate: false, name: 'documents', include: [...DOCUMENTS, ...QUICK], provide: { guide: false } },
};

/** The atlas, whose long test begins before all others, as projects follow each other by name; and what mocks. */
const alone = {
  extends: true as const,
  test: { name: 'alone', include: [...ATLAS, ...MOCKING], env: MESA, provide: inNode },
};

/** What else crosses rooms: the packed package, sweeps, Firefox. */
const system = {
  extends: true as const,
  test: {
    isolate: false,
    name: 'system',
    include: ['test/**/*.test.ts'],
    exclude: [...ATLAS, ...PAGES, ...MOCKING, ...QUICK],
    env: MESA,
    provide: inNode,
  },
};

/** Pages as users have them. */
const pages = {
  extends: true as const,
  test: { name: 'pages', include: PAGES },
};

/** Ops and their gradients on the GPU of a page, one for all files; these tests import nothing of Node's. */
const chromium = {
  extends: true as const,
  test: {
    isolate: false,
    name: 'chromium',
    include: [...onAnyGpu('src/{ops,runtime/webgpu,tune}/**/*.test.ts'), 'src/tape/gradients.test.ts'],
    provide: { hasGpu: true, onGpu: true, missing: {} },
    setupFiles: ['test/only-gpu.ts'],
    browser: {
      enabled: true,
      // One page, beside the workers: what tests on the CPU wait for leaves it a core, and it takes longest.
      fileParallelism: false,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: CHROMIUM_FOR_KERNELS }),
      instances: [{ browser: 'chromium' as const }],
    },
  },
};

/** What stands on ops, on the GPU of Node; the files of a worker share one device, so that its slow compiler meets a kernel once. */
const gpu = {
  extends: true as const,
  test: {
    isolate: false,
    name: 'gpu',
    include: onAnyGpu('src/**/*.test.ts'),
    // What pages test; the backend's own tests run on both.
    exclude: ['src/{ops,tune}/**', 'src/tape/gradients.test.ts', 'src/runtime/webgpu/parts.test.ts'],
    provide: { ...inNode, onGpu: true, missing: {} },
    env: MESA,
    setupFiles: ['test/only-gpu.ts'],
  },
};

export default defineConfig({
  test: {
    // All projects share them, in the order of their names.
    maxWorkers: 2,
    setupFiles: ['test/seed.ts'],
    // Most processes that tests start run the command line.
    env: { NODE_COMPILE_CACHE: join(tmpdir(), 'saccade-compiled') },
    // A GPU in software compiles each kernel for a second or more, and machines may be busy.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    provide: {
      seed: Number(process.env.SACCADE_SEED ?? 1),
      missing,
      guide: true,
      hasGpu: false,
      onGpu: false,
      subgroupSizes: [],
    },
    reporters: ['default', './test/kernel-paths.ts', './test/skipped.ts'],
    projects: [
      ...[alone, node, long, documents, system],
      ...(missing.chromium ? [] : [chromium, pages]),
      ...(missing.gpu ? [] : [gpu]),
    ],
  },
});
