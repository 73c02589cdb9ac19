/** Several learners on a series of tasks, over seeds; goes on where it was cut off. */
import { checkArray, checkChoices, checkKnown, checkNumber, checkNumbers, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import type { Kernel } from '../../kernels';
import { checkKernel } from '../../kernels/kernel';
import { checkRidge } from '../../kernels/points';
import { contiguous } from '../../ops/copy';
import type { Runtime } from '../../runtime/runtime';
import type { HostTensor } from '../../tensor/host';
import { formatShape, sizeOf } from '../../tensor/shape';
import type { LabelledPictures } from '../../train/pictures';
import { checkRuntime } from '../check-runtime';
import { accuracy } from '../metrics';
import { generativeLearner } from './generative';
import type { Learner } from './learner';
import { type EqualMemory, equalMemory, type LearnerSummary, summariesOf } from './memory';
import { networkLearner } from './network';
import { type Arm, armTitle, LEARNERS, type LearnerName, type Progress } from './progress';
import { storedLearner } from './stored';
import { type Parts, SERIES, type SeriesOptions, type Task, tasksOf } from './tasks';

export interface ContinualSettings extends Omit<SeriesOptions, 'seed'> {
  readonly learners: readonly LearnerName[];
  readonly seeds: number;
  readonly steps: number;
  readonly batch: number;
  readonly hidden: number;
  readonly latent: number;
  /** Rows that the generative learner makes of each class. */
  readonly support: number;
  /** Rows of each class that the stored learner keeps: it learns once for each of these numbers. */
  readonly stored: readonly number[];
  readonly kernel: Kernel;
  readonly ridge: number;
  /** How fast the generative learner learns; default 0.002. */
  readonly learningRate?: number | undefined;
  /** Weight of its contrastive loss, over the numbers of a row; default 0.0125. */
  readonly contrast?: number | undefined;
}

/** What a run keeps between tasks, so that it can go on. */
export interface Store {
  /** What was written for a learner and a seed. */
  read(arm: Arm): Promise<Saved | undefined>;
  write(progress: Progress, parameters: Readonly<Record<string, HostTensor>>): Promise<void>;
}

export interface Saved {
  readonly accuracies: Progress['accuracies'];
  readonly parameters: Readonly<Record<string, HostTensor>>;
}

export interface ContinualControl {
  readonly signal?: AbortSignal | undefined;
  /** The share of all that is done, and what is learned. */
  readonly onProgress?: ((share: number, text: string) => void) | undefined;
}

export interface Continual {
  readonly tasks: readonly string[];
  readonly found: readonly Progress[];
  readonly learners: readonly LearnerSummary[];
  /** Undefined unless both the generative learner and the stored one learned. */
  readonly equal?: EqualMemory | undefined;
  /** Rows that the generative learner made of each class in the end, with the last seed: [classes, samples, width]. */
  readonly samples?: Float32Array | undefined;
}

/** Rows of each class that are made to be looked at. */
export const SAMPLES = 8;
const LEARNING_RATE: Readonly<Record<LearnerName, number>> = {
  generative: 2e-3,
  stored: 1e-3,
  'fine-tuned': 1e-3,
  joint: 1e-3,
};
/** Weights of the generative learner's losses, beside cross entropies that are summed over a row; the contrastive one a number. */
const [BETA, CONTRAST] = [0.5, 1 / 80];
/** Random features of the stored one, and the weight of their distribution's distance. */
const [FEATURES, TAU] = [256, 0.01];

/**
 * Learns a series of tasks from pictures with each learner and seed, and tells the accuracy on all tasks so far after each.
 *
 * @throws {ParameterError} pictures or settings that give no tasks
 */
export async function continual(
  runtime: Runtime,
  parts: Parts,
  settings: ContinualSettings,
  store?: Store,
  { signal, onProgress }: ContinualControl = {},
): Promise<Continual> {
  checkContinual(runtime, parts, settings);
  const { learners, stored, seeds, ...series } = settings;
  const found: Progress[] = [];
  let [names, counts, samples]: [string[], number[], Float32Array | undefined] = [[], [], undefined];
  const kept = (learner: LearnerName) => (learner === 'stored' ? stored : [undefined]);
  const arms = learners.flatMap((learner) => kept(learner).map((stored) => ({ learner, stored })));
  for (let seed = 0; seed < seeds; seed++) {
    const tasks = tasksOf(parts, { ...series, seed });
    names = tasks.map(({ name }) => name);
    counts = tasks.map(({ classes }) => classes.length);
    for (const each of arms) {
      const arm = { ...each, seed };
      const saved = await store?.read(arm);
      const accuracies = [...(saved?.accuracies ?? [])];
      const learner = makeLearner(arm, { ...settings, runtime, tasks });
      try {
        if (saved) restore(learner, saved.parameters, runtime);
        for (let task = accuracies.length; task < tasks.length; task++) {
          const done = found.length + task / tasks.length;
          await learner.learn(task, {
            signal,
            onStep: (share, loss) =>
              onProgress?.(
                (done + share / tasks.length) / (arms.length * seeds),
                `${armTitle(arm)}, seed ${seed}, ${names[task]}: loss ${loss.toPrecision(3)}`,
              ),
          });
          const row: number[] = [];
          for (let each = 0; each <= task; each++) row.push(await accuracyOn(learner, tasks, each));
          accuracies.push(row);
          await store?.write({ ...arm, accuracies, bytes: learner.bytes() }, await hosts(learner));
        }
        found.push({ ...arm, accuracies, bytes: learner.bytes() });
        const labels = tasks.flatMap(({ classes }) =>
          classes.flatMap((label) => new Array<number>(SAMPLES).fill(label)),
        );
        samples = (await learner.samples?.(labels, seed)) ?? samples;
      } finally {
        learner.dispose();
      }
    }
  }
  const summaries = summariesOf(found, counts);
  return { tasks: names, found, learners: summaries, equal: equalMemory(summaries), samples };
}

async function accuracyOn(learner: Learner, tasks: readonly Task[], task: number): Promise<number> {
  const { unseen } = tasks[task] as Task;
  return accuracy(await learner.tell(task, unseen), unseen.labels);
}

interface Made extends Omit<ContinualSettings, 'tasks'> {
  readonly runtime: Runtime;
  readonly tasks: readonly Task[];
}

function makeLearner({ learner: name, stored = 0, seed }: Arm, settings: Made): Learner {
  const common = { ...settings, seed, learningRate: LEARNING_RATE[name] };
  const width = settings.tasks[0]?.learned.width as number;
  if (name === 'generative') {
    const { learningRate = common.learningRate, contrast = CONTRAST } = settings;
    return generativeLearner({ ...common, learningRate, beta: BETA, contrast: contrast * width, replay: true });
  }
  if (name === 'stored') return storedLearner({ ...common, stored, features: FEATURES, tau: TAU });
  return networkLearner({ ...common, joint: name === 'joint' });
}

async function hosts({ parameters }: Learner): Promise<Record<string, HostTensor>> {
  const read = Object.entries(parameters).map(async ([name, tensor]) => [name, await tensor.toHost()] as const);
  return Object.fromEntries(await Promise.all(read));
}

/** Writes what was saved over a learner's parameters. */
function restore(learner: Learner, saved: Readonly<Record<string, HostTensor>>, runtime: Runtime): void {
  for (const [name, tensor] of Object.entries(learner.parameters)) {
    const host = saved[name];
    if (!host) throw new ParameterError(`what was saved has no parameter '${name}': begin anew in another folder`);
    using from = runtime.fromHost(host as HostTensor<'f32'>);
    contiguous(from, { out: tensor as never });
  }
}

/** What settings hold beside these has its own checks. */
const COUNTS = ['seeds', 'steps', 'batch', 'hidden', 'latent', 'support'] as const;
const FACTORS = ['learningRate', 'contrast'] as const;
const SETTINGS = ['kind', 'learners', 'tasks', 'names', 'most', 'stored', 'kernel', 'ridge', ...COUNTS, ...FACTORS];

function checkContinual(runtime: Runtime, parts: Parts, settings: ContinualSettings): void {
  checkRuntime(runtime);
  checkKnown('parts', parts, ['learned', 'unseen'], (name) => `parts have no '${name}'`);
  for (const part of ['learned', 'unseen'] as const) checkPictures(`${part} of parts`, parts[part]);
  checkKnown('settings', settings, SETTINGS, (name) => `continual has no setting '${name}'`);
  const { kind, learners, tasks, names, most, stored, kernel, ridge } = settings;
  if (!SERIES.includes(kind))
    throw new ParameterError(`kind of settings must be one of ${SERIES.join(', ')}, got ${show(kind)}`);
  checkChoices('learners of settings', learners, LEARNERS);
  checkNumbers('stored of settings', stored, 'integers >= 1', (rows) => Number.isSafeInteger(rows) && rows >= 1);
  if (stored.length === 0) throw new ParameterError('stored of settings must be one number at least, got none');
  checkKernel(kernel);
  checkRidge('ridge of settings', ridge);
  for (const name of COUNTS) checkWhole(`${name} of settings`, settings[name], 1);
  for (const name of FACTORS)
    if (settings[name] !== undefined)
      checkNumber(
        `${name} of settings`,
        settings[name],
        'finite and at least 0',
        (x) => x >= 0 && x < Number.POSITIVE_INFINITY,
      );
  if (most !== undefined) checkWhole('most of settings', most, 1);
  if (Array.isArray(tasks)) for (const [at, task] of tasks.entries()) checkArray(`tasks[${at}] of settings`, task);
  else if (tasks !== undefined) checkWhole('tasks of settings', tasks as number, 1);
  if (names !== undefined) {
    checkArray('names of settings', names);
    const strange = names.findIndex((name) => typeof name !== 'string');
    if (strange >= 0) throw new ParameterError(`names of settings must be strings, got ${show(names[strange])}`);
  }
}

function checkPictures(name: string, pictures: LabelledPictures): void {
  checkKnown(name, pictures, ['shape', 'pixels', 'labels'], (key) => `${name} has no '${key}'`);
  const { shape, pixels, labels } = pictures;
  checkNumbers(`shape of ${name}`, shape, 'integers >= 1', (extent) => Number.isSafeInteger(extent) && extent >= 1);
  if (shape.length !== 4)
    throw new ParameterError(`shape of ${name} must be [count, rows, columns, channels], got ${formatShape(shape)}`);
  const [count, size] = [shape[0], sizeOf(shape)];
  if (!(pixels instanceof Uint8Array) || pixels.length !== size)
    throw new ParameterError(`pixels of ${name} must be a Uint8Array of ${size}, its shape's, got ${show(pixels)}`);
  if (!(labels instanceof Int32Array) || labels.length !== count)
    throw new ParameterError(`labels of ${name} must be an Int32Array of ${count}, its pictures', got ${show(labels)}`);
}
