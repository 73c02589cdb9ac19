import { readFile } from 'node:fs/promises';
import { styleText } from 'node:util';
import { Command, InvalidArgumentError } from 'commander';
import { LABELS, longContenders } from '../bench/long-context/contenders';
import {
  INDEX_COLUMNS,
  type IndexRow,
  indexCells,
  LOSS_COLUMNS,
  type LongContextReport,
  type LossRow,
  longFailures,
  lossCells,
  SPEED_COLUMNS,
  type SpeedRow,
  speedCells,
} from '../bench/long-context/report';
import { type LongRow, type LongRows, runLongContext } from '../bench/long-context/run';
import { installPeers } from '../bench/peers';
import { INCOMPLETE } from '../bench/report';
import { ParameterError, ParseError } from '../errors';
import { describeMachine, formatMachine, type Machine } from '../machine';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { htmlPage } from '../report/page';
import type { Runtime } from '../runtime/runtime';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right } from '../text/table';
import { jsonOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

interface Options extends Pick<RuntimeOptions, 'threads'> {
  readonly n: readonly number[];
  readonly losses: readonly number[];
  readonly indexes: readonly number[];
  readonly peers?: true;
  readonly only: readonly string[];
  readonly trained: ReadonlyMap<string, string>;
  readonly budget: number;
  readonly resume?: true;
  readonly json?: string;
  readonly html?: string;
}

export const LONG_CONTEXT = {
  name: 'long-context',
  summary:
    'what a prompt and a step of a decoder take from 1K to 128K tokens by each method for long contexts, and what it costs a model',
};
const LENGTHS = [1024, 4096, 16_384, 32_768, 65_536, 131_072];
const LOSSES = [1024, 2048, 4096];
const INDEXES = [131_072];
const MOST_LOSS = 4096;
const WIDTH = 100;

export function longContextCommand(): Command {
  return new Command(LONG_CONTEXT.name)
    .description(LONG_CONTEXT.summary)
    .option('--n <lengths>', 'tokens of prompts', listOf(16, 2 ** 18), LENGTHS)
    .option(
      '--losses <lengths>',
      `tokens at which the default model's losses are taken; 0 for none`,
      listOf(64, MOST_LOSS, true),
      LOSSES,
    )
    .option(
      '--indexes <lengths>',
      'keys of which indexes are made and searched; 0 for none',
      listOf(256, 2 ** 18, true),
      INDEXES,
    )
    .option('--peers', 'beside them an index of another library, which is installed on first use')
    .option(
      '--only <names>',
      `of ${LABELS.join('; ')}, or methods, separated by commas`,
      (text: string) =>
        text
          .split(';')
          .flatMap((each) => each.split(/,(?! )/))
          .map((each) => each.trim()),
      [],
    )
    .option(
      '--trained <name=path>',
      `the folder of a model that was trained with a method, for its losses, such as landmark=FOLDER; may be given several times`,
      trainedOf,
      new Map<string, string>(),
    )
    .option(
      '--budget <seconds>',
      'begin no further rows, and end that under way, after so many seconds',
      wholeNumber(1, 10 ** 7),
      3600,
    )
    .addOption(jsonOption('everything measured'))
    .option('--resume', 'keep the rows that the file of --json has, and measure the others')
    .option('--html <file>', 'write a page with curves')
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nExamples:\n  $ saccade bench long-context --n 1024,4096 --budget 300 --html report.html\n  $ saccade bench long-context --budget 3600 --json long.json --resume',
    )
    .action(benchLongContext);
}

async function benchLongContext(options: Options): Promise<void> {
  const { n, losses, indexes, peers, only, trained, budget, threads, resume, json, html } = options;
  const contenders = longContenders(only);
  if (contenders.length === 0)
    throw new ParameterError(
      `--only must name some of ${LABELS.join('; ')}, or methods that there are, got '${only.join()}'`,
    );
  const files = [json, html].filter((path) => path !== undefined);
  for (const path of files) await checkWritable(path);
  using runtime = await createRuntime({ backend: 'wasm', ...(threads && { threads }) });
  const machine = await describeMachine();
  const before = resume ? await readRows(json, machine, runtime) : NO_ROWS;
  const rows: { readonly [kind in keyof LongRows]: LongRow[] } = {
    speed: [...before.speed],
    losses: [...before.losses],
    indexes: [...before.indexes],
  };
  const report = (complete: boolean): LongContextReport => ({
    format: 'saccade long context',
    version: 1,
    command: commandOf({
      n,
      losses,
      indexes,
      only,
      peers,
      trained: [...trained.keys()].map((label) => `${label}=FOLDER`),
      budget,
      threads,
    }),
    machine,
    runtime: runtime.backend.explain(),
    setting: SETTING,
    complete,
    speed: inOrder(rows.speed) as SpeedRow[],
    losses: inOrder(rows.losses) as LossRow[],
    indexes: inOrder(rows.indexes) as IndexRow[],
  });
  const write = async (found: LongContextReport) => {
    await writeJson(json, found);
    if (html !== undefined)
      await writeFileAtomic(html, htmlPage({ title: 'saccade bench long-context', view: 'long-context', data: found }));
  };
  let isComplete = false;
  try {
    await withProgress('bench long-context', async (control, show) => {
      const folder = peers && (await installPeers((line) => process.stderr.write(`${line}\n`), control.signal));
      const asked = { n, losses, indexes, peers: folder, contenders, trained, threads, budget };
      await runLongContext(asked, before, runtime, {
        ...control,
        async onRow(kind, row) {
          replace(rows[kind], row);
          show(tablesOf(report(false)).join('\n\n'));
          await write(report(false));
        },
      });
    });
    isComplete = true;
  } finally {
    if (Object.values(rows).some(({ length }) => length > 0)) {
      await write(report(isComplete));
      await say(textOf(report(isComplete), files), ...files);
    }
  }
}

