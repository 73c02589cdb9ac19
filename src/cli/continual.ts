import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { encode } from 'fast-png';
import { isRecord } from '../check';
import { ParameterError, ParseError } from '../errors';
import { readSafetensors, readSafetensorsMetadata, writeSafetensors } from '../io';
import { estimateMean } from '../measure/statistics';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import {
  type Continual,
  type ContinualSettings,
  continual,
  LEARNERS,
  type LearnerName,
  type Progress,
  SAMPLES,
  SERIES,
  type Store,
} from '../pipelines/continual';
import { averageAccuracy, forgetting } from '../pipelines/metrics';
import { formatBytes, formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { lockFolder } from './lock-folder';
import { backendOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { readPictures } from './read-pictures';
import { readBytes } from './read-tensors';
import { say, writeFileAtomic } from './write-file';

interface ContinualOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly data: string;
  readonly out: string;
  readonly series: (typeof SERIES)[number];
  readonly learners: readonly LearnerName[];
  readonly tasks?: number;
  readonly most?: number;
  readonly seeds: number;
  readonly steps: number;
  readonly support: number;
  readonly stored: number;
  readonly resume?: true;
}

const EXAMPLES = `
The folder has the files of MNIST (train-images-idx3-ubyte and three more, or .gz), train.safetensors and test.safetensors, or
a folder of pictures for each class.

Examples:
  $ saccade continual --data fashion-mnist
  $ saccade continual --data digits --series permuted --learners generative,stored --seeds 1
  $ saccade continual --data digits --resume`;

const SETTINGS = 'continual.json';
/** Layers, latents and batches; and the regression of the generative learner. */
const FIXED = { batch: 60, hidden: 256, latent: 16, kernel: { kernel: 'linear' }, ridge: 0.1 } as const;

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
    .option('--tasks <count>', 'default: 5 of a split, else 10', wholeNumber(1, 1000))
    .option('--most <rows>', 'rows of a task that are learned from at most; default: all', wholeNumber(1, 2 ** 31 - 1))
    .option('--seeds <count>', 'runs, over which intervals are told', wholeNumber(1, 1000), 3)
    .option('--steps <count>', 'steps of a task', wholeNumber(1, 1_000_000), 400)
    .option('--support <rows>', 'rows that are made of each class to tell it by', wholeNumber(1, 10_000), 100)
    .option('--stored <rows>', 'rows of each class that the learner of that name keeps', wholeNumber(1, 10_000), 20)
    .option('--resume', 'go on with what is in the folder')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', EXAMPLES)
    .action(learnContinually);
}

function learnerNames(text: string): LearnerName[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !(LEARNERS as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new ParameterError(`learners must be some of ${LEARNERS.join(', ')}, got '${printable(wrong)}'`);
  return names as LearnerName[];
}

async function learnContinually({ data, out, resume, backend, threads, ...asked }: ContinualOptions): Promise<void> {
  const { series: kind, ...rest } = asked;
  const settings: ContinualSettings = { ...FIXED, ...rest, kind };
  const { learned, unseen } = await readPictures(data);
  const parts = { learned, unseen };
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

/** Throws if the folder has a run where none is asked for, or another one than that to go on with. */
async function checkFolder(out: string, described: object, resumes: boolean): Promise<void> {
  const path = join(out, SETTINGS);
  const text = await readBytes(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (!text) return;
  if (!resumes)
    throw new ParameterError(`${path} is of a run already: go on with --resume, or pass another folder as --out`);
  const found: unknown = parsed(path, new TextDecoder().decode(text));
  const was = isRecord(found) ? { settings: found.settings, pictures: found.pictures } : found;
  if (JSON.stringify(was) !== JSON.stringify(described))
    throw new ParameterError(`${path} is of other settings or pictures: pass the same ones to go on, or another --out`);
}

function parsed(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ParseError(`${path} is not JSON: ${(error as Error).message}`);
  }
}

/** A file for each learner and seed: its parameters, and what was told so far. */
function storeIn(out: string): Store {
  const pathOf = ({ learner, seed }: Pick<Progress, 'learner' | 'seed'>) => join(out, `${learner}-${seed}.safetensors`);
  return {
    async read(progress) {
      const path = pathOf(progress);
      const bytes = await readBytes(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
      if (!bytes) return undefined;
      const found = parsed(path, readSafetensorsMetadata(bytes).accuracies ?? 'null');
      const isTable = Array.isArray(found) && found.every((row) => Array.isArray(row) && row.every(Number.isFinite));
      if (!isTable) throw new ParseError(`${path} tells no accuracies: delete it, and that learner begins anew`);
      return { accuracies: found as number[][], parameters: readSafetensors(bytes) };
    },
    async write(progress, parameters) {
      const metadata = { format: 'pt', accuracies: JSON.stringify(progress.accuracies) };
      await mkdir(out, { recursive: true });
      await writeFileAtomic(pathOf(progress), writeSafetensors(parameters, { metadata }));
    },
  };
}

const json = (value: object): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** By learner: accuracy and forgetting over the seeds, and bytes. */
function summaryOf({ tasks, found }: Continual) {
  const names = [...new Set(found.map(({ learner }) => learner))];
  const learners = names.map((learner) => {
    const own = found.filter((each) => each.learner === learner);
    const [first] = own as [Progress];
    return {
      learner,
      accuracy: estimateMean(own.map(({ accuracies }) => averageAccuracy(accuracies))),
      forgetting: estimateMean(own.map(({ accuracies }) => forgetting(accuracies))),
      bytes: first.bytes,
      accuracies: own.map(({ accuracies }) => accuracies),
    };
  });
  return { tasks, learners };
}

function report(result: Continual, { seeds }: ContinualSettings, out: string): string {
  const { tasks, learners } = summaryOf(result);
  const interval = ({ value, high }: ReturnType<typeof estimateMean>) =>
    `${formatPercent(value)}${seeds > 1 ? ` ± ${formatPercent(high - value)}` : ''}`;
  const columns = [
    'learner',
    right('accuracy'),
    right('forgotten'),
    right('network'),
    right('a class'),
    ...tasks.map(right),
  ];
  const rows = learners.map(({ learner, accuracy, forgetting, bytes, accuracies }) => [
    learner,
    interval(accuracy),
    interval(forgetting),
    formatBytes(bytes.network),
    formatBytes(bytes.ofClass),
    ...tasks.map((_, task) => formatPercent(estimateMean(accuracies.map((each) => each.at(-1)?.[task] ?? 0)).value)),
  ]);
  return [
    formatTable(columns, rows),
    '',
    `Accuracy on the tasks after the last one, the mean over ${seeds} ${seeds > 1 ? 'seeds with 95% intervals' : 'seed'}; forgotten is how far a task fell`,
    'from its best. Bytes are of the network, and of what is kept of each class beside it.',
    `Written: ${printable(out)}`,
  ].join('\n');
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
