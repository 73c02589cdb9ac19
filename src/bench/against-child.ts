/**
 * The process of one build: `against-child FOLDER SUITE OPTIONS`. It imports that build's own benchmarks, opens the rows that it
 * is asked for, and times calls of them. The parent sends { id, question, ... } and gets { id, value } or { id, error }.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Session } from './contender';
import type { BenchOptions } from './options';
import type { PlannedRow, TimedSuite } from './suite';

/** Milliseconds that calls go on before the first that counts, and that a sample takes at least. */
const WARM_UP = 200;
const SAMPLE = 50;
/** Numbers of a result that are compared. */
const COMPARED = 4096;

const [, , folder, name, given] = process.argv as unknown as [string, string, string, string, string];
const options = JSON.parse(given) as BenchOptions;
const from = <T>(module: string): Promise<T> =>
  import(pathToFileURL(join(folder, 'dist/bench', `${module}.mjs`)).href) as Promise<T>;

const { suites } = await from<typeof import('./suites')>('suites/index');
const { inputsOf } = await from<typeof import('./problem')>('problem');
const { Runtimes, runtimeOptions } = await from<typeof import('./runtimes')>('runtimes');
const { saccade } = await from<typeof import('./saccade')>('saccade');

const runtimes = new Runtimes();
const { signal } = new AbortController();
let session: Session | undefined;
let calls = 1;

const answers: Readonly<Record<string, (asked: Record<string, unknown>) => Promise<unknown>>> = {
  /** Opens the row of this key; gives some numbers of its result, and the milliseconds of a sample. */
  async open({ key }) {
    session?.close();
    session = undefined;
    const suite = suites.find((each) => each.name === name) as unknown as TimedSuite | undefined;
    const row = suite
      ?.groups(options, {})
      .flat()
      .find((each) => keyOf(each) === key);
    if (!row) throw new Error('no such row');
    const own = { threads: row.threads ?? options.threads, simd: row.simd ?? options.simd };
    const contender = row.contender ?? saccade(runtimes, runtimeOptions({ ...options, ...own }));
    session = await contender.open({ problem: row.problem, inputs: inputsOf(row.problem) }, signal);
    let ms = await session.time(1, signal);
    const result = await session.result(signal);
    const end = performance.now() + WARM_UP;
    while (performance.now() < end) ms = Math.min(ms, await session.time(1, signal));
    calls = Math.ceil(SAMPLE / Math.max(ms, SAMPLE / 10_000));
    const step = Math.max(1, Math.floor(result.length / COMPARED));
    return { numbers: Array.from(result).filter((_, at) => at % step === 0), milliseconds: ms * calls };
  },
  time: async () => (session as Session).time(calls, signal),
};

/** As the parent knows rows. */
function keyOf({ name, problem: { n, h, g = h, d, mask } }: PlannedRow): string {
  return JSON.stringify([name, n, h, g, d, mask.name]);
}

process.on('message', async ({ id, question, ...asked }: { id: number; question: string }) => {
  try {
    process.send?.({ id, value: await answers[question]?.(asked) });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit());