/** Puts a row in the place of one that was late. */
function replace(rows: LongRow[], row: LongRow): void {
  const at = rows.findIndex(({ label, n }) => label === row.label && n === row.n);
  rows.splice(at < 0 ? rows.length : at, 1, row);
}

/** By length, and as they are declared. */
const inOrder = (rows: readonly LongRow[]): LongRow[] =>
  [...rows].sort((a, b) => a.n - b.n || LABELS.indexOf(a.label) - LABELS.indexOf(b.label));

const NO_ROWS: LongRows = { speed: [], losses: [], indexes: [] };

/** The rows of a report that an earlier run wrote, none if it wrote none. */
async function readRows(path: string | undefined, machine: Machine, { backend }: Runtime): Promise<LongRows> {
  if (path === undefined) throw new ParameterError('--resume goes on from the file of --json: expected --json too');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (text === undefined) return NO_ROWS;
  let report: Partial<LongContextReport> | undefined;
  try {
    report = JSON.parse(text);
  } catch (error) {
    throw new ParseError(`${printable(path)} is not JSON: ${(error as Error).message}`);
  }
  const { format, version, speed, losses, indexes } = report ?? {};
  const isWhole = [speed, losses, indexes].every(Array.isArray);
  if (format !== 'saccade long context' || version !== 1 || !isWhole)
    throw new ParseError(`--resume: ${printable(path)} must be a report of bench long-context, version 1`);
  // What a runtime chose for single calls is not known before them.
  const placeOf = (cpu: string | undefined, facts: readonly string[]) =>
    [cpu, ...facts.filter((fact) => /^(backend|kernels|threads):/.test(fact))].join();
  if (placeOf(report?.machine?.cpu, report?.runtime ?? []) !== placeOf(machine.cpu, backend.explain()))
    throw new ParameterError(
      `--resume: ${printable(path)} was measured on another machine or with other threads: write to another file`,
    );
  return { speed, losses, indexes } as LongRows;
}

const SETTING = [
  'Speed: a decoder with the heads of Qwen3-0.6B, 16 of queries and 8 of keys, 128 wide, two layers and random weights; keys and values in f16, prompts in chunks of 2048 tokens, a process for each row.',
  'Indexes: of one head of 64 dimensions whose queries lie apart from its keys; graphs of keys and cells know no queries, and usearch makes a graph of keys in native code. The 100 largest products hold little of the weight here, so errors are large even where nearly all are found.',
  'Losses: the default model at each token of a text that it wrote itself with exact attention; retrieval then takes place at each token, by a look at all keys, and landmarks open blocks of a cache, which is read 512 tokens at a time. Needles are 24 tokens of another text that occur twice, whose last 20 are to be told the second time.',
];

function commandOf({ trained, peers, ...options }: Readonly<Record<string, unknown>>): string {
  const flags = Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined || (name === 'only' && String(value) === '')) return [];
    return [`--${name}`, String(value) || '0'];
  });
  const folders = (trained as readonly string[]).flatMap((each) => ['--trained', each]);
  return shellCommand(['saccade', 'bench', 'long-context', ...flags, ...(peers ? ['--peers'] : []), ...folders]);
}

function textOf(report: LongContextReport, files: readonly string[]): string {
  const dim = (text: string) => styleText('dim', wrap(text, WIDTH));
  return [
    tablesOf(report).join('\n\n'),
    '',
    ...(report.complete ? [] : [INCOMPLETE]),
    ...longFailures(report).map((text) => wrap(text, WIDTH)),
    ...report.setting.map(dim),
    dim(`${formatMachine(report.machine)}; ${report.runtime.join('; ')}.`),
    ...files.map((path) => `Written: ${printable(path)}`),
  ].join('\n');
}

function tablesOf({ speed, losses, indexes }: LongContextReport): string[] {
  const table = (columns: typeof SPEED_COLUMNS, rows: string[][]) =>
    rows.length > 0
      ? [
          formatTable(
            columns.map(([header], at) => (at === 1 ? header : right(header))),
            rows,
          ),
        ]
      : [];
  return [
    ...table(SPEED_COLUMNS, speed.map(speedCells)),
    ...table(LOSS_COLUMNS, losses.map(lossCells)),
    ...table(INDEX_COLUMNS, indexes.flatMap(indexCells)),
  ];
}

function trainedOf(text: string, all: ReadonlyMap<string, string>): Map<string, string> {
  const [label = '', path = ''] = text.split(/=(.*)/s);
  if (!LABELS.includes(label) || path === '')
    throw new InvalidArgumentError(`It must be NAME=FOLDER, of ${LABELS.join('; ')}.`);
  return new Map([...all, [label, path]]);
}

/** `isOptional`: 0 stands for none. */
function listOf(least: number, most: number, isOptional = false) {
  const parse = wholeNumber(least, most);
  return (text: string): number[] => {
    if (isOptional && text.trim() === '0') return [];
    const all = [...new Set(text.split(',').map((each) => parse(each.trim())))];
    if (all.length === 0) throw new InvalidArgumentError('It must be numbers, separated by commas.');
    return all.sort((a, b) => a - b);
  };
}
