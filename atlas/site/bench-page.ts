/** Plots of stored benchmark runs. */
import './page';
import type { BenchReport } from '../../src/bench/report';
import { PLOTS } from './bench-plots';
import { $, $$ } from './page';
import { saves, svgPng, svgText } from './save';

for (const box of $$('[data-live="bench"]')) {
  const run = JSON.parse($(`#${box.dataset.of}`).textContent!) as BenchReport;
  const { title, said, draw } = PLOTS[box.dataset.kind as keyof typeof PLOTS];
  const place = $('[data-plot]', box);
  let svg: SVGSVGElement;
  new ResizeObserver(() => {
    svg = draw(run.rows, place.clientWidth);
    place.replaceChildren(svg);
    box.dataset.state = 'done';
  }).observe(place);
  $('h3', box).textContent = title;
  $('[data-said]', box).textContent = said;
  saves($('[data-saves]', box), `${run.suite}-${box.dataset.of}`, {
    svg: () => svgText(svg),
    png: () => svgPng(svg),
    json: () => run,
  });
}
