/** What a whole program makes, at the top of its paper's page: a picture, what its stored runs found, and an example that runs there. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Series } from '../../src/experiments/experiment';
import type { Estimate } from '../../src/measure/statistics';
import type { Pipeline, PipelineShown } from '../../src/pipelines/names';
import { type Html, html } from '../site/html';
import { exampleBox, examples } from './examples';
import { seriesPlot } from './series-plot';
import { ROOT } from './standing';

const DOCS = 'docs/pipelines';

export function pipelineSection({ command, shown }: Pipeline): Html | false {
  if (!shown) return false;
  const { picture, example, runs } = shown;
  const found = examples.find(({ name }) => name === example);
  return html`<section class="section"><h2>What it makes<small><code>${command}</code></small></h2><div>${picture && pictureBox(picture)}
<div class="all-series">${runs.map((run) => seriesPlot(seriesOf(run)))}</div>${found && exampleBox(found)}</div></section>`;
}

function pictureBox({ file, width, height, text }: NonNullable<PipelineShown['picture']>): Html {
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

function seriesOf({ file, title }: PipelineShown['runs'][number]): Series {
  const { arms = [], learners = [], tasks }: StoredRun = JSON.parse(readFileSync(resolve(ROOT, DOCS, file), 'utf8'));
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
