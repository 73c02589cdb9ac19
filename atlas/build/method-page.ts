/** The page of a method, from its README, its registry entry and its stored run. */
import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { Method } from '../../src/methods/define';
import type { Page } from '../../src/methods/page';
import { baseline, findMethod, methods } from '../../src/methods/registry';
import { isAttention, REAL_NUMBERS, tokensIn } from '../site/problem';
import { measuredClaims } from './claims';
import { glyph } from './glyphs';
import { addressOf } from './guide';
import { Html, html } from './html';
import { verdictMarks, workMark } from './index-page';
import { glyphBox } from './layout';
import { sectionsOf } from './markdown';
import { ENCODER_BYTES } from './meanings';
import { dataOf, type PageData } from './page-data';
import { form, outputsFigure, runSection } from './parts';
import { folderOf, pageOf, paperOf, ROOT, runs, workingOf } from './standing';

export const titleOf = (method: Method) =>
  readFileSync(resolve(folderOf(method.name), 'README.md'), 'utf8')
    .split('\n', 1)[0]
    .replace('# ', '');

export function methodPage(method: Method): Html {
  const { name, summary } = method;
  const { id, title, authors, year, arxiv, family } = paperOf(method);
  const page = pageOf(name);
  const data = dataOf(method, page);
  const { masked, weighed, given, spatial } = data;
  const pictured = masked || weighed;
  const others = besides(method, page);
  const needsLayer = method.layer !== undefined && Object.keys(method.inputs).some((input) => !given.includes(input));
  const run = runs.get(id);
  const folder = folderOf(name);
  const [intro, ...sections] = sectionsOf(readFileSync(resolve(folder, 'README.md'), 'utf8'), (target) =>
    addressOf(target, `methods/${name}/index.html`, relative(ROOT, resolve(folder, 'README.md'))),
  );
  return html`
<script type="application/json" id="method"${needsLayer && html` data-layer`}>${new Html(JSON.stringify(data).replaceAll('<', '\\u003c'))}</script>
<div class="title${glyph(id) ? '' : ' bare'}">
  ${glyph(id) && glyphBox(id)}
  <div><h1>${titleOf(method)}</h1><cite><a href="../../papers/${id}/index.html">${title}</a> <span>${authors} ${year}, <a href="https://arxiv.org/abs/${arxiv}">arXiv ${arxiv}</a></span></cite><p class="question">${page.question}</p></div>
  <div class="aside">
    <p class="crumbs"><a href="../../index.html#${id}">${family}</a></p>
    <dl class="standing"><dt>runs on</dt><dd>${Object.entries(workingOf([method])).map(([what, how]) => html`${workMark(how)}${what} `)}</dd>
    ${run && html`<dt>claims</dt><dd><a href="#claims">${verdictMarks(run.findings.map(({ verdict }) => verdict))}</a></dd>`}</dl>
  </div>
</div>
<section class="bench" id="bench" aria-label="The method, live">
  ${form(method.params, data)}
  ${pictured ? picture(data, page.view) : outputsFigure(method.outputs)}
  <div class="plots">
    <figure data-live="cost" data-state="idle"><figcaption class="figure-title"><h3>Cost against length</h3><span class="saves" data-saves></span></figcaption>
      <div class="choices"><label>of <select name="metric" data-kept><option value="flops">operations</option><option value="bytes">inputs and outputs</option><option value="state">state between calls</option></select></label></div>
      ${others.length > 0 && html`<details class="choices beside"><summary>beside <span data-beside>${data.baseline ? 'exact attention' : 'others'}</span></summary><fieldset><legend class="hidden">Other methods at their initial settings</legend>${others.map((other) => html`<label class="tick"><input type="checkbox" name="beside" value="${other.name}" data-kept> ${other.name}</label>`)}</fieldset></details>`}
      <div class="plot" data-plot></div><p class="caption" data-said role="status"></p></figure>
    ${masked && html`<figure data-live="reach" data-state="idle"><figcaption class="figure-title"><h3>Reach by layer</h3><span class="saves" data-saves></span></figcaption><div class="plot" data-plot></div><p class="caption" data-said role="status"></p></figure>`}
    ${weighed && !masked && !spatial && html`<figure data-live="within" data-state="idle"><figcaption class="figure-title"><h3>Weight by distance</h3><span class="saves" data-saves></span></figcaption><div class="plot" data-plot></div><p class="caption" data-said role="status"></p></figure>`}
  </div>
</section>
${runSection(columnsOf(data), data.baseline !== undefined && numbersChoice(spatial, page))}
<section class="section"><h2>Code<small>With the params chosen above</small></h2>
  <div data-live="code" data-state="idle"><div class="code"><pre tabindex="0"><code data-code></code></pre><button type="button" data-copy>copy</button></div><div class="code"><pre tabindex="0"><code data-command></code></pre><button type="button" data-copy>copy</button></div><p class="caption" data-said role="status"></p></div>
</section>
<section class="section"><h2>What it is</h2><div class="prose"><p class="lede">${summary[0].toUpperCase()}${summary.slice(1)}.</p>${intro.body}</div></section>
${run && measuredClaims(run)}
${sections.map(({ title, body }) => !(title === CLAIMS && stripped(body) === '') && html`<section class="section"><h2>${title === CLAIMS ? 'Notes on the measurements' : title}</h2><div class="prose">${body}</div></section>`)}
${rivals(page)}
${neighbours(method)}`;
}

