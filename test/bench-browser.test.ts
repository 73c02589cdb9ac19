/** `saccade bench --browser` in Chromium, on the built library; the peers of these tests are made up. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { inPage } from '../src/bench/browser/contender';
import { type BrowserHost, openBrowser } from '../src/bench/browser/host';
import type { Contender } from '../src/bench/contender';
import { Measurement } from '../src/bench/measure';
import type { BenchOptions } from '../src/bench/options';
import { inputsOf, MASKS, type Problem } from '../src/bench/problem';
import { runSuite } from '../src/bench/run';
import { Runtimes } from '../src/bench/runtimes';
import { DEFAULT_OPTIONS } from '../src/bench/suite';
import { attentionSuite } from '../src/bench/suites/attention';
import { formatReport } from '../src/bench/table';
import { CHROMIUM } from './chromium';
import { launchChromium } from './page';

const TINY: BenchOptions = {
  ...DEFAULT_OPTIONS,
  n: [20],
  d: [8],
  masks: ['window'],
  heads: 2,
  backend: 'wasm',
  threads: 2,
  simd: undefined,
  repeats: 2,
  limit: 30,
  calls: 1,
  peers: false,
  browser: true,
  only: [],
  inProcess: false,
};
const PATIENCE = { limit: 30_000, warmUp: 5, sample: 1 };
const PROBLEM: Problem = { n: 6, h: 1, d: 4, mask: MASKS.causal };
const { signal } = new AbortController();
const say = () => {};

let peers: string;
/** A headless Chromium; each of its pages is a browser of its own. */
let headless: BrowserHost;
beforeAll(async () => {
  peers = await mkdtemp(join(tmpdir(), 'saccade-page-peers-'));
  await writeFile(join(peers, 'imports.json'), '{}');
  headless = await openBrowser(true, { signal, say, peers });
});
afterAll(async () => {
  await headless?.close();
  await rm(peers, { recursive: true });
});
afterEach(() => vi.unstubAllEnvs());

/** A made-up peer, whose module is `source`. */
async function rival(source: string, peer = 'rival'): Promise<Contender> {
  await writeFile(join(peers, `${peer}.mjs`), source);
  return inPage(headless, peer, { peer, backend: 'wasm', threads: 1 });
}

const hasGpu = () => !headless.facts.some((fact) => fact.includes('no WebGPU adapter'));

test('attention in headless Chromium: right on wasm and on WebGPU, or a row says that there is none', async () => {
  const report = await runSuite(attentionSuite, TINY, { browser: headless, patience: PATIENCE });
  expect(report.rows.map(({ name, mask }) => `${name} ${mask}`)).toEqual([
    'saccade-wasm window',
    'saccade-webgpu window',
  ]);
  const gpu = report.runtime.find((fact) => fact.startsWith('GPU: ')) as string;
  for (const { name, status, measures, threads, reason, command } of report.rows) {
    expect(command).toBe(
      `saccade bench attention --n 20 --d 8 --masks window --heads 2 --repeats 2 --browser --only ${name}`,
    );
    if (name === 'saccade-webgpu' && !hasGpu()) {
      expect([status, reason]).toEqual(['failed', expect.stringMatching(/no WebGPU|no adapter/)]);
      continue;
    }
    expect(status).toBe('ok');
    expect(measures.error).toBeLessThan(1e-6);
    expect(measures.time).toBeGreaterThan(0);
    expect(measures.memory).toBeGreaterThan(0);
    expect(measures.ratio).toBe(1);
    expect(threads).toBe(name === 'saccade-wasm' ? 2 : undefined);
  }
  expect(report.measures).not.toContain('peakShare');
  expect(report.machine.runtime).toMatch(/^Chromium [\d.]+, headless$/);
  expect(report.runtime).toContainEqual(expect.stringMatching(/^threads: \d+ \(one per core, on Web Workers\)$/));
  expect(report.notes?.some((note) => note.includes('not GPUs'))).toBe(gpu.endsWith('in software'));
  for (const note of report.notes ?? []) expect(formatReport(report)).toContain(note);
});

test('whatever becomes of a page, it is a row with a reason, and the next contender is measured', async () => {
  const prepared = (run: string) => `
    export const open = () => ({ threads: 1, prepare: ({ v }) => ({ run() { ${run} }, result: () => v }) });`;
  // An error that a GPU reports and nobody catches fails the call.
  const onGpu = `
    export async function open() {
      const device = await (await navigator.gpu.requestAdapter()).requestDevice();
      const run = async () => {
        device.createBuffer({ size: 4, usage: 0 });
        await device.queue.onSubmittedWorkDone();
      };
      return { prepare: ({ v }) => ({ run, result: () => v }) };
    }`;
  const cases = [
    ['export const open = () => { throw new Error("no such backend"); };', /^no such backend$/, 'failed'],
    ['import "./absent.mjs";', /absent|dynamically imported module/, 'failed'],
    [prepared(''), /^it differs from the float64 reference/, 'wrong'],
    [prepared('window.close(); location.href = "about:blank"; return new Promise(() => {});'), /^its page /, 'failed'],
    ...(hasGpu() ? ([[onGpu, /^the GPU reported: .*usage/i, 'failed']] as const) : []),
  ] as const;
  const rivals = await Promise.all(cases.map(([source], at) => rival(source, `rival-${at}`)));
  const saccade = inPage(headless, 'saccade', { peer: undefined, backend: 'wasm', threads: 1 });
  const entries = [...rivals, saccade].map((contender) => ({ contender, problem: PROBLEM, hasPeak: false }));
  const outcomes = await new Measurement(new Runtimes(), 1, PATIENCE).run(entries, {});
  expect(outcomes).toMatchObject([
    ...cases.map(([, reason, status]) => ({ status, reason: expect.stringMatching(reason) })),
    { status: 'ok' },
  ]);
}, 120_000);

