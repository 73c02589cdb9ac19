/** Work that signals end, such as Ctrl-C. */

/** Signals that ask a process to end: Ctrl-C, a process manager, a terminal that closes. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Why work was aborted. */
export class Interrupted extends Error {
  override name = 'AbortError';
  readonly by: (typeof SIGNALS)[number];

  constructor(by: (typeof SIGNALS)[number]) {
    super('interrupted');
    this.by = by;
  }
}

/**
 * Does work that Ctrl-C, or another signal that asks the process to end, aborts; then this rejects with an AbortError. The same
 * signal once more ends the process at once.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const interrupts = SIGNALS.map((by) => [by, () => controller.abort(new Interrupted(by))] as const);
  for (const [by, interrupt] of interrupts) process.once(by, interrupt);
  try {
    const result = await work(signal);
    signal.throwIfAborted();
    return result;
  } finally {
    for (const [by, interrupt] of interrupts) process.off(by, interrupt);
  }
}
