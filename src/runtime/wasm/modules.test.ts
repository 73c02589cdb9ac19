import { globSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { operationsKernels } from '../../ops/map/params.generated';
import { kernelsAt } from '../native/calls';
import type { KernelFiles } from './files';
import { openHeap } from './memory';
import { Modules } from './modules';
import { instantiate, openTable, PARAMS } from './schedule';

const gather = new URL('../../ops/gather/gather.baseline.wasm', import.meta.url);
const open = () => new Modules(openHeap(), 'baseline', 2, operationsKernels);
const filesAt = (baseline: () => URL): KernelFiles => ({ relaxed: () => expect.fail('the other build'), baseline });

/** What the server has at each path, for as long as it is there. */
const served = new Map<string, Uint8Array | string>();
const server = createServer(({ url }, response) => {
  const content = served.get(url as string);
  response.writeHead(content === undefined ? 404 : 200).end(content);
});
let origin: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

test.each([
  ['a file', async () => gather],
  ['a data: URL', async () => new URL(`data:application/wasm;base64,${await readFile(gather, 'base64')}`)],
  [
    'a server',
    async () => {
      served.set('/gather.wasm', await readFile(gather));
      return new URL('/gather.wasm', origin);
    },
  ],
])('of %s, once, and from then on at once', async (_, urlOf) => {
  const url = await urlOf();
  const modules = open();
  const files = filesAt(() => url);
  const loading = modules.of(files);
  expect(modules.of(files)).toBe(loading);
  const module = await loading;
  expect(module).toMatchObject({ names: ['gather'], scratchBytes: 0 });
  expect(modules.of(files)).toBe(module);
});

test('a room has working memory for all threads, apart from the bytes of its module', async () => {
  const heap = openHeap();
  const url = new URL('../../ops/matmul/matmul.baseline.wasm', import.meta.url);
  const { address, length, scratch, scratchBytes } = await new Modules(heap, 'baseline', 2, operationsKernels).of(
    filesAt(() => url),
  );
  const told = instantiate(new WebAssembly.Module(await readFile(url)), heap.memory, openTable(), kernelsAt(undefined));
  expect(scratchBytes).toBe(told.scratchBytes);
  expect(scratchBytes).toBeGreaterThan(0);
  expect(new Uint8Array(heap.memory.buffer, address, length)).toEqual(new Uint8Array(await readFile(url)));
  expect([address + length <= scratch, scratch + 3 * scratchBytes <= heap.take(1).address]).toEqual([true, true]);
});

test('modules put their constants before the params of the job at hand, which a worker meets them in', () => {
  const files = globSync('src/ops/*/*.wasm');
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) {
    const { memory } = openHeap();
    const rest = new Uint8Array(memory.buffer, PARAMS).fill(99);
    instantiate(new WebAssembly.Module(readFileSync(file)), memory, openTable(), kernelsAt(undefined));
    expect(
      rest.every((byte) => byte === 99),
      file,
    ).toBe(true);
  }
});

test.each([
  ['a file that is not there', () => new URL('./absent.wasm', import.meta.url), /absent\.wasm \(ENOENT/],
  ['a path that a server does not have', () => new URL('/absent.wasm', origin), /absent\.wasm \(status 404\)/],
  ['a page in its place', () => new URL('/page', origin), /page \(WebAssembly\.compile\(\): expected magic word/],
  ['no server', () => new URL('http://127.0.0.1:1/x.wasm'), /x\.wasm \(fetch failed\)/],
  ['a script without a place', () => new URL('./x.wasm', undefined), /beside their module \(Invalid URL\)/],
])('%s: an error that says what to do', async (_, urlOf, message) => {
  served.set('/page', '<!doctype html>');
  const failing = (async () => open().of(filesAt(urlOf)))();
  await expect(failing).rejects.toMatchObject({ name: 'BackendError', message: expect.stringMatching(message) });
  await expect(failing).rejects.toThrow(/a bundler must take .* as the README shows, .* allow them in connect-src/);
});

test('the operations of programs come with the first module that runs one, and are tried again too', async () => {
  const serve = async (name: string) =>
    served.set(`/${name}.wasm`, await readFile(new URL(`../../ops/map/${name}.baseline.wasm`, import.meta.url)));
  const at = (name: string) => filesAt(() => new URL(`/${name}.wasm`, origin));
  const modules = new Modules(openHeap(), 'baseline', 2, at('map-operations'));
  await serve('map');
  const files = at('map');
  const plain = await modules.of(files);
  expect(plain).toMatchObject({ names: ['map'], operations: undefined });
  await expect(modules.interpreting(files)).rejects.toThrow('map-operations.wasm (status 404)');
  await serve('map-operations');
  const { length } = served.get('/map-operations.wasm') as Uint8Array;
  expect(await modules.interpreting(files)).toMatchObject({ names: ['map'], operations: { length } });
  expect(modules.interpreting(files)).toBe(plain);
});

test('what could not be loaded is tried again by the next call', async () => {
  const modules = open();
  const files = filesAt(() => new URL('/late.wasm', origin));
  await expect(modules.of(files)).rejects.toThrow('status 404');
  served.set('/late.wasm', await readFile(gather));
  expect(await modules.of(files)).toMatchObject({ names: ['gather'] });
});
