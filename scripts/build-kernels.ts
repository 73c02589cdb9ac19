/**
 * Generates what kernels share with the library, and compiles those of each room into files beside their source, with
 * relaxed SIMD and without. Rooms that are named are built alone; with --watch they are built again whenever a source is saved.
 */
import { spawnSync } from 'node:child_process';
import { watch } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compileRooms } from './compile-kernels.ts';
import { generate } from './generate.ts';
import { kernelsOf } from './kernels.ts';

const root = resolve(import.meta.dirname, '..');
/** Kernels, params and what workers run, but for what is generated. */
const SOURCE = /^(?!.*\.generated\.).*(\.as|\/params|\/worker)\.ts$/;

const { values, positionals } = parseArgs({ allowPositionals: true, options: { watch: { type: 'boolean' } } });
if (values.watch) buildOnSave(positionals);
else await build(positionals);

async function build(rooms: readonly string[]): Promise<void> {
  const sources = kernelsOf(rooms);
  await generate(root);
  await compileRooms(root, sources);
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
