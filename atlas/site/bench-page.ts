/** Plots of stored benchmark runs. */
import './page';
import type { BenchReport } from '../../src/bench/report';
import { PLOTS } from './bench-plots';
import { draw } from './live';
import { $, $$ } from './page';

for (const box of $$('[data-live="bench"]')) {
  const run = JSON.parse($(`#${box.dataset.of}`).textContent!) as BenchReport;
  const { title, said, picture } = PLOTS[box.dataset.kind as keyof typeof PLOTS];
  draw(box, `${run.suite}-${box.dataset.of}`, (width) => picture(run.rows, width), run);
  $('h3', box).textContent = title;
  $('[data-said]', box).textContent = said;
  box.dataset.state = 'done';
}
