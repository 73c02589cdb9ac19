import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { Command, InvalidArgumentError } from 'commander';
import { casesOf, type Heads, type LongCaChoice, PASSES } from '../bench/longca/cases';
import { LONGCA_CONTENDERS, type LongCaContender } from '../bench/longca/contenders';
import {
  type LongCaReport,
  type LongCaRow,
  longCaCsv,
  longCaFailures,
  longCaTable,
  machineLine,
} from '../bench/longca/report';
import { runLongCa } from '../bench/longca/run';
import { installPeers } from '../bench/peers';
import { INCOMPLETE } from '../bench/report';
import { isRecord, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { describeMachine } from '../machine';
import { disagreements } from '../masks/longca-disagreements';
import { MASK_NAMES } from '../methods/sparse/longca/settings';
import { createRuntime } from '../ops/create-runtime';
import { htmlPage } from '../report/page';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right } from '../text/table';
import { failIfAny, WITH_FAILURES } from './failures';
import { lockFolder } from './lock-folder';
import { jsonOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { MOST_BYTES, readIfThere } from './read-tensors';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic } from './write-file';

export interface LongCaOptions extends Omit<LongCaChoice, 'contenders'> {
  readonly only: readonly string[];
  readonly peers?: true;
  readonly threads: number;
  readonly limit: number;
  /** GiB. */
  readonly memory?: number;
  /** Minutes. */
  readonly budget?: number;
  readonly resume?: string;
  readonly csv?: string;
  readonly json?: string;
  readonly html?: string;
}

export const LONGCA = {
  name: 'longca',
  summary:
    'the fourteen masks of the Long-Context Attention Benchmark by length, forward and backward: TFLOP/s and memory beside other systems',
};
const K = 1024;
const LENGTHS = [1, 2, 4, 8, 16, 24, 32, 40, 48].map((each) => each * K);
const SPARSE = [64, 96, 128].map((each) => each * K);
const HEADS: Heads[] = [
  [4, 4],
  [4, 1],
];
const LONGEST = 2 ** 20;
const NAMES = LONGCA_CONTENDERS.map(({ name }) => name);
export const GPU = 'saccade-webgpu';
const WIDTH = 100;

type Act = (options: LongCaOptions, command: Command) => Promise<void>;

export function longCaCommand(act: Act = benchLongCa): Command {
  return new Command(LONGCA.name)
    .description(LONGCA.summary)
    .option('--n <lengths>', 'tokens, such as 1K,8192', lengths, LENGTHS)
    .option('--sparse <lengths>', 'further lengths of the masks of chosen blocks; 0 for none', lengthsOrNone, SPARSE)
    .option('--masks <names>', `of ${MASK_NAMES.join(', ')}`, namesOf(MASK_NAMES), MASK_NAMES)
    .option('--passes <names>', `of ${PASSES.join(', ')}`, namesOf(PASSES), [...PASSES])
    .option('--heads <pairs>', 'query heads, and those of keys and values', headsOf, HEADS)
    .option('--d <dimension>', 'of the heads', wholeNumber(1, 256), 128)
    .option('--peers', 'measure other systems too: those from npm, and the PyTorch of python3 or SACCADE_PYTHON')
    .option('--only <names>', `of ${NAMES.join(', ')}`, namesOf(NAMES), [])
    .option('--threads <count>', 'threads of each', wholeNumber(1, 256), availableParallelism())
    .option('--limit <seconds>', 'longest call that is waited for', wholeNumber(1, 86_400), 60)
    .option('--memory <GiB>', 'what a process may take; default: most of what is free', wholeNumber(1, 2 ** 20))
    .option('--budget <minutes>', 'measure what fits: lengths around 8K first', wholeNumber(1, 100_000))
    .option('--resume <folder>', 'keep what was measured here, and go on from what is there')
    .option(
      '--csv <file>',
      "write the authors' tables: -1 out of memory, -2 not supported, -3 too slow, -4 wrong, -5 failed",
    )
    .addOption(jsonOption('everything measured'))
    .option('--html <file>', 'write a page with heat maps')
    .addHelpText('after', '\nExample:\n  $ saccade bench longca --peers --budget 60 --resume longca --html longca.html')
    .addHelpText('after', WITH_FAILURES)
    .action(act);
}

