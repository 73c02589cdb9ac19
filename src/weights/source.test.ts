import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mainFile, urlFolder } from './folder';
import { blobSource, bytesSource, fileSource } from './source';
import { urlSource } from './url';

const content = Uint8Array.from({ length: 100_000 }, (_, i) => i * 7);

let folder: string;
let server: Server;
let address: string;
/** How the server answers, by the path of the request. */
const requests: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  await writeFile(join(folder, 'file'), content);
  server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    requests.push(`${request.url} ${request.headers.range}`);
    if (request.url === '/none') return response.writeHead(404).end('<html>none</html>');
    if (request.url === '/busy' && requests.filter((each) => each.startsWith('/busy')).length === 1)
      return response.writeHead(503).end();
    if (request.url?.startsWith('/page/'))
      return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html>');
    if (request.url === '/whole') return response.writeHead(200).end(content);
    const part = content.subarray(Number(first), Number(last) + 1);
    const headers = {
      'content-range': `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`,
      etag: request.url === '/replaced' ? `"${requests.length}"` : '"1"',
    };
    response.writeHead(206, headers).end(request.url === '/short' ? part.subarray(0, 9) : part);
  }).listen(0);
  await new Promise((resolve) => server.once('listening', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

test('ranges of bytes, a Blob, a file and an address are the same', async () => {
  const at = (path: string) => urlSource(new URL(path, address));
  const sources = [
    bytesSource(content),
    bytesSource(content.slice().buffer),
    blobSource(new Blob([content])),
    await fileSource(join(folder, 'file')),
    await at('/file'),
    await at('/whole'),
    await at('/busy'),
  ];
  for (const source of sources) {
    expect(source.size).toBe(content.length);
    for (const [start, end] of [
      [0, 0],
      [0, 9],
      [65_530, 65_540],
      [99_999, 100_000],
    ] as const)
      expect(await source.read(start, end)).toEqual(content.slice(start, end));
    await expect(source.read(99_999, 100_001)).rejects.toThrow('expected bytes 99999 to 100001, it has 100000');
    await source.close();
  }
});

test('a page in the place of a file means that there is none', async () => {
  const folder = urlFolder(new URL('/page/', address));
  expect(await folder.open('config.json')).toBeUndefined();
  await expect(mainFile(folder, {})).rejects.toThrow('has no weights: expected model.safetensors.index.json or');
});

test('what cannot be read is refused by name', async () => {
  const at = (path: string) => urlSource(new URL(path, address));
  await expect(at('/none')).rejects.toThrow(`cannot read weights from '${address}/none': the server answered 404`);
  await expect(fileSource(folder)).rejects.toThrow(`cannot read weights from '${folder}': expected a file`);
  await expect(fileSource(join(folder, 'none'))).rejects.toThrow(`from '${folder}/none': no such file or directory`);
  const replaced = await at('/replaced');
  await expect(replaced.read(70_000, 70_001)).rejects.toThrow('/replaced: the file was replaced while it was read');
  const short = await at('/short');
  await expect(short.read(70_000, 70_100)).rejects.toThrow('/short: bytes 70000 to 70100 were asked for, 9 came');
});

test('reading ends where its signal says so', async () => {
  const source = await urlSource(new URL('/file', address));
  await expect(source.read(70_000, 70_001, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
});
