/** The atlas as it is built: every page in Chromium, with and without the server, by eye, hand and screen reader. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import axe from 'axe-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { atlasConfig } from '../scripts/atlas.ts';
import { methods } from '../src/index';
import { papers } from '../src/methods/papers';
import { printedBy } from './examples';
import { ISOLATION, launchChromium } from './page';

const ROOT = resolve(import.meta.dirname, '..');
const DIST = join(ROOT, 'atlas/dist');
/** Any path will do. */
const BASE = '/under/some/path/';

let browser: Browser;
let server: PreviewServer;
let url: string;

const serve = (headers: Record<string, string>) =>
  preview({
    configFile: false,
    root: join(ROOT, 'atlas'),
    base: BASE,
    build: { outDir: DIST },
    preview: { port: 0, headers },
  });

beforeAll(async () => {
  await build(await atlasConfig());
  [browser, server] = await Promise.all([launchChromium(), serve(ISOLATION)]);
  url = server.resolvedUrls?.local[0] as string;
}, 240_000);
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const live = (name: string) => `[data-live="${name}"]`;

/** A page that must not complain, nor ask another host for anything. */
async function open(context: BrowserContext, path: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(url)) complaints.push(request.url());
  });
  await page.goto(url + path);
  return { page, complaints };
}

/** The states of the parts that work by themselves, once they are there. */
async function settled(page: Page): Promise<Record<string, string>> {
  await page.waitForFunction(() =>
    Array.from(document.querySelectorAll<HTMLElement>('[data-live]:not(:has([data-run]))')).every(({ dataset }) =>
      ['done', 'error'].includes(dataset.state as string),
    ),
  );
  return page.$$eval('[data-live]', (parts) =>
    Object.fromEntries((parts as HTMLElement[]).map(({ dataset }) => [dataset.live, dataset.state])),
  );
}

