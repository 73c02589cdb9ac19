import { randomUUID } from 'node:crypto';
import { constants, fstatSync } from 'node:fs';
import { access, open, readlink, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { ParameterError } from '../errors';
import { claim, ownedIn, ownPath, release } from './owner';

/** Throws unless `path` can be written to: better to fail before the work than after it. */
export async function checkWritable(path: string): Promise<void> {
  if (path === '') throw new ParameterError('the path of the file to write must not be empty');
  await naming(path, async () => {
    if (await isStdout(path)) return;
    const present = await unlessMissing(stat(path));
    if (present?.isDirectory()) throw new ParameterError(`cannot write '${path}': it is a folder`);
    if (present?.isSocket()) throw new ParameterError(`cannot write '${path}': it is a socket`);
    await access(present && !present.isFile() ? path : dirname(await destination(path)), constants.W_OK);
  });
}

/**
 * Writes a file that appears whole or not at all: into a new file beside `path`, which then takes its name. On failure
 * `path` is unchanged. Symbolic links are followed, also to files that do not exist yet; stdout, a device or a
 * pipe is written to directly.
 */
export async function writeFileAtomic(path: string, data: Uint8Array | string): Promise<void> {
  await checkWritable(path);
  if (await isStdout(path)) return writeStdout(data);
  await naming(path, async () => {
    const present = await unlessMissing(stat(path));
    if (present && !present.isFile()) return writeFile(path, data);

    const target = await destination(path);
    removeLeftBehind(dirname(target));
    const temporary = ownPath(dirname(target), `${basename(target).slice(0, 40)}.${randomUUID().slice(0, 8)}`, 'tmp');
    claim(temporary);
    try {
      const file = await open(temporary, 'wx', present?.mode);
      try {
        await file.writeFile(data);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, target);
    } finally {
      release(temporary);
    }
  });
}

/** Whether what is written to `path` appears at once and cannot be replaced: stdout, a device, a pipe. */
export async function isStream(path: string): Promise<boolean> {
  const present = await unlessMissing(stat(path));
  return (present !== undefined && !present.isFile()) || isStdout(path);
}

/** Writes what `--json` asks for, if it was given. */
export async function writeJson(path: string | undefined, value: unknown): Promise<void> {
  if (path !== undefined) await writeFileAtomic(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

/** Writes what `--json` asks for, and prints the text unless that is on stdout. */
export async function tell(text: () => string, json: string | undefined, value: unknown): Promise<void> {
  await writeJson(json, value);
  if (json === undefined || !(await isStdout(json))) process.stdout.write(`${text()}\n`);
}

/** Prints a command's message: on stderr if one of the files it was to write is stdout. */
export async function say(text: string, ...written: readonly (string | undefined)[]): Promise<void> {
  const paths = written.filter((path) => path !== undefined);
  const isTaken = (await Promise.all(paths.map(isStdout))).includes(true);
  (isTaken ? process.stderr : process.stdout).write(`${text}\n`);
}

/** Removes leftovers of killed writes; failing to do so does not matter. */
function removeLeftBehind(folder: string): void {
  try {
    ownedIn(folder, 'tmp');
  } catch {
    // It belongs to another user, or the folder cannot be listed.
  }
}

/** Whether a path is stdout, which `-` is too. */
export async function isStdout(path: string): Promise<boolean> {
  if (path === '-') return true;
  const present = await unlessMissing(stat(path));
  const { dev, ino } = fstatSync(1);
  return present?.dev === dev && present.ino === ino;
}

/** Errors of stdout end the process (bin.ts). */
function writeStdout(data: Uint8Array | string): Promise<void> {
  return new Promise((done) => {
    process.stdout.write(data, (error) => {
      if (!error) done();
    });
  });
}

/** The path of the file, existing or not, after all symbolic links. */
async function destination(path: string): Promise<string> {
  const link = await readlink(path).catch(() => undefined);
  return link === undefined ? path : destination(resolve(await realpath(dirname(path)), link));
}

/** Does `work`; its errors name `path`, since the caller does not know temporary names. */
async function naming<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== undefined)
      Object.assign(error as Error, { path, syscall: 'write' });
    throw error;
  }
}

async function unlessMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
