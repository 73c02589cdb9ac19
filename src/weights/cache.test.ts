import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { writeSafetensors } from '../io';
import { hostTensor } from '../tensor/host';
import { openWeights } from './index';
import { Sha256 } from './sha256';

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('SHA-256 of bytes that come in parts', () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i * i);
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000]) {
    const whole = bytes.subarray(0, length);
    expect(new Sha256().update(whole).digest('hex')).toBe(hashOf(whole));
    const parts = new Sha256().update(whole.subarray(0, 30)).update(whole.subarray(30, 31)).update(whole.subarray(31));
    expect(parts.digest('hex')).toBe(hashOf(whole));
  }
});

/** Three chunks of 4 MiB, the last one not whole. */
const numbers = Uint8Array.from({ length: 9 * 2 ** 20 }, (_, i) => i >> 12);
const file = writeSafetensors({ w: hostTensor(numbers, [9, 2 ** 20]) });
let [requests, tag, isDown, isDamaged]: [string[], string, boolean, boolean] = [[], '"1"', false, false];
let server: Server;
let address: string;
beforeAll(async () => {
  server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (isDown) return request.destroy();
    requests.push(String(first));
    if (request.url === '/whole')
      return response.writeHead(200, { etag: tag, 'content-length': file.length }).end(file);
    const part = file.slice(Number(first), Number(last) + 1);
    if (isDamaged) part[99]!++;
    const range = `bytes ${first}-${Number(first) + part.length - 1}/${file.length}`;
    return response.writeHead(206, { 'content-range': range, etag: tag }).end(part);
  }).listen(0);
  await new Promise((resolve) => server.once('listening', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

/** What pages have: responses by address. */
beforeEach(() => {
  const kept = new Map<string, Response>();
  const cache = {
    match: async (key: string) => kept.get(key)?.clone(),
    put: async (key: string, response: Response) => void kept.set(key, response),
    delete: async (key: string) => kept.delete(key),
  };
  vi.stubGlobal('caches', { open: async () => cache });
  [requests, tag, isDown, isDamaged] = [[], '"1"', false, false];
});
afterEach(() => vi.unstubAllGlobals());

test('a download that was aborted goes on, and is read without a network', async () => {
  const weights = await openWeights(`${address}/file`);
  expect(weights.tensors.get('w')?.shape).toEqual([9, 2 ** 20]);
  const controller = new AbortController();
  const shares: number[] = [];
  const onProgress = (share: number) => {
    shares.push(share);
    if (share > 0.3) controller.abort();
  };
  await expect(weights.download({ signal: controller.signal, onProgress })).rejects.toThrow('aborted');
  expect(requests).toEqual(['0', '0']);
  const again = await openWeights(`${address}/file`);
  await again.download({ sha256: { file: hashOf(file) }, onProgress: (share) => shares.push(share) });
  expect(requests).toEqual(['0', '0', '0', String(2 ** 22), String(2 ** 23)]);
  expect(shares.at(-1)).toBe(1);
  isDown = true;
  const { data } = await (await openWeights(`${address}/file`)).read('w', { rows: [3, 5] });
  expect(hashOf(data as Uint8Array)).toBe(hashOf(numbers.subarray(3 * 2 ** 20, 5 * 2 ** 20)));
  await expect(openWeights(`${address}/file`, { cache: false })).rejects.toThrow('cannot read weights from');
});

test('another file at the address is fetched anew, one with another hash is forgotten', async () => {
  isDamaged = true;
  const weights = await openWeights(`${address}/file`);
  await expect(weights.download({ sha256: { file: hashOf(file) } })).rejects.toThrow(
    `${address}/file has the SHA-256 `,
  );
  await expect(weights.download({ sha256: { other: hashOf(file) } })).rejects.toThrow('by the names of files, file');
  isDamaged = false;
  await weights.download({ sha256: { file: hashOf(file) } });
  requests = [];
  await (await openWeights(`${address}/file`)).download();
  expect(requests).toEqual(['0']);
  tag = '"2"';
  await (await openWeights(`${address}/file`)).download();
  expect(requests).toEqual(['0', '0', '0', String(2 ** 22), String(2 ** 23)]);
});

test('from a server that ignores ranges it is fetched once', async () => {
  await (await openWeights(`${address}/whole`)).download({ sha256: { whole: hashOf(file) } });
  requests = [];
  await (await openWeights(`${address}/whole`)).download({ sha256: { whole: hashOf(file) } });
  expect(requests).toEqual(['0']);
});

test('where there is no cache, asking for one is an error', async () => {
  vi.unstubAllGlobals();
  await expect(openWeights(`${address}/file`, { cache: true })).rejects.toThrow('there is no cache for weights here');
});