async function grave(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 160)}`);
  });
}

/** What is drawn beyond the right edge, but for what scrolls in a box of its own. */
const tooWide = (page: Page) =>
  page.evaluate(() =>
    Array.from(document.querySelectorAll('body *'))
      .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
      .filter((element) => !element.closest('.scroll, pre, .formula, .hidden, .katex-mathml'))
      .map((element) => `${element.tagName} ${element.getAttribute('class')}`),
  );

describe('the list', () => {
  test('has each paper with its methods, or says what is missing; its bytes are few', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const sizes: Promise<number>[] = [];
    context.on('response', (response) => sizes.push(response.body().then((body) => gzipSync(body).length)));
    const { page, complaints } = await open(context, 'index.html');
    const bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    expect(bytes).toBeLessThan(150_000);
    const rows = await page.$$eval('[data-paper]', (elements) =>
      (elements as HTMLElement[]).map((row) => ({
        arxiv: row.dataset.paper as string,
        text: row.textContent as string,
        links: Array.from(row.querySelectorAll('a'), (link) => link.getAttribute('href')),
        missing: row.querySelector('[data-missing]')?.textContent,
      })),
    );
    expect(rows.map(({ arxiv }) => arxiv)).toEqual(papers.map(({ arxiv }) => arxiv));
    for (const [at, { title, methods: names }] of papers.entries()) {
      const { text, links, missing = '' } = rows[at] as (typeof rows)[number];
      expect(text).toContain(title);
      for (const name of names) {
        if (methods.some((method) => method.name === name)) expect(links).toContain(`methods/${name}/index.html`);
        else expect(missing).toContain(name);
      }
    }
    expect(await grave(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('answers to words and filters at once, and its address restores them', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const { page, complaints } = await open(context, 'index.html');
    const shown = () => page.$$eval('tr.method:not([hidden])', (rows) => rows.map(({ id }) => id));
    await page.fill('input[type=search]', 'powers distances');
    expect(await shown()).toEqual([]);
    expect(await page.isVisible('#nothing')).toBe(true);
    await page.fill('input[type=search]', 'Diffusion');
    expect(await shown()).toEqual(['optiprune', 'dydila']);
    await page.check('[name=training][value=needed]');
    expect(await shown()).toEqual(['dydila']);
    expect(await page.getAttribute(live('search'), 'data-state')).toBe('done');
    const address = page.url();
    await page.goto('about:blank');
    await page.goto(address);
    expect(await shown()).toEqual(['dydila']);
    await page.goto(`${address}&cost=%E0%A4%A&family=nonsense`);
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('every page of a method', () => {
  test.each(methods.map(({ name }) => name))('%s', async (name) => {
    const context = await browser.newContext({ serviceWorkers: 'block', viewport: { width: 1280, height: 800 } });
    const { page, complaints } = await open(context, `methods/${name}/index.html`);
    const states = await settled(page);
    const masked = methods.find((method) => method.name === name)?.mask ? { mask: 'done', reach: 'done' } : {};
    expect(states).toEqual({ ...masked, cost: 'done', run: 'idle', code: 'done' });
    expect(await grave(page)).toEqual([]);
    await page.setViewportSize({ width: 360, height: 800 });
    await page.waitForTimeout(100);
    expect(await tooWide(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('runs on the processor and on the GPU, right in every digit that float32 has', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    for (const name of ['power-attention', 'gated-delta-rule', 'nats-linear']) {
      const { page, complaints } = await open(context, `methods/${name}/index.html#?tokens=128&dimension=16`);
      await page.click('[data-run]');
      await page.waitForSelector(`${live('run')}[data-state=done]`);
      const errors = await page.$$eval('[data-backend]', (rows) =>
        (rows as HTMLElement[]).map(({ dataset }) => Number(dataset.error || Number.NaN)),
      );
      for (const error of errors) expect(error).toBeLessThan(1e-5);
      expect(complaints).toEqual([]);
      await page.close();
    }
    await context.close();
  });

  test('shows code that runs as it stands', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const { page } = await open(context, 'index.html');
    for (const { name } of methods) {
      await page.goto(`${url}methods/${name}/index.html`);
      const code = await page.textContent('[data-state=done] [data-code]');
      const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code as string], {
        cwd: ROOT,
      });
      expect((await run).stdout, name).toMatch(/^\[ 1, /);
    }
    await context.close();
  });

  test('takes nonsense in its address for what it is', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    for (const hash of [
      '#?tokens=-5&block=banana&%E0%A4%A',
      '#?tokens=1e99&window=[1,[2',
      '#nowhere',
      '#?heads=0.5&sink=7',
    ]) {
      const { page, complaints } = await open(context, `methods/power-attention/index.html${hash}`);
      const states = await settled(page);
      const sentences = await page.$$eval('[data-state=error] > [data-said]', (all) =>
        all.map(({ textContent }) => textContent),
      );
      expect(hash === '#nowhere' || states.cost === 'error').toBe(true);
      for (const sentence of sentences) expect(sentence).toMatch(/(must be|expected).*got/);
      expect(complaints).toEqual([]);
      await page.close();
    }
    await context.close();
  });
});

test('a method is chosen for what one needs, and the address says what that was', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const { page, complaints } = await open(context, 'choose/index.html');
  await settled(page);
  const first = () => page.textContent('#ranked li .name');
  const trained = await first();
  await page.uncheck('#training');
  await page.waitForFunction((name) => !document.querySelector('#ranked')?.textContent?.includes(name!), trained);
  const [address, chosen] = [page.url(), await first()];
  expect(await grave(page)).toEqual([]);
  await page.goto('about:blank');
  await page.goto(address);
  await settled(page);
  expect(await first()).toBe(chosen);
  await page.goto('about:blank');
  await page.goto(`${url}choose/index.html#?tokens=-1&device=abacus`);
  expect(await settled(page)).toEqual({ choose: 'error' });
  expect(complaints).toEqual([]);
  await context.close();
});

