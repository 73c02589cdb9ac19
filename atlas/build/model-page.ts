/** The page of a model, from its declaration. */
import { describeParams } from '../../src/methods/params';
import * as exported from '../../src/models';
import type { Model } from '../../src/models/define';
import { findPaper } from '../../src/papers/find';
import { formatPercent } from '../../src/text/format';
import { Html, html } from '../site/html';
import { lookBox } from './looks';
import type { FormData } from './page-data';
import { paperPath } from './paper-page';
import { coded, form, outputsFigure, runSection } from './parts';
import { type Opening, openings } from './published';
import { breakable, capital, modelTitle } from './titles';

export interface ModelData extends FormData {
  /** By which `saccade/models` exports it, if it does. */
  readonly exported?: string;
  readonly inputs: readonly string[];
  /** The first output, and whether it is promised. */
  readonly output: string;
  readonly promised: boolean;
  /** Whether programs have its weights. */
  readonly trained: boolean;
}

export const modelPath = (name: string) => `models/${name}/index.html`;

const UNTRAINED = html`<p class="caption">Untrained: by random weights, so that what is shown is the mechanism only.</p>`;

export function modelPage(model: Model): Html {
  const { summary, inputs, optional = {}, outputs, params, published } = model;
  const data = dataOf(model);
  const described = describeParams(params);
  const paper = findPaper(model.paper);
  const tensor = ([tensor, spec]: [string, string], what: string) =>
    html`<tr><td><code>${tensor}</code></td><td data-label="shape:"><code>[${spec.split(' ').join(', ')}]</code></td><td data-label="is:">${what}</td></tr>`;
  const rows = [
    ...Object.entries(inputs).map((entry) => tensor(entry, 'input')),
    ...Object.entries(optional).map((entry) => tensor(entry, 'input, may be left out')),
    ...Object.entries(outputs).map((entry) => tensor(entry, 'output')),
  ];
  const code = html`<div class="code"><pre tabindex="0"><code data-code></code></pre><button type="button" data-copy>copy</button></div>`;
  return html`
<script type="application/json" id="model">${new Html(JSON.stringify(data).replaceAll('<', '\\u003c'))}</script>
<div class="title bare"><div><h1>${breakable(modelTitle(model))}</h1>${paper && html`<cite><a href="../../${paperPath(paper.id)}">${paper.title}</a> <span>${paper.authors} ${paper.year}</span></cite>`}<p class="question">${capital(summary)}.</p>${!published && UNTRAINED}</div></div>
${lookSection(model)}
<section class="bench" id="bench" aria-label="The model, live">
  ${form(params, data)}
  ${outputsFigure(outputs)}
</section>
${runSection({ time: modelTitle(model), memory: 'memory', error: 'largest error' })}
<section class="section"><h2>Code<small>With the params chosen above</small></h2>
  <div data-live="code" data-state="idle">${data.exported && code}<div class="code"><pre tabindex="0"><code data-command></code></pre><button type="button" data-copy>copy</button></div><p class="caption" data-said role="status"></p></div>
</section>
<section class="section"><h2>Inputs and outputs</h2><div><table class="table"><thead><tr><th>Tensor</th><th>Shape</th><th></th></tr></thead><tbody>${rows}</tbody></table></div></section>
${described.length > 0 && html`<section class="section"><h2>Params</h2><div class="prose"><ul>${described.map(({ name, type, description }) => html`<li><code>${name}</code> (${type}): ${coded(description)}</li>`)}</ul></div></section>`}`;
}

/** What the trained network says of a picture, and what it looked at. */
function lookSection({ name }: Model): Html | false {
  const { look } = openings.get(name) as Opening;
  if (!look) return false;
  const { classes, said, sights, bytes, mean } = look;
  const isOfPlaces = classes.some(({ colour }) => colour);
  const rows = classes.map(
    ({ name, share }) =>
      html`<tr><th scope="row">${name}</th><td style="--share: ${share}">${formatPercent(share)}</td></tr>`,
  );
  const kilobytes = Math.round(bytes / 1000);
  return html`<section class="section"><h2>What it sees<small>By the small network that comes along</small></h2><div>
  ${lookBox({ said, sights })}
  <table class="table plain inked"><thead><tr><th>Class</th><th>${isOfPlaces ? 'Share of the picture' : 'Probability'}</th></tr></thead><tbody>${rows}</tbody></table>
  <p class="caption">Computed when the page was built. ${isOfPlaces ? `Of test pictures, such networks reach a mean intersection over union of ${formatPercent(mean)}` : `Such networks are right about ${formatPercent(mean)} of test pictures`}, a mean of three seeds. The weights, ${kilobytes} kB compressed, are fetched when it runs here.</p></div>
</section>`;
}

function dataOf(model: Model): ModelData {
  const { name, inputs, outputs, promised = [] } = model;
  const [output] = Object.keys(outputs);
  const [own] = Object.entries<unknown>(exported).find(([, value]) => value === model) ?? [];
  return {
    name,
    ...(own && { exported: own }),
    spatial: false,
    fields: [],
    sample: { extents: {}, params: openings.get(name)!.params as Record<string, unknown> },
    presets: [],
    inputs: Object.keys(inputs),
    output,
    promised: promised.includes(output),
    trained: model.published !== undefined,
  };
}
