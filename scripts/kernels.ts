import { globSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { groupBy } from '../src/group-by.ts';

/**
 * The sources of the modules of kernels: in each room the file that has its name, and exports what the others define, and
 * those that have a part's name behind it, for kernels that fewer calls need.
 */
export const KERNELS: readonly string[] = globSync('src/ops/*/*.as.ts', {
  cwd: resolve(import.meta.dirname, '..'),
}).filter((path) => /\/([\w-]+)\/\1(-\w+)?\.as\.ts$/.test(path));

/** Those of the rooms that are named; of all if none is. */
export function kernelsOf(rooms: readonly string[]): readonly string[] {
  const byRoom = groupBy(KERNELS, (path) => basename(dirname(path)));
  const sources = rooms.flatMap((room) => {
    const own = byRoom.get(room);
    if (!own) throw new Error(`rooms must be among ${[...byRoom.keys()].join(', ')}, got '${room}'`);
    return own;
  });
  return sources.length > 0 ? sources : KERNELS;
}
