/**
 * A local server for the pages of a benchmark: the built library, the peers' modules and, for each page, a
 * channel. A page takes its questions as server-sent events and posts its answers.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Channel } from './channel';
import type { Answer } from './protocol';

/** Threads need a cross-origin isolated page, and everything such a page loads must allow it. */
export const PAGE_HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Cache-Control': 'no-store',
};

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** This machine's own names: a request to any other name comes from another site's page (DNS rebinding). */
const OWN_NAME = /^(127\.0\.0\.1|([\w-]+\.)?localhost)(:\d+)?$/;

/** What is served in addition to the pages. */
export interface Served {
  /** By the first part of their paths; the built library is `saccade`. */
  readonly folders: Readonly<Record<string, string>>;
  /** Paths of what modules import by name. */
  readonly imports: Readonly<Record<string, string>>;
}

export interface PageServer {
  readonly port: number;
  /** A channel to a page that will be opened at the channel's path; the `front` page is also served at the root. */
  channel(front?: 'front'): Channel;
  /** Ends all channels and frees the port. */
  close(): Promise<void>;
}

/** Listens on a free port of the loopback interface. */
export async function startServer({ folders, imports }: Served): Promise<PageServer> {
  const channels = new Map<string, Channel>();
  let front: Channel | undefined;

  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    for (const [name, value] of Object.entries(PAGE_HEADERS)) response.setHeader(name, value);
    if (!OWN_NAME.test(request.headers.host ?? '')) return answer(response, 403);
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const [area = '', name = '', part = '', id = ''] = pathname.split('/').slice(1);
    const folder = Object.hasOwn(folders, area) ? folders[area] : undefined;
    if (folder !== undefined) return sendFile(response, folder, pathname.slice(area.length + 2));
    const channel = area === '' ? front : channels.get(`/${area}/${name}`);
    if (!channel) return answer(response, 404);
    if (part === '') return answer(response, 200, 'text/html; charset=utf-8', page(channel.path, imports));
    if (part === 'questions') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      return channel.connect(response);
    }
    if (part !== 'answers' || request.method !== 'POST') return answer(response, 404);
    answer(response, channel.answer(Number(id), await answerIn(request)) ? 204 : 410);
  };

  const server = createServer((request, response) => {
    respond(request, response).catch(() => answer(response, 400));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    channel(kind) {
      const path = `/page/${randomUUID()}`;
      const channel = new Channel(path, () => channels.delete(path));
      channels.set(path, channel);
      if (kind === 'front') front = channel;
      return channel;
    },
    async close() {
      for (const channel of channels.values()) channel.end('the benchmark is over');
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function page(path: string, imports: Served['imports']): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>saccade bench</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0.5rem; }
iframe { display: block; width: 100%; height: 3rem; border: 0; }
</style>
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">
import { serve } from '/saccade/bench/browser/page.mjs';
serve('${path}');
</script>
<body>Waiting for the benchmark ...</body>
</html>
`;
}

/** Sends a file of the folder, and none outside it. */
export async function sendFile(response: ServerResponse, folder: string, path: string): Promise<void> {
  const parts = decodeURIComponent(path).split(/[\\/]/);
  const content = parts.includes('..') ? undefined : await readFile(join(folder, ...parts)).catch(() => undefined);
  if (!content) return answer(response, 404);
  answer(response, 200, TYPES[extname(path)] ?? 'application/octet-stream', content);
}

/** JSON, or the bytes of floats. */
async function answerIn(request: IncomingMessage): Promise<Answer> {
  const body = await buffer(request);
  if (request.headers['content-type'] !== 'application/octet-stream') return JSON.parse(body.toString());
  return { value: new Float32Array(new Uint8Array(body).buffer) };
}

export function answer(
  response: ServerResponse,
  status: number,
  type = 'text/plain',
  content: string | Buffer = '',
): void {
  response.writeHead(status, { 'Content-Type': type }).end(content);
}
