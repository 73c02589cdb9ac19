/** What a suite is, and the most common kind: rows timed beside a baseline. */
import { coreCount } from '../machine';
import { pairedRatio, summarise } from '../measure/statistics';
import type { Control } from '../runtime/backend';
import { flopsOf, operationOf } from './attention-operations';
import type { BrowserHost } from './browser/host';
import type { Contender } from './contender';
import { type Entry, Measurement, type Outcome, PATIENCE, type Patience, rejection, type Timed } from './measure';
import { type BenchOptions, commandLine } from './options';
import { type Operation, type Problem, rowOf } from './problem';
import { type BenchRow, formatProblem, type Goal, type MeasureName } from './report';
import { type Runtimes, runtimeOptions } from './runtimes';
import { saccade } from './saccade';

export interface Suite {
  readonly name: string;
  /** One line that says what it answers. */
  readonly summary: string;
  /** The options it takes, with their default values. */
  readonly defaults: Partial<BenchOptions>;
  readonly measures: readonly MeasureName[];
  /** What the measure `ratio` is. */
  readonly ratio?: string;
  /** Names that `--only` may hold. */
  names(options: BenchOptions): readonly string[];
  /** Yields the rows of one group after the other, as soon as they are measured. */
  run(context: Context, options: BenchOptions): AsyncIterable<readonly BenchRow[]>;
}

export interface Context extends Control {
  readonly runtimes: Runtimes;
  /** The folder of the peers, if they are wanted. */
  readonly peers?: string | undefined;
  /** This machine's GPU, if that is measured. */
  readonly gpu?: { readonly isSoftware: boolean } | undefined;
  /** The browser that is measured instead of this process. */
  readonly browser?: BrowserHost | undefined;
  readonly patience?: Patience | undefined;
  /** Also gets what is being measured. */
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
}

/** A row to be measured. Rows of a group are timed in turns; the first is the baseline of the others. */
export interface PlannedRow extends Omit<Entry, 'contender'> {
  readonly name: string;
  readonly label: string;
  /** Default: Saccade with the given options and the row's `threads` and `simd`. */
  readonly contender?: Contender;
  readonly threads?: number | undefined;
  readonly how?: string;
  readonly goal?: Goal | undefined;
  /** Measures that are known without timing. */
  readonly known?: Partial<Record<MeasureName, number>>;
  /** Options that narrow the suite to this row's group. */
  readonly narrow?: Partial<BenchOptions>;
}

export interface TimedSuite extends Omit<Suite, 'run' | 'measures' | 'names'> {
  /** Default: `TIMED`. */
  readonly measures?: readonly MeasureName[];
  /**
   * How `ratio` is computed. `time`: the row's time over the baseline's; `rate`, `tokens`, `bytes`: the row's useful GF/s,
   * tokens, or bytes read and written, a second over the baseline's.
   */
  readonly ratioOf?: 'time' | 'rate' | 'tokens' | 'bytes';
  /** The number of ops in a row: the measure `overhead` is the time beyond the baseline, divided by it. */
  readonly overheadOf?: number;
  /** Default: the names of all rows without peers. */
  names?(options: BenchOptions): readonly string[];
  groups(options: BenchOptions, place: Place): readonly (readonly PlannedRow[])[];
}

/** Where a suite measures, and whether with peers. */
export type Place = Pick<Context, 'peers' | 'gpu' | 'browser'>;

/** The options of most suites, with their default values. */
export const TIMING = {
  threads: coreCount(),
  simd: undefined,
  repeats: 9,
  only: [],
} as const satisfies Partial<BenchOptions>;

/** Defaults of options that a suite does not take. */
export const DEFAULT_OPTIONS: BenchOptions = {
  n: [],
  d: [],
  masks: [],
  cached: [],
  shape: 'qwen3-0.6b',
  types: [],
  quick: false,
  budget: 86_400,
  heads: 8,
  backend: 'wasm',
  threads: 1,
  simd: undefined,
  repeats: 9,
  limit: PATIENCE.limit / 1000,
  calls: 1,
  peers: false,
  browser: false,
  only: [],
  inProcess: false,
};

/** Rows of operations on problems of these extents, labelled by the operations' names. */
export function operationRows(
  problem: Problem,
  rows: readonly (readonly [name: string, operation: Operation, goal?: Goal | undefined])[],
): PlannedRow[] {
  return rows.map(([name, operation, goal]) => ({
    name,
    label: operation.name,
    goal,
    problem: { ...problem, operation },
  }));
}

const TIMED = ['time', 'spread', 'rounds', 'rate', 'peakShare', 'bandwidth', 'memory', 'ratio', 'error'] as const;

