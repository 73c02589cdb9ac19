/** The page of a model, from its declaration. */
import { describeParams } from '../../src/methods/params';
import { paramsJsonSchema } from '../../src/methods/params-json-schema';
import * as exported from '../../src/models';
import type { Model } from '../../src/models/define';
import { findPaper } from '../../src/papers/find';
import { Html, html } from '../site/html';
import type { FormData } from './page-data';
import { paperPath } from './paper-page';
import { coded, form, outputsFigure, runSection } from './parts';
import { breakable, capital, modelTitle } from './titles';

export interface ModelData extends FormData {
  /** By which `saccade/models` exports it, if it does. */
  readonly exported?: string;
  readonly inputs: readonly string[];
  /** The first output, and whether it is promised. */
  readonly output: string;
  readonly promised: boolean;
}

export const modelPath = (name: string) => `models/${name}/index.html`;

export function modelPage(model: Model): Html {
  const { summary, inputs, optional = {}, outputs, params } = model;
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
<div class="title bare"><div><h1>${breakable(modelTitle(model))}</h1>${paper && html`<cite><a href="../../${paperPath(paper.id)}">${paper.title}</a> <span>${paper.authors} ${paper.year}</span></cite>`}<p class="question">${capital(summary)}.</p></div></div>
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

function dataOf(model: Model): ModelData {
  const { name, inputs, outputs, promised = [] } = model;
  const [output] = Object.keys(outputs);
  const hasFeatures = 'features' in (paramsJsonSchema(model.params).properties ?? {});
  const [own] = Object.entries<unknown>(exported).find(([, value]) => value === model) ?? [];
  return {
    name,
    ...(own && { exported: own }),
    spatial: false,
    fields: [],
    // What each stage makes of the picture says more than classes do by random weights.
    sample: { extents: {}, params: { ...model.sample().params, ...(hasFeatures && { features: true }) } },
    presets: [],
    inputs: Object.keys(inputs),
    output,
    promised: promised.includes(output),
  };
}
