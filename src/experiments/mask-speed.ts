/** The speed of exact attention under masks, which experiments of sparse methods measure. */
import { area } from '../masks/area';
import { causal } from '../masks/band';
import type { Mask } from '../masks/mask';
import { checkAttention } from '../measure/gate';
import { attention } from '../ops/attention';
import type { Sees } from '../ops/attention/softmax';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { byLabel, type MeasureContext } from './experiment';
import { held, randomQkv } from './held';
import { Contest, type Rounds, timeRounds } from './rounds';

/** A mask to be timed. */
interface TimedMask {
  readonly label: string;
  readonly mask: Mask;
  /** The definition that its results are checked against; default: what the mask itself says of single pairs. */
  readonly sees?: Sees | undefined;
}

/** Masks on one problem: sequences of n tokens in h heads of dimension d, normal random numbers. */
interface MaskProblem {
  readonly masks: readonly TimedMask[];
  readonly n: number;
  readonly h: number;
  readonly d: number;
}

interface MaskTimes {
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
async function timeMasks(
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
    const end = ends[at]!;
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

/** The name of dense causal attention in a contest with masks. */
export const DENSE = 'dense causal';

/** Masks by name on a problem, and the definitions that their results are checked against (`TimedMask`). */
interface CausalProblem<Name extends string> extends Omit<MaskProblem, 'masks'> {
  readonly masks: Readonly<Record<Name, Mask>>;
  readonly sees?: { readonly [Mask in Name]?: Sees };
}

interface CausalTimes<Name extends string> {
  readonly contest: Contest<Name | typeof DENSE>;
  /** By size the pairs seen, over those of dense causal attention. */
  readonly densities: Readonly<Record<Name | typeof DENSE, readonly number[]>>;
  /** The largest error on the queries checked, over the largest |v|. */
  readonly error: number;
}

/** Dense causal attention beside the masks of each problem; as `timeMasks`. */
export async function timeBesideCausal<Name extends string>(
  problems: readonly CausalProblem<Name>[],
  seconds: number,
  context: MeasureContext,
): Promise<CausalTimes<Name>> {
  const masksOf = ({ masks }: CausalProblem<Name>) =>
    ({ [DENSE]: causal(), ...masks }) as Record<Name | typeof DENSE, Mask>;
  const names = Object.keys(masksOf(problems[0] as CausalProblem<Name>)) as (Name | typeof DENSE)[];
  const timed = problems.map((problem) => ({
    ...problem,
    masks: names.map((label) => ({ label, mask: masksOf(problem)[label], sees: problem.sees?.[label as Name] })),
  }));
  const times = await timeMasks(timed, seconds, context);
  const pairs = (mask: Mask, { n, h }: CausalProblem<Name>) => area(mask, { b: 1, n, m: n, h, g: h });
  return {
    contest: new Contest(
      problems.map(({ n }) => n),
      names,
      times.flatMap(({ rounds }) => rounds),
    ),
    densities: byLabel(names, (name) =>
      problems.map((problem) => pairs(masksOf(problem)[name], problem) / pairs(causal(), problem)),
    ),
    error: Math.max(...times.map(({ error }) => error)),
  };
}

/** Masks on a grid of tokens, as `MaskProblem`. */
interface GridProblem extends Pick<MaskProblem, 'h' | 'd'> {
  readonly grid: readonly number[];
  readonly masks: readonly Mask[];
}

const SECONDS_ON_GRIDS = 10;

/** Times of the masks of each grid (`timeMasks`), by mask; all grids share their rounds. */
export async function timeOnGrids(problems: readonly GridProblem[], context: MeasureContext): Promise<Rounds[]> {
  const timed = problems.map(({ grid, masks, ...heads }) => ({
    ...heads,
    n: sizeOf(grid),
    masks: masks.map((mask) => ({ label: mask.name, mask })),
  }));
  const times = await timeMasks(timed, SECONDS_ON_GRIDS, context);
  return times.map(({ rounds }) => rounds);
}
