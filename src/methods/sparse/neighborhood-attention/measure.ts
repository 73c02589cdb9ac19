/** What the experiments on grids share: times of masks beside each other, and how two lists of figures go together. */
import { checkExactness } from '../../../compare/exactness';
import { timeInterleaved } from '../../../compare/timing';
import type { Mask } from '../../../masks/mask';
import { attention } from '../../../ops/attention';
import { sizeOf } from '../../../tensor/shape';
import type { ExperimentContext } from '../../experiment';

export interface GridProblem {
  readonly grid: readonly number[];
  readonly h: number;
  readonly d: number;
}

/** How far a phase of the experiment has come. */
export type Report = (share: number) => void;

/**
 * Milliseconds of one forward pass of each mask on normal random numbers, the fastest of repeats in turns: the least
 * disturbed. The first result of each is checked against float64 on some queries.
 * @throws {BackendError} if a result differs from the reference
 */
export async function timeMasks(
  masks: readonly Mask[],
  { grid, h, d }: GridProblem,
  { runtime, signal, quick = false }: ExperimentContext,
  report: Report,
): Promise<number[]> {
  const n = sizeOf(grid);
  const shape = [1, n, h, d];
  using q = runtime.random(shape, { seed: 1 });
  using k = runtime.random(shape, { seed: 2 });
  using v = runtime.random(shape, { seed: 3 });
  using out = runtime.empty(shape);
  using lse = runtime.empty([1, n, h]);
  const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost() };
  const calls = masks.map((mask) => async () => {
    await attention(q, k, v, { mask, out, lse, signal });
  });
  const estimates: number[] = [];
  for (const [at, mask] of masks.entries()) {
    signal?.throwIfAborted();
    const call = calls[at] as () => Promise<void>;
    await call();
    if (!quick) checkExactness(mask.name, host, await out.toHost(), mask, 1 / Math.sqrt(d));
    const begin = performance.now();
    await call();
    estimates.push(performance.now() - begin);
    report((0.5 * (at + 1)) / masks.length);
  }
  const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds: 4, least: 8, most: 60 };
  const onProgress = (share: number) => report(0.5 + 0.5 * share);
  const times = await timeInterleaved(calls, estimates, plan, { signal, onProgress });
  return times.map(({ min }) => min);
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
