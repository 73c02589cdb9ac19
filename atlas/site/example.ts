/** Examples that run in the page on a press of a button. */
import type { ExampleNews } from './example-worker';
import { $, $$ } from './page';

for (const box of $$('[data-live="example"]')) {
  const [run, cancel] = [$<HTMLButtonElement>('[data-run]', box), $<HTMLButtonElement>('[data-cancel]', box)];
  const [said, output] = [$('[data-said]', box), $('[data-output]', box)];
  let worker: Worker | undefined;

  function end(state: 'done' | 'error', sentence: string): void {
    worker?.terminate();
    box.dataset.state = state;
    said.textContent = sentence;
    [run.disabled, cancel.hidden] = [false, true];
  }

  run.addEventListener('click', () => {
    const start = performance.now();
    box.dataset.state = 'running';
    [run.disabled, cancel.hidden] = [true, false];
    [said.textContent, output.textContent, output.hidden] = ['running …', '', false];
    worker = new Worker(new URL('./example-worker.ts', import.meta.url), { type: 'module' });
    worker.addEventListener('message', ({ data }: MessageEvent<ExampleNews>) => {
      if (data === 'done') end('done', `done, after ${((performance.now() - start) / 1000).toFixed(1)} s`);
      else if ('line' in data) output.textContent += `${data.line}\n`;
      else end('error', `It failed: ${data.error}`);
    });
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      end('error', `Its worker stopped: ${event.message || 'its script could not be loaded'}.`);
    });
    worker.postMessage(box.dataset.example);
  });
  cancel.addEventListener('click', () => end('error', 'Cancelled.'));
}
