/** Sweeps as users run them, of what is built: workers that are killed, a server that restarts, a page that works. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { SweepReport } from '../src/sweep/collected';
import { normal } from '../src/tensor/random';
import { has } from './has';
import { freePorts, startNats, type TestNats } from './nats';
import { launchChromium } from './page';

const bin = resolve(import.meta.dirname, '../dist/cli/bin.mjs');
const JOBS = 60;
const WORKERS = 3;
/** After so many jobs a worker is killed, and after so many the server. */
const KILL_EVERY = 9;
const RESTART_AFTER = 30;
// The task whose answers are judged soonest.
const TRAINING = ['bench', 'quality', '--methods', 'attention', '--tasks', 'state-tracking-s3'];
const SMALL = [...TRAINING, '--steps', '1', '--width', '4', '--layers', '1', '--threads', '1'];

const hasNats = has('nats');
const natsTest = test.skipIf(!hasNats);
let folder: string;
let nats: TestNats;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-sweeps-'));
  if (hasNats) nats = await startNats({ store: folder });
});
afterAll(async () => {
  await nats?.kill();
  await rm(folder, { recursive: true, force: true });
});

const environment = (url = nats.url) => ({ ...process.env, NATS_URL: url });

/** The command's output; of one that fails its exit code and what it says. */
async function sweep(
  words: readonly string[],
  url = nats.url,
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const done = await promisify(execFile)(process.execPath, [bin, 'sweep', ...words], { env: environment(url) });
    return { code: 0, ...done };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

async function collected(words: readonly string[], url?: string): Promise<SweepReport> {
  const file = join(folder, 'collected.json');
  await sweep(['collect', ...words, '--json', file], url);
  return JSON.parse(await readFile(file, 'utf8'));
}

natsTest('every job is done once, although workers are killed and the server restarts', async () => {
  const place = ['--sweep', 'killed'];
  const submitted = await sweep(['submit', ...place, '--patience', '2', ...SMALL, '--seeds', String(JOBS)]);
  expect(submitted.stdout).toContain(`${JOBS} of ${JOBS} jobs added for saccade `);
  const draws = normal(JOBS + 1, inject('seed'));
  const workers = new Map<ChildProcess, string>();
  let [done, started] = [0, 0];
  let restarted: Promise<void> | undefined;
  const finished: Promise<unknown>[] = [];
  const start = () => {
    const machine = `machine-${++started}`;
    const words = [bin, 'sweep', 'work', ...place, '--until-done', '--machine', machine];
    const child = spawn(process.execPath, words, { env: environment(), stdio: ['ignore', 'ignore', 'pipe'] });
    workers.set(child, machine);
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (!line.startsWith('done: ')) return;
      done++;
      if (done % KILL_EVERY === 0) {
        const alive = [...workers.keys()];
        const [victim] = alive.splice(Math.floor(1e6 * Math.abs(draws[done] ?? 0)) % alive.length, 1);
        workers.delete(victim!);
        victim!.kill('SIGKILL');
        start();
      }
      if (done === RESTART_AFTER) restarted = nats.kill().then(nats.start);
    });
    finished.push(once(child, 'exit'));
  };
  for (let at = 0; at < WORKERS; at++) start();
  // Those that are killed start others.
  for (let at = 0; at < finished.length; at++) await finished[at];
  await restarted;
  expect(started).toBeGreaterThan(WORKERS);
  expect(restarted).toBeDefined();

  const { outcomes, waiting } = await collected(place);
  expect(waiting).toBe(0);
  expect(new Set(outcomes.map(({ words }) => words.join(' '))).size).toBe(JOBS);
  expect(outcomes.filter(({ report }) => report === undefined)).toEqual([]);
  expect(outcomes).toHaveLength(JOBS);
  const again = await sweep(['submit', ...place, ...SMALL, '--seeds', String(JOBS)]);
  expect(again.stdout).toMatch(new RegExp(`^0 of ${JOBS} jobs added for saccade .*, ${JOBS} already done$`, 'm'));
  const status = await sweep(['status', ...place]);
  expect(status.stdout).toMatch(new RegExp(`^all +0 +0 +${JOBS} +0$`, 'm'));
});

