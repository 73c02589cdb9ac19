import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readBytes } from './read-tensors';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
});
afterEach(() => rm(folder, { recursive: true }));

function pipe(): string {
  const path = join(folder, 'pipe');
  expect(spawnSync('sh', ['-c', 'mkfifo "$0"', path]).status).toBe(0);
  return path;
}

/** Descriptors of this process that are open on `path`. */
function timesOpen(path: string): number {
  const isOn = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  };
  return readdirSync('/proc/self/fd').filter(isOn).length;
}

test('a file is read up to the most that is allowed', async () => {
  const path = join(folder, 'a');
  await writeFile(path, 'abc');
  expect(Buffer.from(await readBytes(path, 3)).toString()).toBe('abc');
  await expect(async () => readBytes(path, 2)).rejects.toThrow(`cannot read '${path}': expected at most 2 B, got 3 B`);
});

test('what never ends, or holds no bytes, is refused by name without being read', async () => {
  await expect(async () => readBytes('/dev/zero')).rejects.toThrow("cannot read '/dev/zero': it is a device");
  await expect(async () => readBytes(folder)).rejects.toThrow('it is a folder');
  await expect(async () => readBytes(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT', syscall: 'read' });
  const socket = join(folder, 'socket');
  const server = createServer().listen(socket);
  await new Promise((listening) => server.once('listening', listening));
  await expect(async () => readBytes(socket)).rejects.toThrow('it is a socket');
  server.close();
});

test('a pipe is read until its writer is gone, up to the most that is allowed', async () => {
  const path = pipe();
  await expect(async () => readBytes(path)).rejects.toThrow('it is a pipe that nobody writes to');
  // Open for both, as else opening would wait for a reader.
  const writer = openSync(path, 'r+');
  const late = readBytes(path);
  while (timesOpen(path) < 2) await new Promise(setImmediate);
  writeSync(writer, 'late');
  closeSync(writer);
  expect(Buffer.from(await late).toString()).toBe('late');

  const second = openSync(path, 'r+');
  writeSync(second, 'abc');
  await expect(async () => readBytes(path, 2)).rejects.toThrow(`cannot read '${path}': expected at most 2 B, got more`);
  closeSync(second);
});
