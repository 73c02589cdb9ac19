import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BenchReport } from './report';

/** What `bench` of a command line, `bin`, reports in a fresh process. */
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

/** What a command that failed said last, or what ended it. */
export function lastLine(error: Error & { readonly stderr?: string; readonly signal?: string | null }): string {
  if (error.signal) return `its process was ended by ${error.signal}`;
  return (error.stderr?.trim() || error.message).split('\n').at(-1) as string;
}
