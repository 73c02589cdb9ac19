import { globSync } from 'node:fs';
import { resolve } from 'node:path';

/** The sources of the modules of kernels: in each room the file that has its name, and exports what the others define. */
export const KERNELS: readonly string[] = globSync('src/ops/*/*.as.ts', {
  cwd: resolve(import.meta.dirname, '..'),
}).filter((path) => /\/([\w-]+)\/\1\.as\.ts$/.test(path));
