import { Presets, SingleBar } from 'cli-progress';
import type { Control } from '../runtime/backend';

type FullControl = { readonly [Name in keyof Control]-?: NonNullable<Control[Name]> };

/**
 * Runs `work` with a progress bar on stderr, if that is a terminal. Ctrl-C aborts the signal, and then this rejects
 * with its reason, an AbortError; a second Ctrl-C ends the process at once.
 */
export async function withProgress<T>(label: string, work: (control: FullControl) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const interrupt = () => controller.abort();
  const bar = process.stderr.isTTY ? newBar() : undefined;
  process.once('SIGINT', interrupt);
  bar?.start(1, 0, { label });
  try {
    const result = await work({ signal, onProgress: (share) => bar?.update(share) });
    signal.throwIfAborted();
    return result;
  } finally {
    bar?.stop();
    process.off('SIGINT', interrupt);
  }
}

function newBar(): SingleBar {
  return new SingleBar(
    { format: '{label} {bar} {percentage}%', stream: process.stderr, hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
}
