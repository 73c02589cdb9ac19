/** Firefox, which is another engine of WebAssembly, workers and WebGPU than Chromium's. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FIREFOX, Firefox } from './firefox';
import { agreementInFirefox, bundlePage, ISOLATION } from './page';

const has = existsSync(FIREFOX);
let firefox: Firefox;
let outDir: string;

beforeAll(async () => {
  outDir = await mkdtemp(join(tmpdir(), 'saccade-firefox-page-'));
  if (!has) return;
  expect(await bundlePage(resolve(import.meta.dirname, 'consumer'), outDir)).toEqual([]);
  firefox = await Firefox.launch();
});

afterAll(async () => {
  await firefox?.close();
  await rm(outDir, { recursive: true, force: true });
});

beforeEach(({ skip }) => skip(!has, `there is no Firefox at ${FIREFOX}: apt-get install firefox-esr, or set FIREFOX`));

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
