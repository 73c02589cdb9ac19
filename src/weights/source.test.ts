import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openSource, type SourceLike } from './open-source';

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
  const sources: SourceLike[] = [
    content,
    content.slice().buffer,
    new Blob([content]),
    join(folder, 'file'),
    `${address}/file`,
    new URL('/whole', address),
    `${address}/busy`,
  ];
  for (const from of sources) {
    const source = await openSource(from);
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

test('what cannot be read is refused by name', async () => {
  await expect(openSource(`${address}/none`)).rejects.toThrow(`cannot read '${address}/none': the server answered 404`);
  await expect(openSource(folder)).rejects.toThrow(`cannot read '${folder}': expected a file`);
  await expect(openSource(join(folder, 'none'))).rejects.toThrow('ENOENT');
  await expect(openSource(7 as never)).rejects.toThrow('must be opened from a path, a URL, a Blob or bytes, got 7');
  const replaced = await openSource(`${address}/replaced`);
  await expect(replaced.read(70_000, 70_001)).rejects.toThrow('/replaced: the file was replaced while it was read');
  const short = await openSource(`${address}/short`);
  await expect(short.read(70_000, 70_100)).rejects.toThrow('/short: bytes 70000 to 70100 were asked for, 9 came');
});

test('reading ends where its signal says so', async () => {
  const source = await openSource(`${address}/file`);
  await expect(source.read(70_000, 70_001, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
});
