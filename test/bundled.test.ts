/**
 * Pages that call `attention`, as four bundlers make them of the built package, and that run or train a decoder: what they
 * fetch, and that they compute.
 */
import { createHash } from 'node:crypto';
import { cp, glob, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import nodeResolve from '@rollup/plugin-node-resolve';
import { build, transform } from 'esbuild';
import type { Browser } from 'playwright-core';
import { rollup } from 'rollup';
import { preview } from 'vite';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import webpack from 'webpack';
import { attention, createRuntime, differentiate, type Runtime } from '../src/index';
import * as masks from '../src/masks';
import { createDecoder } from '../src/models';
import { expectClose } from './expect';
import { has } from './has';
import { bundlePage, launchChromium } from './page';

const root = resolve(import.meta.dirname, '..');
const SHAPE = [1, 96, 2, 16];
const WINDOW = [20, 0] as const;

interface Page {
  /** Puts its numbers into `globalThis.compute`. */
  readonly script: string;
  readonly expected: () => Promise<Float32Array>;
  /** The rooms, or parts of them, whose kernels it fetches. */
  readonly kernels: readonly string[];
  /** What stays in minified scripts of the parser and of other rooms. */
  readonly needless: RegExp;
  /** For all that it fetches: scripts, kernels and the page itself, each compressed by gzip. */
  readonly mostBytes: number;
}

const ATTENTION: Page = {
  script: `
import { attention, createRuntime } from 'saccade';
import * as masks from 'saccade/masks';
globalThis.compute = async () => {
  const runtime = await createRuntime();
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(${JSON.stringify(SHAPE)}, { seed }));
  const { out } = await attention(q, k, v, { mask: masks.causal(), window: ${JSON.stringify(WINDOW)} });
  return Array.from(await out.read());
};`,
  async expected() {
    using runtime = await createRuntime({ backend: 'reference' });
    const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(SHAPE, { seed }));
    const { out } = attention(q!, k!, v!, { mask: masks.causal(), window: WINDOW });
    return (await out.read()) as Float32Array;
  },
  kernels: ['attention'],
  needless: /ecmaVersion|packKernels/,
  mostBytes: 66_800,
};

const CONFIG = {
  ...{ model_type: 'llama', vocab_size: 32, hidden_size: 16, intermediate_size: 24 },
  ...{ num_hidden_layers: 2, num_attention_heads: 2, initializer_range: 0.3 },
};
const TOKENS = Array.from({ length: 20 }, (_, at) => at);
const [PROMPT, ALL] = [TOKENS.length - 1, TOKENS.length];
const WEIGHT = 'model.layers.0.self_attn.q_proj.weight';
const decoderPage = (more: string) => `
import { createRuntime, differentiate } from 'saccade';
import { createDecoder } from 'saccade/models';
globalThis.compute = async () => {
  const runtime = await createRuntime();
  const decoder = createDecoder(${JSON.stringify(CONFIG)});
  const parameters = decoder.initialize(runtime);
  const tokens = runtime.tensor(${JSON.stringify(TOKENS)}, [1, ${ALL}], 'i32');
  const cache = decoder.cache(runtime, { capacity: 32 });
  decoder.step(parameters, tokens.slice(1, 0, ${PROMPT}), cache);
  const logits = [...await decoder.step(parameters, tokens.slice(1, ${PROMPT}, ${ALL}), cache).read()];
  ${more}
};`;

/** The decoder in float64, its parameters, and the logits behind the last token. */
async function decoded(runtime: Runtime) {
  const decoder = createDecoder(CONFIG);
  const parameters = decoder.initialize(runtime);
  const tokens = runtime.tensor(TOKENS, [1, ALL], 'i32');
  const logits = await decoder.forward(parameters, tokens).slice(1, PROMPT, ALL).read();
  return { decoder, parameters, tokens, logits };
}

const OF_DECODER = [
  ...['attention', 'attention-decode', 'cache', 'copy', 'gather', 'map', 'map-operations', 'matmul', 'norm', 'rope'],
];

/** A decoder of exact attention, its default: the logits behind a prompt and one token more, from a cache. */
const DECODER: Page = {
  script: decoderPage('return logits;'),
  async expected() {
    using runtime = await createRuntime({ backend: 'reference' });
    return (await decoded(runtime)).logits as Float32Array;
  },
  kernels: OF_DECODER,
  // The parser, the registry, what pages of the atlas show, and methods, each by its arXiv number, but that of exact attention.
  needless: /ecmaVersion|stochastic-attention|sinks lost|(?!1706.03762)\d{4}\.\d{5}/,
  mostBytes: 149_900,
};

/** The same, and a gradient of the loss. */
const TRAINING: Page = {
  ...DECODER,
  script: decoderPage(`
  const { gradients } = differentiate((p) => decoder.loss(p, tokens, tokens), parameters);
  return [...logits, ...await gradients[${JSON.stringify(WEIGHT)}].read()];`),
  async expected() {
    using runtime = await createRuntime({ backend: 'reference' });
    const { decoder, parameters, tokens, logits } = await decoded(runtime);
    const { gradients } = differentiate((p) => decoder.loss(p, tokens, tokens), parameters);
    return Float32Array.from([...logits, ...(await gradients[WEIGHT]!.read())]);
  },
  kernels: [...OF_DECODER, 'attention-backward', 'cross-entropy', 'reduce', 'scatter-add'],
  mostBytes: 165_200,
};
const HTML = '<!doctype html><link rel="icon" href="data:," /><script type="module" src="./page.js"></script>';

