import { styleText } from 'node:util';
import { Command, InvalidArgumentError } from 'commander';
import { LABELS, longContenders } from '../bench/long-context/contenders';
import {
  LOSS_COLUMNS,
  type LongContextReport,
  type LossRow,
  longFailures,
  lossCells,
  SPEED_COLUMNS,
  type SpeedRow,
  speedCells,
} from '../bench/long-context/report';
import { runLongContext } from '../bench/long-context/run';
import { INCOMPLETE } from '../bench/report';
import { ParameterError } from '../errors';
import { describeMachine, formatMachine } from '../machine';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { htmlPage } from '../report/page';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right } from '../text/table';
import { threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface Options extends Pick<RuntimeOptions, 'threads'> {
  readonly n: readonly number[];
  readonly losses: readonly number[];
  readonly only: readonly string[];
  readonly budget: number;
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
const MOST_LOSS = 4096;
const WIDTH = 100;

export function longContextCommand(): Command {
  return new Command(LONG_CONTEXT.name)
    .description(LONG_CONTEXT.summary)
    .option('--n <lengths>', 'tokens of prompts', listOf(16, 2 ** 18), LENGTHS)
    .option(
      '--losses <lengths>',
      `tokens at which the default model's losses are taken; 0 for none`,
      listOf(0, MOST_LOSS),
      LOSSES,
    )
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
      '--budget <seconds>',
      'begin no further rows, and end those under way, after so many seconds',
      wholeNumber(1, 10 ** 7),
      3600,
    )
    .option('--json <file>', 'write everything measured as JSON')
    .option('--html <file>', 'write a page with curves')
    .addOption(threadsOption())
    .addHelpText('after', '\nExample:\n  $ saccade bench long-context --n 1024,4096 --budget 300 --html report.html')
    .action(benchLongContext);
}

async function benchLongContext({ n, losses, only, budget, threads, json, html }: Options): Promise<void> {
  const contenders = longContenders(only);
  if (contenders.length === 0)
    throw new ParameterError(
      `only must name some of ${LABELS.join('; ')}, or methods that there are, got '${only.join()}'`,
    );
  const files = [json, html].filter((path) => path !== undefined);
  for (const path of files) await checkWritable(path);
  using runtime = await createRuntime({ backend: 'wasm', ...(threads && { threads }) });
  const machine = await describeMachine();
  const rows = { speed: [] as SpeedRow[], losses: [] as LossRow[] };
  const report = (complete: boolean): LongContextReport => ({
    format: 'saccade long context',
    version: 1,
    command: commandOf({ n, losses, only, budget, ...(threads && { threads }) }),
    machine,
    runtime: runtime.backend.explain(),
    setting: SETTING,
    complete,
    speed: [...rows.speed],
    losses: [...rows.losses],
  });
  const write = async (found: LongContextReport) => {
    if (json !== undefined) await writeFileAtomic(json, `${JSON.stringify(found, undefined, 2)}\n`);
    if (html !== undefined)
      await writeFileAtomic(html, htmlPage({ title: 'saccade bench long-context', view: 'long-context', data: found }));
  };
  let isComplete = false;
  try {
    await withProgress('bench long-context', async (control, show) => {
      const asked = { n, losses: losses.filter((each) => each > 0), contenders, threads, budget };
      await runLongContext(asked, runtime, {
        ...control,
        async onRow(row) {
          if ('speed' in row) rows.speed.push(row.speed);
          else rows.losses.push(row.loss);
          show(tablesOf(report(false)).join('\n\n'));
          await write(report(false));
        },
      });
    });
    isComplete = true;
  } finally {
    if (rows.speed.length + rows.losses.length > 0) {
      await write(report(isComplete));
      await say(textOf(report(isComplete), files), ...files);
    }
  }
}

const SETTING = [
  'Speed: a decoder with the heads of Qwen3-0.6B, 16 of queries and 8 of keys, 128 wide, two layers and random weights; keys and values in f16, prompts in chunks of 2048 tokens, a process for each row.',
  'Losses: the default model at each token of a text that it wrote itself with exact attention; retrieval then takes place at each token, by a look at all keys. Needles are 24 tokens of another text that occur twice, whose last 20 are to be told the second time.',
];

function commandOf(options: object): string {
  const flags = Object.entries(options).flatMap(([name, value]) =>
    Array.isArray(value) ? (value.length > 0 ? [`--${name}`, value.join()] : []) : [`--${name}`, String(value)],
  );
  return shellCommand(['saccade', 'bench', 'long-context', ...flags]);
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

function tablesOf({ speed, losses }: LongContextReport): string[] {
  const table = (columns: typeof SPEED_COLUMNS, rows: string[][]) =>
    rows.length > 0
      ? [
          formatTable(
            columns.map(([header], at) => (at === 1 ? header : right(header))),
            rows,
          ),
        ]
      : [];
  return [...table(SPEED_COLUMNS, speed.map(speedCells)), ...table(LOSS_COLUMNS, losses.map(lossCells))];
}

function listOf(least: number, most: number) {
  const parse = wholeNumber(least, most);
  return (text: string): number[] => {
    const all = [...new Set(text.split(',').map((each) => parse(each.trim())))];
    if (all.length === 0) throw new InvalidArgumentError('It must be numbers, separated by commas.');
    return all.sort((a, b) => a - b);
  };
}
