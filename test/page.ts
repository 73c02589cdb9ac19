import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import ts from 'typescript';
import { build, createLogger, preview } from 'vite';
import type { RuntimeOptions } from '../src/index';
import { CHROMIUM_FOR_KERNELS } from './chromium.ts';
import type { Agreement, agreement } from './consumer/agreement';
import type { Firefox } from './firefox';

/** The headers that make a page cross-origin isolated, which is what threads in a browser need. */
export const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** A headless Chromium of the machine's own, with WebGPU or without; playwright-core downloads none. */
export function launchChromium(hasGpu = true): Promise<Browser> {
  const args = CHROMIUM_FOR_KERNELS.args.filter((arg) => hasGpu || arg !== '--enable-unsafe-webgpu');
  return chromium.launch({ ...CHROMIUM_FOR_KERNELS, args });
}

/**
 * Writes the consumer into a project that has the package: its page, its sources, and `main.js`, which takes a runtime's
 * options and prints what `agreement` found.
 */
export async function writeConsumer(project: string): Promise<void> {
  const folder = resolve(import.meta.dirname, 'consumer');
  for (const name of await readdir(folder)) {
    const text = await readFile(join(folder, name), 'utf8');
    const source = text.replaceAll(/'\.\.\/\.\.\/src\/([\w-]+)'/g, (_, room) =>
      room === 'index' ? "'saccade'" : `'saccade/${room}'`,
    );
    await writeFile(join(project, name), source);
    if (name !== 'agreement.ts') continue;
    await writeFile(join(project, 'agreement.js'), ts.transpile(source, { target: ts.ScriptTarget.ES2022 }));
  }
  const main = `import { agreement } from './agreement.js';
    console.log(JSON.stringify(await agreement(JSON.parse(process.argv[2]))));`;
  await writeFile(join(project, 'main.js'), main);
}

/**
 * Bundles the page in `root` into `outDir` as a user of Vite would, with nothing configured but that workers are modules,
 * since others have no dynamic imports; returns its warnings.
 */
export async function bundlePage(root: string, outDir: string): Promise<string[]> {
  const warnings: string[] = [];
  const customLogger = { ...createLogger('silent'), warn: (message: string) => warnings.push(message) };
  await build({
    configFile: false,
    root,
    logLevel: 'warn',
    customLogger,
    worker: { format: 'es' },
    // A busy machine is no fault of the page.
    build: { outDir, emptyOutDir: true, rolldownOptions: { checks: { pluginTimings: false } } },
  });
  return warnings;
}

/**
 * Serves a bundled page with `headers` and runs one of its checks with `options`, that of agreement also in a worker of
 * its own; whatever the page logs as an error comes too.
 */
export async function agreementInPage(
  browser: Browser,
  outDir: string,
  headers: Record<string, string>,
  options: RuntimeOptions = {},
  beforeLoad: () => void = () => undefined,
  check: 'agreement' | 'agreementInBrief' | 'agreementInWorker' | 'killed' = 'agreement',
): Promise<{ report: Agreement; isolated: boolean; errors: string[] }> {
  await using served = await servedPage(browser, outDir, headers);
  const { page, errors } = served;
  await page.addInitScript(beforeLoad);
  await page.goto(served.url);
  const report = await page.evaluate(
    ({ options, check }) => (globalThis as unknown as Record<typeof check, typeof agreement>)[check](options),
    { options, check },
  );
  return { report, isolated: await page.evaluate(() => crossOriginIsolated), errors };
}

/** A page that is not loaded yet, with the address of what was bundled and what it logs as errors. */
export async function servedPage(browser: Browser, outDir: string, headers: Record<string, string>) {
  const server = await preview({ configFile: false, build: { outDir }, preview: { port: 0, headers } });
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  return {
    page,
    errors,
    url: server.resolvedUrls?.local[0] as string,
    async [Symbol.asyncDispose]() {
      await page.close();
      await server.close();
    },
  };
}

/** The same in Firefox. */
export async function agreementInFirefox(
  firefox: Firefox,
  outDir: string,
  headers: Record<string, string>,
  options: RuntimeOptions = {},
  check: 'agreement' | 'killed' = 'agreement',
): Promise<{ report: Agreement; errors: string[] }> {
  const server = await preview({ configFile: false, build: { outDir }, preview: { port: 0, headers } });
  try {
    const url = server.resolvedUrls?.local[0] as string;
    const { value, errors } = await firefox.evaluate<Agreement>(url, `${check}(${JSON.stringify(options)})`);
    return { report: value, errors };
  } finally {
    await server.close();
  }
}
