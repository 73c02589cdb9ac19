/** Which method for a length, a device and a model. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { formatMachine, type Machine } from '../../src/machine';
import { methods } from '../../src/methods/registry';
import type { MethodFacts } from '../site/choose-page';
import { Html, html } from '../site/html';
import type { MethodTime } from '../site/method-time';
import { isAttention } from '../site/problem';
import { verdictMarks } from './index-page';
import { glyphBox, slug } from './layout';
import { paperOf, ROOT, runs } from './standing';
import { shortTitle } from './titles';

/** Where times of methods are stored, by `scripts/measure-methods.ts`. */
export const TIMES = resolve(ROOT, 'docs/times');

export interface StoredTimes {
  readonly machine: Machine;
  readonly gpu?: string;
  readonly times: readonly MethodTime[];
}

/** Columns of the table, by what they are sorted by. */
const COLUMNS = {
  method: 'method',
  speedup: 'speed',
  flops: 'operations',
  kept: 'kept',
  sees: 'sees',
  training: 'training',
  claims: 'claims',
} as const;

/** The newest first. */
const stored = readdirSync(TIMES)
  .map((file) => JSON.parse(readFileSync(resolve(TIMES, file), 'utf8')) as StoredTimes)
  .sort((a, b) => b.machine.date.localeCompare(a.machine.date));

export function choosePage(): Html {
  const facts = Object.fromEntries(
    methods.filter(isAttention).map((method): [string, MethodFacts] => {
      const { id, family } = paperOf(method);
      const { findings = [] } = runs.get(id) ?? {};
      const verdicts = findings.map(({ verdict }) => verdict);
      const marks = verdicts.length > 0 ? verdictMarks(verdicts).text : '';
      return [
        method.name,
        { title: shortTitle(method), family: slug(family), glyph: glyphBox(id).text, verdicts: marks },
      ];
    }),
  );
  const times = stored.flatMap(({ machine: { cpu, cores }, gpu, times }) =>
    times.map((time) => ({
      ...time,
      machine:
        time.backend === 'webgpu'
          ? gpu?.replace(/ \(software.*/, ', in software')
          : `${cpu.replaceAll(/\(\w+\)/g, '')}, ${cores} cores`,
    })),
  );
  const heads: Html[] = Object.entries(COLUMNS).map(
    ([name, label]) =>
      html`<th aria-sort="${name === 'speedup' ? 'descending' : 'none'}"><button type="button" data-sort="${name}">${label}</button></th>`,
  );
  return html`
<script type="application/json" id="times">${new Html(JSON.stringify(times).replaceAll('<', '\\u003c'))}</script>
<script type="application/json" id="facts">${new Html(JSON.stringify(facts).replaceAll('<', '\\u003c'))}</script>
<div class="title plain"><div><h1>Which attention?</h1><p class="lede">Every method that runs here beside exact attention, at your length and on your device. Methods that do not fit say why.</p></div></div>
<section class="bench unpictured" aria-label="What you need">
  <form aria-label="What you need" id="wish" novalidate>
    <div class="param"><label for="tokens">tokens</label><input id="tokens" name="tokens" type="number" min="1" max="1048576" value="8192" aria-describedby="tokens-help"><p id="tokens-help">length of the sequence, up to a million</p></div>
    <div class="param"><label for="dimension">dimension</label><input id="dimension" name="dimension" type="number" min="1" max="1024" value="64" aria-describedby="dimension-help"><p id="dimension-help">of a head</p></div>
    <div class="param"><label for="device">device</label><select id="device" name="device"><option value="wasm">CPU</option><option value="webgpu">GPU</option></select></div>
    <div class="param"><label class="tick check" for="causal">causal <input type="checkbox" id="causal" name="causal" checked></label><p>no token sees a later one</p></div>
    <div class="param"><label class="tick check" for="training">training <input type="checkbox" id="training" name="training" checked></label><p>a model can be trained or fine-tuned with it</p></div>
    <div class="param"><label class="tick check" for="grid">a grid <input type="checkbox" id="grid" name="grid"></label><p>tokens are patches of a picture</p></div>
  </form>
  <div class="plots" data-live="choose" data-state="idle">
    <p class="actions"><button type="button" class="run" data-measure>Measure the top three here</button> <button type="button" class="run" data-cancel hidden>Cancel</button> <span class="quiet" data-said role="status"></span></p>
    <div class="answer"><div class="scroll" tabindex="0" role="region" aria-label="Methods"><table class="table chosen"><thead><tr>${heads}</tr></thead><tbody id="ranked"></tbody><tbody id="others"></tbody></table></div>
    <p class="caption">Speed is beside exact attention, on a logarithmic scale that the line divides at 1×: <span class="speed"><i></i></span> as far as it was measured, <span class="speed"><i class="counted"></i></span> extended to your length by the number of operations, or only counted. Operations are of a head, and from 8,192 tokens on they go on as they grew; kept is what it keeps for the next token; sees is how many keys the last token sees in a layer. Stored runs: ${stored.map(({ machine }) => html`${formatMachine(machine)}. `)}Repeat them: <code>npx node scripts/measure-methods.ts wasm</code>, or <code>webgpu</code>.</p></div>
  </div>
</section>`;
}
