/** The list of papers. */

import type { Verdict } from '../../src/experiments/experiment';
import type { Model } from '../../src/models/define';
import { models } from '../../src/models/registry';
import { FAMILIES, type Family, type ListedPaper, papers } from '../../src/papers';
import { escaped } from '../site/highlight';
import { Html, html } from '../site/html';
import { type CostCurve, costOf, LENGTHS, ownMethod } from './costs';
import { reachOfGlyph } from './glyphs';
import { glyphBox, slug } from './layout';
import { ENCODER_BYTES } from './meanings';
import { reading } from './readings';
import { type Standing, standingOf, type Working, type Works } from './standing';
import { capital, modelTitle, shortTitle } from './titles';

const of = (family: Family) => papers.filter((paper) => paper.family === family);
const families = Object.keys(FAMILIES) as Family[];

/** The plate of all glyphs, a row of families above and one below: a family lies below if its middle is in the second half. */
const middle = (family: Family) => papers.indexOf(of(family)[0]) + of(family).length / 2;
const PLATE = [true, false].map((above) => families.filter((family) => middle(family) < papers.length / 2 === above));
/** Glyphs of the longer row. */
const COLUMNS = Math.max(...PLATE.map((row) => row.flatMap(of).length));
const WORKS: Readonly<Record<Works, string>> = { yes: 'yes', part: 'in part', no: 'not yet' };

/** Heads of columns. */
const SHORT: Readonly<Record<keyof Working, string>> = { CPU: 'CPU', GPU: 'GPU', gradients: 'Grad' };

const rows = papers.map((paper) => ({ paper, standing: standingOf(paper) }));

export function indexPage(): Html {
  const working = rows.filter(({ standing }) => standing.works.CPU === 'yes').length;
  const claims = rows.reduce((count, { standing }) => count + standing.verdicts.length, 0);
  const sample = papers.find(({ picture }) => picture?.reach === 'past') ?? papers[0];
  const size = `${Math.round(ENCODER_BYTES / 1e6)} MB`;
  return html`
<section class="intro">
  <div>
    <h1>What does a token see?</h1>
    <p class="lede">${papers.length} papers on efficient attention and kernel methods, <span class="whole">${papers.length}</span> answers. Each that runs has a page that runs in your browser: change it, measure it, hold it against its claims.</p>
    <p class="standing-of-all"><span><b>${working}</b> of ${papers.length} run today, on CPU and GPU, with gradients</span><span><b>${claims}</b> claims measured</span><a href="feed.xml" data-plain>Atom feed</a></p>
  </div>
  <div class="loupe" id="loupe" data-family="${slug(sample.family)}">
    <figure class="lens"><span class="across">keys →</span><span class="down">queries →</span>${glyphBox(sample.id, `Picture of ${sample.name}`)}</figure>
    <div><strong>${sample.name}</strong><p class="idea">${sample.summary}</p><p class="reading">${reading(sample)}</p></div>
  </div>
</section>
<div class="neatline" aria-hidden="true"></div>
<nav aria-label="All papers, by picture"><ul class="plate" id="plate" style="--columns:${COLUMNS}">${plate()}</ul></nav>
<div class="neatline" aria-hidden="true"></div>
<form class="finder" role="search" autocomplete="off" data-live="search" data-state="done">
  <div class="ask">
    <svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="8" cy="8" r="6"/><path d="m12.5 12.5 6 6"/></svg>
    <label class="hidden" for="query">Search the papers</label>
    <input id="query" type="search" maxlength="3000" spellcheck="false" placeholder="my model forgets early tokens at 100k context">
    <div class="how" role="radiogroup" aria-label="Search by">
      <label class="tick"><input type="radio" name="by" value="words" checked>by words</label>
      <label class="tick"><input type="radio" id="by-meaning" name="by" value="meaning">by meaning too <small>${size}, once</small></label>
    </div>
    <output class="count number" id="count">${papers.length} of ${papers.length}</output>
  </div>
  <div class="actions" id="loading" hidden><p class="quiet" data-said data-size="${size}" role="status"></p><button type="button" data-cancel>cancel</button></div>
  <div class="filters">
    ${ticks('cost', 'Cost', { linear: 'linear', between: 'between', quadratic: 'quadratic', other: 'other' })}
    ${ticks('training', 'Training', { 'not needed': 'not needed', needed: 'needed' })}
    ${ticks('device', 'Here', { CPU: 'CPU', GPU: 'GPU', gradients: 'gradients' })}
    <label class="pick">Family <select id="family"><option value="">all</option>${Object.keys(FAMILIES).map((family) => html`<option value="${slug(family)}">${family}</option>`)}</select></label>
    <label class="tick"><input type="checkbox" id="lines">short rows</label><output class="hidden" id="first"></output>
  </div>
</form>
<script type="application/json" id="problems">${new Html(JSON.stringify(Object.fromEntries(papers.map(({ id, problems }) => [id, problems]))).replaceAll('<', '\\u003c'))}</script>
<table class="guide" id="guide">
  <caption class="hidden">The papers: what each does, costs and reaches, and what works today</caption>
  <thead><tr><th class="col-glyph"><span class="hidden">Picture</span></th>${columnHead('name', 'Paper')}${columnHead('cost', html`Cost for <i>n</i> tokens`)}${columnHead('reach', 'Reach', true)}${columnHead('training', 'Training')}<th class="col-works"><abbr title="runs on the CPU">CPU</abbr></th><th class="col-works"><abbr title="runs on the GPU">GPU</abbr></th><th class="col-works"><abbr title="has gradients">Grad</abbr></th>${columnHead('claims', 'Claims', true)}</tr></thead>
  <tbody id="ranked" hidden><tr class="family"><th colspan="9" scope="rowgroup"><h2>Best first</h2> <p></p></th></tr></tbody>
  ${(Object.entries(FAMILIES) as [Family, string][]).map(
    ([family, key]) =>
      html`<tbody data-family="${slug(family)}"><tr class="family"><th colspan="9" scope="rowgroup"><h2>${capital(family)}</h2> <p>${key}</p></th></tr>${rows.filter(({ paper }) => paper.family === family).map(({ paper, standing }) => row(paper, standing))}</tbody>`,
  )}
</table>
<p class="nothing quiet" id="nothing" hidden><span></span> <span>Ask in other words, or <label for="by-meaning">by meaning too</label>.</span></p>
<nav class="models" aria-label="Models"><h2>Models</h2><ul class="parts">${models.map(modelItem)}</ul></nav>
<aside class="legend" aria-label="Signs">
  <span><b class="mark yes"></b>works</span><span><b class="mark part"></b>in part</span><span><b class="mark no"></b>not yet</span>
  <span><b class="verdict reproduced"></b>claim reproduced</span><span><b class="verdict partly"></b>partly</span><span><b class="verdict"></b>not reproduced</span><span><b class="verdict open"></b>not tested, or undecided</span>
  <p>Curves: operations of one head of 64 numbers, or 64 channels, against <i>n</i> from 2<sup>8</sup> to 2<sup>16</sup>, both axes logarithmic, as the library counts them at the setting named, or by a formula from the paper where nothing runs yet; dashed is exact attention. Bars: share of the pairs in the picture that are reached in one, two and three layers.</p>
</aside>`;
}

