import { randomUUID } from 'node:crypto';
import { open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ParameterError } from '../errors';

/**
 * Writes a file that appears whole or not at all: into a new file beside `path`, which then takes its name. On failure
 * `path` is as it was. A symbolic link keeps pointing where it does; a device or pipe is written to as it is.
 */
export async function writeFileAtomic(path: string, data: Uint8Array | string): Promise<void> {
  if (path === '') throw new ParameterError('the path of the file to write must not be empty');
  const present = await unlessMissing(stat(path));
  if (present?.isDirectory()) throw new ParameterError(`cannot write '${path}': it is a folder`);
  if (present && !present.isFile()) return writeFile(path, data);

  const target = (await unlessMissing(realpath(path))) ?? path;
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`);
  const file = await open(temporary, 'wx', present?.mode).catch((error: NodeJS.ErrnoException) => {
    // The caller knows nothing of the temporary name.
    throw Object.assign(error, { path });
  });
  try {
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
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
