/** In brief, beside the CPU: a page and Node's GPU compute what the reference does. `npm run test:all` has the rest. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { add, createRuntime } from '../src/index';
import { has } from './has';
import { agreementInPage, bundlePage, ISOLATION, launchChromium } from './page';

test.runIf(has('chromium'))('a page in Chromium agrees with the reference', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-page-'));
  const browser = await launchChromium();
  try {
    expect(await bundlePage(resolve(import.meta.dirname, 'consumer'), folder)).toEqual([]);
    const { report, errors } = await agreementInPage(browser, folder, ISOLATION, {}, undefined, 'agreementInBrief');
    expect(errors).toEqual([]);
    expect(report.worst).toBeLessThan(1e-5);
    expect(report.leaked).toBe(0);
  } finally {
    await browser.close();
    await rm(folder, { recursive: true });
  }
});

test.runIf(has('gpu'))("Node's GPU adds", async () => {
  using runtime = await createRuntime({ backend: 'webgpu' });
  const sum = add(runtime.tensor([1, 2, 3], [3]), runtime.tensor([4, 5, 6], [3]));
  expect([...(await sum.read())]).toEqual([5, 7, 9]);
});
