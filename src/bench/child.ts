import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BenchReport } from './report';

/** The report of a `bench` command, run by the command line `bin` in a new process. */
export async function reportInChild(
  bin: string,
  words: readonly string[],
  signal: AbortSignal | undefined,
): Promise<BenchReport> {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-bench-'));
  try {
    const json = join(folder, 'report.json');
    const child = promisify(execFile)(process.execPath, [bin, ...words, '--json', json], { signal });
    await child.catch((error) => {
      // Rows that failed are in the report.
      if (error.code !== 1 || !existsSync(json)) throw error;
    });
    return JSON.parse(await readFile(json, 'utf8')) as BenchReport;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The last line that a failed command printed, or the signal that ended it. */
export function lastLine(error: Error & { readonly stderr?: string; readonly signal?: string | null }): string {
  if (error.signal) return `its process was ended by ${error.signal}`;
  return (error.stderr?.trim() || error.message).split('\n').at(-1) as string;
}