/** Methods whose costs may stand beside this one's, its rivals first. */
function besides(method: Method, { rivals }: Page): Method[] {
  const rank = ({ name }: Method) => (rivals.includes(name) ? 0 : 1);
  return methods
    .filter((other) => other !== method && other !== baseline && isAttention(other) === isAttention(method))
    .sort((a, b) => rank(a) - rank(b));
}

function rivals({ rivals }: Page): Html | false {
  const links = rivals.map((name) => {
    const method = findMethod(name);
    return html`<li><a href="../${name}/index.html">${titleOf(method)}</a>: ${pageOf(name).question}</li>`;
  });
  return (
    links.length > 0 &&
    html`<section class="section"><h2>Rivals</h2><div class="prose"><ul>${links}</ul></div></section>`
  );
}

/** The heading above a method's measurements, which have a section of their own on its page. */
const CLAIMS = 'Claims and measurements';

const stripped = ({ text }: Html) => text.replace(/<[^>]*>/g, '').trim();

const columnsOf = ({ name, baseline }: PageData) => ({
  time: name,
  rate: 'rate',
  memory: 'memory',
  ...(baseline && { exact: 'exact attention', speedup: 'speed-up' }),
  error: 'largest error',
});

/** Where q, k and v come from. */
function numbersChoice(spatial: boolean, { sample }: Page): Html {
  const own = sample.inputs ? 'the sample of this page' : 'normal random numbers';
  const real = Object.entries(REAL_NUMBERS).filter(([, numbers]) => numbers.spatial === spatial);
  const option = ([value, { h, d }]: (typeof real)[number]) =>
    html`<option value="${value}">${spatial ? 'a photograph' : `a text, ${value} of a sentence encoder`}: ${h} heads of ${d}</option>`;
  const source = spatial
    ? 'Patches of a photograph of the French Alps as queries, keys and values of image filters.'
    : `A text goes through the Universal Sentence Encoder (${Math.round(ENCODER_BYTES / 1e6)} MB, loaded once), whose heads take the place of those above.`;
  const text = html`<label>your text <textarea form="setting" name="text" rows="2" maxlength="20000" placeholder="else the beginning of Moby Dick"></textarea></label>`;
  return html`<div class="numbers"><label>q, k and v from <select form="setting" name="numbers" aria-describedby="numbers-help"><option value="normal">${own}</option>${real.map(option)}</select></label>${!spatial && text}<p class="caption" id="numbers-help">${source}</p></div>`;
}

/** A pair worth a look: a late query, and a key a quarter of the way, or, of weights, not far from it. */
function firstPair({ sample: { extents }, masked }: PageData): [number, number] {
  const n = tokensIn(extents);
  const query = Math.floor('rows' in extents ? (n + extents.columns) / 2 : 0.9 * n);
  return [query, Math.floor(masked ? n / 4 : 0.95 * query)];
}

