/** A suite's rows in two builds of Saccade, row by row in turns, so that a busy machine affects both alike. */
import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';
import { styleText } from 'node:util';
import { ParameterError } from '../errors';
import { describeMachine, formatMachine, type Machine } from '../machine';
import { type Summary, summarise } from '../measure/statistics';
import type { Control } from '../runtime/backend';
import { formatRatio } from '../text/format';
import { formatTable, right } from '../text/table';
import { lastLine, reportInChild } from './child';
import { type BenchOptions, commandLine, commandWords } from './options';
import { PeerProcess } from './peer-process';
import { packageRoot } from './peers';
import { rowOf } from './problem';
import { type BenchReport, type BenchRow, formatProblem } from './report';
import type { Suite, TimedSuite } from './suite';

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

/** How rows of two builds are timed. */
export interface Builds {
  /** The rows of this build. */
  planned(): Promise<readonly (Problem & Pick<BenchRow, 'command'>)[]>;
  /** Prepares a row in both builds; gives how a call of one of them is timed, and for how many pairs there is time. */
  open(
    row: Problem & Pick<BenchRow, 'command'>,
  ): Promise<{ readonly time: (build: Build) => Promise<number>; readonly pairs: number }>;
  close(): void;
}
type Build = 'this' | 'other';

/**
 * Both builds in processes of their own, which stay for all rows. A suite that is not timed in turns, and rows of a build whose
 * modules are others, go by command lines, in new ones. Throws a ParameterError if the folder has no build.
 */
export function builds(
  suite: Suite & Partial<Pick<TimedSuite, 'groups'>>,
  options: BenchOptions,
  { against, signal }: { readonly against: string; readonly signal?: AbortSignal | undefined },
): Builds {
  const other = resolve(against, 'dist/cli/bin.mjs');
  if (!existsSync(other)) {
    throw new ParameterError(
      `--against must be the folder of another checkout of Saccade that is built, got '${against}', which has no ${join('dist', 'cli', 'bin.mjs')}`,
    );
  }
  const { groups } = suite;
  const commands = byCommands(suite, options, (build, words) =>
    reportInChild(build === 'this' ? (process.argv[1] as string) : other, words, signal),
  );
  return groups ? byProcesses({ ...suite, groups }, options, { against, signal, commands }) : commands;
}

/** Longest that a row is timed, in milliseconds, but for two pairs. */
const ROW = 10_000;
/** Largest difference of results, over the largest: kernels may round in another order. */
const TOLERANCE = 1e-3;

interface Opened {
  readonly numbers: readonly number[];
  /** How long a sample takes. */
  readonly milliseconds: number;
}

function byProcesses(
  { name, groups, defaults }: Pick<TimedSuite, 'name' | 'groups' | 'defaults'>,
  options: BenchOptions,
  {
    against,
    signal = new AbortController().signal,
    commands,
  }: { against: string; signal?: AbortSignal | undefined; commands: Builds },
): Builds {
  const { only, repeats } = options;
  const program = new URL(`./against-child${extname(import.meta.url)}`, import.meta.url);
  const start = (folder: string) =>
    new PeerProcess(
      fork(program, [folder, name, JSON.stringify(options)], {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      }),
    );
  const processes = { this: start(packageRoot()), other: start(resolve(against)) };
  const ask = <T>(build: Build, question: string, parameters: object) =>
    processes[build].ask<T>(question, parameters, signal);
  return {
    async planned() {
      const rows = groups(options, {}).flat();
      return rows
        .filter((row) => only.length === 0 || only.includes(row.name))
        .map(({ name: row, label, problem, narrow }) => ({
          ...{ name: row, label, ...rowOf(problem) },
          command: commandLine(name, { ...options, ...narrow, only: [row] }, defaults),
        }));
    },
    async open(row) {
      const parameters = { key: keyOf(row) };
      const own = await ask<Opened>('this', 'open', parameters);
      const theirs = await ask<Opened>('other', 'open', parameters).catch((error) => {
        signal.throwIfAborted();
        return error as Error;
      });
      if (theirs instanceof Error) return commands.open(row);
      checkAlike(own.numbers, theirs.numbers);
      const affordable = Math.floor(ROW / 4 / Math.max(own.milliseconds, theirs.milliseconds));
      return { time: (build) => ask<number>(build, 'time', {}), pairs: Math.max(2, Math.min(repeats, affordable)) };
    },
    close() {
      for (const each of Object.values(processes)) each.kill();
    },
  };
}

/** Throws unless the builds computed the same. */
function checkAlike(own: readonly number[], theirs: readonly number[]): void {
  const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const isAlike = own.every((value, at) => Math.abs(value - (theirs[at] as number)) <= TOLERANCE * largest);
  if (own.length !== theirs.length || !isAlike) throw new Error('the results of the builds differ');
}

/** Runs a command line of this build or of the other. */
export type Runner = (build: Build, words: readonly string[]) => Promise<BenchReport>;

/** By the commands of the rows, each in a new process. */
export function byCommands(suite: Suite, options: BenchOptions, run: Runner): Builds {
  const repeats = (count: number) => ('repeats' in suite.defaults ? { repeats: count } : {});
  return {
    planned: async () =>
      (await run('this', commandWords(suite.name, { ...options, ...repeats(1) }, suite.defaults))).rows,
    async open(row) {
      const words = wordsOf(row.command);
      const place = words.indexOf('--repeats');
      if (place >= 0) words.splice(place, 2);
      if ('repeats' in suite.defaults) words.push('--repeats', String(SAMPLES));
      const time = async (build: Build) => {
        const { rows } = await run(build, words);
        const found = rows.find((each) => keyOf(each) === keyOf(row));
        const measured = found?.measures.time;
        if (measured === undefined) throw new Error(found?.reason ?? 'it tells no time');
        return measured;
      };
      return { time, pairs: options.repeats };
    },
    close() {},
  };
}

/** Compares the suite's rows that have a time, in pairs of runs. */
export async function runAgainst(
  { name: suite }: Pick<Suite, 'name'>,
  { against, builds, signal, onProgress }: Control & { readonly against: string; readonly builds: Builds },
): Promise<AgainstReport> {
  try {
    const planned = await builds.planned();
    const rows: AgainstRow[] = [];
    for (const [at, row] of planned.entries()) {
      signal?.throwIfAborted();
      rows.push(await compareRow(row, builds, signal));
      await onProgress?.((at + 1) / planned.length);
    }
    const machine = await describeMachine();
    return { format: 'saccade bench against', version: 1, suite, against, machine, rows };
  } finally {
    builds.close();
  }
}

async function compareRow(
  { name, label, n, h, g, d, mask, command }: Problem & Pick<BenchRow, 'command'>,
  builds: Builds,
  signal: AbortSignal | undefined,
): Promise<AgainstRow> {
  const row = { name, label, n, h, ...(g !== undefined && { g }), d, mask, command };
  const ratios: number[] = [];
  const own: number[] = [];
  try {
    const { time, pairs } = await builds.open(row);
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
