/** Builds everything that is generated: kernels and report page into src/, then library and command line into dist/. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

const cwd = resolve(import.meta.dirname, '..');

for (const step of [
  'scripts/build-kernels.ts',
  'scripts/build-papers.ts',
  'scripts/build-report.ts',
  'scripts/build-sweep.ts',
  'node_modules/tsdown/dist/run.mjs',
]) {
  execFileSync(process.execPath, [step], { cwd, stdio: 'inherit' });
}