/** A suite whose groups of rows are measured in turns. */
export function timedSuite(suite: TimedSuite): Suite & Pick<TimedSuite, 'groups'> {
  return {
    names: (options) => [...new Set(suite.groups(options, {}).flatMap((group) => group.map(({ name }) => name)))],
    ...suite,
    measures: suite.measures ?? TIMED,
    async *run(context, options) {
      const { runtimes } = context;
      const { only, repeats, limit, threads, simd } = options;
      const measurement = new Measurement(runtimes, repeats, {
        ...PATIENCE,
        limit: 1000 * limit,
        ...context.patience,
      });
      const wanted = ({ name }: PlannedRow, at: number) => at === 0 || only.length === 0 || only.includes(name);
      const groups = suite
        .groups(options, context)
        .map((group) => group.filter(wanted))
        .filter((group) => only.length === 0 || group.some(({ name }) => only.includes(name)));
      for (const [at, group] of groups.entries()) {
        const what = formatProblem(rowOf((group.at(-1) as PlannedRow).problem));
        const entries = group.map((row): Entry => {
          const own = { threads: row.threads ?? threads, simd: row.simd ?? simd };
          return { contender: saccade(runtimes, runtimeOptions({ ...options, ...own })), ...row, simd: own.simd };
        });
        const outcomes = await measurement.run(entries, {
          signal: context.signal,
          onProgress: (share) => context.onProgress?.((at + share) / groups.length, what),
        });
        yield group.map((planned, index) => {
          const command = commandLine(
            suite.name,
            { ...options, peers: false, ...planned.narrow, only: [planned.name] },
            suite.defaults,
          );
          const [base, own] = [0, index].map((at) => [group[at], outcomes[at]] as Measured) as [Measured, Measured];
          return toRow(suite, own, base, command);
        });
      }
    },
  };
}

/** A planned row and its outcome. */
type Measured = readonly [PlannedRow, Outcome];

function toRow(suite: TimedSuite, [planned, outcome]: Measured, base: Measured, command: string): BenchRow {
  const { name, how, problem, goal, known } = planned;
  const label = (outcome.status === 'ok' && outcome.label) || planned.label;
  const common = { name, label, ...(how !== undefined && { how }), ...rowOf(problem), command, ...(goal && { goal }) };
  if (outcome.status !== 'ok') return { ...common, ...outcome, measures: {} };
  const flops = flopsOf(problem);
  const { memory } = outcome;
  const tokens = operationOf(problem).tokens?.(problem);
  const { median, spread } = summarise(outcome.times);
  const measures: Partial<Record<MeasureName, number>> = {
    ...known,
    time: median,
    // A single round has no spread.
    ...(outcome.times.length > 1 && { spread }),
    rounds: outcome.times.length,
    // The rate of arithmetic or, where there is none, of reading and writing.
    ...(flops > 0 ? { rate: flops / median / 1e6 } : { bandwidth: bytesOf(problem) / median / 1e6 }),
    ...(tokens !== undefined && { tokens: (1000 * tokens) / median }),
    ...(memory !== undefined && { memory, working: memory - bytesOf(problem) }),
    error: outcome.error,
  };
  if (flops > 0 && outcome.peaks.length > 0) {
    measures.peakShare = pairedRatio(rates(outcome, flops), outcome.peaks);
  }
  const [{ problem: baseProblem }, baseOutcome] = base;
  if (baseOutcome.status === 'ok') {
    const { times } = baseOutcome;
    const speedup = (of: (problem: Problem) => number) =>
      pairedRatio(rates(outcome, of(problem)), rates(baseOutcome, of(baseProblem)));
    const ratios = {
      time: () => pairedRatio(outcome.times, times),
      rate: () => speedup(flopsOf),
      tokens: () => speedup(({ n }) => n),
      bytes: () => speedup(bytesOf),
    };
    if (suite.ratioOf) measures.ratio = ratios[suite.ratioOf]();
    if (suite.measures?.includes('efficiency')) measures.efficiency = ratios.rate();
    const { overheadOf } = suite;
    if (overheadOf && outcome !== baseOutcome)
      measures.overhead = summarise(outcome.times.map((ms, at) => (ms - (times[at] as number)) / overheadOf)).median;
  }
  return { ...common, ...(outcome.threads !== undefined && { threads: outcome.threads }), status: 'ok', measures };
}

const bytesOf = (problem: Problem): number => operationOf(problem).bytes(problem);

/** Work done a nanosecond, by round: useful GF/s if work counts FLOPs. */
function rates({ times }: Timed, work: number): number[] {
  return times.map((ms) => work / ms / 1e6);
}

/** A row that a suite measures by itself: with what `measure` gives, or why it failed; an abort is thrown. */
export async function rowBy(
  suite: Pick<Suite, 'name' | 'defaults'>,
  options: BenchOptions,
  { name, label, problem, threads, goal, narrow }: PlannedRow,
  measure: () => Promise<BenchRow['measures']>,
  signal: AbortSignal | undefined,
): Promise<BenchRow> {
  const own = { ...options, peers: false, inProcess: false, ...narrow, only: [name] };
  const command = commandLine(suite.name, own, suite.defaults);
  const row = { name, label, ...rowOf(problem), threads: threads ?? options.threads, ...(goal && { goal }), command };
  try {
    return { ...row, status: 'ok', measures: await measure() };
  } catch (error) {
    signal?.throwIfAborted();
    return { ...row, ...rejection(error), measures: {} };
  }
}
