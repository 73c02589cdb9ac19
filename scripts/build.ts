/** Builds everything that is generated: kernels and report page into src/, then library and command line into dist/. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const steps = ['scripts/build-kernels.ts', 'scripts/build-report.ts', 'node_modules/tsdown/dist/run.mjs'];

/** The first `npx saccade` links the checkout into npx's cache and prepares it once more; `npm ci` has built it. */
const preparedByNpx = process.env.npm_command === 'exec' && existsSync(`${root}/dist/cli/bin.mjs`);

if (!preparedByNpx) {
  for (const step of steps) execFileSync(process.execPath, [step], { cwd: root, stdio: 'inherit' });
}
