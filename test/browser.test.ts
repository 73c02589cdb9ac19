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

test("a page's own worker computes on threads and beside them", async () => {
  const options = { threads: 3 };
  const { report, errors } = await agreementInPage(browser, outDir, ISOLATION, options, undefined, 'agreementInWorker');
  expect(errors).toEqual([]);
  expect(report.explain).toContain('threads: 3 (as asked)');
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

test('a page computes on the GPU', async () => {
  const { report, errors } = await agreementInPage(browser, outDir, {}, { backend: 'webgpu' });
  expect(errors).toEqual([]);
  expect(report.explain).toContain('backend: webgpu');
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});

test('a page without WebGPU, and one without a GPU, say what to do', async () => {
  const without = agreementInPage(browser, outDir, {}, { backend: 'webgpu' }, () => {
    Object.defineProperty(navigator, 'gpu', { value: undefined });
  });
  await expect(without).rejects.toThrow(
    "this page has no WebGPU: serve it over https or from localhost to a browser that has it (current Chrome, Edge, Firefox, Safari), or use backend 'wasm'",
  );
  const refused = agreementInPage(browser, outDir, {}, { backend: 'webgpu' }, () => {
    navigator.gpu.requestAdapter = async () => null;
  });
  await expect(refused).rejects.toThrow(
    "WebGPU found no adapter: the browser has WebGPU but no usable GPU: update its driver, look at chrome://gpu, or use backend 'wasm'",
  );
});

test('an adapter that refuses a device is named, with what to do', async () => {
  const refused = agreementInPage(browser, outDir, {}, { backend: 'webgpu' }, () => {
    GPUAdapter.prototype.requestDevice = async () => {
      throw new Error('no more devices');
    };
  });
  await expect(refused).rejects.toThrow(/the adapter ".+" refused a device: no more devices; close other pages/);
});
