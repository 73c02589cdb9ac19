/**
 * Builds everything that is generated: kernels and report page into src/, then library and command line into dist/. It leaves
 * all as it is where what it reads and what it made are those of the last build.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { commit } from './commit.ts';
import { compileRooms, hashOf } from './compile-kernels.ts';
import { generate } from './generate.ts';
import { KERNELS } from './kernels.ts';

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
  await generate(cwd);
  for (const script of ['papers', 'report', 'sweep']) await run(`scripts/build-${script}.ts`);
  await Promise.all([compileRooms(cwd, KERNELS), run('node_modules/tsdown/dist/run.mjs')]);
  for (const path of globSync('src/**/*.wasm', { cwd })) {
    cpSync(join(cwd, path), join(cwd, path.replace('src', 'dist')));
  }
}

async function run(script: string): Promise<void> {
  const [code] = await once(spawn(process.execPath, [script], { cwd, stdio: 'inherit' }), 'exit');
  if (code !== 0) throw new Error(`${script} failed`);
}

const read = hashOfRead();
const last = existsSync(STAMP) && readFileSync(STAMP, 'utf8');
if (last !== JSON.stringify({ read, made: hashOfMade() })) {
  rmSync(STAMP, { force: true });
  await build();
  writeFileSync(STAMP, JSON.stringify({ read, made: hashOfMade() }));
}
