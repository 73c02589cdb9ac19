/** Figures of merit of classifiers and detectors. */
import { checkArray, checkNumbers, checkWhole } from '../check';
import { ParameterError } from '../errors';

/**
 * The area under the ROC curve: the share of pairs of a positive and a negative whose scores are in order, ties counting half.
 *
 * @throws {ParameterError} scores and labels of different numbers, a score that is NaN, positives or negatives alone
 */
export function auroc(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkAlike('scores', scores, 'labels', labels);
  const order = Array.from(scores, (_, at) => at).sort((a, b) => (scores[a] as number) - (scores[b] as number));
  let [positives, ranks] = [0, 0];
  for (let first = 0; first < order.length; ) {
    let past = first;
    while (past < order.length && scores[order[past] as number] === scores[order[first] as number]) past++;
    const tied = order.slice(first, past).filter((at) => labels[at]).length;
    positives += tied;
    ranks += (tied * (first + past + 1)) / 2;
    first = past;
  }
  const negatives = order.length - positives;
  if (positives === 0 || negatives === 0)
    throw new ParameterError(`labels must have both kinds, got ${positives} positive of ${order.length}`);
  return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/**
 * Average precision: the mean, over positives, of the share of positives among all scores that are no lower.
 *
 * @throws {ParameterError} scores and labels of different numbers, a score that is NaN, or no positive
 */
export function averagePrecision(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkAlike('scores', scores, 'labels', labels);
  const order = Array.from(scores, (_, at) => at).sort((a, b) => (scores[b] as number) - (scores[a] as number));
  let [positives, precisions] = [0, 0];
  for (let first = 0; first < order.length; ) {
    let past = first;
    while (past < order.length && scores[order[past] as number] === scores[order[first] as number]) past++;
    const tied = order.slice(first, past).filter((at) => labels[at]).length;
    positives += tied;
    precisions += (tied * positives) / past;
    first = past;
  }
  if (positives === 0) throw new ParameterError(`labels must have a positive, got none of ${order.length}`);
  return precisions / positives;
}

/**
 * How often each class was told for each: [classes][classes], true ones down.
 *
 * @throws {ParameterError} different numbers of both, or a class that is none
 */
export function confusionMatrix(told: ArrayLike<number>, actual: ArrayLike<number>, classes: number): number[][] {
  checkAlike('told', told, 'actual', actual);
  checkWhole('classes', classes, 1);
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let at = 0; at < told.length; at++) {
    const [is, was] = [told[at] as number, actual[at] as number];
    const row = counts[was];
    if (row?.[is] === undefined)
      throw new ParameterError(`classes must be from 0 to ${classes - 1}, got ${was} told as ${is} at ${at}`);
    row[is]++;
  }
  return counts;
}

/** The share of equal ones. */
export function accuracy(told: ArrayLike<number>, actual: ArrayLike<number>): number {
  checkAlike('told', told, 'actual', actual);
  let right = 0;
  for (let at = 0; at < told.length; at++) right += Number(told[at] === actual[at]);
  return right / told.length;
}

/** Accuracies after each task, [task learned last][task], on the tasks until then. */
export type AccuracyMatrix = readonly (readonly number[])[];

/** The mean over all tasks, after the last. */
export function averageAccuracy(accuracies: AccuracyMatrix): number {
  const last = lastOf(accuracies);
  return last.reduce((sum, each) => sum + each, 0) / last.length;
}

/** How far tasks fell from their best until the end, the mean over all but the last task; 0 of one task. */
export function forgetting(accuracies: AccuracyMatrix): number {
  const last = lastOf(accuracies);
  const falls = last.slice(0, -1).map((end, task) => Math.max(...accuracies.map((row) => row[task] ?? 0)) - end);
  return falls.reduce((sum, each) => sum + each, 0) / Math.max(1, falls.length);
}

/** The accuracies in the end; throws unless there are rows of numbers. */
function lastOf(accuracies: AccuracyMatrix): readonly number[] {
  checkArray('accuracies', accuracies);
  for (const [task, row] of accuracies.entries())
    checkNumbers(`accuracies[${task}]`, row, 'numbers', (value) => !Number.isNaN(value));
  const last = accuracies.at(-1);
  if (!last?.length) throw new ParameterError('accuracies must be of a task at least, got none');
  return last;
}

function checkAlike(a: string, given: ArrayLike<number>, b: string, others: ArrayLike<number>): void {
  for (const [name, each] of [
    [a, given],
    [b, others],
  ] as const)
    checkNumbers(name, each, 'numbers', (value) => !Number.isNaN(value));
  if (given.length === others.length && given.length > 0) return;
  throw new ParameterError(`${a} and ${b} must be equally many, and some, got ${given.length} and ${others.length}`);
}
