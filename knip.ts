import type { KnipConfig } from 'knip';
import { KERNELS } from './scripts/kernels.ts';

export default {
  // What only tests look for by its kind.
  tags: ['-internal'],
  // Debian's: for the recipe of the default model, for sweeps, and for tests of MPI, pipes and machine code.
  ignoreBinaries: ['apt-get', 'dpkg-deb', 'nats-server', 'gcc', 'objdump', 'mkfifo'],
  // Imported by a name that bundlers do not follow.
  ignoreDependencies: ['koffi'],
  workspaces: {
    '.': {
      entry: [
        'src/report/app.ts',
        'src/{attention,cluster}/index.ts',
        // Collected by the build, or run by it.
        'src/papers/*.ts',
        'src/experiments/*/index.ts',
        'src/{runtime/wasm,models/language-model}/worker.ts',
        ...KERNELS,
        'src/{expressions,ops,runtime}/**/params.ts',
        // Bundled for pages by a script.
        'src/sweep/nats.ts',
        // Imported by a generated file.
        'src/runtime/wasm/assembly/operations.as.ts',
        'scripts/*.ts',
        // Run by a script.
        'src/ops/conv/measure-costs.ts',
        'examples/*.ts',
        'test/consumer/*.ts',
      ],
      project: ['src/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts', 'examples/*.ts', '*.config.ts'],
    },
    atlas: {
      entry: ['{config,measure}.ts', 'site/*-page.ts', 'site/{worker,example-worker,service-worker}.ts'],
      project: ['**/*.ts'],
    },
  },
} satisfies KnipConfig;
