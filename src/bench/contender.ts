import type { Task } from './problem';

/** A system that can compute a problem: Saccade with some settings, or a peer. */
export interface Contender {
  /** What tells it from others in one benchmark. */
  readonly name: string;
  /** Makes ready for calls on one problem. */
  open(task: Task, signal: AbortSignal): Promise<Session>;
}

/**
 * A contender with the tensors of one problem, ready to be called; nothing but the call itself is timed. An aborted
 * signal ends what it was given to with the signal's reason.
 */
export interface Session {
  /** Threads that it really uses; undefined on a GPU. */
  readonly threads?: number | undefined;
  /** What it turned out to be, such as a version and a device; in the place of its row's label. */
  readonly label?: string | undefined;
  /** Milliseconds of one call, over `calls` in a row. */
  time(calls: number, signal: AbortSignal): Promise<number>;
  /** Result of the last call, as the operation's `size` has it. */
  result(signal: AbortSignal): Promise<Float32Array>;
  /** Most bytes held since it was opened: its inputs, its result and its working memory; undefined where nobody can tell. */
  memory(signal: AbortSignal): Promise<number | undefined>;
  close(): void;
}