function plate(): Html[] {
  return PLATE.flatMap((families, at) => {
    let column = 1;
    const labels = families.map((family) => {
      const count = of(family).length;
      const start = column;
      column += count;
      return html`<li class="family ${at ? 'below' : 'above'}" data-family="${slug(family)}" style="grid-row:${at ? 4 : 1};grid-column:${start}/span ${count}">${capital(family)}</li>`;
    });
    const glyphs = families
      .flatMap(of)
      .map(
        (paper) =>
          html`<li data-id="${paper.id}" data-family="${slug(paper.family)}" data-name="${paper.name}" data-idea="${paper.summary}" data-reading="${reading(paper)}" style="--row:${at ? 3 : 2}"><a href="${pathOf(paper)}" aria-label="${paper.name}">${glyphBox(paper.id)}</a></li>`,
      );
    return at ? [...glyphs, ...labels] : [...labels, ...glyphs];
  });
}

function ticks(name: string, legend: string, options: Readonly<Record<string, string>>): Html {
  return html`<fieldset><legend>${legend}</legend>${Object.entries(options).map(([value, label]) => html`<label class="tick"><input type="checkbox" name="${name}" value="${value}">${label}</label>`)}</fieldset>`;
}

/** The page that shows it: of its method, if there is one. */
function pathOf(paper: ListedPaper): string {
  const method = ownMethod(paper);
  return method ? `methods/${method.name}/index.html` : `papers/${paper.id}/index.html`;
}

function columnHead(name: string, label: Html | string, isDownFirst = false): Html {
  return html`<th class="col-${name}" aria-sort="none"><button type="button" data-sort="${capital(name)}"${isDownFirst && html` data-first="down"`}>${label}</button></th>`;
}

/** What the columns are sorted by. */
function keysOf({ name, cost, training, picture, id }: ListedPaper, { verdicts }: Standing): Html {
  const costs = ['linear', 'between', 'quadratic', 'other'];
  const trainings = ['not needed', 'either way', 'needed', 'none'];
  const reach = picture?.reach ? Math.round(1000 * reachOfGlyph(id, picture.reach === 'past')[2]) : 0;
  const held = verdicts.filter((verdict) => SIGN[verdict] === 'reproduced').length;
  return html` data-by-name="${name}" data-by-cost="${costs.indexOf(cost)} ${name}" data-by-training="${trainings.indexOf(training)} ${name}" data-by-reach="${reach}" data-by-claims="${held}"`;
}

