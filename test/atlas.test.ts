/** The atlas as it is built: every page in Chromium, with and without the server, by eye, hand and screen reader. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import axe from 'axe-core';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { build, type InlineConfig, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { know, maskAt } from '../atlas/site/tasks/setting';
import { atlasConfig, serveAtlas } from '../scripts/atlas.ts';
import { methods } from '../src/index';
import { models } from '../src/models/registry';
import { papers } from '../src/papers';
import { keysOfMask, receptiveField } from '../src/simulate/reach';
import { printedBy } from './examples';
import { launchFirefox } from './firefox';
import { has } from './has';
import { ISOLATION, launchChromium } from './page';

const ROOT = resolve(import.meta.dirname, '..');
const DIST = join(ROOT, 'atlas/dist');
/** Any path will do. */
const BASE = '/under/some/path/';
/** Where pages go to be left, or to come back as new: at home, so that they keep their process. */
const NOTHING = 'nothing.htm';
const VIEWPORT = { width: 1280, height: 800 };

let config: InlineConfig;
/** One with WebGPU, whose kernels take long to compile in software, and one without. */
let withGpu: Browser;
let browser: Browser;
/** What most tests open their pages in, so that scripts are fetched and compiled once. */
let shared: BrowserContext;
/** Pages of it that a test has left: a new one is a new process. */
const idle: Page[] = [];
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

const hasChromium = has('chromium');
beforeEach(({ skip }) => skip(!hasChromium));
beforeAll(async () => {
  if (!hasChromium) return;
  config = await atlasConfig();
  await build(config);
  // With an icon, as a browser would ask for one, and complain to the next page that there is none.
  await writeFile(join(DIST, NOTHING), '<!doctype html><link rel="icon" href="data:,">');
  // Pages share what they have fetched, unasked.
  const headers = { ...ISOLATION, 'Cache-Control': 'max-age=3600' };
  [withGpu, browser, server] = await Promise.all([launchChromium(), launchChromium(false), serve(headers)]);
  shared = await newContext(browser, { serviceWorkers: 'block', viewport: VIEWPORT });
  url = server.resolvedUrls?.local[0] as string;
}, 600_000);
afterAll(async () => {
  await Promise.all([withGpu?.close(), browser?.close(), server?.close()]);
});

/** One of its own, which fetches everything anew, and waits as long as a busy machine takes. */
async function newContext(of = browser, options: BrowserContextOptions = { serviceWorkers: 'block' }) {
  const context = await of.newContext(options);
  context.setDefaultTimeout(120_000);
  return context;
}

const live = (name: string) => `[data-live="${name}"]`;

/** A page that must not complain, nor ask another host for anything. */
async function open(context: BrowserContext, path: string): Promise<{ page: Page; complaints: string[] }> {
  const page = (context === shared && idle.pop()) || (await context.newPage());
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(url)) complaints.push(request.url());
  });
  await page.goto(url + path);
  return { page, complaints };
}

/** Gives a page of the shared context to the next test, as if it were new. */
async function leave(page: Page): Promise<void> {
  for (const event of ['pageerror', 'console', 'request'] as const) page.removeAllListeners(event);
  await page.mouse.move(0, 0);
  await page.goto(url + NOTHING);
  await page.emulateMedia({ colorScheme: 'light', media: null });
  await page.setViewportSize(VIEWPORT);
  idle.push(page);
}

/** Has the workers of a context's pages do something first. */
const inWorkers = (context: BrowserContext, work: () => void) =>
  context.route('**/worker-*.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `(${work})();${await response.text()}` });
  });

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

/** Rows and entries like those before them. */
const REPEATED = ['tr:nth-child(n + 5)', '.entry ~ .entry ~ .entry ~ .entry', '.plate > li ~ li ~ li ~ li ~ li'];

