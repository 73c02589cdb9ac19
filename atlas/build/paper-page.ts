/** The page of a paper: its idea, the problems it solves, its picture, what runs of it, and its claims. */
import type { Method } from '../../src/methods/define';
import type { Model } from '../../src/models/define';
import { type ListedPaper, papers } from '../../src/papers';
import type { Pipeline } from '../../src/pipelines';
import { type Html, html } from '../site/html';
import { measuredClaims, openClaims } from './claims';
import { costOf, LENGTHS, WIDTH } from './costs';
import { glyph } from './glyphs';
import { orderOf, verdictMarks, workMark } from './index-page';
import { glyphBox } from './layout';
import { pipelineSection } from './pipeline-part';
import { reading } from './readings';
import { seriesPlot } from './series-plot';
import { ownPlaceOf } from './sprite';
import { pageOf, runs, standingOf, workingOf } from './standing';
import { breakable, modelTitle, titleOf } from './titles';

export const paperPath = (id: string) => `papers/${id}/index.html`;

export function paperPage(paper: ListedPaper): Html {
  const { id, name, title, authors, year, arxiv, family, summary, problems, claims } = paper;
  const { present, networks, pipelines, missing, works, verdicts } = standingOf(paper);
  const run = runs.get(id);
  const toCome = missing.map((what) => html`<li data-missing>to come: ${what}</li>`);
  return html`
<div class="title bare">
  <div><h1>${breakable(name)}</h1><cite>${title} <span>${authors} ${year}, <a href="https://arxiv.org/abs/${arxiv}">arXiv ${arxiv}</a></span></cite></div>
  <div class="aside">
    <p class="crumbs"><a href="../../index.html#${id}">${family}</a></p>
    <dl class="standing"><dt>runs on</dt><dd>${Object.entries(works).map(([what, how]) => html`${workMark(how)}${what} `)}</dd>
    ${run && html`<dt>claims</dt><dd><a href="#claims">${verdictMarks(verdicts)}</a></dd>`}</dl>
  </div>
</div>
${pipelines.map(pipelineSection)}
<section class="section"><h2>The idea</h2><div class="prose"><p class="lede">${summary}</p>${glyph(id) && figure(paper)}</div></section>
<section class="section"><h2>What it solves</h2><div class="prose"><ul>${problems.map((problem) => html`<li>${problem}</li>`)}</ul></div></section>
${costSection(paper)}
<section class="section"><h2>Methods and models</h2><div class="prose"><ul>${present.map(methodItem)}${networks.map(modelItem)}${pipelines.map(pipelineItem)}${toCome}</ul></div></section>
${run && measuredClaims(run)}
${claims && openClaims(claims, run !== undefined || present.length > 0)}
${neighbours(paper)}`;
}

function figure(paper: ListedPaper): Html {
  return html`<figure class="plate-figure">${glyphBox(paper.id, `Picture of ${paper.name}`, ownPlaceOf(paper.id))}<figcaption class="caption">${reading(paper)}</figcaption></figure>`;
}

/** Giga-operations of a head by length. */
function costSection(paper: ListedPaper): Html | false {
  const cost = costOf(paper);
  if (!cost) return false;
  const { setting, flops, exact } = cost;
  const giga = (counts: typeof flops) => counts.map((count) => count && count / 1e9);
  const lines = [
    { label: paper.name, values: giga(flops) },
    ...(exact ? [{ label: 'exact', values: giga(exact) }] : []),
  ];
  const title = `GFLOP by the number of tokens, ${exact ? 'a head of' : 'channels:'} ${WIDTH}`;
  return html`<section class="section"><h2>Cost<small>${orderOf(paper.order)}, ${setting}</small></h2>${seriesPlot({ title, x: { label: 'n', values: LENGTHS }, lines })}</section>`;
}

function methodItem(method: Method): Html {
  const { name } = method;
  const marks = Object.entries(workingOf([method])).map(
    ([what, how]) => html`<span class="whole">${workMark(how)} ${what}</span> `,
  );
  return html`<li><a href="../../methods/${name}/index.html">${titleOf(method)}</a>: ${pageOf(name).question} <span class="quiet">${marks}</span></li>`;
}

const modelItem = (model: Model) =>
  html`<li><a href="../../models/${model.name}/index.html">${modelTitle(model)}</a>: ${model.summary}</li>`;

const pipelineItem = ({ command, summary }: Pipeline) => html`<li><code>${command}</code> ${summary}</li>`;

function neighbours(paper: ListedPaper): Html {
  const at = papers.indexOf(paper);
  const link = (other: ListedPaper | undefined, word: string) =>
    other
      ? html`<a href="../${other.id}/index.html"><span class="quiet">${word} <strong>${other.name}</strong></span></a>`
      : html`<span></span>`;
  return html`<nav class="next" aria-label="Neighbours">${link(papers[at - 1], 'before')}${link(papers[at + 1], 'after')}</nav>`;
}
