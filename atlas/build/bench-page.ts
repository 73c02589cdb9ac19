/** The pages of stored benchmark runs: one for each folder of docs/bench. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { LongContextReport } from '../../src/bench/long-context/report';
import {
  type BenchReport,
  type BenchRow,
  formatGoal,
  formatRejections,
  MEASURES,
  type MeasureName,
  reaches,
} from '../../src/bench/report';
import { formatMachine } from '../../src/machine';
import { type PLOTS, ratedLines } from '../site/bench-plots';
import { Html, html } from '../site/html';
import { lengthsOf, linesOf, panelOf } from '../site/series';
import { longContextSection } from './long-context-page';
import { seriesPlot } from './series-plot';
import { ROOT } from './standing';
import { capital } from './titles';

const folder = resolve(ROOT, 'docs/bench');

/** The runs of a suite, one for each machine, the newest first. */
function runsOf<Run extends BenchReport | LongContextReport>(suite: string, wanted: Run['format']): Run[] {
  const files = readdirSync(resolve(folder, suite));
  const all = files.map((file) => JSON.parse(readFileSync(resolve(folder, suite, file), 'utf8')) as Run);
  return all.filter(({ format }) => format === wanted).sort((a, b) => b.machine.date.localeCompare(a.machine.date));
}

const suites: ReadonlyMap<string, readonly BenchReport[]> = new Map(
  readdirSync(folder)
    .map((suite) => [suite, runsOf<BenchReport>(suite, 'saccade bench')] as const)
    .filter(([, runs]) => runs.length > 0),
);

/** Runs of another kind have a page of their own. */
const LONG = 'long-context';
const LONG_SUMMARY = 'prompts and steps of a decoder by each method for long contexts, and what they cost a model';
const longRuns = existsSync(resolve(folder, LONG)) ? runsOf<LongContextReport>(LONG, 'saccade long context') : [];
const named = [...suites.keys(), ...(longRuns.length > 0 ? [LONG] : [])];

export const benchPages = () => [
  ...[...suites].map(([suite, runs]) => ({ suite, body: benchPage(suite, runs[0].summary, runs.map(runSection)) })),
  ...(longRuns.length > 0
    ? [{ suite: LONG, body: benchPage(LONG, LONG_SUMMARY, longRuns.map(longContextSection)) }]
    : []),
];

const links = (up: string, current?: string) =>
  html`<nav class="side" aria-label="Benchmarks"><ul class="contents"><li><a href="${up}index.html"${current === undefined && html` aria-current="page"`}>All</a></li>${named.map((suite) => html`<li><a href="${up}${suite}/index.html"${suite === current && html` aria-current="page"`}>${suite}</a></li>`)}</ul></nav>`;

export function benchIndex(): Html {
  const rows = [...suites].map(
    ([suite, runs]) =>
      html`<h2><a href="${suite}/index.html">${suite}</a></h2><p>${capital(runs[0].summary)}.</p>${glance(runs[0].rows)}<ul>${runs.map(({ machine, rows }) => html`<li>${formatMachine(machine)}: ${rows.length} rows</li>`)}</ul>`,
  );
  const long =
    longRuns.length > 0 && html`<h2><a href="${LONG}/index.html">${LONG}</a></h2><p>${capital(LONG_SUMMARY)}.</p>`;
  return html`<div class="title plain"><h1>Benchmarks</h1></div>
<div class="document">${links('')}<div class="prose"><p>Runs stored in the repository, as they were measured. The contenders for a problem take turns, and every result was checked against the float64 reference before its time counted; one that failed says so instead of a time. Each page has the command that repeats the run on your machine.</p>${rows}${long}</div></div>`;
}

/** Lines and bars that a small plot has room for, and letters of a name; what tells names apart is at their ends. */
const [MOST_LINES, MOST_BARS, LETTERS] = [4, 6, 28];
const fitting = (name: string) =>
  name.length > LETTERS ? `${name.slice(0, LETTERS / 2 - 1)}…${name.slice(-LETTERS / 2)}` : name;

