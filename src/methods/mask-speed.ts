/** How fast exact attention under masks is beside dense attention: what experiments of sparse methods measure. */
import type { Spread } from '../compare/comparison';
import { checkExactness } from '../compare/exactness';
import { timeInterleaved } from '../compare/timing';
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

export interface MaskSpeed {
  readonly label: string;
  /** Milliseconds. */
  readonly time: Spread;
  /** Pairs seen, over those of dense causal attention. */
  readonly density: number;
  /** Time of dense causal attention over the mask's. */
  readonly speedup: number;
  /** Largest error on the queries checked, over the largest |v|. */
  readonly error: number;
}

/**
 * Dense causal attention first, then each mask: checked against float64 on some queries, then timed in turns.
 * @throws {BackendError} if a result differs from the reference
 */
export async function timeMasks(
  masks: readonly TimedMask[],
  { n, h, d }: SpeedProblem,
  { runtime, signal, onProgress, quick = false }: ExperimentContext,
): Promise<MaskSpeed[]> {
  const shape = [1, n, h, d];
  using q = runtime.random(shape, { seed: 1 });
  using k = runtime.random(shape, { seed: 2 });
  using v = runtime.random(shape, { seed: 3 });
  using out = runtime.empty(shape);
  using lse = runtime.empty([1, n, h]);
  const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost() };
  const extent = { b: 1, n, m: n, h, g: h };
  const all: readonly TimedMask[] = [{ label: 'dense causal', mask: causal() }, ...masks];
  const calls = all.map(({ mask }) => async () => {
    await attention(q, k, v, { mask, out, lse, signal });
  });

  const errors: number[] = [];
  const estimates: number[] = [];
  for (const [at, { label, mask, sees }] of all.entries()) {
    signal?.throwIfAborted();
    onProgress?.((0.5 * at) / all.length, `checking ${label}, n = ${n}`);
    const call = calls[at] as () => Promise<void>;
    const begin = performance.now();
    await call();
    estimates.push(performance.now() - begin);
    const definition: Mask = sees
      ? { name: mask.name, sees: (i, j, { head, batch }) => sees(i, j, head, batch) }
      : mask;
    errors.push(checkExactness(label, host, await out.toHost(), definition, 1 / Math.sqrt(d)));
  }
  const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds: 3, least: 3, most: 20 };
  const times = await timeInterleaved(calls, estimates, plan, {
    signal,
    onProgress: (share) => onProgress?.(0.5 + 0.5 * share, `timing, n = ${n}`),
  });
  const dense = times[0] as Spread;
  const densePairs = area(causal(), extent);
  return all.map(({ label, mask }, at) => {
    const time = times[at] as Spread;
    return {
      label,
      time,
      density: area(mask, extent) / densePairs,
      speedup: dense.median / time.median,
      error: errors[at] as number,
    };
  });
}
