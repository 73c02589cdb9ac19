import { expect, test } from 'vitest';
import { frontOf, Room } from './serve-front';

const front = (more: object = {}) =>
  frontOf({
    name: 'tiny',
    hosts: ['box.example'],
    origins: ['https://page.example'],
    context: 2 ** 20,
    room: new Room(),
    answer: async (path, body) => new Response(`${path} ${new TextDecoder().decode(body)}`),
    ...more,
  });
const json = { 'content-type': 'application/json' };
const ask = async (app: ReturnType<typeof front>, headers: object, path = '/v1/completions', method = 'POST') => {
  const init = { method, headers: { host: 'localhost:8080', ...headers }, ...(method === 'POST' && { body: '{}' }) };
  return await app.request(path, init);
};

test.each<[object, number, string]>([
  [json, 200, '/v1/completions {}'],
  [{ ...json, host: '192.168.1.2:80' }, 200, '{}'],
  [{ ...json, host: '[::1]:80' }, 200, '{}'],
  [{ ...json, host: 'box.example' }, 200, '{}'],
  [{ ...json, host: 'evil.example' }, 403, 'is no host of this server'],
  [{ ...json, host: 'localhost.evil.example' }, 403, 'is no host of this server'],
  [{ ...json, origin: 'https://page.example' }, 200, '{}'],
  [{ ...json, origin: 'http://localhost:8080' }, 200, '{}'],
  [{ ...json, origin: 'http://localhost:8081' }, 403, 'may not ask'],
  [{ ...json, origin: 'null' }, 403, 'may not ask'],
  [{ 'content-type': 'text/plain' }, 415, 'Content-Type must be application/json, got'],
  [{}, 415, 'Content-Type must be application/json'],
])('of requests with %o', async (headers, status, text) => {
  const response = await ask(front(), headers);
  expect([response.status, await response.text()]).toEqual([status, expect.stringContaining(text)]);
});

test('pages that are allowed are told so, and others are not', async () => {
  const asked = { origin: 'https://page.example', 'access-control-request-headers': 'authorization' };
  const response = await ask(front({ key: 'abc' }), asked, '/v1/completions', 'OPTIONS');
  expect(response.status).toBe(204);
  expect(response.headers.get('access-control-allow-origin')).toBe('https://page.example');
  expect(response.headers.get('access-control-allow-headers')).toBe('authorization');
  const refused = await ask(front(), { origin: 'https://page.example' });
  expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([415, 'https://page.example']);
  const foreign = await ask(front(), { origin: 'https://evil.example' }, '/v1/completions', 'OPTIONS');
  expect([foreign.status, foreign.headers.get('access-control-allow-origin')]).toEqual([403, null]);
});

test('a key is asked for by all but /health', async () => {
  const app = front({ key: 'abc' });
  const statusOf = async (authorization: string, path = '/v1/models') =>
    (await ask(app, { authorization }, path, 'GET')).status;
  expect(await statusOf('Bearer abc')).toBe(200);
  for (const wrong of ['Bearer abd', 'Basic abc', 'Bearer', '']) expect(await statusOf(wrong)).toBe(401);
  expect(await statusOf('', '/health')).toBe(200);
});

test('bodies are bounded, each and together', async () => {
  const body = 'x'.repeat(2 ** 22 + 1);
  const init = { method: 'POST', headers: { host: 'localhost', ...json }, body };
  const large = await front().request('/v1/completions', init);
  expect([large.status, await large.text()]).toEqual([413, expect.stringContaining('at most 4194304 bytes')]);
  const app = front({ answer: () => new Promise(() => {}) });
  const half = { ...init, body: body.slice(0, 2 ** 22) };
  for (let count = 0; count < 4; count++) void app.request('/v1/completions', half);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const refused = await app.request('/v1/completions', half);
  expect([refused.status, await refused.text()]).toEqual([429, expect.stringContaining('rate_limit')]);
});
