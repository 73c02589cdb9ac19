/** A NATS server for sweeps, with JetStream and WebSocket, and the web server of the page that works for it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createConnection, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { whatIsServed } from '../bench/browser/host';
import { answer, PAGE_HEADERS, type Served, sendFile } from '../bench/browser/server';
import { UnsupportedError } from '../errors';
import { script } from './nats.generated';

export interface ServeOptions {
  /** A folder that exists: jobs and results are kept there. */
  readonly store: string;
  readonly host: string;
  /** The port for NATS; WebSocket and page have the two after it. */
  readonly port: number;
  /** GiB of jobs and results. */
  readonly limit: number;
  readonly token: string;
  /** Certificate and key, as files, without which only this machine's pages may use its GPU. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
}

/** Bytes of a message: reports of experiments have more than a server takes by default. */
const MOST_BYTES = 2 ** 23;
/** Milliseconds for the server to start. */
const PATIENCE = 20_000;

/** The configuration of nats-server. */
export function configOf({ store, host, port, limit, token, tls }: ServeOptions): string {
  const text = JSON.stringify;
  const secret = tls && `tls { cert_file: ${text(resolve(tls.cert))}, key_file: ${text(resolve(tls.key))} }`;
  return [
    'server_name: saccade_sweep',
    `listen: ${text(`${host}:${port}`)}`,
    `max_payload: ${MOST_BYTES}`,
    `authorization { token: ${text(token)} }`,
    // What a worker was told to be stored is on the disk.
    `jetstream { store_dir: ${text(resolve(store))}, max_memory_store: 0, max_file_store: ${Math.round(limit * 2 ** 30)}, sync_interval: always }`,
    `websocket { listen: ${text(`${host}:${port + 1}`)}, ${secret ?? 'no_tls: true'} }`,
    ...(secret ? [secret] : []),
    '',
  ].join('\n');
}

/** A script of sh: nats-server, which is told to end when the standard input does, as it does however this process ends. */
const WATCHED =
  'exec 3<&0; nats-server -c "$0" 3<&- & nats=$!; { cat; kill $nats; } <&3 3<&- >/dev/null 2>&1 & wait $nats';

/**
 * Starts both servers, which run until the signal aborts. Calls `onReady` once they answer.
 *
 * @throws {UnsupportedError} no nats-server, or why it ended
 */
export async function serveSweep(options: ServeOptions, signal: AbortSignal, onReady: () => void): Promise<void> {
  const { store, host, port } = options;
  const config = join(store, 'nats-server.conf');
  await writeFile(config, configOf(options), { mode: 0o600 });
  const pages = await startPages(options);
  const nats = spawn('sh', ['-c', WATCHED, config], { stdio: ['pipe', 'ignore', 'pipe'], detached: true });
  const stop = () => void nats.stdin.end();
  signal.addEventListener('abort', stop);
  try {
    const ended = endOf(nats);
    await Promise.race([ended, listening(host, port)]);
    onReady();
    await ended;
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
    pages.close();
  }
}

/** Resolves when it ends as it was told to. */
async function endOf(nats: ChildProcess): Promise<void> {
  let said = '';
  nats.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  const [code] = await once(nats, 'exit');
  if (code === 127)
    throw new UnsupportedError(
      'saccade sweep serve needs nats-server, which is not installed: apt install nats-server, or see nats.io/download',
    );
  if (code === 0 || nats.stdin?.writableEnded) return;
  const fatal = said.split('\n').filter((line) => /\[FTL\]|\[ERR\]|nats-server:/.test(line));
  const why = fatal.at(-1)?.replace(/^.*?(\[FTL\]|\[ERR\]|nats-server:)\s*/, '') ?? `code ${code}`;
  throw new UnsupportedError(`nats-server ended: ${why}`);
}

/** Resolves as soon as something listens there. */
export async function listening(host: string, port: number): Promise<void> {
  const end = Date.now() + PATIENCE;
  const at = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  for (;;) {
    const socket = createConnection(port, at);
    try {
      await once(socket, 'connect');
      return;
    } catch (error) {
      if (Date.now() > end) throw new UnsupportedError(`nats-server does not listen at ${at}:${port}: ${error}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      socket.destroy();
    }
  }
}

/** Serves the page, the built library and the client of NATS. */
async function startPages({ host, port, tls }: ServeOptions): Promise<Server> {
  const served = await whatIsServed(undefined);
  const respond: RequestListener = (request, response) => {
    for (const [name, value] of Object.entries(PAGE_HEADERS)) response.setHeader(name, value);
    const [path = '/', base] = [request.url, 'http://localhost'];
    if (!URL.canParse(path, base)) return answer(response, 400);
    const { pathname } = new URL(path, base);
    const [, area = '', ...rest] = pathname.split('/');
    const folder = Object.hasOwn(served.folders, area) ? served.folders[area] : undefined;
    if (pathname === '/') return answer(response, 200, 'text/html; charset=utf-8', pageOf(served, port + 1));
    if (pathname === '/nats.mjs') return answer(response, 200, 'text/javascript', script);
    if (folder === undefined) return answer(response, 404);
    sendFile(response, folder, rest.join('/')).catch(() => answer(response, 400));
  };
  const server = tls
    ? createSecureServer({ cert: await readFile(tls.cert), key: await readFile(tls.key) }, respond)
    : createServer(respond);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port + 2, host, resolve);
  });
  return server;
}

function pageOf({ imports }: Served, socket: number): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>saccade sweep</title>
<link rel="icon" href="data:,">
<style>
:root { --line: #dedbd4; --muted: #5b5f63; --accent: #0a6a8a; --surface: #ffffff; --background: #fcfbf9; --text: #1d1f21; }
@media (prefers-color-scheme: dark) {
  :root { --line: #373b40; --muted: #a5a7a9; --accent: #63c5e3; --surface: #1d2024; --background: #15171a; --text: #e9e7e2; }
}
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; color: var(--text); background: var(--background); }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
#state { border-left: 4px solid var(--accent); background: var(--surface); padding: 0.75rem 1rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
#lines { list-style: none; margin: 0; padding: 0; font-size: 0.9rem; }
#lines li { display: flex; gap: 1rem; padding: 0.3rem 0; border-top: 1px solid var(--line); }
#lines span { min-width: 0; overflow-wrap: anywhere; }
time { color: var(--muted); font-variant-numeric: tabular-nums; flex: none; }
</style>
<script type="importmap">${JSON.stringify({ imports: { ...imports, '@nats-io/jetstream': '/nats.mjs' } })}</script>
<script type="module">
import { wsconnect } from '/nats.mjs';
import { serve } from '/saccade/sweep/page.mjs';
const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
serve({ server: \`\${scheme}://\${location.hostname}:${socket}\`, connect: wsconnect });
</script>
<main>
<h1>A worker of saccade sweep</h1>
<p id="state" role="status">Starting.</p>
<ol id="lines"></ol>
</main>
</html>
`;
}
