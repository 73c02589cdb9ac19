/** The part of a method's page that runs the method, on each backend that is there. */
import { formatBytes, formatFlops, formatRatio, formatTime, significant } from '../../src/text/format';
import type { Helper } from './ask';
import { type AnyPage, live, part } from './live';
import { $, $$, markBusy } from './page';
import type { RunProgress, RunResult } from './tasks/run';

const NAMES = { wasm: 'WebAssembly', webgpu: 'WebGPU', reference: 'reference' };
const NOT_ISOLATED =
  'This page is not isolated, so WebAssembly computes on one thread: load the page once more, and its service worker isolates it where the host allows that.';

export function startRun({ form }: AnyPage, runner: Helper, task: 'runHere' | 'runModel' = 'runHere'): void {
  const box = part('run')!;
  const [start, stop] = [$<HTMLButtonElement>('[data-run]', box), $<HTMLButtonElement>('[data-cancel]', box)];
  let running: AbortController | undefined;

  start.addEventListener('click', async () => {
    if (running) return;
    running = new AbortController();
    const { signal } = running;
    markBusy(start, stop, true);
    await live('run', async () => {
      fill(box, []);
      const onProgress = (found: unknown) => {
        const { said, rows } = found as RunProgress;
        $('[data-said]', box).textContent = `${said} …`;
        fill(box, rows);
      };
      const { inputs, rows } = await runner.ask(task, { setting: form.setting() }, { signal, onProgress });
      fill(box, rows);
      if (rows.every(({ failure }) => failure)) throw new Error('It runs on neither: the reasons are below.');
      return `${inputs} Times are medians of several calls; the error is against float64, as a share of the largest result.`;
    });
    running = undefined;
    markBusy(start, stop, false);
  });
  stop.addEventListener('click', () => running?.abort());
}

/** The columns that a page may have, in its own order. */
type Column = 'time' | 'rate' | 'memory' | 'exact' | 'speedup' | 'error';

function fill(box: HTMLElement, rows: readonly RunResult[]): void {
  const columns = $$('[data-column]', box).map(({ dataset }) => dataset.column as Column);
  $('tbody', box).innerHTML = (['wasm', 'webgpu'] as const)
    .map((backend) => {
      const row: Partial<RunResult> = rows.find((each) => each.backend === backend) ?? {};
      const { time, rate, memory, exact, speedup, error, checked } = row;
      const cells: Record<Column, string | number | false | undefined> = {
        time: time && formatTime(time),
        rate: rate && `${formatFlops(rate)}/s`,
        memory: memory && formatBytes(memory),
        exact: exact && formatTime(exact),
        speedup: speedup && formatRatio(speedup),
        error: error !== undefined && `${significant(error)} ${checked}`,
      };
      return `<tr data-backend="${backend}" data-error="${error ?? ''}"><td>${NAMES[backend]}</td>${columns.map((column) => `<td>${cells[column] || '–'}</td>`).join('')}</tr>`;
    })
    .join('');
  const notes = rows.flatMap(({ backend, failure, explain, remarks = [] }) => [
    `${NAMES[backend]}: ${failure ?? explain?.split('\n').slice(1, 3).join('; ')}.`,
    ...remarks,
  ]);
  if (!crossOriginIsolated) notes.push(NOT_ISOLATED);
  $('[data-notes]', box).textContent = [...new Set(notes)].join(' ');
}
