/** Runs `saccade bench longca`: each case in a process of its own, which is ended when it takes too long or too much. */
import { UnsupportedError } from '../../errors';
import { WrongResultError } from '../../measure/gate';
import { quantiles } from '../../measure/statistics';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { reasonOf } from '../../text/reason';
import type { Gate } from '../gate';
import { limited, TooSlowError } from '../limit';
import type { Task } from '../problem';
import { flopsOf, keyOf, type LongCaCase, type LongCaProblem } from './cases';
import type { LongCaContender, LongCaPlace } from './contenders';
import { byWorth, Pace } from './plan';
import type { LongCaRow } from './report';
import { gateOfCase, givenTo, taskOf } from './task';

/** As the benchmark has them. */
const MOST_CALLS = 20;
const SHARES = [0.2, 0.5, 0.8];
/** Seconds of calls that count, of which there is one at least. */
const SAMPLE = 1.5;

export interface LongCaOptions {
  readonly cases: readonly LongCaCase[];
  readonly contenders: readonly LongCaContender[];
  readonly place: LongCaPlace;
  /** Seconds that a call may take, and whatever else a contender does. */
  readonly limit: number;
  /** Seconds for all of it; then cases are left out. */
  readonly budget?: number | undefined;
  /** Rows of an earlier run. */
  readonly earlier: readonly LongCaRow[];
}

export interface LongCaControl extends Control {
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
  readonly onRow: (row: LongCaRow) => void | Promise<void>;
}

/** Measures what is not yet among the earlier rows; resolves to the number of cases for which there was no time. */
export async function runLongCa(options: LongCaOptions, runtime: Runtime, control: LongCaControl): Promise<number> {
  const { cases, contenders, place, limit, budget = Number.POSITIVE_INFINITY, earlier } = options;
  const { signal = new AbortController().signal, onProgress, onRow } = control;
  const end = performance.now() + 1000 * budget;
  const pace = new Pace(contenders);
  /** The shortest of each kind that took too long or too much. */
  const failed = new Map<string, LongCaRow>();
  const learn = (row: LongCaRow) => {
    if (row.time !== undefined) pace.add(row, row.time);
    const isLimit = row.status === 'out of memory' || row.status === 'too slow';
    const kind = pace.kindOf(row);
    if (isLimit && row.n < (failed.get(kind)?.n ?? Number.POSITIVE_INFINITY)) failed.set(kind, row);
  };
  const isMeasured = ({ contender }: LongCaRow) => contenders.some(({ name }) => name === contender);
  const settled = earlier.filter((row) => isMeasured(row) && isSettled(row, options));
  for (const row of settled) learn(row);
  const known = new Set(settled.map(keyOf));
  const left = cases.filter((each) => !known.has(keyOf(each)));
  const problems = new Problems(runtime);
  let leftOut = 0;
  for (const [at, each] of (Number.isFinite(budget) ? byWorth(left, contenders) : left).entries()) {
    signal.throwIfAborted();
    const contender = contenders.find(({ name }) => name === each.contender) as LongCaContender;
    const what = `${contender.label}, ${each.mask}, ${each.n} tokens, ${each.pass}`;
    onProgress?.((cases.length - left.length + at) / cases.length, what);
    const before = withoutTrying(each, { contender, pace, limit, failed: failed.get(pace.kindOf(each)) });
    const seconds = (end - performance.now()) / 1000;
    if (!before && pace.whole(each) > seconds) {
      leftOut++;
      continue;
    }
    const bound = Math.min(limit, seconds);
    const found = before ?? (await measure(each, contender, { place, problems, limit: bound, signal }));
    if (found.status === 'too slow' && !before && bound < limit) {
      leftOut++;
      continue;
    }
    const { status } = found;
    const allowed = status === 'ok' || status === 'not supported' ? {} : { limit, allowed: place.memory };
    const row: LongCaRow = { ...each, flops: flopsWith(contender, each), ...found, ...allowed };
    learn(row);
    await onRow(row);
  }
  return leftOut;
}

