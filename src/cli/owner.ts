/** Files that are a process's own while it runs: their names say whose, so that what killed processes left can be told. */
import { readdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

const HOST = hostname().replace(/[^\w-]+/g, '-');
const PATTERN = /\.(\d+)@([\w-]+)\.(tmp|lock)$/;

/** Those in use, by their paths. */
const own = new Set<string>();

/** The path of a file of this process in a folder. */
export const ownPath = (folder: string, name: string, kind: 'tmp' | 'lock'): string =>
  join(folder, `.${name}.${process.pid}@${HOST}.${kind}`);

/** Makes a path this process's own until `release`; false where it is already. */
export function claim(path: string): boolean {
  const isFree = !own.has(path);
  own.add(path);
  return isFree;
}

/** Deletes what is at a path that was claimed, if anything is. */
export function release(path: string): void {
  own.delete(path);
  rmSync(path, { force: true });
}

interface Owned {
  readonly path: string;
  readonly pid: number;
  readonly host: string;
}

/** What processes have in a folder, after the files of those that are gone were deleted. */
export function ownedIn(folder: string, kind: 'tmp' | 'lock'): Owned[] {
  return readdirSync(folder).flatMap((name) => {
    const [, pid, host, of] = PATTERN.exec(name) ?? [];
    if (host === undefined || of !== kind) return [];
    const owned = { path: join(folder, name), pid: Number(pid), host };
    if (!isLeftBehind(owned)) return [owned];
    rmSync(owned.path, { force: true });
    return [];
  });
}

/** Whether its process, one of this machine, is gone. */
function isLeftBehind({ path, pid, host }: Owned): boolean {
  if (host !== HOST) return false;
  // An earlier process may have had this one's number.
  if (pid === process.pid) return !own.has(path);
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // Others are there, but somebody else's.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
