import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { agreementInPage, bundlePage, ISOLATION, launchChromium } from './page';

let browser: Browser;
let outDir: string;

beforeAll(async () => {
  outDir = await mkdtemp(join(tmpdir(), 'saccade-page-'));
  expect(await bundlePage(resolve(import.meta.dirname, 'consumer'), outDir)).toEqual([]);
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await rm(outDir, { recursive: true, force: true });
});

test('a cross-origin isolated page computes on threads', async () => {
  const { report, isolated, errors } = await agreementInPage(browser, outDir, ISOLATION);
  expect(errors).toEqual([]);
  expect(isolated).toBe(true);
  expect(report.explain).toMatch(/^threads: \d+ \(one per core, on Web Workers\)$/m);
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});

test('a page that is not isolated computes on one thread and says why', async () => {
  const { report, isolated, errors } = await agreementInPage(browser, outDir, {});
  expect(errors).toEqual([]);
  expect(isolated).toBe(false);
  expect(report.explain).toMatch(/^threads: 1, the calling one \(this page is not cross-origin isolated: /m);
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});
