/** `saccade serve` as a process: by OpenAI's own client, and beside hostile requests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type * as Threads from '../src/cli/serve-thread';

const root = resolve(import.meta.dirname, '..');
/** `SACCADE_REQUESTS=10000 npx vitest run test/serve.test.ts` tries more. */
const REQUESTS = Number(process.env.SACCADE_REQUESTS ?? 300);
const KEY = 'secret';

interface Probed {
  /** Milliseconds of each answer of /health, the most MiB that the server held, and the statuses that came. */
  readonly times: number[];
  readonly memory: number;
  readonly codes: number[];
}
const PROBE = `
const { parentPort, workerData } = require('node:worker_threads');
const { get } = require('node:http');
const { readFileSync } = require('node:fs');
const times = [];
const codes = new Set();
let memory = 0;
const ask = () => {
  const began = performance.now();
  get(workerData.url, { agent: false }, (response) => {
    response.resume().on('end', () => {
      times.push(performance.now() - began);
      codes.add(response.statusCode);
      const [, held] = /VmRSS:\\s*(\\d+)/.exec(readFileSync('/proc/' + workerData.pid + '/status', 'utf8'));
      memory = Math.max(memory, held / 1024);
      setTimeout(ask, 50);
    });
  });
};
ask();
parentPort.on('message', () => {
  parentPort.postMessage({ times, memory, codes: [...codes] });
  process.exit();
});
`;

let server: ChildProcess;
let client: OpenAI;
let url: URL;
beforeAll(async () => {
  ({ server, url } = await start('--api-key', KEY, '--queue', '16'));
  client = new OpenAI({ baseURL: url.href, apiKey: KEY, maxRetries: 0 });
});
afterAll(() => server.kill('SIGKILL'));

async function start(...words: string[]): Promise<{ server: ChildProcess; url: URL; log: () => string }> {
  const args = [join(root, 'dist/cli/bin.mjs'), 'serve', '--port', '0', '--threads', '1', ...words];
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  server.stderr?.on('data', (data) => {
    log += data;
  });
  const said = await Promise.race([once(server.stdout as NodeJS.ReadableStream, 'data'), once(server, 'exit')]);
  if (typeof said[0] === 'number') throw new Error(log);
  return { server, url: new URL(String(said[0]).trim()), log: () => log };
}

test("OpenAI's client gets answers, streams, formats, embeddings and errors of its kinds", async () => {
  const model = 'saccade-default';
  const asked = { model, prompt: 'And it came to pass', max_tokens: 6, temperature: 0 };
  const { choices } = await client.completions.create(asked);
  let streamed = '';
  for await (const part of await client.completions.create({ ...asked, stream: true }))
    streamed += part.choices[0]?.text;
  expect([streamed, choices[0]?.finish_reason]).toEqual([choices[0]?.text, 'length']);
  const { data } = await client.embeddings.create({ model, input: ['a whale', 'a ship'] });
  expect(data.map(({ embedding }) => Math.hypot(...embedding).toFixed(3))).toEqual(['1.000', '1.000']);
  const formed = await client.completions.create({
    ...asked,
    max_tokens: 40,
    response_format: { type: 'json_schema', json_schema: { schema: { enum: ['whale'] } } },
  } as never);
  expect((formed as OpenAI.Completion).choices[0]?.text).toBe('"whale"');
  expect((await client.models.list()).data[0]?.id).toBe(model);
  await expect(client.models.retrieve('other')).rejects.toThrow(OpenAI.NotFoundError);
  const wrong = client.withOptions({ apiKey: 'wrong' });
  await expect(wrong.completions.create(asked)).rejects.toThrow(OpenAI.AuthenticationError);
  await expect(client.completions.create({ ...asked, max_tokens: -1 })).rejects.toThrow(OpenAI.BadRequestError);
  const messages = [{ role: 'user', content: 'a' }] as const;
  await expect(client.chat.completions.create({ model, messages: [...messages] })).rejects.toThrow('chat template');
  const foreign = client.withOptions({ defaultHeaders: { Origin: 'https://evil.example' } });
  await expect(foreign.completions.create(asked)).rejects.toThrow(OpenAI.PermissionDeniedError);
  const many = Array.from({ length: 20 }, () => client.completions.create({ ...asked, max_tokens: 100 }));
  const refused = (await Promise.allSettled(many)).flatMap((each) => (each.status === 'rejected' ? each.reason : []));
  expect(refused).toHaveLength(4);
  for (const error of refused) expect(error).toBeInstanceOf(OpenAI.RateLimitError);
});