/** What is hard to use for some, by all rules or those named. */
async function grave(page: Page, runOnly?: string[]): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(
    async ({ runOnly, exclude }) => {
      const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run(
        { exclude },
        // Only violations are told, and nothing is fetched anew.
        { resultTypes: ['violations'], preload: false, ...(runOnly && { runOnly }) },
      );
      return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 160)}`);
    },
    { runOnly, exclude: REPEATED },
  );
}

/** What is drawn beyond the right edge, but for what scrolls in a box of its own. */
const tooWide = (page: Page) =>
  page.evaluate(() =>
    Array.from(document.querySelectorAll('body *'))
      .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
      .filter((element) => !element.closest('.scroll, pre, .formula, .hidden, .katex-mathml'))
      .map((element) => `${element.tagName} ${element.getAttribute('class')}`),
  );

/** What ends at an edge where nothing can be scrolled. */
const clipped = (page: Page) =>
  page.evaluate(() =>
    Array.from(document.querySelectorAll('main *'))
      .filter((element) => !element.closest('.hidden, .katex-mathml, input') && element.clientWidth > 0)
      .filter((element) => element.scrollWidth > element.clientWidth + 1)
      .filter((element) => getComputedStyle(element).overflowX !== 'visible')
      .map((element) => `${element.tagName} ${element.getAttribute('class')}`),
  );

describe.concurrent('the list', () => {
  test('has each paper with its methods, or says what is missing; its bytes are few', async () => {
    const context = await newContext();
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
    for (const [at, { id, title, methods: names = [] }] of papers.entries()) {
      const { text, links, missing = '' } = rows[at] as (typeof rows)[number];
      expect(text).toContain(title);
      expect(links).toContain(`papers/${id}/index.html`);
      for (const name of names) {
        if (methods.some((method) => method.name === name)) expect(links).toContain(`methods/${name}/index.html`);
        else expect(missing).toContain(name);
      }
    }
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('answers to words and filters at once, and its address restores them', async () => {
    const { page, complaints } = await open(shared, 'index.html');
    const shown = () => page.$$eval('tr.method:not([hidden])', (rows) => rows.map(({ id }) => id));
    await page.fill('input[type=search]', 'cheese fondue');
    expect(await shown()).toEqual([]);
    expect(await page.textContent('#nothing')).toContain('Nothing here answers “cheese fondue”.');
    await page.fill('input[type=search]', (await page.getAttribute('input[type=search]', 'placeholder')) as string);
    expect((await shown()).slice(0, 2)).toEqual(['power-attention', 'landmark-attention']);
    await page.fill('input[type=search]', 'Diffusion');
    expect((await shown()).sort()).toEqual(['dydila', 'generalized-neighborhood-attention', 'optiprune']);
    await page.check('[name=training][value=needed]');
    expect(await shown()).toEqual(['dydila']);
    expect(await page.getAttribute(live('search'), 'data-state')).toBe('done');
    const address = page.url();
    await page.goto(url + NOTHING);
    await page.goto(address);
    expect(await shown()).toEqual(['dydila']);
    await page.goto(`${address}&cost=%E0%A4%A&family=nonsense`);
    expect(complaints).toEqual([]);
    await leave(page);
  });
});

describe.concurrent('search by meaning', () => {
  const question = 'my model forgets early tokens at 100k context';
  const done = `${live('search')}[data-state=done]`;
  const shown = (page: Page) => page.$$eval('tr.method:not([hidden])', (rows) => rows.map(({ id }) => id));
  const MODELS = /\/models\//;

  test('ranks by the encoder on this page too, filters what it ranked, and fetches the model once', async () => {
    const context = await newContext();
    let fetched = 0;
    context.on('request', (request) => MODELS.test(request.url()) && fetched++);
    const { page, complaints } = await open(context, 'index.html');
    await page.fill('input[type=search]', question);
    expect(fetched).toBe(0);
    await page.getByLabel('by meaning').click();
    await page.waitForSelector(done);
    const order = await shown(page);
    expect(order.slice(0, 2).sort()).toEqual(['landmark-attention', 'power-attention']);
    const scores = (await page.locator('.likeness').allTextContents()).map(Number.parseFloat);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
    await page.selectOption('#family', 'chosen-keys');
    await page.waitForSelector(done);
    const chosen = papers.filter(({ family }) => family === 'chosen keys').map(({ id }) => id);
    expect(await shown(page)).toEqual(order.filter((id) => chosen.includes(id)));
    expect(await grave(page)).toEqual([]);
    const address = page.url();
    await page.goto(url + NOTHING);
    await page.goto(address);
    await page.waitForSelector('.likeness', { state: 'attached' });
    await page.waitForSelector(done);
    expect(await shown(page)).toEqual(order.filter((id) => chosen.includes(id)));
    expect(fetched).toBe(9);
    await page.fill('input[type=search]', 'how do I cook rice');
    await page.waitForSelector('#nothing:not([hidden])');
    await page.getByLabel('by words').check();
    await page.fill('input[type=search]', '');
    await page.selectOption('#family', '');
    expect(await shown(page)).toEqual(papers.map(({ id }) => id));
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('can be cancelled, and says when there is no model; words go on', async () => {
    const context = await newContext();
    const page = await context.newPage();
    await context.route(MODELS, () => undefined);
    await page.goto(`${url}index.html#?${new URLSearchParams({ q: question, by: 'meaning' })}`);
    await page.click('.finder [data-cancel]');
    await page.waitForSelector(done);
    expect(await page.isChecked('[value=words]')).toBe(true);
    await context.unrouteAll({ behavior: 'ignoreErrors' });
    await context.route(MODELS, (route) => route.abort());
    await page.getByLabel('by meaning').click();
    await page.waitForSelector(`${live('search')}[data-state=error]`);
    expect(await page.textContent('.finder [data-said]')).toMatch(/encoder could not be loaded: .+ answers to words/);
    await page.fill('input[type=search]', 'diffusion');
    expect(await shown(page)).toContain('dydila');
    expect(page.url()).not.toContain('meaning');
    await context.close();
  });
});

