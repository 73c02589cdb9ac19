import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { encode } from 'fast-png';
import { checkChoices, isRecord } from '../check';
import { ParameterError, ParseError } from '../errors';
import { writeSafetensors } from '../io';
import type { Estimate } from '../measure/statistics';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import {
  type Arm,
  armTitle,
  type Continual,
  type ContinualSettings,
  classesOfTasks,
  continual,
  LEARNERS,
  type LearnerName,
  type Parts,
  SAMPLES,
  SERIES,
  type Store,
} from '../pipelines/continual';
import { formatBytes, formatPercent, formatRatio } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { lockFolder } from './lock-folder';
import { backendOption, number, taskOrder, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { readPictures } from './read-pictures';
import { readIfThere } from './read-tensors';
import { parsedJson, savedTensors } from './saved';
import { say, writeFileAtomic } from './write-file';

interface ContinualOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly data: string;
  readonly out: string;
  readonly series: (typeof SERIES)[number];
  readonly learners: readonly LearnerName[];
  /** How many, or the classes of each by name. */
  readonly tasks?: number | readonly (readonly string[])[];
  readonly most?: number;
  readonly seeds: number;
  readonly steps: number;
  readonly support: number;
  readonly stored: readonly number[];
  readonly latent: number;
  readonly learningRate?: number;
  readonly contrast?: number;
  readonly resume?: true;
}

const EXAMPLES = `
The folder has the files of MNIST (train-images-idx3-ubyte and three more, or .gz), train.safetensors and test.safetensors, or
a folder of pictures for each class.

Examples:
  $ saccade continual --data fashion-mnist
  $ saccade continual --data digits --stored 1,2,5,20      # memory at equal accuracy
  $ saccade continual --data digits --series permuted --latent 64 --learning-rate 0.005 --contrast 0.05
  $ saccade continual --data photographs --tasks 'cat,dog;car,bus,tram'
  $ saccade continual --data digits --resume`;

const SETTINGS = 'continual.json';
/** Layers and batches; and the regression of the generative learner. */
const FIXED = { batch: 60, hidden: 256, kernel: { kernel: 'linear' }, ridge: 0.1 } as const;

export function continualCommand(): Command {
  return new Command('continual')
    .requiredOption('--data <folder>', 'labelled pictures')
    .option('--out <folder>', 'where accuracies, networks and samples go', 'continual')
    .addOption(
      new Option('--series <kind>', 'tasks of some classes each, or of all with pixels permuted or turned')
        .choices(SERIES)
        .default('split'),
    )
    .option('--learners <names>', `of ${LEARNERS.join(', ')}`, learnerNames, [...LEARNERS])
    .option(
      '--tasks <count or classes>',
      "how many, or the classes of each of a split, such as 'cat,dog;car,bus'; default: 5 of a split, else 10",
      taskOrder,
    )
    .option('--most <rows>', 'rows of a task that are learned from at most; default: all', wholeNumber(1, 2 ** 31 - 1))
    .option('--seeds <count>', 'runs, over which intervals are told', wholeNumber(1, 1000), 3)
    .option('--steps <count>', 'steps of a task', wholeNumber(1, 1_000_000), 400)
    .option('--support <rows>', 'rows that are made of each class to tell it by', wholeNumber(1, 10_000), 100)
    .option('--stored <rows>', 'rows of each class that the learner of that name keeps, such as 1,5,20', rowsOf, [20])
    .option('--latent <numbers>', 'of a latent of the generative learner', wholeNumber(1, 4096), 16)
    .option('--learning-rate <number>', 'of the generative learner; default: 0.002', number(0, 1))
    .option('--contrast <weight>', 'of its contrastive loss, over the pixels; default: 0.0125', number(0, 1000))
    .option('--resume', 'go on with what is in the folder')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', EXAMPLES)
    .action(learnContinually);
}

function learnerNames(text: string): LearnerName[] {
  const names = text.split(',').map((name) => name.trim());
  checkChoices('learners', names, LEARNERS);
  return names as LearnerName[];
}

/** Numbers of rows, each once. */
const rowsOf = (text: string): number[] => [...new Set(text.split(',').map(wholeNumber(1, 10_000)))];

async function learnContinually({ data, out, resume, backend, threads, ...asked }: ContinualOptions): Promise<void> {
  const { series: kind, tasks, ...rest } = asked;
  const { classes, ...parts } = await readPictures(data);
  checkClasses(data, parts, classes);
  const named = typeof tasks === 'object' ? numbered(tasks, classes) : { tasks };
  const settings: ContinualSettings = { ...FIXED, ...rest, ...named, kind };
  classesOfTasks(parts, settings);
  using _ = lockFolder(out);
  const described = { settings, pictures: [parts.learned.shape, parts.unseen.shape] };
  await checkFolder(out, described, resume === true);
  await writeFileAtomic(join(out, SETTINGS), json(described));
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const result = await withProgress('learning', (control) =>
    continual(runtime, parts, settings, storeIn(out), control),
  );
  await writeFileAtomic(join(out, SETTINGS), json({ ...described, ...summaryOf(result) }));
  if (result.samples) await writeFileAtomic(join(out, 'samples.png'), samplesPng(result.samples, parts.learned.shape));
  await say(report(result, settings, out));
}

/** Throws if a class of a folder has no pictures in one of the parts. */
function checkClasses(data: string, parts: Parts, classes: readonly string[] = []): void {
  for (const [part, { labels }] of Object.entries(parts)) {
    const empty = classes.find((_, label) => !labels.includes(label));
    if (empty !== undefined)
      throw new ParameterError(
        `class ${printable(empty)} of ${data} has no pictures to ${part === 'learned' ? 'learn from' : 'test with: of a folder without train and test every tenth is for tests'}`,
      );
  }
}

