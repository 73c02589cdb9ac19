/** Plots of stored benchmark runs. */
import './page';
import type { BenchReport } from '../../src/bench/report';
import { PLOTS } from './bench-plots';
import { draw } from './live';
import { $, $$ } from './page';

for (const box of $$('[data-live="bench"]')) {
  const { of, kind, panel = '' } = box.dataset;
  const run = JSON.parse($(`#${of}`).textContent!) as BenchReport;
  const plot = PLOTS[kind as keyof typeof PLOTS];
  draw(
    box,
    [run.suite, of, panel].join(' ').trim().replaceAll(/\W+/g, '-'),
    (width) => plot(run.rows, width, panel),
    run,
  );
  box.dataset.state = 'done';
}
