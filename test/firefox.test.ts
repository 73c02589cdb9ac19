/** Firefox, which is another engine of WebAssembly, workers and WebGPU than Chromium's. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { type Firefox, launchFirefox } from './firefox';
import { has } from './has';
import { agreementInFirefox, bundlePage, ISOLATION } from './page';

const hasFirefox = has('firefox');
let firefox: Firefox;
let outDir: string;

beforeAll(async () => {
  outDir = await mkdtemp(join(tmpdir(), 'saccade-firefox-page-'));
  if (!hasFirefox) return;
  expect(await bundlePage(resolve(import.meta.dirname, 'consumer'), outDir)).toEqual([]);
  firefox = await launchFirefox();
});

afterAll(async () => {
  await firefox?.close();
  await rm(outDir, { recursive: true, force: true });
});

beforeEach(({ skip }) => skip(!hasFirefox));

test.each([
  { isolated: true, headers: ISOLATION, threads: /^threads: \d+ \(one per core, on Web Workers\)$/m },
  { isolated: false, headers: {}, threads: /^threads: 1, the calling one/m },
])('a page agrees with the reference, isolated: $isolated', async ({ headers, threads }) => {
  const { report, errors } = await agreementInFirefox(firefox, outDir, headers);
  expect(errors).toEqual([]);
  expect(report.explain).toMatch(threads);
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});

test('whenever its workers end, results are right or say so, and later calls work', async () => {
  const { report, errors } = await agreementInFirefox(firefox, outDir, ISOLATION, { threads: 2 }, 'killed');
  expect(errors).toEqual([]);
  expect(report).toMatchObject({ worst: 0, leaked: 0 });
  expect(report.cases).toBeGreaterThan(0);
});

test.skipIf(!inject('hasGpu'))('so it does on the GPU', async () => {
  const { report, errors } = await agreementInFirefox(firefox, outDir, {}, { backend: 'webgpu' });
  expect(errors).toEqual([]);
  expect(report.explain).toContain('backend: webgpu');
  expect(report.worst).toBeLessThan(1e-5);
  expect(report.leaked).toBe(0);
});
