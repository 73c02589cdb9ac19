/** A page that calls `attention`, as four bundlers make it of the built package: what it fetches, and that it computes. */
import { cp, glob, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import nodeResolve from '@rollup/plugin-node-resolve';
import { build } from 'esbuild';
import type { Browser } from 'playwright-core';
import { rollup } from 'rollup';
import { preview } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import webpack from 'webpack';
import { attention, createRuntime } from '../src/index';
import * as masks from '../src/masks';
import { expectClose } from './expect';
import { bundlePage, launchChromium } from './page';

const root = resolve(import.meta.dirname, '..');
const SHAPE = [1, 96, 2, 16];
const WINDOW = [20, 0] as const;

/** Compressed by gzip. */
const MOST_BYTES = 100_000;
/** Of what esbuild makes: one file, in which the code for GPUs is too. */
const MOST_BYTES_IN_ONE = 130_000;
/** What stays in minified scripts of the parser and of another room. */
const NEEDLESS = /ecmaVersion|depthwise/;

const PAGE = `
import { attention, createRuntime } from 'saccade';
import * as masks from 'saccade/masks';
globalThis.attend = async () => {
  const runtime = await createRuntime();
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(${JSON.stringify(SHAPE)}, { seed }));
  const { out } = await attention(q, k, v, { mask: masks.causal(), window: ${JSON.stringify(WINDOW)} });
  return Array.from(await out.read());
};`;
const HTML = '<!doctype html><link rel="icon" href="data:," /><script type="module" src="./page.js"></script>';

let project: string;
let browser: Browser;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'saccade-bundled-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(root, join(project, 'node_modules/saccade'));
  await writeFile(join(project, 'page.js'), PAGE);
  await writeFile(join(project, 'index.html'), HTML);
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await rm(project, { recursive: true, force: true });
});

test('Vite', () => expectSmallPage((folder) => bundlePage(project, folder)));

test('webpack', () =>
  expectSmallPage(async (path) => {
    const entry = './page.js';
    const compiler = webpack({ mode: 'production', context: project, entry, output: { path, filename: 'page.js' } });
    const stats = await promisify(compiler.run.bind(compiler))();
    const { errors = [], warnings = [] } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? {};
    return [...errors, ...warnings].map(({ message }) => message);
  }));

test('Rollup', () =>
  expectSmallPage(async (dir) => {
    const warnings: string[] = [];
    const onwarn = ({ message }: { readonly message: string }) => warnings.push(message);
    const bundle = await rollup({ input: join(project, 'page.js'), plugins: [nodeResolve()], onwarn });
    await bundle.write({ dir });
    await copyKernels(dir);
    return warnings;
  }));

test('esbuild', () =>
  expectSmallPage(async (outdir) => {
    const entryPoints = [join(project, 'page.js')];
    const { warnings } = await build({
      entryPoints,
      bundle: true,
      minify: true,
      format: 'esm',
      outdir,
    });
    await copyKernels(outdir);
    return warnings.map(({ text }) => text);
  }, MOST_BYTES_IN_ONE));

/** The page that `bundle` makes in a folder, without warnings, computes what the reference does, of few files. */
async function expectSmallPage(bundle: (folder: string) => Promise<string[]>, most = MOST_BYTES): Promise<void> {
  const folder = await mkdtemp(join(project, 'bundled-'));
  expect(await bundle(folder)).toEqual([]);
  await cp(join(project, 'index.html'), join(folder, 'index.html'), { force: false });
  const { numbers, fetched } = await attendInPage(folder);
  expectClose(numbers, await expected(), 1e-5);
  const kernels = fetched.filter(({ path }) => path.endsWith('.wasm')).map(({ body }) => body);
  expect(kernels).toEqual([await readFile(join(root, 'src/ops/attention/attention.relaxed.wasm'))]);
  expect(fetched.filter(({ path, body }) => path.endsWith('.js') && NEEDLESS.test(body.toString()))).toEqual([]);
  expect(fetched.reduce((sum, { body }) => sum + gzipSync(body).length, 0)).toBeLessThan(most);
}

/** For bundlers that leave `new URL('./x.wasm', import.meta.url)` as it is. */
async function copyKernels(folder: string): Promise<void> {
  for await (const file of glob(join(project, 'node_modules/saccade/dist/ops/*/*.wasm'))) {
    await cp(file, join(folder, basename(file)));
  }
}

async function expected(): Promise<Float32Array> {
  using runtime = await createRuntime({ backend: 'reference' });
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(SHAPE, { seed }));
  const { out } = await attention(q!, k!, v!, { mask: masks.causal(), window: WINDOW });
  return (await out.read()) as Float32Array;
}

interface Fetched {
  readonly path: string;
  readonly body: Buffer;
}

/** What the page in a folder computes, and all that it fetches. */
async function attendInPage(outDir: string): Promise<{ numbers: number[]; fetched: Fetched[] }> {
  const server = await preview({ configFile: false, build: { outDir }, preview: { port: 0 } });
  const page = await browser.newPage();
  const fetched: Promise<Fetched>[] = [];
  page.on('response', (response) => {
    fetched.push(response.body().then((body) => ({ path: new URL(response.url()).pathname, body })));
  });
  try {
    await page.goto(server.resolvedUrls?.local[0] as string);
    const numbers = await page.evaluate(() => (globalThis as unknown as { attend(): Promise<number[]> }).attend());
    return { numbers, fetched: await Promise.all(fetched) };
  } finally {
    await page.close();
    await server.close();
  }
}
