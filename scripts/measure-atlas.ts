/**
 * Measures pages of the atlas in Chromium as first visited: npx node scripts/measure-atlas.ts [PATH...]
 * Run it on a quiet machine; it takes a minute. Times are medians of three visits.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { build, preview } from 'vite';
import { launchChromium } from '../test/page.ts';
import { atlasConfig } from './atlas.ts';

const VISITS = 3;
/** Milliseconds of a frame at 60 a second, and of panning. */
const FRAME = 1000 / 60;
const PANNING = 3000;
/** Milliseconds that a busy machine may take for a step. */
const PATIENCE = 120_000;
/** The page that is panned, of the most tokens whose layers and weights are no matter. */
const PANNED = 'methods/power-attention/index.html#?tokens=4096';
const paths = process.argv.length > 2 ? process.argv.slice(2) : ['index.html', 'methods/attention/index.html', PANNED];

interface Figures {
  /** Milliseconds until the first paint, and until the page's view has been computed, where it has one. */
  readonly paint: number;
  readonly view?: number;
  /** Bytes by gzip of all that was requested up to the load or the largest paint, and up to the view. */
  readonly first: number;
  readonly shown: number;
  /** The longest task of the page's own thread, in milliseconds, until the view is there and while it is panned. */
  readonly longest: number;
  /** The share of frames that came late while the view was panned. */
  readonly late?: number;
}

const config = await atlasConfig();
await build(config);
const server = await preview(config);
const browser = await launchChromium(false);
const [root] = server.resolvedUrls!.local as [string];
for (const path of paths) {
  const all: Figures[] = [];
  for (let visit = 0; visit < VISITS; visit++) all.push(await visited(browser, root + path));
  const of = (name: keyof Figures) => median(all.flatMap((figures) => figures[name] ?? []));
  const [{ view: hasView, late: isPanned }] = all as [Figures];
  const view = hasView ? `, view after ${of('view').toFixed(0)} ms` : '';
  const shown = hasView ? `, ${kilobytes(of('shown'))} up to the view` : '';
  const late = isPanned === undefined ? '' : `, ${(100 * of('late')).toFixed(1)}% of frames late while panning`;
  console.log(
    `${path}: first paint after ${of('paint').toFixed(0)} ms${view}, ${kilobytes(of('first'))} up to the load${shown}`,
  );
  console.log(`  longest freeze ${of('longest').toFixed(0)} ms${late}`);
}
await browser.close();
await server.close();

async function visited(browser: Browser, url: string): Promise<Figures> {
  const context = await browser.newContext({ serviceWorkers: 'block', viewport: { width: 1440, height: 900 } });
  context.setDefaultTimeout(PATIENCE);
  // From the files: a body cannot be read once its worker has ended.
  const files: { readonly at: number; readonly size: number }[] = [];
  context.on('requestfinished', (request) => {
    if (!request.url().startsWith(root)) return;
    const path = new URL(request.url()).pathname.slice(1);
    files.push({
      at: request.timing().startTime,
      size: gzipSync(readFileSync(resolve(config.build!.outDir!, path))).length,
    });
  });
  const page = await context.newPage();
  await page.addInitScript(() => {
    const found = { longest: 0, largest: 0, view: 0 };
    Object.assign(globalThis, { found });
    const observe = (type: string, take: (entry: PerformanceEntry) => void) =>
      new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true });
    observe('longtask', ({ duration }) => {
      found.longest = Math.max(found.longest, duration);
    });
    observe('largest-contentful-paint', ({ startTime }) => {
      found.largest = startTime;
    });
    new MutationObserver((changes) => {
      if (
        changes.some(({ target }) => (target as Element).matches('.bench [data-state=done]:is(:has(canvas), .outputs)'))
      )
        found.view ||= performance.now();
    }).observe(document, { subtree: true, attributeFilter: ['data-state'] });
  });
  await page.goto(url);
  const hasView = (await page.locator('.bench').count()) > 0;
  if (hasView) await page.waitForSelector('.bench[data-stands]');
  const times = await page.evaluate(() => {
    const [paint] = performance.getEntriesByName('first-contentful-paint');
    const [{ loadEventEnd }] = performance.getEntriesByType('navigation') as [PerformanceNavigationTiming];
    const { largest, view } = (globalThis as unknown as { found: { largest: number; view: number } }).found;
    const [first, shown] = [Math.max(loadEventEnd, largest), view].map((time) => performance.timeOrigin + time);
    return { paint: paint!.startTime, view, first: first!, shown: shown! };
  });
  await page.waitForLoadState('networkidle');
  const late = url.endsWith(PANNED) ? await lateFrames(page) : undefined;
  const bytes = (until: number) => files.reduce((sum, { at, size }) => sum + (at <= until ? size : 0), 0);
  const longest = await page.evaluate(() => (globalThis as unknown as { found: { longest: number } }).found.longest);
  await context.close();
  return {
    paint: times.paint,
    first: bytes(times.first),
    shown: bytes(times.shown),
    longest,
    ...(hasView && { view: times.view }),
    ...(late !== undefined && { late }),
  };
}

/** Zooms in and drags to and fro, a step a frame. */
async function lateFrames(page: Page): Promise<number> {
  await page.click('[data-zoom=cells]');
  await page.click('[data-zoom=out]');
  return page.evaluate(
    async ({ frame, panning }) => {
      const canvas = document.querySelector('#cells canvas')!;
      const { left, top, width } = canvas.getBoundingClientRect();
      const drag = (type: string, at: number) => {
        const place = { clientX: left + width * at, clientY: top + width * at };
        canvas.dispatchEvent(new PointerEvent(type, { ...place, pointerId: 1, pointerType: 'mouse', bubbles: true }));
      };
      canvas.setPointerCapture = () => {};
      const nextFrame = () => new Promise<number>((resolve) => requestAnimationFrame(resolve));
      let before = await nextFrame();
      const start = before;
      let [all, late] = [0, 0];
      drag('pointerdown', 0.5);
      while (before < start + panning) {
        drag('pointermove', 0.5 + 0.4 * Math.sin((before - start) / 300));
        const now = await nextFrame();
        all++;
        // Frames come at the beats of the screen: a late one takes two or more.
        if (now - before > 1.5 * frame) late++;
        before = now;
      }
      drag('pointerup', 0.5);
      return late / all;
    },
    { frame: FRAME, panning: PANNING },
  );
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(0)} kB`;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
