/** A suite's rows in two builds of Saccade, row by row in turns, so that a busy machine affects both alike. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { styleText } from 'node:util';
import { ParameterError } from '../errors';
import { describeMachine, formatMachine, type Machine } from '../machine';
import { type Summary, summarise } from '../measure/statistics';
import type { Control } from '../runtime/backend';
import { formatRatio } from '../text/format';
import { formatTable, right } from '../text/table';
import { lastLine, reportInChild } from './child';
import { type BenchOptions, commandWords } from './options';
import { type BenchReport, type BenchRow, formatProblem } from './report';
import type { Suite } from './suite';

/** The relative difference up to which times count as the same. */
const ALLOWED = 0.03;
/** Samples of one run, of which the median is taken. */
const SAMPLES = 3;

type Problem = Pick<BenchRow, 'name' | 'label' | 'n' | 'h' | 'g' | 'd' | 'mask'>;

type AgainstRow = Problem & { readonly command: string } & (
    | {
        /** This build's time over the other's, measured one after the other. */
        readonly ratio: Summary;
        /** The other's time over its own in the run before. */
        readonly own: Summary;
        /** By more than 3%, and by more than the other build differs from itself. */
        readonly verdict: 'same' | 'slower' | 'faster';
      }
    | { readonly verdict: 'not compared'; readonly reason: string }
  );

export interface AgainstReport {
  readonly format: 'saccade bench against';
  readonly version: 1;
  readonly suite: string;
  /** The folder of the other build. */
  readonly against: string;
  readonly machine: Machine;
  readonly rows: readonly AgainstRow[];
}

/** Runs a command line of this build or of the other. */
export type Runner = (build: 'this' | 'other', words: readonly string[]) => Promise<BenchReport>;

/** Runs the command lines of both builds in new processes; throws a ParameterError if the folder has no build. */
export function builds(against: string, signal: AbortSignal | undefined): Runner {
  const other = resolve(against, 'dist/cli/bin.mjs');
  if (!existsSync(other)) {
    throw new ParameterError(
      `--against must be the folder of another checkout of Saccade that is built, got '${against}', which has no ${join('dist', 'cli', 'bin.mjs')}`,
    );
  }
  return (build, words) => reportInChild(build === 'this' ? (process.argv[1] as string) : other, words, signal);
}

/** Compares the suite's rows that have a time, in `options.repeats` pairs of runs each. */
export async function runAgainst(
  suite: Suite,
  options: BenchOptions,
  { against, run, signal, onProgress }: Control & { readonly against: string; readonly run: Runner },
): Promise<AgainstReport> {
  const repeats = (count: number) => ('repeats' in suite.defaults ? { repeats: count } : {});
  const planned = await run('this', commandWords(suite.name, { ...options, ...repeats(1) }, suite.defaults));
  const rows: AgainstRow[] = [];
  for (const [at, row] of planned.rows.entries()) {
    signal?.throwIfAborted();
    const words = wordsOf(row.command);
    const place = words.indexOf('--repeats');
    if (place >= 0) words.splice(place, 2);
    if ('repeats' in suite.defaults) words.push('--repeats', String(SAMPLES));
    rows.push(await compareRow(row, words, options.repeats, { run, signal }));
    await onProgress?.((at + 1) / planned.rows.length);
  }
  const machine = await describeMachine();
  return { format: 'saccade bench against', version: 1, suite: suite.name, against, machine, rows };
}

async function compareRow(
  { name, label, n, h, g, d, mask, command }: BenchRow,
  words: readonly string[],
  pairs: number,
  { run, signal }: Control & { readonly run: Runner },
): Promise<AgainstRow> {
  const row = { name, label, n, h, ...(g !== undefined && { g }), d, mask, command };
  const time = async (build: 'this' | 'other') => {
    const { rows } = await run(build, words);
    const found = rows.find((each) => keyOf(each) === keyOf(row));
    const measured = found?.measures.time;
    if (measured === undefined) throw new Error(found?.reason ?? 'it tells no time');
    return measured;
  };
  const ratios: number[] = [];
  const own: number[] = [];
  try {
    // This, other, other, this: neighbours are compared, so that drift favours neither.
    while (ratios.length < pairs) {
      const first = await time('this');
      const [others, again] = [await time('other'), await time('other')];
      ratios.push(first / others, (await time('this')) / again);
      own.push(again / others);
    }
  } catch (error) {
    signal?.throwIfAborted();
    return { ...row, verdict: 'not compared', reason: lastLine(error as Error) };
  }
  const [ratio, itself] = [summarise(ratios), summarise(own)];
  const noise = Math.abs(itself.median - 1) + itself.spread * itself.median;
  const isSame = Math.abs(ratio.median - 1) <= Math.max(ALLOWED, noise);
  return { ...row, ratio, own: itself, verdict: isSame ? 'same' : ratio.median > 1 ? 'slower' : 'faster' };
}

const keyOf = ({ name, n, h, g = h, d, mask }: Problem) => JSON.stringify([name, n, h, g, d, mask]);

const wordsOf = (command: string) => command.split(' ').slice(1);

/** The report as text: a table, what could not be compared, and which rows are slower or faster. */
export function formatAgainst({ rows, machine, against }: AgainstReport): string {
  const ratios = ['time over theirs', '±', 'theirs over itself', '±'].map(right);
  const share = (spread: number) => `${(100 * spread).toFixed(1)}%`;
  const cells = rows.map((row) => {
    const figures =
      'ratio' in row ? [row.ratio, row.own].flatMap((x) => [formatRatio(x.median), share(x.spread)]) : ['', '', '', ''];
    const verdict =
      row.verdict === 'same' ? row.verdict : styleText(row.verdict === 'faster' ? 'green' : 'red', row.verdict);
    return [formatProblem(row), row.label, ...figures, verdict];
  });
  const reasons = rows.flatMap((row) =>
    'reason' in row ? [`${row.label}, ${formatProblem(row)}: not compared: ${row.reason}`] : [],
  );
  const counted = ['slower', 'faster', 'same', 'not compared'].map(
    (verdict) => `${rows.filter((row) => row.verdict === verdict).length} ${verdict}`,
  );
  const notes = [...reasons, `against ${against}: ${counted.join(', ')}`, formatMachine(machine)];
  return [formatTable(['problem', 'what', ...ratios, ''], cells), '', ...notes].join('\n');
}
