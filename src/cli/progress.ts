import { Presets, SingleBar } from 'cli-progress';
import type { Control } from '../runtime/backend';
import { widthOf } from '../text/table';
import { interruptible } from './interrupt';

interface FullControl extends Control {
  readonly signal: AbortSignal;
  /** `what` is being done now, if that is worth telling. */
  readonly onProgress: (share: number, what?: string) => void;
}

/** Shows `text` above the bar, instead of what it showed before, until the end; only on a terminal. */
type Show = (text: string) => void;

/** If stderr is not a terminal, a line reports the progress this often, in milliseconds. */
const LINE_EVERY = 10_000;

/**
 * Runs `work` with a progress bar on stderr, or with a line now and then if that is no terminal. Ctrl-C, or another signal
 * that asks the process to end, aborts the work, and then this rejects with an AbortError; the same signal once more ends the
 * process at once.
 */
export async function withProgress<T>(
  label: string,
  work: (control: FullControl, show: Show) => Promise<T>,
): Promise<T> {
  const bar = process.stderr.isTTY ? newBar() : undefined;
  const onProgress = bar ? (share: number, what = '') => bar.update(share, { what }) : lines(label);
  bar?.start(1, 0, { label, what: '' });
  const preview = newPreview();
  try {
    return await interruptible((signal) => work({ signal, onProgress }, bar ? preview.show : () => {}));
  } finally {
    bar?.stop();
    preview.clear();
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

/** With the elapsed time, so that it moves during a long call. */
function newBar(): SingleBar {
  return new SingleBar(
    {
      format: '{label} {bar} {percentage}% {duration_formatted} {what}',
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
      forceRedraw: true,
    },
    Presets.shades_classic,
  );
}

/** Lines above the one of the bar. */
function newPreview() {
  const { stderr } = process;
  let height = 0;
  /** Goes back to the first line and clears everything below. */
  const clear = () => {
    stderr.write(`\r${height > 0 ? `\x1b[${height}A` : ''}\x1b[J`);
    height = 0;
  };
  const show: Show = (text) => {
    clear();
    // Lines that scroll away cannot be cleared: show only the last ones.
    const lines = text.split('\n');
    const heightOf = (line: string) => Math.max(1, Math.ceil(widthOf(line) / (stderr.columns || 80)));
    let first = lines.length;
    while (first > 0 && height + heightOf(lines[first - 1] as string) < (stderr.rows || 24)) {
      first--;
      height += heightOf(lines[first] as string);
    }
    stderr.write(
      lines
        .slice(first)
        .map((line) => `${line}\n`)
        .join(''),
    );
  };
  return { show, clear: () => height > 0 && clear() };
}