function picture(data: PageData, view: Page['view']): Html {
  const { name, masked, weighed, spatial } = data;
  const [i, j] = firstPair(data);
  const shows = masked ? (weighed ? 'The mask or the weights' : 'The mask') : 'The weights';
  const seen = html`<option value="mask">mask: what is seen</option>`;
  const weights = html`<option value="weights">weights on the sample</option>`;
  const kind =
    masked &&
    weighed &&
    html`<label>picture <select id="picture" name="picture" data-kept>${view === 'mask' ? [seen, weights] : [weights, seen]}</select></label>`;
  const inks =
    weighed &&
    html`<label data-weights${masked && html` hidden`}>ink <select id="ink" name="ink" data-kept><option value="log">logarithmic</option><option value="linear">linear</option><option value="row">linear, query by query</option></select></label>`;
  return html`<div class="mask">
    <p class="readout">From query <input id="i" name="i" type="number" min="0" value="${i}" aria-label="query" data-kept> to key <input id="j" name="j" type="number" min="0" value="${j}" aria-label="key" data-kept>: <output id="said" for="i j"></output></p>
    <figure data-live="${masked ? 'mask' : 'weights'}" data-state="idle">
      <div class="choices">${kind}${inks}<input id="view" name="view" hidden aria-label="view" data-kept></div>
      <div class="field" id="field"><div class="across"><span data-left>0</span><span>keys →</span><span data-right></span></div><div class="down"><span data-top>0</span><span>queries →</span><span data-bottom></span></div><div class="north"></div><div class="west"></div>
      <div class="cells" id="cells"><canvas tabindex="0" role="img" aria-label="${shows} of ${name}: queries down, keys across. Arrow keys move the pair, plus and minus zoom."></canvas></div></div>
      ${weighed && html`<div class="scale" id="legend" data-weights${masked && html` hidden`}><span data-left-end></span><canvas height="1" aria-hidden="true"></canvas><span><span data-right-end></span> <span data-unit></span></span><span data-middle></span></div>`}
      <figcaption class="figure-title"><span class="zoom"><button type="button" data-zoom="in" aria-label="larger">+</button><button type="button" data-zoom="out" aria-label="smaller">−</button><button type="button" data-zoom="all">whole</button><button type="button" data-zoom="cells">cells</button><label>head <input id="head" name="head" type="number" min="0" value="0" data-kept></label><button type="button" data-cancel hidden>cancel</button></span><span class="saves" data-saves></span></figcaption>
      <p class="caption" data-said role="status"></p>
    </figure>
    ${masked && !spatial && html`<div class="strips" id="strips"><div class="heading figure-title"><span data-heading></span><span class="saves" data-saves></span></div><div class="rows" data-strips aria-hidden="true"></div></div>`}
    ${spatial && relief(name, masked, weighed)}
  </div>`;
}

/** Tokens on their grid, in two and three dimensions. */
function relief(name: string, masked: boolean, weighed: boolean): Html {
  const heights = [
    masked && html`<option value="layers">layers until reached</option>`,
    weighed && html`<option value="weights">weights</option>`,
  ];
  return html`<figure class="relief" data-live="relief" data-state="idle">
    <figcaption class="figure-title"><h3>On the grid</h3><span class="saves" data-saves></span></figcaption>
    <div class="choices"><label>height <select id="height" name="height" data-kept>${heights}</select></label> <span class="zoom"><button type="button" data-turn="relief">in relief</button><button type="button" data-turn="flat">from above</button></span><span data-pointed></span><input id="turn" name="turn" hidden aria-label="turn" data-kept></div>
    <canvas tabindex="0" role="img" aria-label="What the query of ${name} has of each token, on the grid. Arrow keys turn it; a click takes another query."></canvas>
    <p class="caption" data-said role="status"></p>
  </figure>`;
}

function neighbours(method: Method): Html {
  const at = methods.indexOf(method);
  const link = (other: Method | undefined, word: string) =>
    other
      ? html`<a href="../${other.name}/index.html"><span class="quiet">${word} <strong>${titleOf(other)}</strong></span></a>`
      : html`<span></span>`;
  return html`<nav class="next" aria-label="Neighbours">${link(methods[at - 1], 'before')}${link(methods[at + 1], 'after')}</nav>`;
}
