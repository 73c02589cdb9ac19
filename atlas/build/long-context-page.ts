/** The page of stored runs of `saccade bench long-context`. */
import {
  INDEX_COLUMNS,
  indexCells,
  LOSS_COLUMNS,
  type LongContextReport,
  longFailures,
  longSeries,
  lossCells,
  SPEED_COLUMNS,
  speedCells,
} from '../../src/bench/long-context/report';
import { formatMachine } from '../../src/machine';
import { type Html, html } from '../site/html';
import { seriesPlot } from './series-plot';

export function longContextSection(run: LongContextReport): Html {
  const { machine, runtime, setting, command, speed, losses, indexes } = run;
  const columns = [...SPEED_COLUMNS, ...LOSS_COLUMNS, ...INDEX_COLUMNS];
  const meanings = columns.flatMap(([name, help]) => (help ? [`${name}: ${help}`] : []));
  return html`<section class="run-of-bench"><h2>${machine.cpu}, ${machine.cores} cores, ${machine.runtime.split(' ')[0]}</h2>
<p class="caption">${formatMachine(machine)}. ${runtime.join('; ')}.</p>
${setting.map((text) => html`<p>${text}</p>`)}
<div class="code"><pre tabindex="0"><code>npx ${command}</code></pre></div>
<div class="all-series">${longSeries(run).map(seriesPlot)}</div>
${table('Speed and memory', SPEED_COLUMNS, speed.map(speedCells))}
${table('What it costs a model', LOSS_COLUMNS, losses.map(lossCells))}
${table('Indexes of keys', INDEX_COLUMNS, indexes.flatMap(indexCells))}
<details class="caption"><summary>What the columns mean, and what was not measured</summary><ul>${[...longFailures(run), ...meanings].map((fact) => html`<li>${fact}</li>`)}</ul></details></section>`;
}

function table(title: string, columns: typeof SPEED_COLUMNS, rows: readonly (readonly string[])[]): Html | false {
  if (rows.length === 0) return false;
  const kind = (at: number) => at !== 1 && html` class="number"`;
  return html`<h3>${title}</h3><div class="scroll" tabindex="0" role="region" aria-label="${title}"><table class="table plain dense"><thead><tr>${columns.map(([name]) => html`<th>${name}</th>`)}</tr></thead><tbody>${rows.map((row) => html`<tr>${row.map((cell, at) => html`<td${kind(at)}>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}