/** Whether an earlier result stands: what took too long or too much is tried again with more of it, what failed always. */
function isSettled({ status, limit = 0, allowed = 0 }: LongCaRow, now: LongCaOptions): boolean {
  if (status === 'failed' || status === 'wrong') return false;
  if (status === 'too slow') return limit >= now.limit;
  return status !== 'out of memory' || !(now.place.memory && now.place.memory > allowed);
}

type Found = Omit<LongCaRow, keyof LongCaCase | 'flops'>;

/** Multiplications and additions of a call, with the forward pass where it is part of it. */
const flopsWith = ({ hasForward }: LongCaContender, each: LongCaCase): number =>
  flopsOf(each) + (hasForward && each.pass === 'backward' ? flopsOf({ ...each, pass: 'forward' }) : 0);

interface Foreknown {
  readonly contender: LongCaContender;
  readonly pace: Pace;
  readonly limit: number;
  readonly failed: LongCaRow | undefined;
}

/** What is known of a case before it is tried. */
function withoutTrying(each: LongCaCase, { contender, pace, limit, failed }: Foreknown): Found | undefined {
  const lacks = contender.lacks?.(each);
  if (lacks !== undefined) return { status: 'not supported', reason: lacks };
  if (failed && failed.n <= each.n) return { status: failed.status, reason: `as with ${failed.n} tokens` };
  const { ms, isKnown } = pace.call(each);
  if (!isKnown || ms <= 1000 * limit) return undefined;
  return {
    status: 'too slow',
    reason: `about ${Math.round(ms / 1000)} s a call, the limit is ${limit} s`,
  };
}

interface Measuring {
  readonly place: LongCaPlace;
  readonly problems: Problems;
  readonly limit: number;
  readonly signal: AbortSignal;
}

async function measure(
  each: LongCaCase,
  contender: LongCaContender,
  { place, problems, limit, signal }: Measuring,
): Promise<Found> {
  const { task, gate } = await problems.get(each);
  try {
    const own = limited(contender.open(place, each), 1000 * limit);
    const session = await own.open(givenTo(task, each, contender.isSparse === true), signal);
    try {
      const first = await session.time(1, signal);
      const error = gate(await session.result(signal));
      const times: number[] = [];
      const end = performance.now() + 1000 * SAMPLE;
      // A call that takes as long as a sample is measured once, and then the first one counts.
      if (first > 1000 * SAMPLE * 4) times.push(first);
      else
        while (times.length === 0 || (times.length < MOST_CALLS && performance.now() < end)) {
          times.push(await session.time(1, signal));
        }
      const [low, time, high] = quantiles(times, SHARES) as [number, number, number];
      const memory = await session.memory(signal);
      const { threads } = session;
      return {
        status: 'ok',
        ...(threads !== undefined && { threads }),
        time,
        low,
        high,
        calls: times.length,
        ...(memory !== undefined && { memory }),
        error,
      };
    } finally {
      session.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw error;
    return { status: statusOf(error), reason: reasonOf(error) };
  }
}

const MEMORY = /memory|alloc|array length|buffer size|SIGKILL/i;

function statusOf(error: unknown): LongCaRow['status'] {
  if (error instanceof TooSlowError) return 'too slow';
  if (error instanceof WrongResultError) return 'wrong';
  if (error instanceof UnsupportedError) return 'not supported';
  return MEMORY.test(reasonOf(error)) ? 'out of memory' : 'failed';
}

/** Tasks and what their results must be: the last task is kept, and of all problems the check. */
class Problems {
  #last: { readonly key: string; readonly task: Task } | undefined;
  readonly #gates = new Map<string, Gate>();

  constructor(readonly runtime: Runtime) {}

  async get(problem: LongCaProblem): Promise<{ readonly task: Task; readonly gate: Gate }> {
    const { mask, n, pass, h, g, d } = problem;
    const key = [mask, n, pass, h, g, d].join();
    if (this.#last?.key !== key) this.#last = { key, task: taskOf(problem) };
    const { task } = this.#last;
    const gate = this.#gates.get(key) ?? (await gateOfCase(task, this.runtime));
    this.#gates.set(key, gate);
    return { task, gate };
  }
}