test('a page that hangs is closed by the signal', async () => {
  const hanging = await rival(
    'export const open = () => ({ threads: 1, prepare: () => ({ run() { for (;;); }, result() {} }) });',
  );
  const session = await hanging.open({ problem: PROBLEM, inputs: inputsOf(PROBLEM) }, signal);
  await expect(async () => session.time(1, AbortSignal.timeout(500))).rejects.toMatchObject({ name: 'TimeoutError' });
  await expect(async () => session.result(signal)).rejects.toThrow('its page was closed');
});

test('a browser that runs already is measured by its address, and goes on running though a page crashes', async () => {
  const port = await freePort();
  const browser = await chromium.launch({ ...CHROMIUM, args: [...CHROMIUM.args!, `--remote-debugging-port=${port}`] });
  try {
    const runtime = { threads: 1, simd: 'baseline' } as const;
    const host = await openBrowser(`http://127.0.0.1:${port}`, { runtime, signal, say });
    expect(host.facts).toContainEqual(expect.stringMatching(/^kernels: baseline SIMD/));
    expect(host.machine.runtime).toMatch(/^Chromium [\d.]+ at http/);
    const { rows } = await runSuite(attentionSuite, { ...TINY, ...runtime, only: ['saccade-wasm'] }, { browser: host });
    expect(rows.map(({ status, threads }) => [status, threads])).toEqual([['ok', 1]]);
    const page = await host.open(signal);
    await crashPages(port);
    await expect(async () => page.ask('memory', {}, signal)).rejects.toThrow('its page crashed');
    await host.close();
    expect(browser.isConnected()).toBe(true);
  } finally {
    await browser.close();
  }
});

test("a user's own browser is measured in frames of a page that it is sent to, until that page is closed", async () => {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const invite = (line: string) => void page.goto(/http:\S+/.exec(line)?.[0] as string);
    const host = await openBrowser('wait', { signal, say: invite });
    expect(host.machine.runtime).toContain('HeadlessChrome');
    const { rows } = await runSuite(attentionSuite, { ...TINY, only: ['saccade-wasm'] }, { browser: host });
    expect(rows.map(({ status, threads }) => [status, threads])).toEqual([['ok', 2]]);
    await page.close();
    await expect(async () => host.open(signal)).rejects.toThrow('its page was closed');
    await host.close();
  } finally {
    await browser.close();
  }
});

test('a browser that does not open frames is given up with what it needs', async () => {
  const visit = async (line: string) => {
    const root = /http:\S+/.exec(line)?.[0] as string;
    const [, path] = /serve\('(.*)'\)/.exec(await (await fetch(root)).text()) as unknown as [string, string];
    const response = await fetch(`${root}${path}/questions`);
    const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read();
    const { id, question } = JSON.parse(new TextDecoder().decode(value).slice('data: '.length));
    expect(question).toBe('describe');
    const body = JSON.stringify({ value: { machine: { runtime: 'Lynx' }, facts: [] } });
    await fetch(`${root}${path}/answers/${id}`, { method: 'POST', body });
  };
  const opened = openBrowser('wait', { signal, say: visit, patience: 500 });
  await expect(opened).rejects.toThrow(/^--browser: its first page did not answer in 0.5 s: .*frame-1.localhost/);
});

test('no Chromium, and nothing at an address: each says the remedy', async () => {
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  await expect(async () => openBrowser(nowhere, { signal, say })).rejects.toThrow(
    /^--browser: no browser answers at http:\S+ \(.*\): start one with --remote-debugging-port/,
  );
  vi.stubEnv('CHROMIUM', '/nowhere/chromium');
  await expect(async () => openBrowser(true, { signal, say })).rejects.toThrow(
    /^no Chromium .*say where it is in CHROMIUM$/,
  );
});

test('an interrupt while no browser comes ends the wait', async () => {
  const controller = new AbortController();
  const waiting = openBrowser('wait', { signal: controller.signal, say: () => controller.abort() });
  await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
});

/** Crashes the pages of the browser whose DevTools listen on this port. */
async function crashPages(port: number): Promise<void> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as Record<string, string>[];
  for (const { url, webSocketDebuggerUrl } of targets) {
    if (!url?.includes('/page/')) continue;
    const socket = new WebSocket(webSocketDebuggerUrl as string);
    await new Promise<void>((resolve) => {
      socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'Page.crash' }));
      socket.onmessage = ({ data }) => String(data).includes('Inspector.targetCrashed') && resolve();
    });
    socket.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
