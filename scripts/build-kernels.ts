/**
 * Compiles the kernels of each room into files beside their source, with relaxed SIMD and without, and bundles the workers'
 * scripts as strings into worker.generated.ts beside them, so that pages may start them whatever bundled them. Rooms that
 * are named are built alone; with --watch they are built again whenever a source is saved.
 */
import { spawnSync } from 'node:child_process';
import { watch, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from './bundle.ts';
import { compileKernels, modulesOf } from './compile-kernels.ts';
import { generateConstants } from './generate-constants.ts';
import { generateOperations } from './generate-operations.ts';
import { generateParams } from './generate-params.ts';
import { kernelsOf } from './kernels.ts';

const root = resolve(import.meta.dirname, '..');
const WORKERS = ['src/runtime/wasm/worker.ts', 'src/models/language-model/worker.ts'];
/** Kernels, params and what workers run, but for what is generated. */
const SOURCE = /^(?!.*\.generated\.).*(\.as|\/params|\/worker)\.ts$/;

const { values, positionals } = parseArgs({ allowPositionals: true, options: { watch: { type: 'boolean' } } });
if (values.watch) buildOnSave(positionals);
else await build(positionals);

async function build(rooms: readonly string[]): Promise<void> {
  const sources = kernelsOf(rooms);
  await generateParams(root);
  generateConstants(root);
  generateOperations(root);
  const outputs = await compileKernels(root, modulesOf(sources), 'src/ops/kernels.generated.json');
  if (outputs.length > 0) console.log(`compiled ${outputs.map((path) => basename(path)).join(', ')}`);
  for (const worker of WORKERS) {
    const { code, notices } = await bundle(join(root, worker), 'iife');
    const kept = notices && `/*!\n${notices}\n*/\n`;
    writeFileSync(
      join(root, worker.replace('.ts', '.generated.ts')),
      `export const source = ${JSON.stringify(`${kept}${code.trim()}`)};\n`,
    );
  }
}

/** Each build is a process of its own, which imports the params as they are by then. */
function buildOnSave(rooms: readonly string[]): void {
  const rebuild = () => spawnSync(process.execPath, [import.meta.filename, ...rooms], { stdio: 'inherit' });
  rebuild();
  let pending: NodeJS.Timeout | undefined;
  watch(join(root, 'src'), { recursive: true }, (_, path) => {
    if (!path || !SOURCE.test(path)) return;
    clearTimeout(pending);
    // Editors save a file in several steps.
    pending = setTimeout(rebuild, 50);
  });
}
