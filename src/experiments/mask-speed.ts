/** The speed of exact attention under masks, which experiments of sparse methods measure. */
import { area } from '../masks/area';
import { causal } from '../masks/band';
import type { Mask } from '../masks/mask';
import { checkAttention } from '../measure/gate';
import { attention } from '../ops/attention';
import type { Sees } from '../ops/attention/softmax';
import type { Tensor } from '../tensor/tensor';
import type { MeasureContext } from './experiment';
import { held, randomQkv } from './held';
import { medians, overRounds, type Rounds, timeRounds } from './rounds';

/** A mask to be timed. */
interface TimedMask {
  readonly label: string;
  readonly mask: Mask;
  /** The definition that its results are checked against; default: what the mask itself says of single pairs. */
  readonly sees?: Sees;
}

/** Masks on one problem: sequences of n tokens in h heads of dimension d, normal random numbers. */
export interface MaskProblem {
  readonly masks: readonly TimedMask[];
  readonly n: number;
  readonly h: number;
  readonly d: number;
}

export interface MaskTimes {
  /** The times of each mask; all problems share their rounds. */
  readonly rounds: Rounds;
  /** Largest error on the queries checked, over the largest |v|. */
  readonly error: number;
}

/** The share of the work that checking takes. */
const CHECKING = 0.3;

/**
 * Attention under the masks of each problem: checked against float64 on some queries, then timed, all in the same rounds.
 * @throws {WrongResultError} if a result differs from the reference
 */
export async function timeMasks(
  problems: readonly MaskProblem[],
  seconds: number,
  context: MeasureContext,
): Promise<MaskTimes[]> {
  const { runtime } = context;
  const operands = problems.map(({ n, h, d }) => ({
    ...randomQkv(runtime, [1, n, h, d]),
    out: runtime.empty([1, n, h, d]),
    lse: runtime.empty([1, n, h]),
  }));
  using _ = held(operands);
  const groups: { calls: (() => void)[]; error: number }[] = [];
  for (const [at, problem] of problems.entries()) {
    await context.step((CHECKING * at) / problems.length, `checking, n = ${problem.n}`);
    groups.push(await checkedCalls(problem, operands[at] as Operands, context));
  }
  const calls = groups.flatMap(({ calls }) => calls);
  const rounds = await timeRounds(calls, seconds, context.part(CHECKING, 1, 'timing'));
  const ends = groups.map((_, at) => groups.slice(0, at + 1).reduce((sum, { calls }) => sum + calls.length, 0));
  return groups.map(({ calls, error }, at) => {
    const end = ends[at] as number;
    return { rounds: rounds.slice(end - calls.length, end), error };
  });
}

type Operands = Readonly<Record<'q' | 'k' | 'v' | 'out' | 'lse', Tensor<'f32'>>>;

async function checkedCalls({ masks, d }: MaskProblem, operands: Operands, { signal }: MeasureContext) {
  const { q, k, v, out, lse } = operands;
  const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost() };
  const calls = masks.map(
    ({ mask }) =>
      () =>
        void attention(q, k, v, { mask, out, lse, signal }),
  );
  let error = 0;
  for (const [at, { label, mask, sees }] of masks.entries()) {
    signal?.throwIfAborted();
    calls[at]?.();
    const definition: Mask = sees
      ? { name: mask.name, sees: (i, j, { head, batch }) => sees(i, j, head, batch) }
      : mask;
    error = Math.max(error, checkAttention(label, host, await out.toHost(), definition, 1 / Math.sqrt(d)));
  }
  return { calls, error };
}

/** Beside dense causal attention, the first of the rows and of the rounds. */
export interface CausalTimes extends MaskTimes {
  readonly rows: readonly MaskSpeed[];
}

export interface MaskSpeed {
  readonly label: string;
  /** Milliseconds, median. */
  readonly time: number;
  /** Pairs seen, over those of dense causal attention. */
  readonly density: number;
  /** Time of dense causal attention over the mask's. */
  readonly speedup: number;
}

/** Dense causal attention, then each mask of each problem beside it; as `timeMasks`. */
export async function timeBesideCausal(
  problems: readonly MaskProblem[],
  seconds: number,
  context: MeasureContext,
): Promise<CausalTimes[]> {
  const all = problems.map((problem) => ({
    ...problem,
    masks: [{ label: 'dense causal', mask: causal() }, ...problem.masks],
  }));
  const times = await timeMasks(all, seconds, context);
  return times.map((timed, at) => {
    const { masks, n, h } = all[at] as MaskProblem;
    const extent = { b: 1, n, m: n, h, g: h };
    const densePairs = area(causal(), extent);
    const speedupOf = (row: number) =>
      overRounds(timed.rounds, (round) => (round[0] as number) / (round[row] as number));
    const rows = medians(timed.rounds).map((time, row) => {
      const { label, mask } = masks[row] as TimedMask;
      return { label, time, density: area(mask, extent) / densePairs, speedup: speedupOf(row).value };
    });
    return { ...timed, rows };
  });
}
