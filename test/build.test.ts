/** What the build makes anew, and what it leaves. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileKernels, modulesOf } from '../scripts/compile-kernels.ts';
import { KERNELS, kernelsOf } from '../scripts/kernels.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'saccade-build-'));
  await write(
    'one.as.ts',
    "import { shared } from './shared.as';\nexport function f(x: i32): i32 { return shared(x); }",
  );
  await write('other.as.ts', 'export function f(x: i32): i32 { return x - 1; }');
  await write('shared.as.ts', 'export function shared(x: i32): i32 { return x + 1; }');
});
afterAll(() => rm(root, { recursive: true, force: true }));

const write = (path: string, text: string) => writeFile(join(root, path), text);
const sources = ['one.as.ts', 'other.as.ts'];
const compile = (modules = modulesOf(sources)) => compileKernels(root, modules, 'made.json');
const outputs = (name: string) => [`${name}.relaxed.wasm`, `${name}.baseline.wasm`];

async function f(path: string): Promise<number> {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536, shared: true });
  const { instance } = await WebAssembly.instantiate(await readFile(join(root, path)), { env: { memory } });
  return (instance.exports.f as (x: number) => number)(5);
}

test('kernels are compiled when they are not what their sources would make', async () => {
  expect(await compile()).toEqual([...outputs('one'), ...outputs('other')]);
  expect(await compile()).toEqual([]);

  await write('shared.as.ts', 'export function shared(x: i32): i32 { return x * 7; }');
  await write('other.relaxed.wasm', 'half of a file');
  const modules = modulesOf(sources).map((module) =>
    module.output === 'other.baseline.wasm' ? { ...module, options: [...module.options, '--debug'] } : module,
  );
  expect(await compile(modules)).toEqual([...outputs('one'), ...outputs('other')]);
  expect([await f('one.baseline.wasm'), await f('other.relaxed.wasm')]).toEqual([35, 4]);

  await write('other.as.ts', 'export function f(x: i32): i32 { return y; }');
  await expect(compile()).rejects.toThrow(/other.as.ts does not compile:.*Cannot find name 'y'/s);
});

test('rooms that are named are built alone', () => {
  expect(kernelsOf(['norm', 'map'])).toEqual([
    ...['src/ops/norm/norm.as.ts', 'src/ops/map/map-operations.as.ts', 'src/ops/map/map.as.ts'],
  ]);
  expect(kernelsOf([])).toBe(KERNELS);
  expect(() => kernelsOf(['norms'])).toThrow(/^rooms must be among .*norm.*, got 'norms'$/);
});
