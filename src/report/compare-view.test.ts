import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { has } from '../../test/has';
import { launchChromium } from '../../test/page';
import { compare } from '../compare/compare';
import { type ComparisonReport, isMeasured, type MeasuredRow } from '../compare/comparison';
import { imageInputs } from '../compare/image-inputs';
import { useOf } from '../compare/use';
import { describeMachine } from '../machine';
import { exactAttention } from '../methods/dense/attention';
import { createRuntime } from '../ops/create-runtime';
import { uniform } from '../tensor/random';
import { formatPercent } from '../text/format';
import { comparisonHtml } from './comparison-page';

/** What a file may be called. */
const HOSTILE = '</script><img src="x" onerror="alert(1)">';

let folder: string;
const hasChromium = has('chromium');
let browser: Browser;
let report: ComparisonReport;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-report-'));
  if (!hasChromium) return;
  using runtime = await createRuntime({ backend: 'reference' });
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, 40, 3, 8], { seed })) as [never, never, never];
  const comparison = await compare({ q, k, v }, { seconds: 0 });
  const machine = await describeMachine();
  const [exact] = comparison.rows as [MeasuredRow];
  const failed = {
    method: 'parallax',
    params: {},
    label: 'parallax',
    causal: false,
    baseline: false,
    failed: 'it is wrong',
  };
  report = {
    ...{ format: 'saccade compare', version: 1, machine, input: HOSTILE, ...comparison },
    rows: [...comparison.rows, failed],
    recommendation: { ...comparison.recommendation, uses: [useOf(exact, exactAttention)] },
  };
  await writeFile(join(folder, 'report.html'), comparisonHtml(report));

  const [rows, columns] = [9, 12];
  const picture = { width: 3 * columns, height: 3 * rows, rgb: uniform(27 * rows * columns, 1) };
  const { inputs } = imageInputs(runtime, { name: 'noise', picture }, [rows, columns]);
  const onGrid = { ...report, ...(await compare(inputs, { seconds: 0 })) };
  await writeFile(join(folder, 'grid.html'), comparisonHtml(onGrid, { picture }));
  browser = await launchChromium();
});
beforeEach(({ skip }) => skip(!hasChromium));
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Opened {
  readonly page: Page;
  /** Errors thrown and requests made, in words. */
  readonly complaints: readonly string[];
}

async function open(width: number, colorScheme: 'light' | 'dark', name = 'report.html'): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  const complaints: string[] = [];
  const url = `file://${join(folder, name)}`;
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('request', (request) => request.url() !== url && complaints.push(request.url()));
  await page.goto(url);
  await page.waitForSelector('svg[class^=plot] [aria-label=text]');
  return { page, complaints };
}

/** The first cell of every row of the page's first table. */
function labels(page: Page): Promise<(string | null)[]> {
  return page.$eval('tbody', (body) => Array.from(body.rows, (row) => (row.cells[0] as HTMLElement).textContent));
}

describe.each([
  ['a wide window', 1280],
  ['a phone', 390],
])('in %s', (_, width) => {
  test.each(['light', 'dark'] as const)(
    'shows everything that was compared, in %s, from itself alone',
    async (scheme) => {
      const { page, complaints } = await open(width, scheme);
      expect(await page.textContent('.verdict')).toBe(report.recommendation.text);
      expect(await page.textContent('main > p')).toBe(HOSTILE);
      expect(await labels(page)).toEqual(report.rows.map(({ label }) => label));
      const [use] = report.recommendation.uses;
      const typed = await page.$$eval('.use pre', (blocks) => blocks.map(({ textContent }) => textContent));
      expect(typed).toEqual([use?.code, use?.command]);
      expect(await page.$eval('tr.failed', ({ textContent }) => textContent)).toBe('parallaxfailed: it is wrong');
      expect(await page.$$eval('canvas', (canvases) => canvases.length)).toBe(3);
      expect(await page.textContent('main')).toContain('Rows without an error are of methods that need training');
      const masks = report.rows.filter(({ mass }) => mass);
      expect(await page.$$eval('figure svg', (pictures) => pictures.length)).toBe(masks.length);
      expect(await page.$$eval('svg [aria-label=dot] path', (dots) => dots.length)).toBe(
        report.rows.filter(({ error, baseline }) => error && !baseline).length,
      );
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
      expect(complaints).toEqual([]);
      await page.close();
    },
  );

  test('no label of the plot covers another', async () => {
    const { page } = await open(width, 'light');
    const boxes = await page.$$eval('svg [aria-label=text] text', (texts) =>
      texts.map((text) => text.getBoundingClientRect().toJSON() as DOMRect),
    );
    expect(boxes.length).toBeGreaterThan(2);
    for (const [at, a] of boxes.entries()) {
      for (const b of boxes.slice(0, at)) {
        const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        expect(apart, JSON.stringify([a, b])).toBe(true);
      }
    }
    await page.close();
  });
});

