import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RuntimeOptions } from '../src/index';
import { writeSafetensors } from '../src/io';
import type { AnswerFormat } from '../src/models';
import { hostTensor } from '../src/tensor/host';
import type { answer } from './consumer/answer';
import type { onRanks } from './consumer/ranks';
import type { download } from './consumer/weights';
import { agreementInPage, bundlePage, ISOLATION, launchChromium, servedPage } from './page';

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

test('ranks that are workers of a page attend as one machine does', async () => {
  await using served = await servedPage(browser, outDir, ISOLATION);
  const { page, errors, url } = served;
  await page.goto(url);
  const worst = await page.evaluate(() => (globalThis as unknown as { onRanks: typeof onRanks }).onRanks(3));
  expect(errors).toEqual([]);
  expect(worst.map((error) => error < 1e-5)).toEqual([true, true, true]);
});

test('whenever workers of a page end, results are right or say so, and later calls work', async () => {
  const { report, errors } = await agreementInPage(browser, outDir, ISOLATION, { threads: 2 }, undefined, 'killed');
  expect(errors).toEqual([]);
  expect(report).toMatchObject({ worst: 0, leaked: 0 });
  expect(report.cases).toBeGreaterThan(0);
});

test('a page that is not isolated computes on one thread and says why', async () => {
  const { report, isolated, errors } = await agreementInPage(browser, outDir, {}, {}, undefined, 'agreementInBrief');
  expect(errors).toEqual([]);
  expect(isolated).toBe(false);
  expect(report.explain).toMatch(/^threads: 1, the calling one \(this page is not cross-origin isolated: /m);
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});

test.each([
  ["default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:", 'one per core, on Web Workers'],
  ["require-trusted-types-for 'script'; trusted-types saccade", 'one per core, on Web Workers'],
  ["worker-src 'self'", 'forbids workers from blob: addresses: allow them with worker-src blob:'],
  ["require-trusted-types-for 'script'; trusted-types another", 'with trusted-types saccade'],
])('under the policy "%s" a page computes, and says if threads need another', async (policy, reason) => {
  const headers = { ...ISOLATION, 'Content-Security-Policy': policy };
  const { report } = await agreementInPage(browser, outDir, headers, {}, undefined, 'agreementInBrief');
  expect(report.explain).toMatch(new RegExp(`^threads: .*${reason}`, 'm'));
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});

test('a page whose policy forbids WebAssembly is told the directive, and so is a caller who asks for threads', async () => {
  const under = (policy: string, options: RuntimeOptions) =>
    agreementInPage(browser, outDir, { ...ISOLATION, 'Content-Security-Policy': policy }, options);
  await expect(async () => under("script-src 'self'", {})).rejects.toThrow(
    /must have 'wasm-unsafe-eval' in its script-src/,
  );
  await expect(async () => under("worker-src 'self'", { threads: 2 })).rejects.toThrow(
    /allow them with worker-src blob:/,
  );
});

test('a page whose policy forbids to fetch the kernels is told the directive', async () => {
  const headers = { ...ISOLATION, 'Content-Security-Policy': "connect-src 'none'" };
  await expect(agreementInPage(browser, outDir, headers)).rejects.toThrow(
    /kernels cannot be loaded from http.*\.wasm.*a content security policy allow them in connect-src/,
  );
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

test('weights are kept in the Cache Storage of a page, which goes on where a download was aborted or broken off', async () => {
  // Three chunks of 4 MiB, the last one not whole.
  const numbers = Uint8Array.from({ length: 9 * 2 ** 20 }, (_, i) => i >> 20);
  const file = writeSafetensors({ w: hostTensor(numbers, [9, 2 ** 20]) });
  const [second, third] = [2 ** 22, 2 ** 23];
  let requests: number[] = [];
  let isDown = (_first: number) => false;
  await using served = await servedPage(browser, outDir, {});
  const { page, url } = served;
  await page.route('**/w.safetensors', async (route) => {
    const [first = 0, last = 0] = (route.request().headers().range?.match(/\d+/g) ?? []).map(Number);
    if (isDown(first)) return route.abort('connectionreset');
    requests.push(first);
    const body = Buffer.from(file.subarray(first, last + 1));
    const headers = { etag: '"1"', 'content-range': `bytes ${first}-${first + body.length - 1}/${file.length}` };
    return route.fulfill({ status: 206, headers, body });
  });
  const outcome = async (share?: number) => {
    requests = [];
    await page.goto(url);
    return page.evaluate(
      (share) => (globalThis as unknown as { download: typeof download }).download('w.safetensors', share),
      share,
    );
  };
  expect([await outcome(0.3), requests]).toEqual([expect.stringContaining('AbortError'), [0, 0]]);
  isDown = (first) => first === third;
  expect([await outcome(), requests]).toEqual([expect.stringContaining('cannot read weights from'), [0, second]]);
  isDown = () => false;
  expect([await outcome(), requests]).toEqual([8 * 2 ** 20, [0, third]]);
  isDown = () => true;
  expect([await outcome(), requests]).toEqual([8 * 2 ** 20, []]);
});

test('answers in a page are held to formats, those that take too much are refused, and others go on', async () => {
  await using served = await servedPage(browser, outDir, {});
  const { page, errors, url } = served;
  const file = fileURLToPath(import.meta.resolve('@mlc-ai/web-xgrammar'));
  await page.route('**/xgrammar.js', (route) => route.fulfill({ path: file, contentType: 'text/javascript' }));
  await page.goto(url);
  const said = (format: AnswerFormat) =>
    page.evaluate((format) => (globalThis as unknown as { answer: typeof answer }).answer(format), format);
  const whale = { schema: { enum: ['whale'] } };
  expect(await said(whale)).toContain(
    'format needs the package @mlc-ai/web-xgrammar: name it in an import map of the page',
  );
  await page.evaluate(() => {
    const [map, imports] = [document.createElement('script'), { '@mlc-ai/web-xgrammar': './xgrammar.js' }];
    document.head.append(Object.assign(map, { type: 'importmap', textContent: JSON.stringify({ imports }) }));
  });
  expect(await said(whale)).toBe('"whale"');
  for (const pattern of ['(a{0,4096}){0,4096}', '^(a+)+(b|c|d)*(e{0,4096}f{0,4096}){0,4096}$'])
    expect(await said({ schema: { type: 'string', pattern } })).toMatch(
      /schema of format must have at most 10000 states/,
    );
  expect(await said(whale)).toBe('"whale"');
  expect(errors).toEqual([]);
});