test('hostile requests hold up neither the server nor its end', async () => {
  const sockets: Socket[] = [];
  /** Sends bytes and then nothing more, nor reads what comes. */
  const send = (text: string) => {
    const socket = connect(Number(url.port), url.hostname).on('error', () => {});
    socket.pause();
    socket.write(text);
    sockets.push(socket);
    if (sockets.length > 1500) sockets.shift()?.destroy();
  };
  const head = (path: string, length: number) =>
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
  const post = async (path: string, body: unknown, headers: object = {}) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const sent = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', ...headers };
    const response = await fetch(new URL(path, url), { method: 'POST', body: text, headers: sent });
    await response.text();
    return response.status;
  };
  const formed = (schema: object) => ({
    prompt: 'a',
    max_tokens: 4,
    response_format: { type: 'json_schema', json_schema: { schema } },
  });
  const stream = JSON.stringify({ prompt: 'a', max_tokens: 4000, stream: true });
  const large = 'x '.repeat(2 ** 20);
  const kinds: (() => unknown)[] = [
    () => post('/v1/completions', { prompt: large }),
    () => post('/v1/completions', { prompt: 'whale '.repeat(10_000) }),
    () => post('/v1/completions', '['.repeat(2 ** 20)),
    () => post('/v1/completions', `{"prompt":${'['.repeat(2 ** 19)}${']'.repeat(2 ** 19)}}`),
    () => post('/v1/completions', 'x'.repeat(2 ** 22 + 1)).catch(() => {}),
    () => post('/v1/completions', { prompt: 'a', stop: Array(300_000).fill('a') }),
    () => post('/v1/completions', { prompt: 'a', logit_bias: Object.fromEntries(Array(5000).entries()) }),
    () => post('/v1/completions', { prompt: 'a', max_tokens: 2, logprobs: 5, temperature: -1 }),
    () => post('/v1/completions', formed({ type: 'string', pattern: '(a{0,4096}){0,4096}' })),
    () => post('/v1/completions', formed({ type: 'string', pattern: '^(a+)+(b|c|d)*(e{0,4096}f{0,4096}){0,4096}$' })),
    () => post('/v1/embeddings', { input: Array(20_000).fill('a') }),
    () => post('/v1/embeddings', { input: Array(40).fill('the whale') }),
    () => post('/v1/completions', { prompt: 'a' }, { authorization: 'x'.repeat(8000) }),
    () => post('/v1/chat/completions', { messages: [{ role: 'x', content: null }] }),
    () => post('/v1/completions', {}, { origin: 'https://evil.example' }),
    () => send(`${head('/v1/completions', stream.length)}${stream}`),
    () => send(head('/v1/completions', 2 ** 22) + 'x'.repeat(2 ** 16)),
    () => send('POST /v1/completions HTTP/1.1\r\nHost: local'),
    () => send('GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    () => send('\0\r\n\r\n'),
  ];
  // On a thread of its own, as sending all this keeps this one busy.
  const probe = new Worker(PROBE, { eval: true, workerData: { url: new URL('/health', url).href, pid: server.pid } });
  const statuses = new Map<unknown, number>();
  let next = 0;
  const attack = async () => {
    while (next < REQUESTS) {
      const kind = kinds[next++ % kinds.length] as () => unknown;
      const status = await Promise.resolve(kind()).catch((error) => error.cause?.code ?? String(error));
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 12 }, attack));
  probe.postMessage('end');
  const [{ times, memory, codes }] = (await once(probe, 'message')) as [Probed];
  expect(codes).toEqual([200]);
  times.sort((a, b) => a - b);
  const at = (share: number) => Math.round(times[Math.floor(share * (times.length - 1))] as number);
  if (REQUESTS > 300)
    console.log({ statuses, memory, health: times.length, median: at(0.5), p99: at(0.99), most: at(1) });
  expect(statuses.get(500)).toBeUndefined();
  expect(memory).toBeLessThan(REQUESTS > 300 ? 400 : 350);
  server.kill('SIGINT');
  const began = performance.now();
  expect(await once(server, 'exit')).toEqual([130, null]);
  if (REQUESTS > 300) console.log(`ended after ${Math.round(performance.now() - began)} ms`);
  for (const socket of sockets) socket.destroy();
}, 1_800_000);

test('streams that nobody reads lose their places, and hold up no end', async () => {
  const { ModelThread } = (await import(join(root, 'dist/cli/serve-thread.mjs'))) as typeof Threads;
  const thread = new ModelThread({ name: 'a', rows: 8, queue: 64, seconds: 600, threads: 1, types: 'stored' });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const { signal } = new AbortController();
    await thread.start(signal);
    const ask = (body: object) => {
      const bytes = new TextEncoder().encode(JSON.stringify({ prompt: 'a', ...body }));
      return thread.answer('/v1/completions', bytes, { signal, onEnd: () => {} });
    };
    const unread = await Promise.all(Array.from({ length: 70 }, () => ask({ max_tokens: 4000, stream: true })));
    expect(unread.filter(({ status }) => status === 200)).toHaveLength(64);
    while ((await ask({ max_tokens: 1 })).status !== 200) vi.advanceTimersByTime(10_000);
    for (let at = 0; at < 70; at++) void ask({ max_tokens: 4000, stream: true });
    // Its timer, which would end the thread by force, does not tick.
    await thread.stop();
  } finally {
    vi.useRealTimers();
  }
}, 120_000);

test('an address that others reach brings a warning without a key', async () => {
  const { server, log } = await start('--host', '0.0.0.0');
  server.kill('SIGKILL');
  expect(log()).toContain('everyone who reaches this machine may use the model: ask for a key');
});
