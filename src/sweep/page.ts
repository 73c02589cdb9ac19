/** The page that works for a sweep: it takes jobs over a WebSocket and measures them here, on this browser's GPU where it has one. */
import type { ConnectionOptions, NatsConnection } from '@nats-io/nats-core';
import { watchGpu } from '../bench/browser/gpu-failures';
import { runSuite } from '../bench/run';
import { createRuntime } from '../ops/create-runtime';
import { reasonOf } from '../text/reason';
import { BUILD } from './build-id';
import type { Job, Needs } from './job';
import { pageCase } from './page-case';
import { SweepQueue } from './queue';
import { work } from './work';

/** Where pages keep the name that they were given. */
const NAME = 'saccade sweep machine';
/** The lines that are shown. */
const MOST_LINES = 200;

interface Given {
  /** The server's WebSocket. */
  readonly server: string;
  connect(options: ConnectionOptions): Promise<NatsConnection>;
}

const gpu = watchGpu();

/** Works for the sweep that the page's address names: `#token=...&sweep=...&machine=...`. */
export async function serve({ server, connect }: Given): Promise<void> {
  const address = new URLSearchParams(location.hash.slice(1));
  const machine = nameOf(address);
  try {
    // Who names the page anew in its address wants it to begin anew.
    addEventListener('hashchange', () => location.reload());
    const kinds: readonly Needs[] = (await hasGpu()) ? ['page-webgpu', 'page-cpu'] : ['page-cpu'];
    say(
      `This page is ${machine}, saccade ${BUILD}: &machine=NAME in its address gives it another name. It takes jobs for ${kinds.length > 1 ? 'its GPU and ' : ''}WebAssembly.`,
    );
    if (kinds.length === 1) say('The browser offers no WebGPU here.');
    if (!crossOriginIsolated) say('The page is not cross-origin isolated, so there are no threads.');
    const token = address.get('token');
    const connection = await connect({
      servers: address.get('server') ?? server,
      ...(token !== null && { token }),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
    });
    const queue = await SweepQueue.open(connection, { sweep: address.get('sweep') ?? 'default', build: BUILD });
    say('Keep this page in sight: browsers slow down pages that nobody sees.');
    show(WAITING);
    await keepScreenOn();
    await work(queue, { machine, kinds, run, say });
  } catch (error) {
    show(`It ended: ${reasonOf(error)}. Load the page again to go on.`);
  }
}

const WAITING = 'Connected, and waiting for jobs.';

async function run({ words }: Job): Promise<unknown> {
  show(`Measuring: ${words.join(' ')}`);
  try {
    const { suite, options } = await pageCase(words);
    const report = await Promise.race([runSuite(suite, options), gpu.lost]);
    gpu.check();
    // As the command writes it.
    return JSON.parse(JSON.stringify(report));
  } finally {
    show(WAITING);
  }
}

/** A phone's screen would go off, and the page would hardly be computed any more. */
async function keepScreenOn(): Promise<void> {
  const keep = () => navigator.wakeLock?.request('screen').catch(() => {});
  // It ends whenever the page is out of sight.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') void keep();
  });
  await keep();
}

/** What it does now. */
function show(state: string): void {
  (document.getElementById('state') as HTMLElement).textContent = state;
}

async function hasGpu(): Promise<boolean> {
  try {
    (await createRuntime({ backend: 'webgpu' })).dispose();
    return true;
  } catch {
    return false;
  }
}

/** The name in the address, or the one that this browser had before, or a new one. */
function nameOf(address: URLSearchParams): string {
  const kept = address.get('machine') ?? localStorage.getItem(NAME);
  const name = (kept ?? `page-${Math.floor(Math.random() * 2 ** 32).toString(36)}`).slice(0, 100);
  localStorage.setItem(NAME, name);
  return name;
}

/** The last line is on top. */
function say(line: string): void {
  if (line === '') return;
  const lines = document.getElementById('lines') as HTMLElement;
  const [item, time, text] = ['li', 'time', 'span'].map((tag) => document.createElement(tag)) as [
    HTMLElement,
    HTMLElement,
    HTMLElement,
  ];
  time.textContent = new Date().toLocaleTimeString();
  text.textContent = line;
  item.append(time, text);
  lines.prepend(item);
  while (lines.childElementCount > MOST_LINES) lines.lastElementChild?.remove();
}
