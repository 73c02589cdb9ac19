/**
 * The machine's own Firefox, driven over WebDriver BiDi by the few commands that a check needs: Playwright asks for some
 * that Firefox's extended support release does not know. Source: https://www.w3.org/TR/webdriver-bidi/
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

export interface Firefox {
  readonly version: string;
  /** What a JavaScript expression gives in a new page at `url`, awaited, and the errors that the page logged. */
  evaluate<T>(url: string, expression: string): Promise<{ value: T; errors: string[] }>;
  close(): Promise<void>;
}

interface Evaluation {
  readonly result?: { readonly value: string };
  readonly exceptionDetails?: { readonly text: string };
}

/** Milliseconds. */
const LIMIT = 140_000;

/** A headless one with a profile of its own, and with WebGPU, in software too, which it has switched off on Linux. */
export async function launchFirefox(): Promise<Firefox> {
  const profile = await mkdtemp(join(tmpdir(), 'saccade-firefox-'));
  const preferences = ['dom.webgpu.enabled', 'gfx.webgpu.ignore-blocklist'].map(
    (name) => `user_pref('${name}', true);`,
  );
  await writeFile(join(profile, 'user.js'), preferences.join('\n'));
  const args = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'];
  const child = spawn(FIREFOX, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const { send, errors } = await connect(`${await addressOf(child.stderr)}/session`);
  const { capabilities } = await send<{ capabilities: { browserVersion: string } }>('session.new', {
    capabilities: {},
  });
  await send('session.subscribe', { events: ['log.entryAdded'] });

  async function evaluate<T>(url: string, expression: string): Promise<{ value: T; errors: string[] }> {
    const { context } = await send<{ context: string }>('browsingContext.create', { type: 'tab' });
    try {
      await send('browsingContext.navigate', { context, url, wait: 'complete' });
      const { result, exceptionDetails } = await send<Evaluation>('script.evaluate', {
        expression: `(async () => JSON.stringify(await (${expression})))()`,
        target: { context },
        awaitPromise: true,
      });
      if (!result) throw new Error(exceptionDetails?.text);
      return { value: JSON.parse(result.value), errors: errors.splice(0) };
    } finally {
      await send('browsingContext.close', { context });
    }
  }

  async function close(): Promise<void> {
    const exited = once(child, 'exit');
    await send('browser.close', {});
    await exited;
    await rm(profile, { recursive: true, force: true });
  }
  return { version: capabilities.browserVersion, evaluate, close };
}

/** Where a Firefox that starts says it listens. */
async function addressOf(stderr: NodeJS.ReadableStream): Promise<string> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: stderr })) {
    lines.push(line);
    const [, address] = /^WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? [];
    if (!address) continue;
    stderr.resume();
    return address;
  }
  throw new Error(`Firefox does not start:\n${lines.join('\n')}`);
}

/** Commands, whose answers come in any order, and the errors that pages have logged. */
async function connect(address: string) {
  const socket = new WebSocket(address);
  const waiting = new Map<number, { resolve(result: never): void; reject(error: Error): void }>();
  const errors: string[] = [];
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { type, id, result, message, params } = JSON.parse(data);
    if (type === 'event' && params.level === 'error') errors.push(params.text);
    if (type === 'success') waiting.get(id)?.resolve(result as never);
    if (type === 'error') waiting.get(id)?.reject(new Error(message));
    waiting.delete(id);
  };
  socket.onclose = () => {
    for (const { reject } of waiting.values()) reject(new Error('Firefox has closed the connection'));
  };
  await once(socket, 'open');
  /** Rejects after a while, too: a busy Firefox has been seen to leave a command without an answer. */
  function send<T>(method: string, params: object): Promise<T> {
    const id = ++last;
    socket.send(JSON.stringify({ id, method, params }));
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`Firefox does not answer ${method}`)), LIMIT);
      const ended =
        <V>(end: (value: V) => void) =>
        (value: V) => {
          clearTimeout(timer);
          end(value);
        };
      waiting.set(id, { resolve: ended(resolve), reject: ended(reject) });
    });
  }
  return { send, errors };
}
