/** What the experiments on grids share: the least times of masks, and how two lists of figures go together. */
import type { Mask } from '../../../masks/mask';
import { sizeOf } from '../../../tensor/shape';
import type { ExperimentContext } from '../../experiment';
import { timeMasks } from '../../mask-speed';

export interface GridProblem {
  readonly grid: readonly number[];
  readonly h: number;
  readonly d: number;
}

/** How far a phase of the experiment has come. */
export type Report = (share: number) => void;

/** Milliseconds of each mask (`timeMasks`), the fastest of repeats in turns: the least disturbed. */
export async function leastTimes(
  masks: readonly Mask[],
  { grid, h, d }: GridProblem,
  context: ExperimentContext,
  report: Report,
): Promise<number[]> {
  const timed = masks.map((mask) => ({ label: mask.name, mask }));
  const times = await timeMasks(timed, { n: sizeOf(grid), h, d }, { ...context, onProgress: report });
  return times.map(({ time }) => time.min);
}

/** Correlation of two lists of numbers, from -1 to 1. */
export function pearson(x: readonly number[], y: readonly number[]): number {
  const [dx, dy] = [fromMean(x), fromMean(y)];
  return dot(dx, dy) / Math.sqrt(dot(dx, dx) * dot(dy, dy));
}

/** Exponent p of the y = c x^p that fits best on logarithmic scales. */
export function exponent(x: readonly number[], y: readonly number[]): number {
  const [dx, dy] = [fromMean(x.map(Math.log)), fromMean(y.map(Math.log))];
  return dot(dx, dy) / dot(dx, dx);
}

/** The mean of ratios. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function fromMean(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

function dot(x: readonly number[], y: readonly number[]): number {
  return x.reduce((sum, value, at) => sum + value * (y[at] as number), 0);
}

/** Progress of one of `count` phases. */
export function phase({ onProgress }: ExperimentContext, at: number, count: number, what: string): Report {
  return (share) => onProgress?.((at + share) / count, what);
}
