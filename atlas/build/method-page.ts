/** The page of a method, from its README, its registry entry and its stored run. */
import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { Method } from '../../src/methods/define';
import type { Page } from '../../src/methods/page';
import { baseline, findMethod, methods } from '../../src/methods/registry';
import { LAYER_INKS, LAYERS_SHOWN } from '../site/constants';
import { Html, html } from '../site/html';
import { isAttention, REAL_NUMBERS, tokensIn } from '../site/problem';
import { measuredClaims } from './claims';
import { glyph, opensOnGlyph } from './glyphs';
import { addressOf } from './guide';
import { verdictMarks, workMark } from './index-page';
import { glyphBox } from './layout';
import { sectionsOf } from './markdown';
import { ENCODER_BYTES } from './meanings';
import { dataOf, type PageData } from './page-data';
import { form, outputsFigure, runSection } from './parts';
import { reading } from './readings';
import { ownPlaceOf } from './sprite';
import { folderOf, pageOf, paperOf, ROOT, runs, workingOf } from './standing';
import { breakable, capital, shortTitle, titleOf } from './titles';

export function methodPage(method: Method): Html {
  const { name, summary } = method;
  const paper = paperOf(method);
  const page = pageOf(name);
  const others = besides(method, page);
  const names = Object.fromEntries([method, baseline, ...others].map((each) => [each.name, shortTitle(each)]));
  const data = dataOf(method, page, { names, reading: opensOnGlyph(method) ? reading(paper) : '' });
  const needsLayer =
    method.layer !== undefined && Object.keys(method.inputs).some((input) => !data.given.includes(input));
  const run = runs.get(paper.id);
  const readme = readmeOf(method);
  return html`
<script type="application/json" id="method"${needsLayer && html` data-layer`}>${new Html(JSON.stringify(data).replaceAll('<', '\\u003c'))}</script>
${head(method, `${capital(summary)}.`)}
<section class="bench" id="bench" aria-label="The method, live">
  ${form(method.params, data)}
  ${data.masked || data.weighed ? picture(data, page) : outputsFigure(method.outputs)}
  ${plots(data, page, others)}
</section>
${section('When to use it', readme.take('When to use it'))}
${run && measuredClaims(run, readme.take('Claims and measurements'))}
${runSection(columnsOf(data))}
<section class="section"><h2>Code<small>With the setting above</small></h2>${CODE}</section>
${section('How it works', html`${readme.intro}${readme.take('Formula')}`)}
${readme.rest().map(({ title, body }) => section(title, body))}
${rivals(page)}
${neighbours(method)}`;
}

function head(method: Method, idea: string): Html {
  const { id, title, authors, year, arxiv, family } = paperOf(method);
  const verdicts = runs.get(id)?.findings.map(({ verdict }) => verdict);
  return html`<div class="title${glyph(id) ? '' : ' bare'}">
  ${glyph(id) && glyphBox(id, undefined, ownPlaceOf(id))}
  <div><h1>${breakable(titleOf(method))}</h1><cite><a href="../../papers/${id}/index.html">${title}</a> <span>${authors} ${year}, <a href="https://arxiv.org/abs/${arxiv}">arXiv ${arxiv}</a></span></cite><p class="question">${idea}</p></div>
  <div class="aside">
    <p class="crumbs"><a href="../../index.html#${id}">${family}</a></p>
    <dl class="standing"><dt>runs on</dt><dd>${Object.entries(workingOf([method])).map(([what, how]) => html`${workMark(how)}${what} `)}</dd>
    ${verdicts && html`<dt>claims</dt><dd><a href="#claims">${verdictMarks(verdicts)}</a></dd>`}</dl>
  </div>
</div>`;
}

/** The sections of a method's README, which are taken one by one; links lead to pages. */
function readmeOf({ name }: Method) {
  const file = resolve(folderOf(name), 'README.md');
  const [intro, ...sections] = sectionsOf(readFileSync(file, 'utf8'), (target) =>
    addressOf(target, `methods/${name}/index.html`, relative(ROOT, file)),
  );
  const left = new Map(sections.map(({ title, body }) => [title, body]));
  return {
    // The name is the page's title, and its code has a section.
    intro: new Html(
      intro.body.text
        .replace(new RegExp(`<p><code>${name}</code>: (.)`), (_, first) => `<p>${first.toUpperCase()}`)
        .replace(/<div class="code">[\s\S]*?<\/div>/g, ''),
    ),
    take(title: string): Html {
      const body = left.get(title) ?? new Html('');
      left.delete(title);
      return body;
    },
    rest: () => [...left].map(([title, body]) => ({ title, body })),
  };
}

const section = (title: string, body: Html, small?: string) =>
  body.text.trim() !== '' &&
  html`<section class="section"><h2>${title}${small && html`<small>${small}</small>`}</h2><div class="prose">${body}</div></section>`;

