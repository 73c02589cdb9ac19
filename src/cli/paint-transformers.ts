import { join } from 'node:path';
import { Command } from 'commander';
import { checkChoices, isRecord } from '../check';
import { ParseError } from '../errors';
import { besideEachOther, enlarged, greySquare, toPng } from '../look/paint';
import { describeMachine } from '../machine';
import { estimateMean } from '../measure/statistics';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { compareTransformers, type TransformerRow, type Transformers } from '../pipelines/lit/compare';
import { ATTENTIONS, type AttentionKind } from '../pipelines/lit/network';
import { SIDE } from '../pipelines/paint/scenes';
import { openStudio } from '../pipelines/paint/studio';
import { significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { earlierRun } from './earlier-run';
import { lockFolder } from './lock-folder';
import { backendOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { wrap } from './wrap';
import { say, writeFileAtomic } from './write-file';

interface TransformersOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly out: string;
  readonly attentions: readonly AttentionKind[];
  readonly seeds: number;
  readonly steps: number;
  readonly batch: number;
  readonly pictures: number;
  readonly sampled: number;
  readonly resume?: true;
}

const FILE = 'transformers.json';
const WIDTH = 100;

const EXAMPLES = `
Transformers learn to paint in the latents of the codec that comes along, and differ in their attention alone: hidden layers make up
for parameters. Each is measured by its loss on scenes that it did not learn from, and by the Frechet distance of its pictures, of
which some are written. Those of a seed are of the same garments and begin with the same noise.

Examples:
  $ saccade paint transformers --out transformers
  $ saccade paint transformers --attentions softmax,dydila --seeds 5
  $ saccade paint transformers --out transformers --resume`;

export function paintTransformersCommand(): Command {
  return new Command('transformers')
    .description('train diffusion transformers with five kinds of attention, and compare what they paint')
    .option('--out <folder>', 'where figures and pictures go, after each transformer', 'transformers')
    .option('--attentions <names>', `of ${ATTENTIONS.join(', ')}`, attentionNames, [...ATTENTIONS])
    .option('--seeds <count>', 'transformers of each, over which intervals are told', wholeNumber(1, 1000), 3)
    .option('--steps <count>', 'steps of a training', wholeNumber(1, 1_000_000), 300)
    .option('--batch <scenes>', 'scenes of a step', wholeNumber(1, 1000), 16)
    .option('--pictures <count>', 'pictures for the Frechet distance', wholeNumber(2, 10_000), 200)
    .option('--sampled <steps>', 'steps of the sampler', wholeNumber(1, 1000), 10)
    .option('--resume', 'go on after the last transformer in the folder')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', EXAMPLES)
    .action(trainTransformers);
}

function attentionNames(text: string): readonly AttentionKind[] {
  const names = text.split(',').map((each) => each.trim());
  checkChoices('attentions', names, ATTENTIONS);
  return names as AttentionKind[];
}

async function trainTransformers({ out, resume, backend, threads, ...settings }: TransformersOptions): Promise<void> {
  using _ = lockFolder(out);
  const path = join(out, FILE);
  const found = await earlierRun(path, { settings }, resume === true, { run: 'comparison', settings: 'settings' });
  const rows = found ? rowsOf(path, found.rows) : [];
  const machine = await describeMachine();
  const write = (more: object) =>
    writeFileAtomic(path, `${JSON.stringify({ settings, machine, ...more, rows }, undefined, 2)}\n`);
  await write({});
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  using studio = await openStudio(runtime);
  const { drawn, parameters } = await withProgress('training', (control) =>
    compareTransformers(studio, settings, {
      ...control,
      earlier: [...rows],
      async onRow(row, painted) {
        await writeFileAtomic(join(out, `${row.attention}-${row.seed}.png`), toPng(sideBySide(painted)));
        rows.push(row);
        await write({});
      },
    }),
  );
  await write({ drawn, parameters });
  await say(report({ rows, drawn, parameters }, settings, path));
}

function sideBySide(painted: Float32Array) {
  const pixels = SIDE ** 2;
  const scenes = Array.from({ length: painted.length / pixels }, (_, at) =>
    enlarged(greySquare(painted.subarray(at * pixels, (at + 1) * pixels), SIDE), 2),
  );
  return besideEachOther(scenes);
}

function rowsOf(path: string, rows: unknown): TransformerRow[] {
  const isRow = (row: unknown) =>
    isRecord(row) &&
    (ATTENTIONS as readonly unknown[]).includes(row.attention) &&
    ['seed', 'loss', 'distance', 'seconds'].every((name) => Number.isFinite(row[name])) &&
    Array.isArray(row.losses);
  if (!Array.isArray(rows) || !rows.every(isRow))
    throw new ParseError(`${path} must have rows, as saccade paint transformers writes them: delete it to begin anew`);
  return [...rows];
}

/** By attention: loss, distance, evenness, seconds and parameters, as means over seeds with their intervals. */
export function transformerCells(
  { rows, parameters }: Pick<Transformers, 'rows' | 'parameters'>,
  { attentions }: Pick<TransformersOptions, 'attentions'>,
): string[][] {
  return attentions.map((attention) => {
    const own = rows.filter((row) => row.attention === attention);
    const estimate = (name: 'loss' | 'distance' | 'evenness' | 'seconds') => {
      const values = own.flatMap((row) => row[name] ?? []);
      return values.length > 0 ? estimateMean(values) : undefined;
    };
    const withInterval = (name: 'loss' | 'distance' | 'evenness') => {
      const found = estimate(name);
      if (!found) return '';
      const { value, high } = found;
      return `${significant(value)}${high < Number.POSITIVE_INFINITY ? ` ± ${significant(high - value)}` : ''}`;
    };
    return [
      attention,
      ...(['loss', 'distance', 'evenness'] as const).map(withInterval),
      significant(estimate('seconds')?.value ?? 0),
      String(parameters[attention]),
    ];
  });
}

export const TRANSFORMER_COLUMNS = ['attention', 'loss', 'Frechet distance', 'evenness', 'seconds', 'parameters'];

/** What the columns are. */
export const transformerNotes = (
  { drawn }: Pick<Transformers, 'drawn'>,
  { seeds, steps, pictures }: Pick<TransformersOptions, 'seeds' | 'steps' | 'pictures'>,
): string =>
  `Means over ${seeds} ${seeds > 1 ? 'seeds with 95% intervals' : 'seed'}, ${steps} steps each: the squared error of velocities on scenes not learned from; the distance of ${pictures} pictures from drawn scenes by a classifier's features, where other drawn scenes are ${significant(drawn)} away; how evenly tokens use the matrices of redundant queries, from 0 to 1; processor time of a training.`;

function report(run: Transformers, settings: Omit<TransformersOptions, 'out'>, path: string): string {
  const [first = '', ...columns] = TRANSFORMER_COLUMNS;
  return [
    formatTable([first, ...columns.map((name) => right(name))], transformerCells(run, settings)),
    '',
    wrap(transformerNotes(run, settings), WIDTH),
    `Written: ${printable(path)}`,
  ].join('\n');
}
