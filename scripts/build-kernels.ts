/**
 * Compiles the kernels of each room into files beside their source, with relaxed SIMD and without, and bundles the worker's
 * script as a string into src/runtime/wasm/worker.generated.ts, so that pages may start it whatever bundled them.
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import asc from 'assemblyscript/asc';
import { rolldown } from 'rolldown';
import { generateParams } from './generate-params.ts';
import { KERNELS } from './kernels.ts';

const root = resolve(import.meta.dirname, '..');
const BUILDS = { relaxed: ['--enable', 'relaxed-simd'], baseline: [] };

await generateParams(root);

for (const path of KERNELS) {
  for (const [build, features] of Object.entries(BUILDS)) {
    await compile(path, features, path.replace(/as\.ts$/, `${build}.wasm`));
  }
}
const source = await bundle(join(root, 'src/runtime/wasm/worker.ts'));
writeFileSync(join(root, 'src/runtime/wasm/worker.generated.ts'), `export const source = ${JSON.stringify(source)};\n`);

async function compile(path: string, features: readonly string[], output: string): Promise<void> {
  const options = ['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--enable', 'threads', ...features];
  const memory = ['--importMemory', '--noExportMemory', '--sharedMemory', '--initialMemory', '1'];
  const limits = ['--maximumMemory', '65536', '--baseDir', root, '-o', output];
  const { error, stderr } = await asc.main([path, ...options, ...memory, ...limits]);
  if (error) throw new Error(`${path} does not compile:\n${stderr}`);
}

async function bundle(input: string): Promise<string> {
  const build = await rolldown({ input, platform: 'neutral' });
  const { output } = await build.generate({ format: 'iife', minify: true });
  await build.close();
  return output[0].code;
}
