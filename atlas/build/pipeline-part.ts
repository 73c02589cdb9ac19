/** What a whole program makes, at the top of its paper's page: a picture, what its stored runs found, and an example that runs there. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Series } from '../../src/experiments/experiment';
import { groupBy } from '../../src/group-by';
import type { Estimate } from '../../src/measure/statistics';
import type { Pipeline, PipelineShown, ShownRun } from '../../src/pipelines/names';
import { type Html, html } from '../site/html';
import { exampleBox, examples } from './examples';
import { lookBox, looks } from './looks';
import { seriesPlot } from './series-plot';
import { ROOT } from './standing';

const DOCS = 'docs/pipelines';

export function pipelineSection({ command, shown }: Pipeline): Html | false {
  if (!shown) return false;
  const { pictures = [], looks: asked, example, runs } = shown;
  const found = examples.find(({ name }) => name === example);
  return html`<section class="section"><h2>What it makes<small><code>${command}</code></small></h2><div>${pictures.map(pictureBox)}${asked && looks.get(asked.file)?.map(lookBox)}
<div class="all-series">${runs.map((run) => seriesPlot(seriesOf(run)))}</div>${found && exampleBox(found)}</div></section>`;
}

function pictureBox({ file, width, height, text }: NonNullable<PipelineShown['pictures']>[number]): Html {
  return html`<figure class="made"><img src="../../../${DOCS}/${file}" width="${width}" height="${height}" alt="${text}"><figcaption class="caption">${text}</figcaption></figure>`;
}

/** A run of tasks: detectors have AUROC, learners accuracies, [seed][task learned last][task]. */
interface StoredRun {
  readonly arms?: readonly { readonly arm: string; readonly object: readonly Estimate[] }[];
  readonly learners?: readonly {
    readonly learner: string;
    readonly stored?: number;
    readonly accuracies: readonly (readonly (readonly number[])[])[];
  }[];
  readonly tasks: readonly unknown[];
}

/** Figures by name of each kind and seed of a comparison. */
type StoredRows = readonly Readonly<Record<string, string | number | number[] | undefined>>[];

function seriesOf(shown: ShownRun): Series {
  const run = JSON.parse(readFileSync(resolve(ROOT, DOCS, shown.file), 'utf8'));
  return shown.figure === undefined ? overTasks(run, shown.title) : compared(run.arms ?? run.rows, shown);
}

/** Means over seeds: of numbers a bar for each kind, of lists lines over their places. */
function compared(rows: StoredRows, { title, figure = '', x }: ShownRun): Series {
  const known = rows.filter((row) => row[figure] !== undefined);
  const kinds = [...groupBy(known, ({ attention, name }) => String(attention ?? name))];
  const lines = kinds.map(([label, own]) => {
    const lists = own.map((row) => [row[figure]].flat() as number[]);
    return { label, values: lists[0].map((_, at) => mean(lists.map((list) => list[at]))) };
  });
  if (x) return { title, x: { label: x, values: lines[0].values.map((_, at) => at + 1) }, lines };
  const values = lines.map(({ values }) => values[0]);
  return { title, x: { label: '', values: lines.map(({ label }) => label) }, lines: [{ label: figure, values }] };
}

function overTasks({ arms = [], learners = [], tasks }: StoredRun, title: string): Series {
  const lines = [
    ...arms.map(({ arm, object }) => ({ label: arm, values: object.map(({ value }) => value) })),
    ...learners.map(({ learner, stored, accuracies }) => ({
      label: stored === undefined ? learner : `${learner} ${stored}`,
      values: tasks.map((_, task) => mean(accuracies.map((rows) => mean(rows[task] ?? [])))),
    })),
  ];
  return { title, x: { label: 'tasks learned', values: tasks.map((_, task) => task + 1) }, lines };
}

const mean = (values: readonly number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;
