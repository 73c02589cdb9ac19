import { mkdirSync, realpathSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ParameterError } from '../errors';
import { claim, ownedIn, ownPath, release } from './owner';

/**
 * Makes a folder if it does not exist, and locks it for this process until disposed or the process ends. A folder that was
 * made and is empty in the end is removed. Locks of processes that no longer run do not count.
 *
 * @throws {ParameterError} no name; a folder that another process has locked
 */
export function lockFolder(folder: string): Disposable {
  if (folder === '') throw new ParameterError('the folder to write to must not be empty');
  const refuse = (what: string) => new ParameterError(`cannot write to folder '${folder}': ${what}`);
  const made = mkdirSync(folder, { recursive: true });
  const [place, around] = [realpathSync(folder), made && dirname(realpathSync(made))];
  const lock = ownPath(place, 'saccade', 'lock');
  if (!claim(lock)) throw refuse('this process does already');
  const unlock = () => {
    process.off('exit', unlock);
    release(lock);
    if (around !== undefined) removeEmpty(place, around);
  };
  process.once('exit', unlock);
  try {
    // Look for others only after making this lock, so that of two at the same time at least one sees the other.
    writeFileSync(lock, '');
    ownedIn(place, 'tmp');
    const other = ownedIn(place, 'lock').find(({ path }) => path !== lock);
    if (other)
      throw refuse(`process ${other.pid} of ${other.host} does; wait for it or, if it is gone, delete ${other.path}`);
  } catch (error) {
    unlock();
    if ((error as NodeJS.ErrnoException).syscall !== undefined)
      Object.assign(error as Error, { path: folder, syscall: 'write' });
    throw error;
  }
  return { [Symbol.dispose]: unlock };
}

/** Removes a folder and those that it lies in, up to `around`, as long as they are empty. */
function removeEmpty(folder: string, around: string): void {
  try {
    for (let at = folder; at !== around; at = dirname(at)) rmdirSync(at);
  } catch {
    // Something is in it.
  }
}
