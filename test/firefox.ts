/**
 * The machine's own Firefox, driven over WebDriver BiDi by the few commands that a check needs: Playwright asks for some
 * that Firefox's extended support release does not know. Source: https://www.w3.org/TR/webdriver-bidi/
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

interface Waiting {
  resolve(result: never): void;
  reject(error: Error): void;
}

export class Firefox {
  readonly #waiting = new Map<number, Waiting>();
  #errors: string[] = [];
  #id = 0;

  private constructor(
    readonly process: ChildProcess,
    readonly profile: string,
    readonly socket: WebSocket,
  ) {
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Firefox has closed the connection'));
    };
  }

  /** A headless one with a profile of its own. */
  static async launch(): Promise<Firefox> {
    const profile = await mkdtemp(join(tmpdir(), 'saccade-firefox-'));
    const args = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'];
    const process = spawn(FIREFOX, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines: string[] = [];
    let address: string | undefined;
    for await (const line of createInterface({ input: process.stderr })) {
      lines.push(line);
      address = /^WebDriver BiDi listening on (ws:\S+)/.exec(line)?.[1];
      if (address) break;
    }
    process.stderr.resume();
    if (!address) throw new Error(`Firefox does not start:\n${lines.join('\n')}`);
    const socket = new WebSocket(`${address}/session`);
    await once(socket, 'open');
    const firefox = new Firefox(process, profile, socket);
    await firefox.#send('session.new', { capabilities: {} });
    await firefox.#send('session.subscribe', { events: ['log.entryAdded'] });
    return firefox;
  }

  /** What the JavaScript `expression` gives in a new page at `url`, awaited, and the errors that the page logged. */
  async evaluate<T>(url: string, expression: string): Promise<{ value: T; errors: string[] }> {
    this.#errors = [];
    const { context } = await this.#send<{ context: string }>('browsingContext.create', { type: 'tab' });
    try {
      await this.#send('browsingContext.navigate', { context, url, wait: 'complete' });
      const { result, exceptionDetails } = await this.#send<{
        result?: { value: string };
        exceptionDetails?: { text: string };
      }>('script.evaluate', {
        expression: `(async () => JSON.stringify(await (${expression})))()`,
        target: { context },
        awaitPromise: true,
      });
      if (!result) throw new Error(exceptionDetails?.text);
      return { value: JSON.parse(result.value), errors: this.#errors };
    } finally {
      await this.#send('browsingContext.close', { context });
    }
  }

  async close(): Promise<void> {
    const exited = once(this.process, 'exit');
    await this.#send('browser.close', {});
    await exited;
    await rm(this.profile, { recursive: true, force: true });
  }

  #send<T>(method: string, params: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = ++this.#id;
      this.#waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  #receive(message: { id?: number; type: string; result: never; message: string; params: never }): void {
    if (message.type === 'event') {
      const { level, text } = message.params as { level: string; text: string };
      if (level === 'error') this.#errors.push(text);
      return;
    }
    const waiting = this.#waiting.get(message.id as number);
    this.#waiting.delete(message.id as number);
    if (message.type === 'success') waiting?.resolve(message.result);
    else waiting?.reject(new Error(message.message));
  }
}
