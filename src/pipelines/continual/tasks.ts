/** Tasks that come one after the other, from labelled pictures. */
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
  /** Default: five of a split, ten of the others. */
  readonly tasks?: number | undefined;
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
 * @throws {ParameterError} one class, classes that the tasks do not divide, a class without pictures
 */
export function tasksOf(parts: Parts, { kind, tasks: given, seed, most }: SeriesOptions): Task[] {
  const count = classesOf(parts);
  const tasks = given ?? (kind === 'split' ? 5 : 10);
  if (kind === 'split' && (count % tasks !== 0 || count < 2 * tasks))
    throw new ParameterError(`tasks must divide the ${count} classes into parts of two at least, got ${tasks}`);
  const random = uniformGenerator(seed);
  return Array.from({ length: tasks }, (_, task): Task => {
    const own = kind === 'split' ? count / tasks : count;
    const classes = Array.from({ length: own }, (_, at) => task * own + at);
    const angle = task === 0 ? 0 : TURN * (task - random());
    const changed = (pictures: LabelledPictures, limit?: number) => {
      const place =
        kind === 'split' || task === 0
          ? undefined
          : kind === 'permuted'
            ? randomPermutation(areaOf(pictures), seed + 1000 * task)
            : turned(pictures, angle);
      const isOwn = (label: number) => kind !== 'split' || classes.includes(label);
      return rowsOf(pictures, { isOwn, first: kind === 'split' ? 0 : task * own, place, limit });
    };
    const name =
      kind === 'split' ? classes.join(' or ') : kind === 'rotated' ? `${Math.round(angle)}°` : `order ${task}`;
    return { name, classes, learned: changed(parts.learned, most), unseen: changed(parts.unseen) };
  });
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
  isOwn(label: number): boolean;
  /** Added to each label. */
  readonly first: number;
  /** Where each place's pixel is from; default: there. */
  readonly place?: Int32Array | undefined;
  readonly limit?: number | undefined;
}

/** The pictures of some classes as rows; of several channels the mean. */
function rowsOf({ shape, pixels, labels }: LabelledPictures, { isOwn, first, place, limit }: Change): Rows {
  const [, rows, columns, channels] = shape;
  const width = rows * columns;
  const own = [...labels.keys()].filter((at) => isOwn(labels[at] as number));
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
  return { width, x, labels: Int32Array.from(chosen, (at) => (labels[at] as number) + first) };
}
