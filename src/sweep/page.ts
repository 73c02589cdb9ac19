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
    const kinds: readonly Needs[] = (await hasGpu()) ? ['page-webgpu', 'page-cpu'] : ['page-cpu'];
    say(
      `This page is ${machine}, saccade ${BUILD}. It takes jobs for ${kinds.length > 1 ? 'its GPU and ' : ''}WebAssembly.`,
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
    say('Connected. Keep this page in sight: browsers slow down pages that nobody sees.');
    await work(queue, { machine, kinds, run, say });
  } catch (error) {
    say(`It ended: ${reasonOf(error)}`);
  }
}

async function run({ words }: Job): Promise<unknown> {
  say(`measuring: ${words.join(' ')}`);
  const { suite, options } = await pageCase(words);
  const report = await Promise.race([runSuite(suite, options), gpu.lost]);
  gpu.check();
  // As the command writes it.
  return JSON.parse(JSON.stringify(report));
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

function say(line: string): void {
  const lines = document.getElementById('lines') as HTMLElement;
  if (line === '') return;
  const item = document.createElement('li');
  item.textContent = line;
  lines.append(item);
  while (lines.childElementCount > MOST_LINES) lines.firstElementChild?.remove();
}
