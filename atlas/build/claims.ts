/** Claims of papers: those that were measured here, and those to be tested. */
import { formatMachine } from '../../src/machine';
import type { ListedPaper } from '../../src/papers';
import { findingNote, type Reproduction } from '../../src/report/reproduction';
import { type Html, html } from '../site/html';
import { verdictMark } from './index-page';
import { seriesPlot } from './series-plot';

/** `notes`: what the method's README adds. */
export function measuredClaims(run: Reproduction, notes?: Html): Html {
  const rows = run.findings.map((finding) => {
    const { claim, source, measured, verdict, series = [] } = finding;
    const note = findingNote(finding);
    const plots = series.length > 0 && html`<div class="all-series">${series.map(seriesPlot)}</div>`;
    return html`<tr><td>${claim}<small>${source}</small></td><td data-label="measured:">${plots}${measured}${note !== '' && html`<details><summary>what the verdict rests on</summary><p>${note}</p></details>`}</td><td class="verdict-cell">${verdictMark(verdict)}${verdict}</td></tr>`;
  });
  return html`<section class="section" id="claims"><h2>Claimed and measured<small>${run.title}</small></h2><div><table class="table claimed"><thead><tr><th>The paper claims</th><th>Measured here</th><th>Verdict</th></tr></thead><tbody>${rows}</tbody></table>
  <p class="caption">${formatMachine(run.machine)}. Repeat it: <code>npx ${run.command}</code>.</p>${notes && html`<div class="prose">${notes}</div>`}</div></section>`;
}

export function openClaims(claims: NonNullable<ListedPaper['claims']>, isRun: boolean): Html {
  const rows = claims.map(
    ({ claim, source, mark }) =>
      html`<tr><td>${claim}</td><td data-label="source:">${source}</td><td class="verdict-cell">${mark}</td></tr>`,
  );
  return html`<section class="section" id="to-test"><h2>Claims to test<small>${isRun ? 'Not measured here' : 'Once there is something to run'}</small></h2><div><table class="table"><thead><tr><th>Claim</th><th>Source</th><th>Mark</th></tr></thead><tbody>${rows}</tbody></table>
  <p class="caption">In our words. What is from a third party was not read in the paper; what is reconstructed is our own expectation, and not said by the paper.</p></div></section>`;
}
