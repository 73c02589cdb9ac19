/** Examples that run in the page on a press of a button. */
import type { ExampleNews } from './example-worker';
import { sentence } from './live';
import { $, $$, markBusy } from './page';

for (const box of $$('[data-live="example"]')) {
  const [run, cancel, said, output] = ['run', 'cancel', 'said', 'output'].map((name) => $(`[data-${name}]`, box));
  let worker: Worker | undefined;

  function end(state: 'done' | 'error' | 'idle', words: string): void {
    worker?.terminate();
    worker = undefined;
    box.dataset.state = state;
    said.textContent = words;
    markBusy(run, cancel, false);
  }

  run.addEventListener('click', () => {
    if (worker) return;
    const start = performance.now();
    box.dataset.state = 'running';
    markBusy(run, cancel, true);
    [said.textContent, output.textContent, output.hidden] = ['running …', '', false];
    worker = new Worker(new URL('./example-worker.ts', import.meta.url), { type: 'module' });
    worker.addEventListener('message', ({ data }: MessageEvent<ExampleNews>) => {
      if (data === 'done') end('done', `Done, after ${((performance.now() - start) / 1000).toFixed(1)} s.`);
      else if ('line' in data) output.textContent += `${data.line}\n`;
      else end('error', sentence(data.error));
    });
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      end('error', `Its worker stopped: ${event.message || 'its script could not be loaded'}.`);
    });
    worker.postMessage(box.dataset.example);
  });
  cancel.addEventListener('click', () => end('idle', 'Cancelled.'));
}
