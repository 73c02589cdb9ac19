/**
 * Compiles the kernels of each room into files beside their source, with relaxed SIMD and without, and bundles the worker's
 * script as a string into src/runtime/wasm/worker.generated.ts, so that pages may start it whatever bundled them.
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { rolldown } from 'rolldown';
import { compileKernels, modulesOf } from './compile-kernels.ts';
import { generateParams } from './generate-params.ts';
import { KERNELS } from './kernels.ts';

const root = resolve(import.meta.dirname, '..');

await generateParams(root);
await compileKernels(root, modulesOf(KERNELS), 'src/ops/kernels.generated.json');
const source = await bundle(join(root, 'src/runtime/wasm/worker.ts'));
writeFileSync(join(root, 'src/runtime/wasm/worker.generated.ts'), `export const source = ${JSON.stringify(source)};\n`);

async function bundle(input: string): Promise<string> {
  const build = await rolldown({ input, platform: 'neutral' });
  const { output } = await build.generate({ format: 'iife', minify: true });
  await build.close();
  return output[0].code;
}
