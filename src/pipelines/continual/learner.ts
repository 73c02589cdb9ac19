/** What learns one task after the other, and what all of these share. */
import { randomPermutation } from '../../masks';
import type { TrainableParameters } from '../../nn';
import { argmax } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { adamw, train, warmupCosine } from '../../train';
import type { Rows, Task } from './tasks';

export interface LearnControl {
  readonly signal?: AbortSignal | undefined;
  /** The share of the task that is done, and its loss. */
  readonly onStep?: ((share: number, loss: number) => void) | undefined;
}

/** Learns tasks in turn; for rows of a task it was told, it tells which of the task's classes they are of. */
export interface Learner {
  /** What it learned, saved and restored under these names; rows that it keeps are those of its tasks. */
  readonly parameters: TrainableParameters;
  learn(task: number, control?: LearnControl): Promise<void>;
  /** A class for each row. */
  tell(task: number, rows: Rows): Promise<Int32Array>;
  /** Bytes of its network, and of what it keeps of each class beside it: a byte for a pixel, four for any other number. */
  bytes(): { readonly network: number; readonly ofClass: number };
  /** Rows that it makes of a class, for those that make some. */
  samples?(labels: readonly number[], seed: number): Promise<Float32Array>;
  dispose(): void;
}

export interface LearnerOptions {
  readonly runtime: Runtime;
  readonly tasks: readonly Task[];
  readonly seed: number;
  /** Steps of a task. */
  readonly steps: number;
  /** Rows of a step. */
  readonly batch: number;
  readonly learningRate: number;
  /** Units of each layer. */
  readonly hidden: number;
}

/** Rows that are told at once. */
const AT_ONCE = 512;

export const classesOf = (tasks: readonly Task[]): number =>
  tasks.reduce((sum, { classes }) => sum + classes.length, 0);

export const bytesOf = (parameters: TrainableParameters): number =>
  4 * Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/** Steps of AdamW over batches of some rows, each with a number of its own. */
export async function learnRows<Batch>(
  { steps, learningRate }: LearnerOptions,
  parameters: TrainableParameters,
  { batches, loss }: { batches(index: number): Batch; loss(parameters: TrainableParameters, batch: Batch): Tensor },
  { signal, onStep }: LearnControl = {},
): Promise<void> {
  using optimizer = adamw(parameters, { learningRate, weightDecay: 0 });
  const schedule = warmupCosine({ steps, warmup: Math.ceil(steps / 20) });
  await train({
    ...{ parameters, optimizer, steps, schedule, batches, loss, signal, clip: 5 },
    onStep: ({ step, loss }) => onStep?.(step / steps, loss),
  });
}

/** Which rows a batch has: passes over all of them, each in an order of its own. */
export function chosenRows(count: number, batch: number, seed: number): (index: number) => number[] {
  let pass: { readonly number: number; readonly order: Int32Array } = { number: -1, order: new Int32Array() };
  return (index) =>
    Array.from({ length: batch }, (_, row) => {
      const at = index * batch + row;
      const number = Math.floor(at / count);
      if (number !== pass.number) pass = { number, order: randomPermutation(count, seed + 7919 * number) };
      return pass.order[at % count] as number;
    });
}

/** Some rows, [b, width]. */
export function takeRows({ width, x, labels }: Rows, chosen: readonly number[]): Pick<Rows, 'x' | 'labels'> {
  const own = new Float32Array(chosen.length * width);
  chosen.forEach((from, row) => {
    own.set(x.subarray(from * width, (from + 1) * width), row * width);
  });
  return { x: own, labels: Int32Array.from(chosen, (from) => labels[from] as number) };
}

/** [b, classes]: 1 at the class of each row, which are counted from `first`. */
export function oneHot(runtime: Runtime, labels: ArrayLike<number>, classes: number, first = 0): Tensor<'f32'> {
  const values = new Float32Array(labels.length * classes);
  for (let row = 0; row < labels.length; row++) values[row * classes + (labels[row] as number) - first] = 1;
  return runtime.tensor(values, [labels.length, classes]);
}

/** The classes with the largest logits [b, classes], some rows at a time. */
export async function tellBy(
  runtime: Runtime,
  { width, x, labels }: Rows,
  first: number,
  logits: (x: Tensor) => Tensor,
): Promise<Int32Array> {
  const told = new Int32Array(labels.length);
  for (let from = 0; from < labels.length; from += AT_ONCE) {
    const past = Math.min(labels.length, from + AT_ONCE);
    using best = runtime.scope(() =>
      argmax(logits(runtime.tensor(x.slice(from * width, past * width), [past - from, width])), { axes: [1] }),
    );
    told.set(
      (await best.read()).map((place) => place + first),
      from,
    );
  }
  return told;
}

/** The first rows of each class, so many. */
export function firstRows(rows: Rows, classes: readonly number[], count: number): Pick<Rows, 'x' | 'labels'> {
  const places = [...rows.labels.keys()];
  return takeRows(
    rows,
    classes.flatMap((label) => places.filter((at) => rows.labels[at] === label).slice(0, count)),
  );
}