test('a column sorts up, then down', async () => {
  const { page } = await open(1280, 'light');
  const measured = report.rows.filter(isMeasured).sort((a, b) => a.time.median - b.time.median);
  const byTime = measured.map(({ label }) => label);
  await page.click('th:nth-child(2) button');
  expect(await labels(page)).toEqual([...byTime, 'parallax']);
  expect(await page.getAttribute('th:nth-child(2)', 'aria-sort')).toBe('ascending');
  await page.click('th:nth-child(2) button');
  expect(await labels(page)).toEqual([...byTime.reverse(), 'parallax']);
  await page.close();
});

test('a map is painted and reads out what is under the pointer', async () => {
  const { page } = await open(1280, 'light');
  const colors = await page.$eval('canvas', (canvas) => {
    const { data } = (canvas.getContext('2d') as CanvasRenderingContext2D).getImageData(0, 0, 40, 40);
    return new Set(Array.from({ length: 1600 }, (_, at) => data.slice(4 * at, 4 * at + 3).join())).size;
  });
  expect(colors).toBeGreaterThan(50);
  await page.hover('canvas', { position: { x: 1, y: 1 } });
  expect(await page.textContent('output')).toMatch(/^Head 0, queries from 0, keys from 0: [\d.]+%\.$/);
  await page.close();
});

test('on a grid, shows the picture and where tokens of it look', async () => {
  const { page, complaints } = await open(1280, 'dark', 'grid.html');
  const sizes = await page.$$eval('canvas', (canvases) => canvases.map(({ width, height }) => `${width}x${height}`));
  // The picture, nine maps of 36 x 27 pixels for each of four heads, and the maps of all queries.
  expect(sizes).toEqual(['36x27', ...new Array(4).fill('120x93'), ...new Array(4).fill('108x108')]);
  const colors = await page.$$eval('canvas', ([, first]) => {
    const context = (first as HTMLCanvasElement).getContext('2d') as CanvasRenderingContext2D;
    const { data } = context.getImageData(0, 0, 36, 27);
    return new Set(Array.from({ length: 36 * 27 }, (_, at) => data.slice(4 * at, 4 * at + 3).join())).size;
  });
  expect(colors).toBeGreaterThan(50);
  const text = await page.textContent('main');
  expect(text).toContain('Exact, full attention of 9 tokens');
  expect(text).not.toContain('◆ causal');
  expect(complaints).toEqual([]);
  await page.close();
});

test('pointing at a variant in the plot tells its figures', async () => {
  const { page } = await open(1280, 'light');
  const dot = await page.locator('svg [aria-label=dot] path').first().boundingBox();
  await page.mouse.move(dot!.x + dot!.width / 2, dot!.y + dot!.height / 2);
  await page.waitForSelector('svg [aria-label=tip] text');
  const lines = await page.$$eval('svg [aria-label=tip] tspan', (spans) => spans.map((span) => span.textContent));
  // Each line begins with a space of no width.
  const [label, , error] = lines.map((line) => line?.replace('\u200b', ''));
  const row = report.rows.find((candidate) => candidate.label === label);
  expect(error).toContain(`error ${formatPercent(row?.error?.relativeL2 ?? Number.NaN)}, `);
  await page.close();
});
