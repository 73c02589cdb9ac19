/** How fast exact attention under masks is: what experiments of sparse methods measure. */
import type { Spread } from '../compare/comparison';
import { checkExactness } from '../compare/exactness';
import { timeInterleaved, timeOnce } from '../compare/timing';
import { area } from '../masks/area';
import { causal } from '../masks/band';
import type { Mask } from '../masks/mask';
import { attention } from '../ops/attention';
import type { Sees } from '../runtime/reference/attention';
import type { ExperimentContext } from './experiment';

/** A mask to be timed. */
export interface TimedMask {
  readonly label: string;
  readonly mask: Mask;
  /** The definition that its results are checked against; default: what the mask itself says of single pairs. */
  readonly sees?: Sees;
}

/** Sequences of n tokens in h heads of dimension d, normal random numbers. */
export interface SpeedProblem {
  readonly n: number;
  readonly h: number;
  readonly d: number;
}

export interface MaskTime {
  readonly label: string;
  readonly mask: Mask;
  /** Milliseconds. */
  readonly time: Spread;
  /** Largest error on the queries checked, over the largest |v|. */
  readonly error: number;
}

export interface MaskSpeed extends MaskTime {
  /** Pairs seen, over those of dense causal attention. */
  readonly density: number;
  /** Time of dense causal attention over the mask's. */
  readonly speedup: number;
}

/**
 * Attention under each mask: checked against float64 on some queries, then timed in turns.
 * @throws {BackendError} if a result differs from the reference
 */
export async function timeMasks(
  masks: readonly TimedMask[],
  { n, h, d }: SpeedProblem,
  { runtime, signal, onProgress, quick = false }: ExperimentContext,
): Promise<MaskTime[]> {
  const shape = [1, n, h, d];
  using q = runtime.random(shape, { seed: 1 });
  using k = runtime.random(shape, { seed: 2 });
  using v = runtime.random(shape, { seed: 3 });
  using out = runtime.empty(shape);
  using lse = runtime.empty([1, n, h]);
  const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost() };
  const calls = masks.map(({ mask }) => async () => {
    await attention(q, k, v, { mask, out, lse, signal });
  });

  const errors: number[] = [];
  const estimates: number[] = [];
  for (const [at, { label, mask, sees }] of masks.entries()) {
    signal?.throwIfAborted();
    onProgress?.((0.5 * at) / masks.length, `checking ${label}, n = ${n}`);
    const call = calls[at] as () => Promise<void>;
    await call();
    const definition: Mask = sees
      ? { name: mask.name, sees: (i, j, { head, batch }) => sees(i, j, head, batch) }
      : mask;
    errors.push(checkExactness(label, host, await out.toHost(), definition, 1 / Math.sqrt(d)));
    // Not the first call: that one also works out the tiles of the mask.
    estimates.push(await timeOnce(runtime, call));
  }
  const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds: 4, least: 5, most: 60 };
  const times = await timeInterleaved(runtime, calls, estimates, plan, {
    signal,
    onProgress: (share) => onProgress?.(0.5 + 0.5 * share, `timing, n = ${n}`),
  });
  return masks.map(({ label, mask }, at) => ({
    label,
    mask,
    time: times[at] as Spread,
    error: errors[at] as number,
  }));
}

/** Dense causal attention first, then each mask beside it; as `timeMasks`. */
export async function timeBesideCausal(
  masks: readonly TimedMask[],
  problem: SpeedProblem,
  context: ExperimentContext,
): Promise<MaskSpeed[]> {
  const { n, h } = problem;
  const extent = { b: 1, n, m: n, h, g: h };
  const times = await timeMasks([{ label: 'dense causal', mask: causal() }, ...masks], problem, context);
  const [dense] = times as [MaskTime, ...MaskTime[]];
  const densePairs = area(causal(), extent);
  return times.map((row) => ({
    ...row,
    density: area(row.mask, extent) / densePairs,
    speedup: dense.time.median / row.time.median,
  }));
}