describe.concurrent('every page of a method', () => {
  const programs = new Map<string, string>();
  /** What tells pages apart, beside their words: of each kind one is judged by axe. */
  const kinds = new Set<string>();

  test.each(methods.map(({ name }) => name))('%s', async (name) => {
    const { page, complaints } = await open(shared, `methods/${name}/index.html`);
    const states = await settled(page);
    const { mask, page: loaded } = methods.find((method) => method.name === name)!;
    const { sample, view } = (await loaded!()).page;
    const isOnGrid = 'rows' in sample.extents;
    const pictures = mask ? { mask: 'done', reach: 'done' } : { weights: 'done', ...(!isOnGrid && { within: 'done' }) };
    const onGrid = isOnGrid ? { relief: 'done' } : { sentence: 'done' };
    const { cost, run, code, ...shown } = states;
    expect({ cost, run, code }).toEqual({ cost: 'done', run: 'idle', code: 'done' });
    if (view === 'outputs') expect(Object.values(shown)).toEqual(['done']);
    else expect(shown).toEqual({ ...pictures, ...onGrid });
    programs.set(name, (await page.textContent('[data-code]')) as string);
    const kind = Object.keys(states).join();
    const isNew = !kinds.has(kind);
    kinds.add(kind);
    if (isNew) expect(await grave(page)).toEqual([]);
    await page.setViewportSize({ width: 360, height: 800 });
    await page.waitForTimeout(100);
    expect(await tooWide(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(complaints).toEqual([]);
    await leave(page);
  });

  test('saves what it shows, and its numbers are those of the library', async () => {
    const { page, complaints } = await open(shared, 'methods/neighborhood-attention/index.html#?rows=12&columns=16');
    await settled(page);
    const saved = async (part: string, kind: string) => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.click(`${live(part)} [data-saves] button:text("${kind}")`),
      ]);
      return readFile(await download.path());
    };
    // Of one page headless Chromium takes ten downloads.
    for (const part of ['mask', 'cost', 'relief'])
      expect((await saved(part, 'PNG')).subarray(1, 4).toString()).toBe('PNG');
    for (const part of ['reach', 'relief']) expect((await saved(part, 'SVG')).toString()).toMatch(/^<svg .*<\/svg>$/s);
    const json = async (part: string) => JSON.parse((await saved(part, 'JSON')).toString());
    const { setting, head, side, cells } = await json('mask');
    know(methods);
    const { mask, place } = maskAt(setting, head);
    expect([side, cells.length]).toEqual([1, place.n]);
    for (const [i, row] of cells.entries())
      expect(row.map((ink: number) => ink === 1)).toEqual(row.map((_: number, j: number) => mask.sees(i, j, place)));
    const { query, counts } = await json('reach');
    expect(counts).toEqual(receptiveField(keysOfMask(mask, place), place.n, { query, layers: 8 }));
    const { values } = await json('relief');
    expect(values.filter((layer: number) => layer === 1)).toHaveLength(counts[0]);
    await page.selectOption('#picture', 'weights');
    await page.selectOption('#ink', 'linear');
    await page.waitForSelector(`${live('mask')}[data-state=done] #legend:not([hidden])`);
    const { cells: weights } = await json('mask');
    for (const [i, row] of weights.entries()) {
      expect(row.map((weight: number) => weight > 0)).toEqual(cells[i].map((ink: number) => ink === 1));
      expect(row.reduce((sum: number, weight: number) => sum + weight, 0)).toBeCloseTo(1, 4);
    }
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('puts what is looked at into the address, which restores it', async () => {
    const { page, complaints } = await open(
      shared,
      'methods/neighborhood-attention/index.html#?heads=2&head=7&view=a+b&turn=x',
    );
    await settled(page);
    await page.click('[data-try]:text("dilated")');
    expect(await page.textContent('[data-note]')).toContain('every third token');
    expect(await page.inputValue('#param-dilation')).toBe('[3,3]');
    await page.fill('#heads', '2');
    await page.fill('#head', '1');
    await page.fill('#i', '77');
    await page.check('[name=layers][value="2"]');
    await page.selectOption('#picture', 'weights');
    await page.selectOption('#ink', 'linear');
    await page.selectOption('#height', 'weights');
    await page.selectOption('[name=metric]', 'bytes');
    await page.click('.beside summary');
    await page.check('[name=beside][value=performer]');
    await page.focus(`${live('relief')} canvas`);
    await page.keyboard.press('ArrowUp');
    await page.click('[data-zoom=cells]');
    const names = ['head', 'i', 'layers', 'picture', 'ink', 'height', 'metric', 'beside', 'turn', 'view'];
    await page.waitForFunction(
      (all) => all.every((name) => new URLSearchParams(location.hash.slice(2)).has(name)),
      names,
    );
    const state = () =>
      page.$$eval('[data-kept]', (fields) =>
        (fields as HTMLInputElement[]).map(({ name, value, checked }) => [name, value, checked]),
      );
    const [before, address] = [await state(), page.url()];
    await page.goto(url + NOTHING);
    await page.goto(address);
    await settled(page);
    expect(await state()).toEqual(before);
    expect(await page.textContent('#said')).toMatch(/weight/);
    expect(await page.textContent('[data-beside]')).toBe('Generalized neighborhood attention, Performer');
    expect(complaints).toEqual([]);
    await leave(page);
  });

  test('takes nonsense in its address for what it is', async () => {
    const { page, complaints } = await open(shared, 'methods/power-attention/index.html#nowhere');
    const wrong = () =>
      page.$$eval('#wrong, .param > .wrong', (all) => all.map(({ textContent }) => textContent).filter(Boolean));
    for (const hash of ['#?tokens=-5&block=banana&%E0%A4%A', '#?tokens=1e99&window=[1,[2', '#?heads=0.5&sink=7']) {
      await page.waitForSelector(`${live('cost')}[data-state=done]`);
      expect(await wrong()).toEqual([]);
      await page.evaluate((to) => location.assign(to), hash);
      await page.waitForSelector(`${live('cost')}[data-state=error]`);
      const sentences = await wrong();
      expect(sentences.length).toBeGreaterThan(0);
      for (const sentence of sentences) expect(sentence).toMatch(/(must be|expected).*got/);
      await page.evaluate(() => location.assign('#?tokens=64'));
    }
    expect(complaints).toEqual([]);
    await leave(page);
  });

  test.sequential('shows code that runs as it stands', async ({ skip }) => {
    skip(programs.size < methods.length, 'the pages were not opened');
    const folder = await mkdtemp(join(tmpdir(), 'saccade-atlas-'));
    await mkdir(join(folder, 'node_modules'));
    await symlink(ROOT, join(folder, 'node_modules/saccade'));
    for (const [name, program] of programs) await writeFile(join(folder, `${name}.mjs`), program);
    const all = [...programs.keys()].map((name) => `console.log('${name}'); await import('./${name}.mjs');`);
    await writeFile(join(folder, 'all.mjs'), all.join('\n'));
    const { stdout } = await promisify(execFile)(process.execPath, ['all.mjs'], { cwd: folder });
    await rm(folder, { recursive: true });
    for (const name of programs.keys()) expect(stdout).toMatch(new RegExp(`^${name}\n\\[ \\d`, 'm'));
  });
});

test.concurrent('a link makes no command and no program of what is no param', async () => {
  const attacks = [
    "x'; touch owned; echo '",
    '"$(touch owned)"',
    '\u0003touch owned\r',
    "'); owned(); ('",
    '{"a":"owned"}',
  ];
  const links = { attention: attacks, 'neighborhood-attention': ["x'"], 'nats-linear': ["x'"] };
  const attacked = Object.entries(links).map(async ([name, attacks]) => {
    const path = `methods/${name}/index.html`;
    const { page, complaints } = await open(shared, path);
    const fields = await page.$$eval('[data-param]', (all) => all.map((field) => (field as HTMLInputElement).name));
    for (const attack of attacks) {
      const params = new URLSearchParams(fields.map((field) => [field, attack]));
      if (attack === attacks[0]) {
        // A link that is opened, not one that the page goes to.
        await page.goto('about:blank');
        await page.goto(`${url}${path}#?${params}`);
      } else {
        await page.evaluate(() => location.assign('#?'));
        await page.waitForSelector(`${live('code')}[data-state=done]`);
        await page.evaluate((hash) => {
          location.assign(hash);
          // As the page does when a setting has stood for a while, at the worst time.
          history.replaceState(null, '', location.pathname);
        }, `#?${params}`);
      }
      const box = page.locator(live('code'));
      // Fields of numbers alone take nothing of it, and begin as without the link.
      const state = name === 'nats-linear' ? 'done' : 'error';
      await page.waitForSelector(`${live('code')}[data-state=${state}]`);
      expect((await box.locator('code').allTextContents()).join('\n')).not.toContain('owned');
      expect((await box.locator('.code:visible').count()) > 0).toBe(state === 'done');
      if (state === 'error')
        expect(await page.locator('.param > .wrong').first().textContent()).toMatch(/^param .* expected .* got /);
    }
    expect(complaints).toEqual([]);
    await leave(page);
  });
  await Promise.all(attacked);
});

test.concurrent('pages run no script but their own', async () => {
  const pages = ['index.html', 'methods/attention/index.html', 'guide/index.html', 'choose/index.html'];
  const tried = pages.map(async (path) => {
    const { page } = await open(shared, path);
    const violated = await page.evaluate(async () => {
      const violations: string[] = [];
      const violation = () =>
        new Promise<void>((resolve) =>
          document.addEventListener(
            'securitypolicyviolation',
            ({ effectiveDirective }) => {
              violations.push(effectiveDirective);
              resolve();
            },
            { once: true },
          ),
        );
      const attempts: Record<string, () => unknown> = {
        script: () => {
          const script = document.createElement('script');
          script.textContent = 'globalThis.owned = true';
          document.body.append(script);
        },
        handler: () => {
          document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="globalThis.owned = true">');
        },
        evaluated: () => setTimeout('globalThis.owned = true'),
        fetched: () => fetch('https://owned.invalid').catch(() => undefined),
      };
      for (const attempt of Object.values(attempts)) {
        const seen = violation();
        await attempt();
        await seen;
      }
      return [...violations, String('owned' in globalThis)];
    });
    expect(violated).toEqual(['script-src-elem', 'script-src-attr', 'script-src', 'connect-src', 'false']);
    await leave(page);
  });
  await Promise.all(tried);
});

test.concurrent('a method is chosen for what one needs, and the address says what that was', async () => {
  const { page, complaints } = await open(shared, 'choose/index.html');
  await settled(page);
  const first = () => page.textContent('#ranked tr .name');
  const trained = await first();
  await page.uncheck('#training');
  await page.waitForFunction((name) => !document.querySelector('#ranked')?.textContent?.includes(name!), trained);
  const [address, chosen] = [page.url(), await first()];
  await page.goto(url + NOTHING);
  await page.goto(address);
  await settled(page);
  expect(await first()).toBe(chosen);
  await page.goto(url + NOTHING);
  await page.goto(`${url}choose/index.html#?tokens=-1&device=abacus`);
  expect(await settled(page)).toEqual({ choose: 'error' });
  expect(await grave(page)).toEqual([]);
  // Elsewhere, then here, where it counts for more.
  await page.goto(url + NOTHING);
  await page.goto(`${url}choose/index.html#?tokens=128&dimension=16&device=wasm&causal=on&training=on`);
  await settled(page);
  expect(await page.textContent('#ranked')).toMatch(/× at [\d,]+, in a stored run/);
  await page.click('[data-measure]');
  await page.waitForSelector(`${live('choose')}[data-state=done]:has([data-cancel][hidden])`);
  expect((await page.textContent('#ranked'))?.match(/measured here/g)).toHaveLength(3);
  await page.selectOption('#device', 'webgpu');
  await page.waitForFunction(() =>
    /on the GPU/.test(document.querySelector('[data-live=choose] [data-said]')?.textContent ?? ''),
  );
  expect(complaints).toEqual([]);
  await leave(page);
});

describe.concurrent('the documentation', () => {
  /** Pages that are like one of the others: only their extents are looked at. */
  const ALIKE = ['guide/coming-from/', 'papers/van/', 'models/decoder/', 'api/', 'benchmarks/start/', '404.html'];

  test.each([
    ...['', 'choose/', 'guide/', 'papers/sale/', 'models/biformer/', 'api/masks/', 'benchmarks/', 'benchmarks/sparse/'],
    ...ALIKE,
  ])('/%s can be read, on a telephone, in the dark and on paper too', async (path) => {
    const { page, complaints } = await open(shared, path.endsWith('html') ? path : `${path}index.html`);
    const fetched: string[] = [];
    page.on('request', (request) => request.url().endsWith('.safetensors') && fetched.push(request.url()));
    await settled(page);
    const isNew = !ALIKE.includes(path);
    if (isNew) expect(await grave(page)).toEqual([]);
    if (path === 'models/decoder/') expect(await page.textContent('.title')).toContain('Untrained');
    if (path === 'models/biformer/') {
      expect(await page.textContent('.inked tr:nth-child(1) th[scope]')).toBe('ankle boot');
      expect(fetched).toEqual([]);
      await page.click('[data-run]');
      await page.waitForSelector(`${live('run')}[data-state=done]`);
      expect(await page.textContent(live('run'))).toContain('With trained weights');
      expect(fetched.length).toBe(1);
    }
    for (const width of [1440, 820, 360]) {
      await page.setViewportSize({ width, height: 800 });
      await page.waitForTimeout(100);
      expect(await tooWide(page), `at ${width} px`).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    }
    await page.emulateMedia({ colorScheme: 'dark' });
    if (isNew) expect(await grave(page, ['color-contrast'])).toEqual([]);
    // As wide as a sheet of A4.
    await page.setViewportSize({ width: 718, height: 1000 });
    await page.emulateMedia({ media: 'print' });
    expect(await clipped(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await leave(page);
  });

  test('examples run as they stand, and print in the page what they print in Node', async () => {
    const { page, complaints } = await open(shared, 'guide/examples/index.html');
    const names = await page.$$eval(live('example'), (all) => all.map((box) => (box as HTMLElement).dataset.example));
    const files = (await readdir(join(ROOT, 'examples'))).filter((file) => file !== 'digits.ts');
    expect(names.map((name) => `${name}.ts`)).toEqual(files);
    for (const name of names) {
      const box = page.locator(`[data-example="${name}"]`);
      const source = await readFile(join(ROOT, `examples/${name}.ts`), 'utf8');
      expect(await box.locator('code').textContent()).toBe(source.trim());
      await box.locator('[data-run]').click();
    }
    for (const name of names) {
      await page.waitForSelector(`[data-example="${name}"]:is([data-state=done], [data-state=error])`);
      const source = await readFile(join(ROOT, `examples/${name}.ts`), 'utf8');
      expect(await page.locator(`[data-example="${name}"] [data-output]`).textContent(), name).toBe(printedBy(source));
    }
    expect(complaints).toEqual([]);
    await leave(page);
  });

  test('every export has its entry, and is found by its name', async () => {
    const { page, complaints } = await open(shared, 'api/index.html');
    const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    for (const key of Object.keys(exports).filter((key) => !key.endsWith('.json'))) {
      const names = Object.keys(await import(join(ROOT, 'src', key, 'index.ts')));
      const folder = join(DIST, 'api', key === '.' ? 'saccade' : key);
      const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.html'));
      const text = (await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))).join('');
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
    await leave(page);
  });

  test('stored benchmarks have their rows and plots', async () => {
    for (const suite of ['attention', 'sparse']) {
      const { page, complaints } = await open(shared, `benchmarks/${suite}/index.html`);
      await settled(page);
      const files = await readdir(join(ROOT, 'docs/bench', suite));
      const runs = await Promise.all(
        files.map(async (file) => JSON.parse(await readFile(join(ROOT, 'docs/bench', suite, file), 'utf8'))),
      );
      const rows = runs.reduce((sum, run) => sum + run.rows.length, 0);
      expect(await page.locator('.dense tbody tr').count()).toBe(rows);
      const plots = suite === 'sparse' ? runs.length : 3;
      expect(await page.locator('[data-plot] svg.lines').count()).toBe(plots);
      expect(complaints).toEqual([]);
      await leave(page);
    }
  });
});

test.concurrent('what was visited works without the server, and is isolated where headers were not', async () => {
  const bare = await serve({});
  const context = await newContext(browser, {});
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  const site = bare.resolvedUrls?.local[0];
  await page.goto(`${site}index.html#?q=long+context&by=meaning`);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
  await page.waitForSelector('.likeness');
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.goto(`${site}methods/power-attention/index.html#?tokens=64`);
  await bare.close();
  await page.reload();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  await page.click('[data-run]');
  await page.waitForSelector(`${live('run')}[data-state=done]`);
  expect(await page.getAttribute('[data-backend=wasm]', 'data-error')).toMatch(/e-/);
  await page.click('.wordmark');
  await page.getByLabel('by meaning').check();
  await page.fill('input[type=search]', 'long context');
  await page.waitForSelector('.likeness');
  expect(errors).toEqual([]);
  await context.close();
});

test.concurrent('who serves the atlas is told where, and it is isolated there', async () => {
  const told = vi.spyOn(console, 'log').mockReturnValue();
  const server = await serveAtlas(config);
  const [text] = told.mock.lastCall as [string];
  told.mockRestore();
  const response = await fetch(/http:\/\/\S+/.exec(text)![0]);
  expect(await response.text()).toContain('Saccade atlas');
  expect(response.headers.get('Cross-Origin-Embedder-Policy')).toBe('require-corp');
  await server.close();
});

test.concurrent('links lead somewhere, and the feed is one', async () => {
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
});

test.concurrent('the feed has what Atom requires, and an entry for each method', async () => {
  const page = await browser.newPage();
  const { names, feed, entries } = await page.evaluate(
    (xml) => {
      const document = new DOMParser().parseFromString(xml, 'application/xml');
      const parts = (of: Element) =>
        Array.from(of.children, (part) => ({
          name: part.localName,
          text: part.textContent as string,
          href: part.getAttribute('href'),
        }));
      return {
        names: Array.from(document.querySelectorAll('*'), ({ namespaceURI }) => namespaceURI),
        feed: parts(document.documentElement),
        entries: Array.from(document.querySelectorAll('feed > entry'), parts),
      };
    },
    await readFile(join(DIST, 'feed.xml'), 'utf8'),
  );
  await page.close();
  expect(new Set(names)).toEqual(new Set(['http://www.w3.org/2005/Atom']));
  const exists = new Set(await readdir(DIST, { recursive: true }));
  const read = (parts: typeof feed) => {
    const one = (name: string) => {
      const found = parts.filter((part) => part.name === name);
      expect(found, name).toHaveLength(1);
      expect(found[0]?.text, name).not.toBe('');
      return found[0]?.text as string;
    };
    for (const { href } of parts.filter(({ name }) => name === 'link')) expect(exists).toContain(href?.split('#')[0]);
    expect(one('title')).not.toContain('<');
    expect(one('updated')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    return { id: one('id'), updated: one('updated'), links: parts.filter(({ name }) => name === 'link').length };
  };
  // An author for all of them, and where to read each.
  expect(feed.filter(({ name, text }) => name === 'author' && text !== '')).toHaveLength(1);
  const all = [feed, ...entries].map(read);
  for (const { id, links } of all) {
    expect(id).toMatch(/^urn:[a-z]+:[\w:-]+$/);
    expect(links).toBeGreaterThan(0);
  }
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  const updates = all.map(({ updated }) => updated);
  expect(updates).toEqual([...updates].sort().reverse());
  const entered = all.map(({ id }) => id);
  for (const { name } of methods) expect(entered).toContain(`urn:saccade:method:${name}`);
  for (const { name } of models) expect(entered).toContain(`urn:saccade:model:${name}`);
  for (const { id } of papers) expect(entered).toContain(`urn:saccade:paper:${id}`);
});

test.concurrent('runs take q, k and v of a text or a photograph', async () => {
  const settings = [
    ['power-attention', '#?tokens=64&block=8&numbers=layer+0', /^The first 64 tokens of Moby Dick through layer 0/],
    [
      'gated-delta-rule',
      '#?numbers=layer+1&text=Call+me+Ishmael.',
      /^All \d tokens of the text through layer 1.* beta: by a layer/,
    ],
    ['neighborhood-attention', '#?rows=8&columns=9&window=3&numbers=picture', /photograph of the French Alps as 8 × 9/],
  ] as const;
  const runs = settings.map(async ([name, hash, inputs]) => {
    const { page, complaints } = await open(shared, `methods/${name}/index.html${hash}`);
    if (hash.includes('layer')) {
      await page.waitForSelector('[data-words] button');
      expect(await page.textContent('[data-words]')).toMatch(/^ Call me Ishmael\./);
      await page.hover('[data-words] button:nth-child(3)');
      await page.waitForSelector('[data-arcs] path', { state: 'attached' });
      expect(await page.inputValue('#i')).toBe('2');
    }
    await page.click('[data-run]');
    await page.waitForSelector(`${live('run')}[data-state=done]`);
    expect(await page.textContent(`${live('run')} [data-said]`)).toMatch(inputs);
    expect(Number(await page.getAttribute('[data-backend=wasm]', 'data-error'))).toBeLessThan(1e-4);
    expect(await page.inputValue('#heads')).toBe('4');
    expect(complaints).toEqual([]);
    await leave(page);
  });
  await Promise.all(runs);
});

describe.concurrent('what goes wrong is a sentence, and the rest goes on', () => {
  const SMALL = 'methods/power-attention/index.html#?tokens=64&block=8&dimension=16&numbers=nonsense&text=%00';
  const notes = (page: Page) => page.textContent(`${live('run')} [data-notes]`);
  const errorOf = (page: Page, backend: string) => page.getAttribute(`[data-backend=${backend}]`, 'data-error');

  async function run(page: Page): Promise<void> {
    await page.click('[data-run]');
    await page.waitForSelector(`${live('run')}:is([data-state=done], [data-state=error])`);
  }

  test('sizes beyond memory', async () => {
    const { page, complaints } = await open(shared, 'methods/attention/index.html#?tokens=65536&heads=64');
    await run(page);
    expect(await page.textContent(`${live('run')} [data-said]`)).toMatch(
      /about .* GiB of memory, more than the 2.00 GiB/,
    );
    expect(complaints).toEqual([]);
    await leave(page);
  });

  test('kernels that cannot be loaded, and once they are, both devices are right in every digit of float32', async () => {
    const context = await newContext(withGpu);
    await context.route('**/*.wasm', (route) => route.abort());
    const { page } = await open(context, SMALL);
    await run(page);
    expect(await notes(page)).toContain('WebAssembly: kernels cannot be loaded');
    expect(await errorOf(page, 'webgpu')).toMatch(/e-/);
    await context.unroute('**/*.wasm');
    await run(page);
    for (const backend of ['wasm', 'webgpu'])
      expect(Number((await errorOf(page, backend)) || Number.NaN)).toBeLessThan(1e-5);
    await context.close();
  });

  test("a worker's script that cannot be loaded", async () => {
    const context = await newContext();
    await context.route('**/worker-*.js', (route) => route.abort());
    const { page } = await open(context, SMALL);
    expect(await settled(page)).toMatchObject({ mask: 'error', reach: 'error', cost: 'error', code: 'error' });
    await run(page);
    expect(await page.textContent(`${live('run')} [data-said]`)).toContain('script could not be loaded');
    await context.close();
  });

  test('a GPU that is lost, or not there', async () => {
    const context = await newContext(withGpu);
    await inWorkers(context, () => {
      const { requestDevice } = GPUAdapter.prototype;
      GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, ...args) {
        GPUAdapter.prototype.requestDevice = requestDevice;
        const device = await requestDevice.apply(this, args);
        setTimeout(() => device.destroy());
        return device;
      };
    });
    const { page } = await open(context, SMALL);
    await run(page);
    expect(await notes(page)).toContain('WebGPU: the GPU device was lost');
    expect(await errorOf(page, 'wasm')).toMatch(/e-/);
    await run(page);
    expect(await errorOf(page, 'webgpu')).toMatch(/e-/);
    await context.close();

    const { page: without } = await open(shared, SMALL);
    await run(without);
    expect(await notes(without)).toMatch(/WebGPU: .*(no|not) /);
    expect(await errorOf(without, 'wasm')).toMatch(/e-/);
    await leave(without);
  });

  test('storage that is full or forbidden, and a host without headers', async () => {
    const bare = await serve({});
    const context = await newContext(browser, {});
    const page = await context.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    const { origin } = new URL(bare.resolvedUrls?.local[0] as string);
    const session = await context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1000 });
    await page.addInitScript(() =>
      Object.defineProperty(globalThis, 'localStorage', {
        get: () => {
          throw new DOMException('denied', 'SecurityError');
        },
      }),
    );
    await page.goto(`${bare.resolvedUrls?.local[0]}${SMALL}`);
    await page.waitForFunction(() => /storage is full/.test(document.querySelector('#notes')?.textContent ?? ''));
    await run(page);
    expect(await notes(page)).toContain('not isolated');
    await page.click('.theme');
    expect(await page.textContent('#notes')).toContain('the theme lasts as long as the page');
    await page.reload();
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    await run(page);
    expect(await errorOf(page, 'wasm')).toMatch(/e-/);
    expect(errors).toEqual([]);
    await context.close();
    await bare.close();
  });

  test('a page that was left in the background amid a run', async () => {
    const { page, complaints } = await open(shared, SMALL);
    const session = await shared.newCDPSession(page);
    await page.click('[data-run]');
    await session.send('Page.setWebLifecycleState', { state: 'frozen' });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await session.send('Page.setWebLifecycleState', { state: 'active' });
    await page.waitForSelector(`${live('run')}[data-state=done]`);
    await run(page);
    expect(await errorOf(page, 'wasm')).toMatch(/e-/);
    expect(await page.textContent(`${live('run')} [data-said]`)).toContain('the sample of this page');
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('work that is called off, even amid a loop that hears nothing', async () => {
    for (const [name, hash] of [
      ['attention', '#?tokens=8192&heads=4'],
      // No smaller grid has the window, so the reference computes it whole.
      ['neighborhood-attention', '#?rows=64&columns=64&window=63'],
    ]) {
      const { page, complaints } = await open(shared, `methods/${name}/index.html${hash}`);
      await page.click('[data-run]');
      await page.waitForFunction(() =>
        /checking|first call/.test(document.querySelector('[data-live=run]')?.textContent ?? ''),
      );
      await page.click('[data-live=run] [data-cancel]');
      await page.waitForSelector(`${live('run')}[data-state=idle]`);
      expect(await page.textContent(`${live('run')} [data-said]`)).toBe('Cancelled.');
      await page.goto(
        `${url}methods/${name}/index.html#?${name === 'attention' ? 'tokens=64' : 'rows=8&columns=8&window=3'}`,
      );
      await run(page);
      expect(await errorOf(page, 'wasm')).toMatch(/e-/);
      expect(complaints).toEqual([]);
      await leave(page);
    }
  });
});

test.concurrent('a method\u2019s page is worked by keys alone', async () => {
  const { page } = await open(shared, 'methods/power-attention/index.html#?tokens=256&dimension=16');
  await settled(page);
  await page.evaluate(() => Object.assign(globalThis, { walked: [] }));
  const unseen: string[] = [];
  for (let at = 0; at < 200; at++) {
    await page.keyboard.press('Tab');
    const left = await page.evaluate(() => {
      const { activeElement: now } = document;
      const { walked: before } = globalThis as unknown as { walked: Element[] };
      if (!now || now === document.body || before.includes(now)) return 'all';
      const isBehind =
        before.at(-1) && !(before.at(-1)!.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING);
      before.push(now);
      const { outlineStyle, boxShadow } = getComputedStyle(now);
      const isSeen = (outlineStyle !== 'none' || boxShadow !== 'none') && now.getBoundingClientRect().width > 0;
      return isSeen && !isBehind ? '' : now.outerHTML.slice(0, 120);
    });
    if (left === 'all') break;
    if (left) unseen.push(left);
  }
  expect(unseen).toEqual([]);
  const missed = await page.evaluate(() => {
    const { walked: all } = globalThis as unknown as { walked: Element[] };
    return Array.from(document.querySelectorAll<HTMLElement>('a[href], button, input, select, textarea, summary'))
      .filter(
        (element) =>
          element.checkVisibility() &&
          !element.matches(':disabled, [type=radio]:not(:checked)') &&
          !all.includes(element),
      )
      .map((element) => element.outerHTML.slice(0, 120));
  });
  expect(missed).toEqual([]);
  await page.focus('#cells canvas');
  const key = Number(await page.inputValue('#j'));
  await page.keyboard.press('ArrowLeft');
  expect(await page.inputValue('#j')).toBe(String(key - 1));
  await page.focus('[data-run]');
  await page.keyboard.press('Enter');
  await page.waitForSelector(`${live('run')}[data-state=done]`);
  expect(await page.evaluate(() => document.activeElement?.matches('[data-run]'))).toBe(true);
  await leave(page);
});

test
  .runIf(has('firefox'))
  .concurrent('Firefox shows the list, a method and its run, and the choice', { retry: 1 }, async () => {
    const firefox = await launchFirefox();
    /** What a page holds once its parts have come to an end. */
    const shown = (path: string, work: string, ends: string) =>
      firefox.evaluate<Record<string, string>>(
        url + path,
        `(async () => {
        const parts = () => [...document.querySelectorAll('[data-live]')];
        const until = async (is) => {
          const end = performance.now() + 120_000;
          while (!is()) {
            if (performance.now() > end)
              throw new Error('after two minutes: ' + parts().map(({ dataset: { live, state } }) => live + ' ' + state).join(', '));
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        };
        await until(() => parts().every(({ dataset: { live, state } }) => live === 'run' || ['done', 'error'].includes(state)));
        ${work}
        await until(() => ${ends});
        return Object.fromEntries(parts().map(({ dataset, textContent }) => [dataset.live, dataset.state + ' ' + textContent]));
      })()`,
      );
    try {
      const list = await shown('index.html#?q=long+context', '', "document.querySelector('.likeness')");
      expect(list.value.search).toMatch(/^done/);
      const method = await shown(
        'methods/power-attention/index.html#?tokens=256&dimension=16',
        "document.querySelector('[data-run]').click();",
        "['done', 'error'].includes(document.querySelector('[data-live=run]').dataset.state)",
      );
      for (const part of ['mask', 'reach', 'cost', 'code', 'run']) expect(method.value[part]).toMatch(/^done/);
      expect(method.value.run).toMatch(/WebAssembly.*e-\d+ at 256 tokens/);
      const choice = await shown('choose/index.html', '', 'true');
      expect(choice.value.choose).toMatch(/^done[\s\S]*in a stored run/);
      expect([list, method, choice].flatMap(({ errors }) => errors)).toEqual([]);
    } finally {
      await firefox.close();
    }
  });
