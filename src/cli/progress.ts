import { Presets, SingleBar } from 'cli-progress';
import type { Control } from '../runtime/backend';

interface FullControl extends Control {
  readonly signal: AbortSignal;
  /** `what` is being done now, if that is worth telling. */
  readonly onProgress: (share: number, what?: string) => void;
}

/** Where stderr is no terminal, a line tells of the progress this often, in milliseconds. */
const LINE_EVERY = 10_000;

/**
 * Runs `work` with a progress bar on stderr, or with a line now and then if that is no terminal. Ctrl-C aborts the
 * signal, and then this rejects with its reason, an AbortError; a second Ctrl-C ends the process at once.
 */
export async function withProgress<T>(label: string, work: (control: FullControl) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const interrupt = () => controller.abort();
  const bar = process.stderr.isTTY ? newBar() : undefined;
  const onProgress = bar ? (share: number, what = '') => bar.update(share, { what }) : lines(label);
  process.once('SIGINT', interrupt);
  bar?.start(1, 0, { label, what: '' });
  try {
    const result = await work({ signal, onProgress });
    signal.throwIfAborted();
    return result;
  } finally {
    bar?.stop();
    process.off('SIGINT', interrupt);
  }
}

function lines(label: string): FullControl['onProgress'] {
  let last = performance.now();
  return (share, what) => {
    const now = performance.now();
    if (now - last < LINE_EVERY) return;
    last = now;
    process.stderr.write(`${label} ${Math.floor(share * 100)}%${what ? `: ${what}` : ''}\n`);
  };
}

function newBar(): SingleBar {
  return new SingleBar(
    { format: '{label} {bar} {percentage}% {what}', stream: process.stderr, hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
}