const BOX = html`<button type="button" data-copy>copy</button>`;
const CODE = html`<div data-live="code" data-state="idle"><div class="code"><pre tabindex="0"><code data-code></code></pre>${BOX}</div><div class="code"><pre tabindex="0"><code data-command></code></pre>${BOX}</div><p class="caption" data-said role="status"></p></div>`;

function plots(data: PageData, { rivals }: Page, others: readonly Method[]): Html {
  const { masked, weighed, spatial } = data;
  const choices = others.map(
    ({ name }) =>
      html`<label class="tick"><input type="checkbox" name="beside" value="${name}" data-kept${rivals.includes(name) && html` checked`}> ${data.names[name]}</label>`,
  );
  const above = html`<div class="choices"><label>of <select name="metric" data-kept><option value="flops">operations</option><option value="bytes">inputs and outputs</option><option value="state">state between calls</option></select></label></div>`;
  const below =
    choices.length > 0 &&
    html`<details class="choices beside"><summary>beside <span data-beside>others</span></summary><fieldset><legend class="hidden">Other methods, as their pages open</legend>${choices}</fieldset></details>`;
  return html`<div class="plots">
    ${figure('cost', 'Cost against length', above, below)}
    ${masked && figure('reach', 'Reach by layer')}
    ${weighed && !masked && !spatial && figure('within', 'Weight by distance')}
  </div>`;
}

const figure = (live: string, title: string, above: Html | false = false, below: Html | false = false) =>
  html`<figure data-live="${live}" data-state="idle"><figcaption class="figure-title"><h3>${title}</h3><span class="saves" data-saves></span></figcaption>${above}<div class="plot" data-plot></div><p class="caption" data-said role="status"></p>${below}</figure>`;

/** Methods whose costs may stand beside this one's, its rivals first: other attention, or what else is of its family. */
function besides(method: Method, { rivals }: Page): Method[] {
  const rank = ({ name }: Method) => (rivals.includes(name) ? 0 : 1);
  const isAlike = (other: Method) =>
    isAttention(method) ? isAttention(other) : other.family === method.family && !isAttention(other);
  return methods
    .filter((other) => other !== method && other !== baseline && isAlike(other))
    .sort((a, b) => rank(a) - rank(b));
}

/** Methods to be seen beside it: their pictures and questions. */
function rivals({ rivals }: Page): Html | false {
  const items = rivals.map((name) => {
    const method = findMethod(name);
    return html`<li><a href="../${name}/index.html">${glyphBox(paperOf(method).id)}<strong>${shortTitle(method)}</strong></a><span>${pageOf(name).question}</span></li>`;
  });
  return (
    items.length > 0 && html`<section class="section"><h2>Beside it</h2><ul class="multiples">${items}</ul></section>`
  );
}

const columnsOf = ({ name, names, baseline }: PageData) => ({
  time: names[name],
  rate: 'rate',
  memory: 'memory',
  ...(baseline && { exact: 'exact attention', speedup: 'speed-up' }),
  error: 'largest error',
});

/** Where q, k and v come from, and the text, if it is one. */
function numbersChoice({ spatial }: PageData, { sample }: Page): Html {
  const own = sample.inputs ? 'a toy sequence' : 'normal random numbers';
  const real = Object.entries(REAL_NUMBERS).filter(([, numbers]) => numbers.spatial === spatial);
  const option = ([value, { h, d }]: (typeof real)[number]) =>
    html`<option value="${value}">${spatial ? 'a photograph' : `your text, ${value} of an encoder`} (${h} heads of ${d})</option>`;
  const source = spatial
    ? 'Patches of a photograph of the French Alps as queries, keys and values of image filters.'
    : `The text goes through the Universal Sentence Encoder (${Math.round(ENCODER_BYTES / 1e6)} MB, loaded once), whose heads take the place of those of the form.`;
  const text = html`<label>text <textarea form="setting" name="text" rows="2" maxlength="20000" placeholder="else the beginning of Moby Dick"></textarea></label>`;
  return html`<div class="numbers"><label>q, k and v of <select form="setting" name="numbers" aria-describedby="numbers-help"><option value="normal">${own}</option>${real.map(option)}</select></label>${!spatial && text}<p class="caption" id="numbers-help">${source}</p></div>`;
}

/** A pair worth a look: a late query, and a key that takes a few jumps, or, of weights, that is not far from it. */
function firstPair({ sample: { extents }, masked }: PageData): [number, number] {
  const n = tokensIn(extents);
  const query = Math.floor('rows' in extents ? (n + extents.columns) / 2 : 0.9 * n);
  return [query, Math.floor(masked ? n / 4 : 0.95 * query)];
}

/** The words of a text, if numbers are of one. */
const SENTENCE = html`<div class="sentence" data-live="sentence" data-state="idle" hidden><div class="words" data-words dir="auto"></div><div class="arcs" data-arcs></div><p class="caption" data-said role="status"></p></div>`;