let project: string;
const hasChromium = has('chromium');
let browser: Browser;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'saccade-bundled-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(root, join(project, 'node_modules/saccade'));
  await writeFile(join(project, 'index.html'), HTML);
  if (hasChromium) browser = await launchChromium();
});
beforeEach(({ skip }) => skip(!hasChromium));

afterAll(async () => {
  await browser?.close();
  await rm(project, { recursive: true, force: true });
});

const vite = (folder: string) => bundlePage(project, folder);

test('Vite', () => expectSmallPage(ATTENTION, vite));
test('Vite, a decoder', () => expectSmallPage(DECODER, vite));
test('Vite, training of a decoder', () => expectSmallPage(TRAINING, vite));

test('webpack', () =>
  expectSmallPage(ATTENTION, async (path) => {
    const entry = './page.js';
    const compiler = webpack({ mode: 'production', context: project, entry, output: { path, filename: 'page.js' } });
    const stats = await promisify(compiler.run.bind(compiler))();
    const { errors = [], warnings = [] } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? {};
    return [...errors, ...warnings].map(({ message }) => message);
  }));

test('Rollup', () =>
  expectSmallPage(ATTENTION, async (dir) => {
    const warnings: string[] = [];
    const onwarn = ({ message }: { readonly message: string }) => warnings.push(message);
    const bundle = await rollup({ input: join(project, 'page.js'), plugins: [nodeResolve()], onwarn });
    const minify = {
      name: 'minify',
      renderChunk: async (code: string) => (await transform(code, { minify: true, format: 'esm' })).code,
    };
    await bundle.write({ dir, plugins: [minify] });
    await copyKernels(dir);
    return warnings;
  }));

const esbuild = async (outdir: string) => {
  const entryPoints = [join(project, 'page.js')];
  const settings = { bundle: true, splitting: true, minify: true, format: 'esm' } as const;
  const { warnings } = await build({ entryPoints, ...settings, outdir });
  await copyKernels(outdir);
  return warnings.map(({ text }) => text);
};

// It keeps in the first file what `saccade` exports and any later file needs, so the page imports the room alone.
test('esbuild', () =>
  expectSmallPage({ ...ATTENTION, script: ATTENTION.script.replace("'saccade'", "'saccade/attention'") }, esbuild));

/** The page that `bundle` makes in a folder, without warnings, computes what the reference does, of few files. */
async function expectSmallPage(
  { script, expected, kernels, needless, mostBytes }: Page,
  bundle: (folder: string) => Promise<string[]>,
): Promise<void> {
  const folder = await mkdtemp(join(project, 'bundled-'));
  await writeFile(join(project, 'page.js'), script);
  expect(await bundle(folder)).toEqual([]);
  await cp(join(project, 'index.html'), join(folder, 'index.html'), { force: false });
  const { numbers, fetched } = await computeInPage(folder);
  expectClose(numbers, await expected(), 1e-5);
  const rooms = await roomsByKernels();
  const binaries = fetched.filter(({ path }) => path.endsWith('.wasm')).map(({ body }) => rooms.get(idOf(body)));
  // Bundlers may put the smallest into a script.
  expect(kernels).toEqual(expect.arrayContaining(binaries));
  expect(fetched.filter(({ path, body }) => path.endsWith('.js') && needless.test(body.toString()))).toEqual([]);
  const bytes = fetched.reduce((sum, { body }) => sum + gzipSync(body).length, 0);
  expect(bytes).toBeLessThan(mostBytes);
}

const idOf = (body: Buffer) => createHash('sha256').update(body).digest('hex');

/** The room, or part of it, that each file of kernels, whatever a bundler calls it, is of. */
async function roomsByKernels(): Promise<Map<string, string>> {
  const rooms = new Map<string, string>();
  for await (const file of glob(join(root, 'src/ops/*/*.relaxed.wasm')))
    rooms.set(idOf(await readFile(file)), basename(file, '.relaxed.wasm'));
  return rooms;
}

/** For bundlers that leave `new URL('./x.wasm', import.meta.url)` as it is. */
async function copyKernels(folder: string): Promise<void> {
  for await (const file of glob(join(project, 'node_modules/saccade/dist/ops/*/*.wasm'))) {
    await cp(file, join(folder, basename(file)));
  }
}

interface Fetched {
  readonly path: string;
  readonly body: Buffer;
}

/** What the page in a folder computes, and all that it fetches. */
async function computeInPage(outDir: string): Promise<{ numbers: number[]; fetched: Fetched[] }> {
  const server = await preview({ configFile: false, build: { outDir }, preview: { port: 0 } });
  const page = await browser.newPage();
  const fetched: Promise<Fetched>[] = [];
  page.on('response', (response) => {
    fetched.push(response.body().then((body) => ({ path: new URL(response.url()).pathname, body })));
  });
  try {
    await page.goto(server.resolvedUrls?.local[0] as string);
    const numbers = await page.evaluate(() => (globalThis as unknown as { compute(): Promise<number[]> }).compute());
    return { numbers, fetched: await Promise.all(fetched) };
  } finally {
    await page.close();
    await server.close();
  }
}
