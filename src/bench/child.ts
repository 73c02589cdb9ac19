import { execFile } from 'node:child_process';
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
    await promisify(execFile)(process.execPath, [bin, ...words, '--json', json], { signal });
    return JSON.parse(await readFile(json, 'utf8')) as BenchReport;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
