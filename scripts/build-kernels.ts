/**
 * Compiles the kernels twice, with relaxed SIMD and without, and bundles the worker's script; both go as strings into
 * src/runtime/wasm/*.generated.ts, so that the package needs no files beside its modules at run time.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { generateParams } from './generate-params.ts';

const root = resolve(import.meta.dirname, '..');
const wasm = join(root, 'src/runtime/wasm');
const temporary = mkdtempSync(join(tmpdir(), 'saccade-kernels-'));
await generateParams(root);
try {
  write('kernels', { relaxed: compile(['--enable', 'relaxed-simd']), baseline: compile([]) });
  write('worker', { source: await bundle(join(wasm, 'worker.ts')) });
} finally {
  rmSync(temporary, { recursive: true });
}

function compile(features: readonly string[]): string {
  const output = join(temporary, 'kernels.wasm');
  const options = ['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--enable', 'threads', ...features];
  const memory = ['--importMemory', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536'];
  const compiler = fileURLToPath(import.meta.resolve('assemblyscript/bin/asc.js'));
  const args = [compiler, join(wasm, 'assembly/index.ts'), ...options, ...memory, '-o', output];
  execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  return readFileSync(output).toString('base64');
}

async function bundle(input: string): Promise<string> {
  const build = await rolldown({ input, platform: 'neutral' });
  const { output } = await build.generate({ format: 'iife', minify: true });
  await build.close();
  return output[0].code;
}

function write(name: string, constants: Readonly<Record<string, string>>): void {
  const lines = Object.entries(constants).map(
    ([constant, text]) => `export const ${constant} = ${JSON.stringify(text)};`,
  );
  writeFileSync(join(wasm, `${name}.generated.ts`), `${lines.join('\n')}\n`);
}
