import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { checkChoices } from '../check';
import { ParseError } from '../errors';
import { writeSafetensors } from '../io';
import { estimateMean } from '../measure/statistics';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import {
  type Anomaly,
  type AnomalyProgress,
  type AnomalySettings,
  type AnomalyStore,
  ARMS,
  type ArmName,
  anomaly,
  type CloudClass,
  checkClouds,
  POINT_MAE,
  type ShapeDataOptions,
  tasksOfClasses,
} from '../pipelines/anomaly';
import { formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { detectorPath, openPointMae, SETTINGS } from './anomaly-model';
import { earlierRun } from './earlier-run';
import { lockFolder } from './lock-folder';
import { backendOption, taskOrder, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { MADE, readClasses } from './read-clouds';
import { readIfThere } from './read-tensors';
import { parsedJson, savedTensors } from './saved';
import { say, writeFileAtomic } from './write-file';

export interface MadeOptions {
  readonly data: string;
  readonly meshes: readonly string[];
  readonly learned: number;
  readonly unseen: number;
  readonly dataSeed: number;
}

interface TrainOptions extends MadeOptions, Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly out: string;
  readonly arms: readonly ArmName[];
  readonly tasks: AnomalySettings['tasks'];
  readonly seeds: number;
  readonly steps: number;
  readonly views: number;
  readonly features: number;
  readonly pointMae?: string;
  readonly resume?: true;
}

/** Clouds of a step. */
const BATCH = 4;

const EXAMPLES = `
The folder has a folder for each class: CLASS/train with clouds, and for tests CLASS/test/good and one for each kind of defect, such as
CLASS/test/dent. Clouds are .ply, .obj, .stl, .3ds, .pcd, .npy or lines of numbers (.xyz); meshes are sampled.

Examples:
  $ saccade anomaly train --data shapes
  $ saccade anomaly train --data scans --tasks 'bolt,nut;washer' --arms c3d-ad --seeds 1
  $ saccade anomaly train --data shapes --meshes bunny.obj,horse.3ds --resume`;

/** Options of data that a seed makes. */
export const withMade = (command: Command): Command =>
  command
    .option('--meshes <files>', 'meshes that are classes, too, to which defects are made', listed, [])
    .option('--learned <clouds>', 'clouds to learn from of each class that is made', wholeNumber(1, 1000), 6)
    .option(
      '--unseen <clouds>',
      'clouds for tests of each kind of defect, and as many as all without',
      wholeNumber(1, 1000),
      2,
    )
    .option(
      '--data-seed <number>',
      'of clouds and defects that are made; settings were chosen on 77',
      wholeNumber(0, 2 ** 30),
      500,
    );

/** What clouds that are made are made by. */
export const madeBy = ({ learned, unseen, dataSeed }: Omit<MadeOptions, 'data' | 'meshes'>): ShapeDataOptions => ({
  learned,
  unseen,
  points: POINT_MAE.points,
  seed: dataSeed,
});

export function anomalyTrainCommand(): Command {
  return withMade(
    new Command('train')
      .description('learn classes of clouds task by task, and test all after each')
      .requiredOption('--data <folder>', `clouds, or ${MADE}: fourteen that a seed makes, with defects`),
  )
    .option('--out <folder>', 'where figures and detectors go', 'anomaly')
    .option('--arms <names>', `of ${ARMS.join(', ')}`, armNames, [...ARMS])
    .option('--tasks <count or classes>', "how many, or the classes of each, such as 'ball,egg;box'", taskOrder, 4)
    .option('--seeds <count>', 'runs, over which intervals are told', wholeNumber(1, 1000), 3)
    .option('--steps <count>', 'steps of a task', wholeNumber(1, 1_000_000), 400)
    .option('--views <count>', 'how often a cloud is learned from, grouped anew', wholeNumber(1, 1000), 2)
    .option('--features <count>', 'random features of kernel attention', wholeNumber(1, 256), 64)
    .option('--point-mae <file>', 'the frozen network, from anomaly pretrain; default: the one that comes along')
    .option('--resume', 'go on with what is in the folder')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', EXAMPLES)
    .action(learn);
}

const listed = (text: string) => text.split(',').map((each) => each.trim());

function armNames(text: string): ArmName[] {
  checkChoices('arms', listed(text), ARMS);
  return listed(text) as ArmName[];
}

async function learn({
  data,
  out,
  resume,
  backend,
  threads,
  meshes,
  learned,
  unseen,
  dataSeed,
  pointMae,
  ...asked
}: TrainOptions) {
  const settings: AnomalySettings = { ...asked, batch: BATCH };
  const classes = await readClasses(data, meshes, madeBy({ learned, unseen, dataSeed }));
  tasksOfClasses(
    classes.map(({ name }) => name),
    settings.tasks,
  );
  checkClouds(classes, POINT_MAE);
  using _ = lockFolder(out);
  const described = { settings, dataSeed, classes: classes.map(countsOf) };
  await earlierRun(join(out, SETTINGS), described, resume === true, { run: 'run', settings: 'settings or clouds' });
  await writeFileAtomic(join(out, SETTINGS), json(described));
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const encoder = await openPointMae(runtime, pointMae);
  const result = await withProgress('learning', (control) =>
    anomaly(runtime, encoder, classes, settings, storeIn(out), control),
  );
  await writeFileAtomic(join(out, SETTINGS), json({ ...described, ...summaryOf(result) }));
  await say(report(result, settings, out));
}

const countsOf = ({ name, learned, unseen }: CloudClass) => ({ name, learned: learned.length, unseen: unseen.length });

function storeIn(out: string): AnomalyStore {
  return {
    async read(progress) {
      const path = detectorPath(out, progress);
      const bytes = await readIfThere(path);
      if (!bytes) return undefined;
      const { metadata, tensors } = savedTensors(path, bytes);
      const found = parsedJson(path, metadata.figures ?? 'null');
      if (!Array.isArray(found) || !found.every(Array.isArray))
        throw new ParseError(`${path} tells no figures: delete it, and that detector begins anew`);
      return { figures: found, tensors };
    },
    async write(progress, tensors) {
      const metadata = { format: 'pt', figures: JSON.stringify(progress.figures) };
      await mkdir(out, { recursive: true });
      await writeFileAtomic(detectorPath(out, progress), writeSafetensors(tensors, { metadata }));
    },
  };
}

const json = (value: object): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** The mean of a figure over the classes so far, after each task; undefined where no class has it. */
function meansOf({ figures }: AnomalyProgress, what: 'object' | 'point'): (number | undefined)[] {
  return figures.map((row) => {
    const known = row.flatMap((each) => each[what] ?? []);
    return known.length > 0 ? known.reduce((sum, each) => sum + each, 0) / known.length : undefined;
  });
}

/** By arm: AUROC by cloud and point over the seeds after each task, and of each class in the end. */
function summaryOf({ tasks, found }: Anomaly) {
  const names = [...new Set(found.map(({ arm }) => arm))];
  const arms = names.map((arm) => {
    const own = found.filter((each) => each.arm === arm);
    const after = (what: 'object' | 'point') =>
      tasks.map((_, task) => {
        const values = own.flatMap((each) => meansOf(each, what)[task] ?? []);
        return values.length > 0 ? estimateMean(values) : undefined;
      });
    return { arm, object: after('object'), point: after('point'), figures: own.map(({ figures }) => figures) };
  });
  return { tasks, arms };
}

function report(result: Anomaly, { seeds }: AnomalySettings, out: string): string {
  const { tasks, arms } = summaryOf(result);
  const interval = (found: ReturnType<typeof estimateMean> | undefined) =>
    found ? `${formatPercent(found.value)}${seeds > 1 ? ` ± ${formatPercent(found.high - found.value)}` : ''}` : '-';
  const columns = ['arm', ...tasks.map((_, task) => right(`after task ${task + 1}`)), right('points')];
  const rows = arms.map(({ arm, object, point }) => [arm, ...object.map(interval), interval(point.at(-1))]);
  const classes = tasks.flat();
  const byClass = classes.map((name, at) => [
    name,
    ...arms.map(({ figures }) => {
      const values = figures.flatMap((each) => each.at(-1)?.[at]?.object ?? []);
      return values.length > 0 ? formatPercent(estimateMean(values).value) : '-';
    }),
  ]);
  return [
    formatTable(columns, rows),
    '',
    formatTable(['class', ...arms.map(({ arm }) => right(arm))], byClass),
    '',
    `AUROC by cloud of the classes so far, the mean over ${seeds} ${seeds > 1 ? 'seeds with 95% intervals' : 'seed'}; by point, and by class, in the end.`,
    `Written: ${printable(out)}`,
  ].join('\n');
}