/** Letters of an order of growth are set as in formulas. */
export function orderOf(order: string): Html {
  const isFormula = /^[a-z] |^n/.test(order);
  const set = escaped(isFormula ? `O(${order})` : order);
  return new Html(
    isFormula
      ? set.replace(/\b(?!a\b)([a-zA-Z])\b(?!\()/g, '<var>$1</var>').replace(/\^\(([^)]+)\)|\^(\S)/g, '<sup>$1$2</sup>')
      : set,
  );
}

function row(paper: ListedPaper, standing: Standing): Html {
  const { id, arxiv, name, title, authors, year, family, summary, picture, order, cost, training } = paper;
  const { present, networks, missing, works, verdicts } = standing;
  const heading = html`<a class="name" href="${pathOf(paper)}">${name}</a>`;
  const links = [
    ...present.map((method) => html`<li><a href="methods/${method.name}/index.html">${shortTitle(method)}</a></li>`),
    ...networks.map(modelItem),
  ];
  const isMore = links.length > (ownMethod(paper) ? 1 : 0);
  const gap = missing.length > 0 && html`<li data-missing class="missing">missing: ${missing.join(', ')}</li>`;
  const cells = Object.entries(works).map(
    ([what, how]) => html`<td class="works" data-label="${SHORT[what as keyof Working]}">${workMark(how)}</td>`,
  );
  const curve = costOf(paper);
  return html`<tr class="method" id="${id}" data-family="${slug(family)}" data-paper="${arxiv}" ${keysOf(paper, standing)} data-cost="${cost}" data-training="${training}" data-works="${Object.keys(
    works,
  )
    .filter((what) => works[what as keyof Working] !== 'no')
    .join(' ')}">
<td class="glyph-cell">${glyphBox(id)}</td>
<th scope="row" class="what">${heading}<cite><a href="papers/${id}/index.html">${title}</a><span> ${authors} ${year}, <a href="https://arxiv.org/abs/${arxiv}">arXiv ${arxiv}</a></span></cite><p class="idea">${summary}</p>${(isMore || gap) && html`<ul class="parts">${isMore && links}${gap}</ul>`}</th>
<td class="cost" data-label="Cost"><div><span class="o">${orderOf(order)}</span>${curve && costCurve(curve)}</div></td>
<td class="reach" data-label="Reach">${picture?.reach && bars(id, picture.reach)}</td>
<td class="training">${training === 'none' ? '' : training}</td>
${cells}
<td class="claims" data-label="Claims">${verdicts.length > 0 && verdictMarks(verdicts)}</td></tr>`;
}

const modelItem = (model: Model) => html`<li><a href="models/${model.name}/index.html">${modelTitle(model)}</a></li>`;

export function workMark(works: Works): Html {
  return html`<b class="mark ${works}" role="img" aria-label="${WORKS[works]}" title="${WORKS[works]}"></b>`;
}

function bars(id: string, reach: 'all' | 'past'): Html {
  const shares = reachOfGlyph(id, reach === 'past');
  const percent = shares.map((share) => `${Math.round(100 * share)}%`);
  return html`<div class="bars" role="img" aria-label="${percent.join(', ')} of the pairs in one, two, three layers">${shares.map((share) => html`<i style="--share:${share.toFixed(3)}"></i>`)}<span>${percent[2]} in <br>3 layers</span></div>`;
}

const SIGN: Readonly<Record<Verdict, string>> = {
  reproduced: 'reproduced',
  'holds by construction': 'reproduced',
  partly: 'partly',
  'not reproduced': '',
  'not tested here': 'open',
  undecided: 'open',
  refused: 'open',
  'not measured': 'open',
};

export function verdictMark(verdict: Verdict): Html {
  return html`<b class="verdict ${SIGN[verdict]}" aria-hidden="true"></b>`;
}

export function verdictMarks(verdicts: readonly Verdict[]): Html {
  const said = [...new Set(verdicts)]
    .map((each) => `${verdicts.filter((verdict) => verdict === each).length} ${each}`)
    .join(', ');
  return html`<span class="verdicts" role="img" aria-label="${said}" title="${said}">${verdicts.map(verdictMark)}</span>`;
}

/** Operations against the length: the same axes everywhere, so that slopes compare. */
function costCurve({ setting, flops, exact }: CostCurve): Html {
  const [width, height] = [72, 44];
  const point = (count: number | null, at: number) => {
    const down = height - ((Math.log2(count!) - 19) / 22) * height;
    return `${((at / (LENGTHS.length - 1)) * width).toFixed(1)} ${down.toFixed(1)}`;
  };
  const line = (counts: CostCurve['flops']) =>
    `M${counts
      .map((count, at) => count !== null && point(count, at))
      .filter(Boolean)
      .join('L')}`;
  return html`<svg class="curve" preserveAspectRatio="none" viewBox="0 0 ${width} ${height}" aria-hidden="true"><path class="frame" d="M0 0V${height}H${width}"/>${exact && html`<path class="exact" d="${line(exact)}"/>`}<path class="own" d="${line(flops)}"/></svg><small>${setting}</small>`;
}
