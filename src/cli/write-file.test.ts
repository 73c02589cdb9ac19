import { spawnSync } from 'node:child_process';
import { chmod, lstat, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ParameterError } from '../errors';
import { checkWritable, writeFileAtomic } from './write-file';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('writes text and bytes, and replaces what was there', async () => {
  const path = join(folder, 'a');
  await writeFileAtomic(path, 'a longer text');
  await writeFileAtomic(path, Uint8Array.of(1, 2, 3));
  expect([...(await readFile(path))]).toEqual([1, 2, 3]);
  expect(await readdir(folder)).toEqual(['a']);
});

test('keeps the permissions of the file it replaces', async () => {
  const path = join(folder, 'a');
  await writeFile(path, '');
  await chmod(path, 0o600);
  await writeFileAtomic(path, 'secret');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('replaces the file that a symbolic link points to, not the link', async () => {
  const [path, link] = [join(folder, 'a'), join(folder, 'link')];
  await writeFile(path, 'old');
  await symlink(path, link);
  await writeFileAtomic(link, 'new');
  expect((await lstat(link)).isSymbolicLink()).toBe(true);
  expect(await readFile(path, 'utf8')).toBe('new');
});

test('makes the file that a symbolic link points to, if it is not there yet', async () => {
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await symlink('second', first);
  await symlink('a', second);
  await writeFileAtomic(first, 'new');
  expect(await readFile(join(folder, 'a'), 'utf8')).toBe('new');
  expect((await lstat(first)).isSymbolicLink() && (await lstat(second)).isSymbolicLink()).toBe(true);
  const lost = join(folder, 'lost');
  await symlink('none/a', lost);
  await expect(async () => checkWritable(lost)).rejects.toMatchObject({ code: 'ENOENT', path: lost });
});

test('a full disk is told with the name of the file', async () => {
  await expect(async () => writeFileAtomic('/dev/full', 'x')).rejects.toMatchObject({
    code: 'ENOSPC',
    path: '/dev/full',
  });
});

test('a reader never sees part of it', async () => {
  const path = join(folder, 'a');
  const size = 2 ** 24;
  await writeFileAtomic(path, new Uint8Array(size).fill(1));
  let writing = true;
  const write = writeFileAtomic(path, new Uint8Array(size).fill(2)).finally(() => {
    writing = false;
  });
  while (writing) {
    const bytes = await readFile(path);
    expect(bytes.length).toBe(size);
    expect(bytes.at(-1)).toBe(bytes[0]);
  }
  await write;
});

test('leaves nothing behind and the old file as it was when it fails', async () => {
  const path = join(folder, 'a');
  await writeFile(path, 'old');
  const unwritable = Symbol('no data') as unknown as string;
  await expect(async () => writeFileAtomic(path, unwritable)).rejects.toThrow();
  expect(await readFile(path, 'utf8')).toBe('old');
  expect(await readdir(folder)).toEqual(['a']);
});

test('removes what a killed write left, and nothing that a running process may need', async () => {
  const host = hostname().replace(/[^\w-]+/g, '-');
  const gone = spawnSync(process.execPath, ['-v']).pid;
  const kept = [`.a.0a1b.${process.ppid}@${host}.tmp`, '.a.0a1b.1@elsewhere.tmp', '.a.tmp', 'a'];
  for (const name of [`.a.0a1b.${gone}@${host}.tmp`, `.b.2c3d.${process.pid}@${host}.tmp`, ...kept])
    await writeFile(join(folder, name), 'half');
  await writeFileAtomic(join(folder, 'a'), 'whole');
  expect((await readdir(folder)).sort()).toEqual(kept.sort());
});

test('a folder and a missing folder are refused', async () => {
  await expect(async () => writeFileAtomic(folder, 'x')).rejects.toThrow(ParameterError);
  await expect(async () => writeFileAtomic('', 'x')).rejects.toThrow('must not be empty');
  const path = join(folder, 'none', 'a');
  await expect(async () => writeFileAtomic(path, 'x')).rejects.toMatchObject({ code: 'ENOENT', path });
});

test('a device stays a device', async () => {
  await writeFileAtomic('/dev/null', 'x');
  expect((await stat('/dev/null')).isCharacterDevice()).toBe(true);
});