natsTest('what takes too long is stopped, and given up after three tries; others go on', async () => {
  const place = ['--sweep', 'poison'];
  await sweep(['submit', ...place, ...TRAINING, '--steps', '100000', '--threads', '1']);
  const work = ['work', ...place, '--until-done', '--machine', 'here'];
  expect(await sweep([...work, '--limit', '1'])).toMatchObject({ code: 0, stdout: '0 jobs done, 3 tries failed\n' });
  await sweep(['submit', ...place, ...SMALL]);
  expect(await sweep(work)).toMatchObject({ code: 0, stdout: '1 job done, 0 tries failed\n' });
  const { code, stdout, stderr } = await sweep(['collect', ...place, '--csv', join(folder, 'sweep.csv')]);
  expect(code).toBe(1);
  expect(stderr).toContain('saccade: 1 of 2 jobs failed: bench quality');
  expect(stdout).toContain('it took longer than 1 s');
  const csv = await readFile(join(folder, 'sweep.csv'), 'utf8');
  expect(csv).toMatch(/^machine,job,what,status,result\n/);
  expect(csv).toMatch(/^here,bench quality .*,"state-tracking-s3 by attention, seed 1",ok,\d+(\.\d+)?%$/m);
});

natsTest('a server that is full or has no JetStream', async () => {
  const store = await mkdtemp(join(folder, 'full-'));
  const small = await startNats({ store, limit: 1e-4 });
  try {
    const refused = await sweep(['submit', ...SMALL, '--seeds', '1000'], small.url);
    expect(refused.stderr).toMatch(
      /^saccade: the server's storage is full \(.*\): give it more, as by saccade sweep serve --limit/,
    );
    expect(refused.code).toBe(2);
  } finally {
    await small.kill();
  }
  const port = await freePorts();
  const plain = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  try {
    const url = `nats://127.0.0.1:${port}`;
    await expect
      .poll(async () => (await sweep(['status'], url)).stderr, { timeout: 60_000 })
      .toContain('saccade: the server has no JetStream, which keeps the jobs');
  } finally {
    plain.kill();
  }
});

/** `sweep serve` of a folder, and the lines that it prints. */
function serve(store: string, port: number) {
  const words = [bin, 'sweep', 'serve', '--store', join(folder, store), '--port', String(port)];
  const served = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  return { served, lines: createInterface({ input: served.stdout }) };
}

natsTest(
  'a server stands malformed requests, takes nats-server along when it is killed, and starts again',
  async () => {
    const port = await freePorts();
    const { served, lines } = serve('hostile', port);
    await once(lines, 'line');
    for (const [line, status] of [
      ['GET http://[ HTTP/1.1', 400],
      ['GET //[ HTTP/1.1', 400],
      ['GET /saccade/%ff HTTP/1.1', 400],
      ['GET http://x HTTP/1.1', 200],
    ] as const) {
      const socket = createConnection(port + 2, '127.0.0.1').end(`${line}\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect(await text(socket)).toMatch(`HTTP/1.1 ${status} `);
    }
    served.kill('SIGKILL');
    const refused = async () => {
      const socket = createConnection(port, '127.0.0.1');
      // One that it took before it ended is reset later.
      socket.on('error', () => {});
      const end = await once(socket, 'connect').catch(({ code }) => code);
      socket.destroy();
      return end;
    };
    await expect.poll(refused, { timeout: 60_000 }).toBe('ECONNREFUSED');
    const again = serve('hostile', port);
    await once(again.lines, 'line');
    again.served.kill('SIGINT');
    expect(await once(again.served, 'exit')).toEqual([130, null]);
    expect(await refused()).toBe('ECONNREFUSED');
  },
);

test.runIf(hasNats && has('chromium'))(
  'a page works for a sweep: one link, and its row has the name of its machine',
  async () => {
    const port = await freePorts();
    const browser = await launchChromium(false);
    // Its lines are read at once: readline drops what comes before somebody listens.
    const { served, lines } = serve('served', port);
    const ended = once(served, 'exit');
    try {
      let [server, link] = ['', ''];
      for await (const line of lines) {
        if (line.startsWith('server: ')) server = line.slice('server: '.length);
        if (line.startsWith('page: ')) link = line.slice('page: '.length).trim();
        if (link) break;
      }
      const case_ = 'bench attention --n 16 --d 8 --masks causal --heads 1 --threads 1 --repeats 1 --only saccade';
      expect((await sweep(['submit', ...case_.split(' ')], server)).code).toBe(0);
      const page = await browser.newPage();
      await page.goto(`${link}&machine=phone`);
      await expect.poll(() => page.textContent('#lines'), { timeout: 120_000 }).toContain(`done: ${case_}`);
      const { outcomes } = await collected([], server);
      expect(outcomes).toMatchObject([
        {
          machine: 'phone',
          report: { machine: { runtime: expect.stringContaining('Chrome') }, rows: [{ status: 'ok' }] },
        },
      ]);
    } finally {
      await browser.close();
      served.kill('SIGINT');
      expect(await ended).toEqual([130, null]);
    }
  },
);
