import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Question } from './protocol';
import { type PageServer, startServer } from './server';

let folder: string;
let server: PageServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-server-'));
  await mkdir(join(folder, 'dist', 'deep'), { recursive: true });
  await writeFile(join(folder, 'secret.mjs'), 'secret');
  await writeFile(join(folder, 'dist', 'deep', 'a.mjs'), 'export {};');
  await writeFile(join(folder, 'dist', 'a.wasm'), '\0asm');
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  server = await startServer({ folders: { saccade: join(folder, 'dist') }, imports: { acorn: '/acorn/acorn.mjs' } });
});
afterEach(() => server.close());

const { signal } = new AbortController();

/** A raw request: `fetch` would tidy up the path. */
function request(path: string, host = `127.0.0.1:${server.port}`): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get({ port: server.port, host: '127.0.0.1', path, headers: { host } }, resolve).once('error', reject);
  });
}

/** A page, as far as the server can tell: what it is asked, and how it answers. */
async function visit(path: string) {
  const origin = `http://127.0.0.1:${server.port}`;
  const controller = new AbortController();
  const response = await fetch(`${origin}${path}/questions`, { signal: controller.signal });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  return {
    async next(): Promise<Question> {
      const { value } = await reader.read();
      return JSON.parse(new TextDecoder().decode(value).replace(/^data: /, ''));
    },
    answer: (id: number, body: unknown) =>
      fetch(`${origin}${path}/answers/${id}`, {
        method: 'POST',
        ...(body instanceof Float32Array
          ? { body: body.slice().buffer, headers: { 'Content-Type': 'application/octet-stream' } }
          : { body: JSON.stringify(body) }),
      }),
    leave: () => controller.abort(),
  };
}

test.each([
  ['/saccade/deep/a.mjs', 200, 'text/javascript'],
  ['/saccade/a.wasm', 200, 'application/wasm'],
  ['/saccade/absent.mjs', 404, 'text/plain'],
  ['/saccade/deep', 404, 'text/plain'],
  ['/saccade/../secret.mjs', 404, 'text/plain'],
  ['/saccade/..%2fsecret.mjs', 404, 'text/plain'],
  ['/saccade/..%5csecret.mjs', 404, 'text/plain'],
  ['/saccade/%', 400, 'text/plain'],
  ['/peers/jax-js.mjs', 404, 'text/plain'],
  ['/constructor/a.mjs', 404, 'text/plain'],
  ['/page/unknown', 404, 'text/plain'],
  ['/', 404, 'text/plain'],
])('%s is answered with %i', async (path, status, type) => {
  const { statusCode, headers } = await request(path);
  expect([statusCode, headers['content-type']]).toEqual([status, type]);
});

test('pages and what they load are cross-origin isolated', async () => {
  const channel = server.channel();
  for (const path of [channel.path, '/saccade/deep/a.mjs']) {
    expect((await request(path)).headers).toMatchObject({
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
      'cross-origin-resource-policy': 'cross-origin',
    });
  }
});

test.each(['localhost', 'frame-1.localhost:80', '127.0.0.1'])('it answers to the name %s', async (host) => {
  expect((await request(server.channel().path, host)).statusCode).toBe(200);
});

test.each(['evil.example', 'localhost.evil.example', 'a.127.0.0.1'])('it does not answer to %s', async (host) => {
  expect((await request(server.channel().path, host)).statusCode).toBe(403);
});

test('the page of a channel names its questions and what modules import; the front page is at the root', async () => {
  const front = server.channel('front');
  const text = await (await fetch(`http://127.0.0.1:${server.port}/`)).text();
  expect(text).toContain(`serve('${front.path}')`);
  expect(text).toContain('{"imports":{"acorn":"/acorn/acorn.mjs"}}');
});

test('a question asked before the page is there reaches it, and its answers come back, floats bit by bit', async () => {
  const channel = server.channel();
  const time = channel.ask('time', { calls: 3 }, signal);
  const page = await visit(channel.path);
  const question = await page.next();
  expect(question).toMatchObject({ question: 'time', ask: { calls: 3 } });
  expect((await page.answer(question.id, { value: 1.5 })).status).toBe(204);
  expect(await time).toBe(1.5);
  const result = channel.ask('result', {}, signal);
  const floats = Float32Array.of(1, -0, 1e-40, Number.NaN, Infinity);
  await page.answer((await page.next()).id, floats);
  expect(await result).toEqual(floats);
});

test('an error is what the page says; an answer that nobody waits for is refused', async () => {
  const channel = server.channel();
  const page = await visit(channel.path);
  const memory = channel.ask('memory', {}, signal);
  const { id } = await page.next();
  await Promise.all([expect(memory).rejects.toThrow('out of buffers'), page.answer(id, { error: 'out of buffers' })]);
  expect((await page.answer(id, { value: 1 })).status).toBe(410);
  const again = channel.ask('memory', {}, signal);
  const next = await page.next();
  expect((await fetch(`http://127.0.0.1:${server.port}${channel.path}/answers/${next.id}`)).status).toBe(404);
  await page.answer(next.id, { value: undefined });
  expect(await again).toBeUndefined();
});

test('a page that goes away fails what it was asked and all that it would be', async () => {
  const channel = server.channel();
  const page = await visit(channel.path);
  const time = channel.ask('time', { calls: 1 }, signal);
  await page.next();
  page.leave();
  await expect(time).rejects.toThrow('its page was closed');
  await expect(async () => channel.ask('time', { calls: 1 }, signal)).rejects.toThrow('its page was closed');
});

test('a page that is loaded anew does not answer what the one before was asked, but the next question', async () => {
  const channel = server.channel();
  const before = await visit(channel.path);
  const time = channel.ask('time', { calls: 1 }, signal);
  await before.next();
  const [page] = await Promise.all([visit(channel.path), expect(time).rejects.toThrow('its page was loaded anew')]);
  before.leave();
  const memory = channel.ask('memory', {}, signal);
  await page.answer((await page.next()).id, { value: 7 });
  expect(await memory).toBe(7);
});

test('an aborted question rejects with the reason', async () => {
  const channel = server.channel();
  await expect(async () => channel.ask('time', { calls: 1 }, AbortSignal.abort('enough'))).rejects.toBe('enough');
  const controller = new AbortController();
  const time = channel.ask('time', { calls: 1 }, controller.signal);
  controller.abort('enough');
  await expect(time).rejects.toBe('enough');
});

test('closing it fails what is asked and frees the port', async () => {
  const channel = server.channel();
  const page = await visit(channel.path);
  const time = channel.ask('time', { calls: 1 }, signal);
  await page.next();
  await Promise.all([server.close(), expect(time).rejects.toThrow('the benchmark is over')]);
  await expect(async () => request('/')).rejects.toThrow('ECONNREFUSED');
});