/** Times by length of the problem that most contenders have, or as bars where lengths do not vary. */
function glance(rows: readonly BenchRow[]): Html | false {
  const [kernels] = byKernel(rows);
  if (kernels) return kernels;
  const timed = rows.filter(({ measures: { time } }) => time !== undefined);
  const groups = [...Map.groupBy(linesOf(timed, 3), ([row]) => panelOf(row))];
  const [title, all] = groups.reduce((most, each) => (each[1].length > most[1].length ? each : most), ['', []]);
  const lines = all.slice(0, MOST_LINES);
  if (lines.length < 2) return bars(timed);
  const lengths = lengthsOf(lines.flat());
  return seriesPlot({
    title: `Milliseconds: ${title}`,
    x: { label: 'n', values: lengths },
    lines: lines.map((line) => ({
      label: line[0].label,
      values: lengths.map((length) => line.find(({ n }) => n === length)?.measures.time ?? null),
    })),
  });
}

/** Rows labelled by the side of a kernel, the problem, and the gradient if it is one. */
const KERNEL = /^(\d+) × \d+, (.+?)(?:, (gradient .+))?$/;
/** Kernels that make a line. */
const LEAST_KERNELS = 3;

/** Times of convolutions by kernel: a plot for each problem, with lines for the forward pass and the gradients. */
function byKernel(rows: readonly BenchRow[]): Html[] {
  const parsed = rows.flatMap(({ label, measures: { time } }) => {
    const [found, side, problem, part = 'forward'] = KERNEL.exec(label) ?? [];
    return found && time !== undefined ? [{ side: Number(side), problem: problem!, part, time }] : [];
  });
  return [...Map.groupBy(parsed, ({ problem }) => problem)].flatMap(([problem, all]) => {
    const sides = [...new Set(all.map(({ side }) => side))].sort((a, b) => a - b);
    if (sides.length < LEAST_KERNELS) return [];
    const lines = [...Map.groupBy(all, ({ part }) => part)].map(([part, times]) => ({
      label: part.replace(' with respect to', ','),
      values: sides.map((side) => times.find((each) => each.side === side)?.time ?? null),
    }));
    return [
      seriesPlot({ title: `Milliseconds: ${problem}`, x: { label: 'side of the kernel', values: sides }, lines }),
    ];
  });
}

/** The times of the problem that has most rows, else of the first few, a row for each label. */
function bars(timed: readonly BenchRow[]): Html {
  const labelled = (rows: readonly BenchRow[]) => [
    ...new Map(rows.toReversed().map((row) => [row.label, row])).values(),
  ];
  const groups = [...Map.groupBy(timed, ({ n, d, mask }) => `${n} ${d} ${mask}`).values()].map(labelled);
  const [largest] = groups.sort((a, b) => b.length - a.length);
  const rows = (largest.length > 2 ? largest : labelled(timed)).slice(-MOST_BARS).reverse();
  return seriesPlot({
    title: 'Milliseconds',
    x: { label: '', values: rows.map(({ label }) => fitting(label)) },
    lines: [{ label: '', values: rows.map(({ measures: { time = null } }) => time) }],
  });
}

function benchPage(suite: string, summary: string, sections: readonly Html[]): Html {
  return html`<div class="title plain"><h1>${suite}</h1><p class="lede">${capital(summary)}.</p></div>
<div class="document">${links('../', suite)}<div class="wide">${sections}</div></div>`;
}

function runSection(run: BenchReport, at: number): Html {
  const id = `run-${at}`;
  const { machine, runtime, notes = [], command, rows } = run;
  const ways = new Map(rows.flatMap(({ label, how }) => (how ? [[label, how]] : [])));
  const plot = plotOf(rows);
  const kernels = byKernel(rows);
  // What the runtime chose for single calls may be long, and is named by several words.
  const [facts, choices] = [true, false].map((is) => runtime.filter((fact) => /^\w+: /.test(fact) === is));
  const remarks = [
    ...formatRejections(rows).map((rejection) => `Not measured: ${rejection}`),
    ...[...ways].map(([label, how]) => `${label}: ${how}`),
    ...run.measures.map((measure) => `${MEASURES[measure].header}: ${meaning(run, measure)}`),
    ...choices,
  ];
  return html`<section class="run-of-bench"><h2>${machine.cpu}, ${machine.cores} cores, ${machine.runtime.split(' ')[0]}</h2>
<p class="caption">${formatMachine(machine)}. ${facts.join('; ')}.</p>
${notes.map((note) => html`<p><strong>${note}</strong></p>`)}
<div class="code"><pre tabindex="0"><code>npx ${command}</code></pre></div>
<script type="application/json" id="${id}">${new Html(JSON.stringify(run).replaceAll('<', '\\u003c'))}</script>
${plot && html`<div class="all-series large">${plot.panels.map((panel) => figure(plot.kind, id, panel))}</div><p class="caption">${plot.said}</p>`}
${kernels.length > 0 && html`<div class="all-series">${kernels}</div>`}
<div class="scroll" tabindex="0" role="region" aria-label="Rows">${table(run)}</div>
<details class="caption"><summary>What the columns mean, and what was not measured</summary><ul>${remarks.map((fact) => html`<li>${fact}</li>`)}</ul></details></section>`;
}

