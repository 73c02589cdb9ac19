/**
 * Builds everything that is generated: kernels and report page into src/, then library and command line into dist/. It leaves
 * all as it is where what it reads and what it made are those of the last build.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { commit } from './commit.ts';
import { hashOf } from './compile-kernels.ts';

const cwd = resolve(import.meta.dirname, '..');
const STAMP = join(cwd, 'scripts/build.generated.json');
const MADE = ['dist/**/*', 'src/**/*.{wasm,generated.*}'];
/** The last is what npm installed. */
const READ = ['{src,scripts}/**/*', '{package,tsconfig}.json', 'tsdown.config.ts', 'node_modules/.package-lock.json'];

const hashOfMade = () => hashOfFiles(MADE, []);
const hashOfRead = () => `${commit()} ${hashOfFiles(READ, ['**/*.{wasm,generated.*,test.ts}'])}`;

function hashOfFiles(include: readonly string[], exclude: readonly string[]): string {
  const paths = globSync(include, { cwd, exclude }).filter((path) => statSync(join(cwd, path)).isFile());
  return hashOf(JSON.stringify(paths.sort().map((path) => [path, hashOf(readFileSync(join(cwd, path)))])));
}

async function build(): Promise<void> {
  for (const script of ['build-kernels', 'build-papers', 'build-report', 'build-sweep']) {
    execFileSync(process.execPath, [`scripts/${script}.ts`], { cwd, stdio: 'inherit' });
  }
  const scripts = ['scripts/check-papers.ts', 'node_modules/tsdown/dist/run.mjs'];
  const processes = scripts.map((script) => spawn(process.execPath, [script], { cwd, stdio: 'inherit' }));
  const codes = await Promise.all(processes.map(async (child) => (await once(child, 'exit'))[0]));
  if (codes.some((code) => code !== 0)) process.exit(1);
}

const read = hashOfRead();
const last = existsSync(STAMP) && readFileSync(STAMP, 'utf8');
if (last !== JSON.stringify({ read, made: hashOfMade() })) {
  rmSync(STAMP, { force: true });
  await build();
  writeFileSync(STAMP, JSON.stringify({ read, made: hashOfMade() }));
}
