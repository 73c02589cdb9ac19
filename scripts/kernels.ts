import { globSync } from 'node:fs';
import { basename, resolve } from 'node:path';

/** The sources of the modules of kernels: in each room the file that has its name, and exports what the others define. */
export const KERNELS: readonly string[] = globSync('src/ops/*/*.as.ts', {
  cwd: resolve(import.meta.dirname, '..'),
}).filter((path) => /\/([\w-]+)\/\1\.as\.ts$/.test(path));

/** Those of the rooms that are named; of all if none is. */
export function kernelsOf(rooms: readonly string[]): readonly string[] {
  const byRoom = new Map(KERNELS.map((path) => [basename(path, '.as.ts'), path]));
  const sources = rooms.map((room) => {
    const source = byRoom.get(room);
    if (!source) throw new Error(`rooms must be among ${[...byRoom.keys()].join(', ')}, got '${room}'`);
    return source;
  });
  return sources.length > 0 ? sources : KERNELS;
}