async function benchLongCa(options: LongCaOptions): Promise<void> {
  const { threads, limit, memory, budget, resume, csv, json, html } = options;
  for (const path of [csv, json, html]) if (path !== undefined) await checkWritable(path);
  using _ = resume === undefined ? null : lockFolder(resume);
  const contenders = await contendersOf(options);
  const needsNpm = contenders.some(({ isFromNpm }) => isFromNpm);
  const tell = (line: string) => process.stderr.write(`${line}\n`);
  const place = { threads, peers: needsNpm ? await installPeers(tell) : undefined, memory: memory && memory * 2 ** 30 };
  using runtime = await createRuntime({ backend: 'wasm', threads });
  const empty: LongCaReport = {
    format: 'saccade longca',
    version: 1,
    command: shellCommand(['saccade', ...longCaWords(options)]),
    machine: await describeMachine(),
    runtime: runtime.backend.explain(),
    threads,
    setting: settingOf(options),
    disagreements: disagreements(),
    contenders: LONGCA_CONTENDERS.map(({ name, label, how }) => ({ name, label, how })),
    complete: false,
    leftOut: 0,
    rows: [],
  };
  const kept = resume === undefined ? undefined : join(resume, 'longca.json');
  const earlier = kept === undefined ? [] : await rowsIn(kept, empty);
  const cases = casesOf({ ...options, contenders: contenders.map(({ name }) => name) });
  const rows = new Map(earlier.map((row) => [rowKey(row), row]));
  const reportOf = (more: Partial<LongCaReport> = {}): LongCaReport => ({
    ...empty,
    ...more,
    rows: [...rows.values()],
  });
  let latest = reportOf();
  try {
    await withProgress('bench longca', async (control, show) => {
      const given = { cases, contenders, place, limit, budget: budget && 60 * budget, earlier };
      const leftOut = await runLongCa(given, runtime, {
        ...control,
        async onRow(row) {
          rows.set(rowKey(row), row);
          latest = reportOf();
          if (kept !== undefined) await writeJson(kept, latest);
          show(tableOf({ ...latest, rows: latest.rows.slice(-LINES) }));
        },
      });
      latest = reportOf({ complete: true, leftOut });
      if (kept !== undefined) await writeJson(kept, latest);
    });
  } finally {
    // What was measured before an interrupt or a failure is shown too.
    if (rows.size > 0) await write(latest, options);
  }
  const failed = latest.rows.filter(({ status }) => status === 'wrong' || status === 'failed');
  failIfAny(
    failed.map(({ contender, mask, n, pass }) => `${contender}, ${mask}, ${n} tokens, ${pass}`),
    latest.rows.length,
    'cases',
  );
}

/** Lines of the table that is shown while cases are measured. */
const LINES = 12;

const rowKey = ({ contender, mask, n, pass, h, g, d }: LongCaRow) => [contender, mask, n, pass, h, g, d].join();
const writeJson = (path: string, report: LongCaReport) =>
  writeFileAtomic(path, `${JSON.stringify(report, undefined, 1)}\n`);

async function write(report: LongCaReport, { csv, json, html }: LongCaOptions): Promise<void> {
  if (json !== undefined) await writeJson(json, report);
  if (csv !== undefined) await writeFileAtomic(csv, longCaCsv(report));
  if (html !== undefined)
    await writeFileAtomic(html, htmlPage({ title: 'saccade bench longca', view: 'longca', data: report }));
  await say(textOf(report, [csv, json, html]), csv, json, html);
}

/** Those named, or Saccade on the processor, on a GPU where there is one, and with --peers the others. */
async function contendersOf({ only, peers }: LongCaOptions): Promise<readonly LongCaContender[]> {
  const hasGpu = only.includes(GPU) || (only.length === 0 && (await findsGpu()));
  return LONGCA_CONTENDERS.filter(({ name }) => {
    if (only.length > 0) return only.includes(name);
    return name === 'saccade' || (name === GPU ? hasGpu : peers === true);
  });
}

async function findsGpu(): Promise<boolean> {
  try {
    using runtime = await createRuntime({ backend: 'webgpu' });
    return runtime.backend.isSoftware !== true;
  } catch {
    return false;
  }
}

/** What an earlier run must share with this one. */
function likenessOf({ machine: { date: _, ...machine }, runtime, threads }: LongCaReport) {
  return { ...machine, runtime: runtime.join('; '), threads };
}

/**
 * The rows of an earlier run; none if there is no file.
 *
 * @throws {ParseError} something else; {ParameterError} a run of another version or machine
 */
async function rowsIn(path: string, wanted: LongCaReport): Promise<readonly LongCaRow[]> {
  const bytes = await readIfThere(path, MOST_BYTES);
  if (!bytes) return [];
  const earlier = parseReport(path, bytes);
  const [had, expected] = [likenessOf(earlier), likenessOf(wanted)] as Readonly<Record<string, unknown>>[];
  for (const [each, value] of Object.entries(expected ?? {})) {
    if (had?.[each] !== value)
      throw new ParameterError(
        `cannot go on with '${path}', a run with ${each} ${show(had?.[each])}, expected ${show(value)}; give another folder, or delete the file`,
      );
  }
  return earlier.rows;
}

