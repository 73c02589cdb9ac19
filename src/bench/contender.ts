import type { Task } from './problem';

/** A system that can compute a problem: Saccade with some settings, or a peer. */
export interface Contender {
  /** Unique within a benchmark. */
  readonly name: string;
  /** Prepares calls on one problem. */
  open(task: Task, signal: AbortSignal): Promise<Session>;
}

/**
 * A contender with the tensors of one problem, ready to be called; only the call itself is timed. An aborted
 * signal rejects what it was passed to with the signal's reason.
 */
export interface Session {
  /** The number of threads it actually uses; undefined on a GPU. */
  readonly threads?: number | undefined;
  /** What it turned out to be, such as a version and a device; replaces its row's label. */
  readonly label?: string | undefined;
  /** Milliseconds of one call, averaged over `calls` in a row. */
  time(calls: number, signal: AbortSignal): Promise<number>;
  /** Result of the last call, as the operation's `size` has it. */
  result(signal: AbortSignal): Promise<Float32Array>;
  /** The most bytes held since it was opened: inputs, result and working memory; undefined where that is unknown. */
  memory(signal: AbortSignal): Promise<number | undefined>;
  close(): void;
}
