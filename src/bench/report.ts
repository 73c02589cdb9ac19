/** The report of `saccade bench`: its JSON, and what its table and its page show. */
import type { Machine } from '../machine';
import { formatBytes, formatRatio, formatTime, significant } from '../text/format';

/** A share in about as many digits as a measurement has, such as 87.4%. */
function formatShare(share: number): string {
  return `${(share * 100).toFixed(share < 0.01 ? 2 : share < 1 ? 1 : 0)}%`;
}

/** Everything that can be measured: the header, meaning and format of its column. */
export const MEASURES = {
  time: { header: 'time', help: 'median milliseconds of one call', format: formatTime },
  spread: {
    header: '±',
    help: 'half the distance between the quartiles of the time, over its median',
    format: formatShare,
  },
  rounds: {
    header: 'rounds',
    help: 'how many times the median is of: fewer than asked for where all would take too long',
    format: String,
  },
  rate: {
    header: 'GF/s',
    help: 'useful multiplications and additions a nanosecond: of attention only the pairs that the mask lets through count',
    format: significant,
  },
  peakShare: {
    header: 'of peak',
    help: 'share of the multiply-add peak measured in the same rounds: of WebAssembly on as many threads, which native code may exceed, or of the GPU in f32, which its tensor cores may',
    format: formatShare,
  },
  bandwidth: {
    header: 'GB/s',
    help: 'bytes read and written a nanosecond, of what computes nothing',
    format: significant,
  },
  tokens: { header: 'tokens/s', help: 'tokens read or generated a second', format: significant },
  memory: {
    header: 'memory',
    help: 'most bytes held for the inputs, the result and working memory; for a peer the growth of its process',
    format: formatBytes,
  },
  working: {
    header: 'working',
    help: 'of the memory, what is held beyond inputs and results',
    format: formatBytes,
  },
  visited: {
    header: 'visited',
    help: 'share of the tiles of 24 queries by 6 keys that are computed, wholly or in part, because a query of theirs sees a key of theirs',
    format: formatShare,
  },
  efficiency: {
    header: 'of FLOPs',
    help: 'useful GF/s over those of dense attention: the speed-up over it, as a share of the one that FLOPs promise',
    format: formatShare,
  },
  ratio: { header: 'ratio', help: 'to the baseline', format: formatRatio },
  error: {
    header: 'error',
    help: 'largest difference from the float64 reference, over the largest |v|; of gradients, over the largest gradient; of other operations than attention, over the largest result',
    format: (error: number) => error.toExponential(0),
  },
  residentSet: { header: 'resident set', help: 'peak of a fresh process, Node itself included', format: formatBytes },
  overhead: {
    header: 'overhead',
    help: 'median time of a call less its arithmetic at the measured peak; of an op of a chain, less that of one op on as many numbers',
    format: formatTime,
  },
  heapGrowth: {
    header: 'heap growth',
    help: 'JavaScript heap after collection, after all calls less before',
    format: formatBytes,
  },
  liveGrowth: {
    header: 'live growth',
    help: "the runtime's live bytes, after all calls less before",
    format: formatBytes,
  },
} as const;
export type MeasureName = keyof typeof MEASURES;

/** What a row should reach. */
export interface Goal {
  readonly measure: MeasureName;
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface BenchRow {
  /** As `--only` takes it. */
  readonly name: string;
  readonly label: string;
  /** How a peer computes. */
  readonly how?: string;
  readonly n: number;
  readonly h: number;
  /** Heads of keys and values, where they are fewer. */
  readonly g?: number;
  readonly d: number;
  readonly mask: string;
  /** Undefined if it failed before this was known. */
  readonly threads?: number;
  /** Only rows that are 'ok' have measures; the others say why in `reason`. */
  readonly status: 'ok' | 'wrong' | 'failed' | 'too slow';
  readonly reason?: string;
  readonly measures: Readonly<Partial<Record<MeasureName, number>>>;
  readonly goal?: Goal;
  /** The command that measures this row again, beside its baseline. */
  readonly command: string;
}

export interface BenchReport {
  readonly format: 'saccade bench';
  /** Increases when the meaning of a field changes. */
  readonly version: 1;
  readonly suite: string;
  readonly summary: string;
  /** The measures that the tables show, in order: the suite's first one, and those that some row has. */
  readonly measures: readonly MeasureName[];
  /** What `ratio` is, in suites that have it. */
  readonly ratio?: string;
  readonly machine: Machine;
  /** What the runtime is: backend, threads, kernels; one fact a line. */
  readonly runtime: readonly string[];
  /** What a reader must know before comparing the rows; one sentence or two each. */
  readonly notes?: readonly string[] | undefined;
  readonly command: string;
  /** False while rows are still to come; it stays false if the benchmark is interrupted. */
  readonly complete: boolean;
  readonly rows: readonly BenchRow[];
}

/** The note of a report whose GPU is emulated in software. */
export const IN_SOFTWARE =
  'The GPU is imitated by the processor: the numbers on WebGPU compare implementations, not GPUs.';

/** The note of an incomplete report. */
export const INCOMPLETE = 'Unfinished: the benchmark did not come to its end; these are the rows measured so far.';

/** Such as 'n = 1024, d = 64, causal'. */
export function formatProblem({ n, d, mask }: Pick<BenchRow, 'n' | 'd' | 'mask'>): string {
  return `n = ${n}, d = ${d}, ${mask}`;
}

/** Such as 'jax-js, n = 1024, d = 64, causal: failed: out of memory', for rows that are not 'ok'; a shared reason comes once. */
export function formatRejections(rows: readonly BenchRow[]): string[] {
  const alike = new Map<string, BenchRow[]>();
  for (const row of rows.filter(({ status }) => status !== 'ok')) {
    const key = [row.label, row.status, row.reason].join();
    alike.set(key, [...(alike.get(key) ?? []), row]);
  }
  return [...alike.values()].map((group) => {
    const [row] = group as [BenchRow];
    const where = group.length === 1 ? formatProblem(row) : `${group.length} problems`;
    return `${row.label}, ${where}: ${row.status}: ${row.reason}`;
  });
}

/** Whether a row reaches its goal. */
export function reaches({ status, measures }: BenchRow, { measure, atLeast, atMost }: Goal): boolean {
  const value = measures[measure];
  if (status !== 'ok' || value === undefined) return false;
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

/** Such as '≥ 82.0 % of peak' or '0.900× to 1.10×'. */
export function formatGoal({ measure, atLeast, atMost }: Goal): string {
  const { format } = MEASURES[measure];
  if (atLeast !== undefined && atMost !== undefined) return `${format(atLeast)} to ${format(atMost)}`;
  return atLeast === undefined ? `≤ ${format(atMost ?? 0)}` : `≥ ${format(atLeast)}`;
}