function picture(data: PageData, page: Page): Html {
  const { name, masked, weighed, spatial, sample, names } = data;
  const [i, j] = firstPair(data);
  const shows = masked ? (weighed ? 'The mask or the weights' : 'The mask') : 'The weights';
  const seen = html`<option value="mask">what is seen, and reached</option>`;
  const weights = html`<option value="weights">weights of the numbers</option>`;
  const hidesWeights = masked && page.view === 'mask' && html` hidden`;
  const kind =
    masked &&
    weighed &&
    html`<label>picture <select id="picture" name="picture" data-kept>${page.view === 'mask' ? [seen, weights] : [weights, seen]}</select></label>`;
  const inks =
    weighed &&
    html`<label data-weights${hidesWeights}>ink <select id="ink" name="ink" data-kept><option value="row">linear, query by query</option><option value="linear">linear</option><option value="log">logarithmic</option></select></label>`;
  return html`<div class="mask">
    ${data.baseline !== undefined && numbersChoice(data, page)}
    ${data.baseline !== undefined && !spatial && SENTENCE}
    <p class="readout">From query <input id="i" name="i" type="number" min="0" value="${i}" aria-label="query" data-kept> to key <input id="j" name="j" type="number" min="0" value="${j}" aria-label="key" data-kept>: <output id="said" for="i j"></output></p>
    <figure data-live="${masked ? 'mask' : 'weights'}" data-state="idle">
      <div class="choices">${kind}${inks}<label>head <input id="head" name="head" type="number" min="0" value="${sample.head ?? 0}" data-kept></label><input id="view" name="view" hidden aria-label="view" data-kept></div>
      <div class="field" id="field"><div class="across"><span data-left>0</span><span>keys →</span><span data-right></span></div><div class="down"><span data-top>0</span><span>queries →</span><span data-bottom></span></div><div class="north"></div><div class="west"></div>${data.baseline !== undefined && !spatial && html`<div data-axis="across" dir="auto"></div><div data-axis="down" dir="auto"></div>`}
      <div class="cells" id="cells"><canvas tabindex="0" role="img" aria-label="${shows} of ${names[name]}: queries down, keys across. Arrow keys move the pair, plus and minus zoom."></canvas></div>
      ${masked && html`<div class="east-title" data-masks>keys read</div><div class="east" id="east" data-masks><canvas aria-hidden="true"></canvas><b></b></div>`}</div>
      ${weighed && html`<div class="scale" id="legend" data-weights${hidesWeights}><span data-left-end></span><canvas height="1" aria-hidden="true"></canvas><span><span data-right-end></span> <span data-unit></span></span><span data-middle></span></div>`}
      <figcaption class="figure-title"><span class="zoom"><button type="button" data-zoom="in" aria-label="larger">+</button><button type="button" data-zoom="out" aria-label="smaller">−</button><button type="button" data-zoom="all">whole</button><button type="button" data-zoom="cells">cells</button><button type="button" data-cancel hidden>cancel</button></span><span class="saves" data-saves></span></figcaption>
      ${masked && layersChoice(spatial)}
      ${masked && html`<ul class="rule" id="rule" data-masks aria-label="Parts of the mask"></ul>`}
      <p class="caption" data-said role="status"></p>
    </figure>
    ${spatial && relief(name, masked, weighed)}
  </div>`;
}

/** How many layers the picture shows: its legend, and for a sequence what the query reaches through each. */
function layersChoice(spatial: boolean): Html {
  const layers = LAYER_INKS.slice(1).map((ink, at) => {
    const words = `${at + 1} ${at === 0 ? 'layer' : 'layers'}`;
    return html`<label title="show ${words}" style="--share:${100 * ink}%"><span aria-hidden="true">${at + 1}</span><input type="radio" name="layers" value="${at + 1}" aria-label="${words}" data-kept${at + 1 === LAYERS_SHOWN && html` checked`}></label>${!spatial && html`<div class="strip"><canvas height="1" aria-hidden="true"></canvas></div><span class="count"></span>`}`;
  });
  return html`<div class="strips${spatial && ' bare'}" id="strips" data-masks role="radiogroup" aria-label="Layers shown in the picture"><div class="heading figure-title"><span data-heading>${spatial && 'layers shown'}</span>${!spatial && html`<span class="saves" data-saves></span>`}</div>${layers}</div>`;
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
      ? html`<a href="../${other.name}/index.html">${glyphBox(paperOf(other).id)}<span class="quiet">${word} <strong>${shortTitle(other)}</strong></span></a>`
      : html`<span></span>`;
  return html`<nav class="next" aria-label="Neighbours">${link(methods[at - 1], 'before')}${link(methods[at + 1], 'after')}</nav>`;
}