/** Tasks by the numbers of their classes, and what these are called. */
function numbered(tasks: readonly (readonly string[])[], classes: readonly string[] = []) {
  const numberOf = (name: string) => {
    const at = classes.indexOf(name);
    if (at < 0 && (classes.length > 0 || !/^\d+$/.test(name)))
      throw new ParameterError(
        `tasks must be of the classes ${classes.length > 0 ? classes.join(', ') : 'of the pictures, which are numbers'}, got '${printable(name)}'`,
      );
    return at < 0 ? Number(name) : at;
  };
  return { tasks: tasks.map((task) => task.map(numberOf)), names: classes };
}

/** Throws if the folder has a run where none is asked for, or another one than that to go on with. */
async function checkFolder(out: string, described: object, resumes: boolean): Promise<void> {
  const path = join(out, SETTINGS);
  const text = await readIfThere(path);
  if (!text) return;
  if (!resumes)
    throw new ParameterError(`${path} is of a run already: go on with --resume, or pass another folder as --out`);
  const found = parsedJson(path, text);
  const was = isRecord(found) ? { settings: found.settings, pictures: found.pictures } : found;
  if (JSON.stringify(was) !== JSON.stringify(described))
    throw new ParameterError(`${path} is of other settings or pictures: pass the same ones to go on, or another --out`);
}

/** A file for each learner and seed: its parameters, and what was told so far. */
function storeIn(out: string): Store {
  const pathOf = (arm: Arm) => join(out, `${armTitle(arm).replace(' ', '-')}-${arm.seed}.safetensors`);
  return {
    async read(progress) {
      const path = pathOf(progress);
      const bytes = await readIfThere(path);
      if (!bytes) return undefined;
      const { metadata, tensors } = savedTensors(path, bytes);
      const found = parsedJson(path, metadata.accuracies ?? 'null');
      const isTable = Array.isArray(found) && found.every((row) => Array.isArray(row) && row.every(Number.isFinite));
      if (!isTable) throw new ParseError(`${path} tells no accuracies: delete it, and that learner begins anew`);
      return { accuracies: found as number[][], parameters: tensors };
    },
    async write(progress, parameters) {
      const metadata = { format: 'pt', accuracies: JSON.stringify(progress.accuracies) };
      await mkdir(out, { recursive: true });
      await writeFileAtomic(pathOf(progress), writeSafetensors(parameters, { metadata }));
    },
  };
}

const json = (value: object): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** By learner: accuracy and forgetting over the seeds, bytes, and each seed's accuracies; and memory at equal accuracy. */
function summaryOf({ tasks, found, learners, equal }: Continual) {
  const accuracies = learners.map((each) =>
    found.filter((one) => armTitle(one) === armTitle(each)).map(({ accuracies }) => accuracies),
  );
  const ratio = equal && { stored: equal.stored.stored, isAsAccurate: equal.isAsAccurate, ...equal.ratio };
  return { tasks, learners: learners.map((each, at) => ({ ...each, accuracies: accuracies[at]! })), equal: ratio };
}

function report(result: Continual, { seeds }: ContinualSettings, out: string): string {
  const { tasks, learners } = summaryOf(result);
  const interval = ({ value, high }: Estimate) =>
    `${formatPercent(value)}${seeds > 1 ? ` ± ${formatPercent(high - value)}` : ''}`;
  const columns = ['learner', ...['accuracy', 'forgotten', 'classes', 'and network'].map(right), ...tasks.map(right)];
  const rows = learners.map(({ accuracy, forgetting, memory, accuracies, ...arm }) => [
    armTitle(arm),
    interval(accuracy),
    interval(forgetting),
    formatBytes(memory.classes),
    formatBytes(memory.whole),
    ...tasks.map((_, task) => {
      const last = accuracies.map((each) => each.at(-1)?.[task] as number);
      return formatPercent(last.reduce((sum, each) => sum + each, 0) / last.length);
    }),
  ]);
  return [
    formatTable(columns, rows),
    '',
    `Accuracy on the tasks after the last one, the mean over ${seeds} ${seeds > 1 ? 'seeds with 95% intervals' : 'seed'}; forgotten is how far a task fell`,
    "from its best. Bytes are of what is kept of all classes, and with the network's weights.",
    ...equalText(result),
    `Written: ${printable(out)}`,
  ].join('\n');
}

/** Memory at equal accuracy, in words. */
function equalText({ equal }: Continual): string[] {
  if (!equal) return [];
  const { stored, isAsAccurate, ratio } = equal;
  const found = isAsAccurate
    ? 'The fewest stored rows as accurate as generative'
    : 'No number of stored rows that was tried is as accurate as generative, not the most';
  return [
    `${found}: ${stored.stored} of a class, ${formatRatio(ratio.classes)} its memory of classes, ${formatRatio(ratio.whole)} with the weights.`,
  ];
}

/** Rows that were made of each class, a line for each. */
function samplesPng(samples: Float32Array, [, rows, columns]: readonly number[]): Uint8Array {
  const [height, width] = [rows as number, columns as number];
  const classes = samples.length / (SAMPLES * height * width);
  const data = new Uint8Array(classes * height * SAMPLES * width);
  for (let at = 0; at < samples.length; at++) {
    const [place, sample] = [at % (height * width), Math.floor(at / (height * width))];
    const [row, column] = [Math.floor(place / width), place % width];
    const [line, across] = [Math.floor(sample / SAMPLES), sample % SAMPLES];
    data[(line * height + row) * SAMPLES * width + across * width + column] = Math.round(255 * (samples[at] as number));
  }
  return encode({ width: SAMPLES * width, height: classes * height, data, channels: 1, depth: 8 });
}