function parseReport(path: string, bytes: Uint8Array): LongCaReport {
  try {
    const run = JSON.parse(new TextDecoder().decode(bytes));
    const isWhole = isRecord(run.machine) && Array.isArray(run.runtime) && run.rows.every(isRecord);
    if (run.format === 'saccade longca' && run.version === 1 && isWhole) return run;
  } catch {
    // Reported below.
  }
  throw new ParseError(`${path} is no file of saccade bench longca`);
}

function settingOf({ d, limit, heads }: LongCaOptions): string[] {
  return [
    `Heads of ${d}, ${heads.map(([h, g]) => (h === g ? `${h} alike` : `${h} on ${g} of keys`)).join(' or ')}; f32; each case in a process of its own, of which no call may take longer than ${limit} s. Documents, windows and prefixes are those that the benchmark draws for the length.`,
    'TFLOP/s count two products of each pair that the mask lets through forward, five backward, and seven where a system cannot tell its backward pass from its forward pass. The median of up to 20 calls. Memory is what a process takes beyond the inputs it was given, at most. Each result was first checked against float64.',
  ];
}

/** The words of a command after `saccade`; threads may be left to the machine that it runs on. */
export function longCaWords({
  n,
  sparse,
  masks,
  passes,
  heads,
  d,
  only,
  peers,
  threads,
  limit,
  memory,
  budget,
}: Omit<LongCaOptions, 'threads'> & { readonly threads?: number | undefined }): string[] {
  const flags = {
    n: n.join(),
    sparse: sparse.join() || '0',
    ...(masks.length < MASK_NAMES.length && { masks: masks.join() }),
    ...(passes.length < PASSES.length && { passes: passes.join() }),
    heads: heads.map((pair) => pair.join(':')).join(),
    d,
    ...(only.length > 0 && { only: only.join() }),
    ...(threads !== undefined && { threads }),
    limit,
    ...(memory !== undefined && { memory }),
    ...(budget !== undefined && { budget }),
  };
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return ['bench', 'longca', ...words, ...(peers ? ['--peers'] : [])];
}

function textOf(report: LongCaReport, files: readonly (string | undefined)[]): string {
  const dim = (text: string) => styleText('dim', wrap(text, WIDTH));
  const { leftOut } = report;
  return [
    tableOf(report),
    '',
    ...(report.complete ? [] : [INCOMPLETE]),
    ...(leftOut > 0 ? [`For ${leftOut} cases the budget had no time.`] : []),
    ...longCaFailures(report).map((text) => wrap(text, WIDTH)),
    dim(`GFLOP/s. ${report.setting.join(' ')}`),
    dim(machineLine(report)),
    ...files.flatMap((path) => (path === undefined ? [] : [`Written: ${printable(path)}`])),
  ].join('\n');
}

function tableOf(report: LongCaReport): string {
  const [header, ...rows] = longCaTable(report) as [string[], ...string[][]];
  return formatTable(
    header.map((name, at) => (at < 2 ? name : right(name))),
    rows,
  );
}

const lengthsOrNone = (text: string): number[] => (text === '0' ? [] : lengths(text));

/** Numbers of tokens, each also in units of 1024: 48K. */
function lengths(text: string): number[] {
  const all = text.split(',').map((each) => {
    const [, number, unit] = /^(\d+)(K?)$/i.exec(each.trim()) ?? [];
    return Number(number) * (unit ? K : 1);
  });
  if (all.every((each) => each >= 1 && each <= LONGEST)) return [...new Set(all)].sort((a, b) => a - b);
  throw new InvalidArgumentError(`It must be numbers from 1 to ${LONGEST}, such as 1K,8192.`);
}

function headsOf(text: string): Heads[] {
  return text.split(',').map((pair) => {
    const [h = 0, g = h] = pair.split(':').map((each) => (/^\d+$/.test(each) ? Number(each) : 0));
    if (h >= 1 && g >= 1 && h <= 1024 && h % g === 0) return [h, g] as const;
    throw new InvalidArgumentError('It must be pairs such as 4:4,4:1, of which the second number divides the first.');
  });
}

function namesOf<T extends string>(names: readonly T[]): (text: string) => T[] {
  return (text) => {
    const given = [...new Set(text.split(',').map((name) => name.trim() as T))];
    if (given.every((name) => names.includes(name))) return given;
    throw new InvalidArgumentError(`It must be of ${names.join(', ')}.`);
  };
}
