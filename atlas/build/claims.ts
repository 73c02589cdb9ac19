/** Claims of papers: those that were measured here, and those to be tested. */
import { formatMachine } from '../../src/machine';
import type { ListedPaper } from '../../src/papers';
import { type Reproduction, reproductionNotes } from '../../src/report/reproduction';
import { type Html, html } from './html';
import { verdictMark } from './index-page';

export function measuredClaims(run: Reproduction): Html {
  const rows = run.findings.map(
    ({ claim, source, measured, verdict }) =>
      html`<tr><td>${claim}<small>${source}</small></td><td data-label="measured:">${measured}</td><td class="verdict-cell">${verdictMark(verdict)}${verdict}</td></tr>`,
  );
  return html`<section class="section" id="claims"><h2>Claimed and measured<small>${run.title}</small></h2><div><table class="table"><thead><tr><th>The paper claims</th><th>Measured here</th><th>Verdict</th></tr></thead><tbody>${rows}</tbody></table>
  <details class="caption"><summary>What the verdicts rest on</summary><ul>${reproductionNotes(run).map((note) => html`<li>${note}</li>`)}</ul></details>
  <p class="caption">${formatMachine(run.machine)}. Repeat it: <code>npx ${run.command}</code>.</p></div></section>`;
}

export function openClaims(claims: NonNullable<ListedPaper['claims']>): Html {
  const rows = claims.map(
    ({ claim, source, mark }) =>
      html`<tr><td>${claim}</td><td data-label="source:">${source}</td><td class="verdict-cell">${mark}</td></tr>`,
  );
  return html`<section class="section" id="to-test"><h2>Claims to test<small>Once there is something to run</small></h2><div><table class="table"><thead><tr><th>Claim</th><th>Source</th><th>Mark</th></tr></thead><tbody>${rows}</tbody></table>
  <p class="caption">In our words. What is from a third party was not read in the paper; what is reconstructed is our own expectation, and not said by the paper.</p></div></section>`;
}