interface Plot {
  readonly kind: keyof typeof PLOTS;
  /** A figure for each. */
  readonly panels: readonly string[];
  readonly said: string;
}

/** The plot for which the rows have the numbers. */
function plotOf(rows: readonly BenchRow[]): Plot | undefined {
  const lines = ratedLines(rows);
  const lined = new Set(lines.map(([{ mask }]) => mask));
  if (rows.every(({ mask }) => lined.has(mask)))
    return {
      kind: 'speed',
      panels: [...new Set(lines.map(([row]) => panelOf(row)))],
      said: 'Useful operations a nanosecond (GF/s): only the pairs that the mask lets through count, so that more is faster whatever the mask. Both axes are logarithmic.',
    };
  const compared = rows.filter(({ measures: { visited, ratio } }) => visited !== undefined && ratio !== undefined);
  if (compared.length <= 2) return undefined;
  return {
    kind: 'tiles',
    panels: [''],
    said: 'On the dashed line time goes with the tiles that a mask visits; above it tiles cost more than those of dense attention. Both axes are logarithmic.',
  };
}

const TITLES: Readonly<Record<keyof typeof PLOTS, string>> = {
  speed: 'Speed by length',
  tiles: 'Time by tiles visited',
};

const figure = (kind: keyof typeof PLOTS, id: string, panel: string) =>
  html`<figure data-live="bench" data-state="idle" data-of="${id}" data-kind="${kind}"${panel && html` data-panel="${panel}"`}><figcaption class="figure-title"><h3>${[TITLES[kind], panel].filter(Boolean).join(': ')}</h3><span class="saves" data-saves></span></figcaption><div class="plot" data-plot></div></figure>`;

const meaning = ({ ratio }: BenchReport, measure: MeasureName) =>
  measure === 'ratio' && ratio ? ratio : MEASURES[measure].help;

function table({ rows, measures }: BenchReport): Html {
  const withGoal = rows.some(({ goal }) => goal);
  const heads = ['n', 'd', 'mask', 'measured', 'threads', ...measures.map((measure) => MEASURES[measure].header)];
  const body = rows.map((row, at) => {
    const above = rows[at - 1];
    const isSame = above && above.n === row.n && above.d === row.d && above.mask === row.mask;
    // A command has no length, and nothing to mask.
    const problem = isSame ? ['', '', ''] : [row.n || '', row.d || '', row.d ? row.mask : ''];
    const cells = measures.map((measure, index) => cell(row, measure, index === 0));
    return html`<tr${!isSame && html` class="first"`}>${problem.map((value) => html`<td>${value}</td>`)}<td>${row.label}</td><td>${row.threads ?? ''}</td>${cells}${withGoal && html`<td>${goal(row)}</td>`}</tr>`;
  });
  return html`<table class="table plain dense"><thead><tr>${heads.map((head) => html`<th>${head}</th>`)}${withGoal && html`<th>goal</th>`}</tr></thead><tbody>${body}</tbody></table>`;
}

function cell({ status, measures }: BenchRow, measure: MeasureName, isFirst: boolean): Html {
  const value = measures[measure];
  if (value !== undefined) return html`<td class="number">${MEASURES[measure].format(value)}</td>`;
  return html`<td>${isFirst && status !== 'ok' && html`<strong>${status}</strong>`}</td>`;
}

function goal(row: BenchRow): Html | false {
  if (!row.goal) return false;
  const said = reaches(row, row.goal) ? 'reached' : 'not reached';
  return html`<b class="verdict ${said === 'reached' && 'reproduced'}" role="img" aria-label="${said}" title="${said}"></b>${formatGoal(row.goal)}`;
}
