/** Tasks that come one after the other, from labelled pictures. */
import { show } from '../../check';
import { ParameterError } from '../../errors';
import { randomPermutation } from '../../masks';
import { uniformGenerator } from '../../tensor/random';
import type { LabelledPictures } from '../../train/pictures';

/** Rows with the classes they belong to, of all tasks together. */
export interface Rows {
  /** Numbers of a row, from 0 to 1. */
  readonly width: number;
  /** [count, width]. */
  readonly x: Float32Array;
  /** [count]. */
  readonly labels: Int32Array;
}

export interface Task {
  readonly name: string;
  /** Its own, from the first on; no other task has them. */
  readonly classes: readonly number[];
  readonly learned: Rows;
  readonly unseen: Rows;
}

export interface Parts {
  readonly learned: LabelledPictures;
  readonly unseen: LabelledPictures;
}

export const SERIES = ['split', 'permuted', 'rotated'] as const;

export interface SeriesOptions {
  readonly kind: (typeof SERIES)[number];
  /** How many, or of a split the classes of each in turn; default: five of a split, ten of the others. */
  readonly tasks?: number | readonly (readonly number[])[] | undefined;
  /** What classes are called in the names of tasks; default: their numbers. */
  readonly names?: readonly string[] | undefined;
  readonly seed: number;
  /** Rows of a task that are learned from at most, spread over all. Default: all. */
  readonly most?: number | undefined;
}

/** Turns of a task against the one before it, in degrees, less a random part of as many. */
const TURN = 10;

/**
 * Tasks of some classes each (`split`); or of all, whose pixels have another order (`permuted`) or are turned further (`rotated`),
 * the first one as it is. Tasks share no class: each has its own of `permuted` and `rotated`, too.
 *
 * @throws {ParameterError} one class, classes that the tasks do not divide, a class without pictures, one in two tasks
 */
export function tasksOf(parts: Parts, { kind, tasks, names = [], seed, most }: SeriesOptions): Task[] {
  const order = classesOfTasks(parts, { kind, tasks });
  const random = uniformGenerator(seed);
  return order.map((own, task): Task => {
    const first = order.slice(0, task).flat().length;
    const classes = own.map((_, at) => first + at);
    const angle = task === 0 ? 0 : TURN * (task - random());
    const changed = (pictures: LabelledPictures, limit?: number) => {
      const place =
        kind === 'split' || task === 0
          ? undefined
          : kind === 'permuted'
            ? randomPermutation(areaOf(pictures), seed + 1000 * task)
            : turned(pictures, angle);
      return rowsOf(pictures, { own, first, place, limit });
    };
    const called = own.map((label) => names[label] ?? label).join(' or ');
    const name = kind === 'split' ? called : kind === 'rotated' ? `${Math.round(angle)}°` : `order ${task}`;
    return { name, classes, learned: changed(parts.learned, most), unseen: changed(parts.unseen) };
  });
}

/**
 * The classes of each task, as pictures have them.
 *
 * @throws {ParameterError} as `tasksOf`
 */
export function classesOfTasks(
  parts: Parts,
  { kind, tasks = kind === 'split' ? 5 : 10 }: Pick<SeriesOptions, 'kind' | 'tasks'>,
): readonly (readonly number[])[] {
  const count = classesOf(parts);
  const all = Array.from({ length: count }, (_, label) => label);
  if (typeof tasks !== 'number') {
    if (kind !== 'split') throw new ParameterError(`tasks of a series that is ${kind} must be a number, got classes`);
    const given = tasks.flat();
    const unknown = given.find((label) => !all.includes(label));
    if (unknown !== undefined)
      throw new ParameterError(`tasks must be of classes from 0 to ${count - 1}, got ${show(unknown)}`);
    const twice = given.find((label, at) => given.indexOf(label) !== at);
    if (twice !== undefined) throw new ParameterError(`tasks must have each class once, got ${twice} twice`);
    const small = tasks.findIndex((task) => task.length < 2);
    if (tasks.length === 0 || small >= 0)
      throw new ParameterError(
        `tasks must have two classes at least, got ${tasks[small]?.length ?? 0} in task ${Math.max(small, 0) + 1}`,
      );
    return tasks;
  }
  if (kind !== 'split') return Array.from({ length: tasks }, () => all);
  if (count % tasks !== 0 || count < 2 * tasks)
    throw new ParameterError(`tasks must divide the ${count} classes into parts of two at least, got ${tasks}`);
  return Array.from({ length: tasks }, (_, task) => all.slice((task * count) / tasks, ((task + 1) * count) / tasks));
}

function classesOf({ learned, unseen }: Parts): number {
  const count = 1 + learned.labels.reduce((most, label) => Math.max(most, label), 0);
  if (count < 2) throw new ParameterError(`pictures must be of two classes at least, got ${count}`);
  for (const [what, { labels }] of Object.entries({ learned, unseen })) {
    const found = new Set(labels);
    const empty = Array.from({ length: count }, (_, label) => label).find((label) => !found.has(label));
    if (empty !== undefined) throw new ParameterError(`class ${empty} has no pictures among those ${what}`);
    const strange = labels.find((label) => label < 0 || label >= count);
    if (strange !== undefined) throw new ParameterError(`classes must be from 0 to ${count - 1}, got ${strange}`);
  }
  return count;
}

const areaOf = ({ shape: [, rows, columns] }: LabelledPictures) => rows * columns;

/** For each place the one whose pixel it gets when a picture is turned about its middle; -1 outside of it. */
function turned({ shape: [, rows, columns] }: LabelledPictures, degrees: number): Int32Array {
  const [sine, cosine] = [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180)];
  const [middleY, middleX] = [(rows - 1) / 2, (columns - 1) / 2];
  return Int32Array.from({ length: rows * columns }, (_, at) => {
    const [y, x] = [Math.floor(at / columns) - middleY, (at % columns) - middleX];
    const [row, column] = [Math.round(middleY + cosine * y - sine * x), Math.round(middleX + sine * y + cosine * x)];
    return row < 0 || row >= rows || column < 0 || column >= columns ? -1 : row * columns + column;
  });
}

interface Change {
  /** The classes of the task, which are counted from `first`. */
  readonly own: readonly number[];
  readonly first: number;
  /** Where each place's pixel is from; default: there. */
  readonly place?: Int32Array | undefined;
  readonly limit?: number | undefined;
}

/** The pictures of some classes as rows; of several channels the mean. */
function rowsOf({ shape, pixels, labels }: LabelledPictures, { own: classes, first, place, limit }: Change): Rows {
  const [, rows, columns, channels] = shape;
  const width = rows * columns;
  const own = [...labels.keys()].filter((at) => classes.includes(labels[at] as number));
  // Pictures may lie there class by class.
  const count = Math.min(own.length, limit ?? own.length);
  const chosen = Array.from({ length: count }, (_, at) => own[Math.floor((at * own.length) / count)] as number);
  const x = new Float32Array(chosen.length * width);
  chosen.forEach((from, row) => {
    for (let at = 0; at < width; at++) {
      const source = place ? (place[at] as number) : at;
      if (source < 0) continue;
      let level = 0;
      for (let c = 0; c < channels; c++) level += pixels[(from * width + source) * channels + c] as number;
      x[row * width + at] = level / (255 * channels);
    }
  });
  return { width, x, labels: Int32Array.from(chosen, (at) => first + classes.indexOf(labels[at] as number)) };
}
