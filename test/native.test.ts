/** Machine code of the built package: where it cannot be had, and what says so. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** What a program prints that may load no addons. */
function withoutAddons(program: string): string {
  const flags = ['--permission', '--allow-fs-read=*', '--allow-worker', '--no-warnings', '--input-type=module'];
  return execFileSync(process.execPath, [...flags, '-e', program], { cwd: root, encoding: 'utf8' });
}

const OPEN = "import { createRuntime, matmul } from './dist/index.mjs';";

test('a process that may load no addons multiplies in WebAssembly, and says why', () => {
  const said = withoutAddons(`${OPEN}
    const runtime = await createRuntime({ threads: 1 });
    const x = runtime.full([20, 20], 2);
    console.log(runtime.explain(), (await matmul(x, x).read())[0]);
    runtime.dispose();`);
  expect(said).toContain('native code: none (Cannot load native addon because loading addons is disabled.)');
  expect(said).toContain(' 80');
});

test('asked for where it cannot be had, it is an error with the remedy', () => {
  const said = withoutAddons(`${OPEN}
    await createRuntime({ native: true }).catch((error) => console.log(error.name, error.message));`);
  expect(said).toBe(
    "UnsupportedError native code cannot be had: Cannot load native addon because loading addons is disabled.; leave native out, or say 'auto'\n",
  );
});

const hugePages = existsSync('/sys/kernel/mm/transparent_hugepage');

test.runIf(hugePages)('the heap may have huge pages where machine code runs', () => {
  const program = `${OPEN}
    import { readFileSync } from 'node:fs';
    const runtime = await createRuntime({ threads: 1 });
    console.log(runtime.explain().includes('native code: x86-64'), / hg/.test(readFileSync('/proc/self/smaps', 'utf8')));
    runtime.dispose();`;
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: root, encoding: 'utf8' });
  expect(said).toMatch(/^(true true|false false)$/m);
});
