/** Files that belong to a process while it runs: their names say to which, so that leftovers of killed processes are recognised. */
import { readdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

const HOST = hostname().replace(/[^\w-]+/g, '-');
const PATTERN = /\.(\d+)@([\w-]+)\.(tmp|lock)$/;

/** The paths in use. */
const own = new Set<string>();

/** The path of a file of this process in a folder. */
export const ownPath = (folder: string, name: string, kind: 'tmp' | 'lock'): string =>
  join(folder, `.${name}.${process.pid}@${HOST}.${kind}`);

/** Claims a path for this process until `release`; false if it is already claimed. */
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

/** The files that processes have in a folder, after deleting those of processes that no longer run. */
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

/** Whether its process was on this machine and no longer runs. */
function isLeftBehind({ path, pid, host }: Owned): boolean {
  if (host !== HOST) return false;
  // An earlier process may have had the same number.
  if (pid === process.pid) return !own.has(path);
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // Other errors mean that it runs, as another user.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