describe('the documentation', () => {
  test.each(['guide', 'guide/coming-from', 'guide/nn', 'guide/platforms', 'api', 'api/masks', 'benchmarks/sparse'])(
    '%s can be read, on a telephone too',
    async (path) => {
      const context = await browser.newContext({ serviceWorkers: 'block', viewport: { width: 360, height: 800 } });
      const { page, complaints } = await open(context, `${path}/index.html`);
      expect(await grave(page)).toEqual([]);
      expect(await tooWide(page)).toEqual([]);
      expect(complaints).toEqual([]);
      await context.close();
    },
  );

  test('examples run as they stand, and print in the page what they print in Node', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const { page, complaints } = await open(context, 'guide/examples/index.html');
    const names = await page.$$eval(live('example'), (all) => all.map((box) => (box as HTMLElement).dataset.example));
    const files = (await readdir(join(ROOT, 'examples'))).filter((file) => file !== 'digits.ts');
    expect(names.map((name) => `${name}.ts`)).toEqual(files);
    for (const name of names) {
      const box = page.locator(`[data-example="${name}"]`);
      const source = await readFile(join(ROOT, `examples/${name}.ts`), 'utf8');
      expect(await box.locator('code').textContent()).toBe(source.trim());
      await box.locator('[data-run]').click();
      await page.waitForSelector(`[data-example="${name}"]:is([data-state=done], [data-state=error])`);
      expect(await box.locator('[data-output]').textContent(), name).toBe(printedBy(source));
    }
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('every export has its entry, and is found by its name', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const { page, complaints } = await open(context, 'api/index.html');
    const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    for (const key of Object.keys(exports).filter((key) => !key.endsWith('.json'))) {
      const names = Object.keys(await import(join(ROOT, 'src', key, 'index.ts')));
      const text = await readFile(join(DIST, 'api', key === '.' ? 'saccade' : key, 'index.html'), 'utf8');
      for (const name of names) expect(text, `${key} ${name}`).toContain(`id="${name}"`);
    }
    await page.fill('input[type=search]', 'linearattention step');
    const shown = await page.$$eval('[data-name]:not([hidden])', (all) =>
      all.map((item) => (item as HTMLElement).dataset.name),
    );
    expect(shown.sort()).toEqual(['linearAttentionStep', 'LinearAttentionStepOptions'].sort());
    await page.click('[data-name]:not([hidden]) a');
    expect(await page.textContent('.entry:target')).toContain('state');
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('stored benchmarks have their rows and plots', async () => {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    for (const suite of ['attention', 'sparse']) {
      const { page, complaints } = await open(context, `benchmarks/${suite}/index.html`);
      await settled(page);
      const files = await readdir(join(ROOT, 'docs/bench', suite));
      const runs = await Promise.all(
        files.map(async (file) => JSON.parse(await readFile(join(ROOT, 'docs/bench', suite, file), 'utf8'))),
      );
      const rows = runs.reduce((sum, run) => sum + run.rows.length, 0);
      expect(await page.locator('.dense tbody tr').count()).toBe(rows);
      expect(await page.locator('[data-plot] svg').count()).toBe(runs.length);
      expect(complaints).toEqual([]);
      await page.close();
    }
    await context.close();
  });
});

test('what was visited works without the server, and is isolated where headers were not', async () => {
  const bare = await serve({});
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  const address = `${bare.resolvedUrls?.local[0]}methods/power-attention/index.html#?tokens=64`;
  await page.goto(address);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await bare.close();
  await page.reload();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  await page.click('[data-run]');
  await page.waitForSelector(`${live('run')}[data-state=done]`);
  expect(await page.getAttribute('[data-backend=wasm]', 'data-error')).toMatch(/e-/);
  await page.click('.wordmark');
  await page.waitForSelector('[data-paper]');
  expect(errors).toEqual([]);
  await context.close();
});

test('links lead somewhere, and the feed is one', async () => {
  const files = (await readdir(DIST, { recursive: true })).filter((file) => file.endsWith('.html'));
  const exists = new Set(await readdir(DIST, { recursive: true }));
  const ids = new Map<string, string[]>();
  const texts = new Map<string, string>();
  for (const file of files) {
    const text = await readFile(join(DIST, file), 'utf8');
    texts.set(file, text);
    ids.set(
      file,
      [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id as string),
    );
  }
  for (const [file, text] of texts) {
    for (const [, href] of text.matchAll(/<(?:a|link)\b[^>]* href="([^"]+)"/g)) {
      if (/^(https:|data:)/.test(href as string)) continue;
      const [path, hash] = (href as string).split('#') as [string, string?];
      const target = path === '' ? file : join(dirname(file), path);
      expect(exists.has(target), `${file}: ${href}`).toBe(true);
      if (hash) expect(ids.get(target), `${file}: ${href}`).toContain(hash);
    }
  }
  const feed = await readFile(join(DIST, 'feed.xml'), 'utf8');
  for (const { name } of methods) expect(feed).toContain(`<id>urn:saccade:method:${name}</id>`);
  const page = await browser.newPage();
  const parsed = await page.evaluate((xml) => {
    const document = new DOMParser().parseFromString(xml, 'application/xml');
    return [document.querySelector('parsererror')?.textContent, document.documentElement.namespaceURI];
  }, feed);
  expect(parsed).toEqual([undefined, 'http://www.w3.org/2005/Atom']);
  await page.close();
});
