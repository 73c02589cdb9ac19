/** Which method for a length, a device and a model. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { formatMachine, type Machine } from '../../src/machine';
import { methods } from '../../src/methods/registry';
import type { MethodTime } from '../site/method-time';
import { Html, html } from './html';
import { paperOf, ROOT, runs } from './standing';

/** Where times of methods are stored, by `scripts/measure-methods.ts`. */
export const TIMES = resolve(ROOT, 'docs/times');

export interface StoredTimes {
  readonly machine: Machine;
  readonly gpu?: string;
  readonly times: readonly MethodTime[];
}

/** The newest first. */
const stored = readdirSync(TIMES)
  .map((file) => JSON.parse(readFileSync(resolve(TIMES, file), 'utf8')) as StoredTimes)
  .sort((a, b) => b.machine.date.localeCompare(a.machine.date));

export function choosePage(): Html {
  const verdicts = Object.fromEntries(
    methods.flatMap((method) => {
      const { findings } = runs.get(paperOf(method).id) ?? {};
      if (!findings) return [];
      const held = findings.filter(({ verdict }) => ['reproduced', 'holds by construction'].includes(verdict)).length;
      return [[method.name, `${held} of ${findings.length} claims hold here`]];
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
  return html`
<script type="application/json" id="times">${new Html(JSON.stringify(times).replaceAll('<', '\\u003c'))}</script>
<script type="application/json" id="verdicts">${new Html(JSON.stringify(verdicts))}</script>
<div class="title plain"><div><h1>Which attention?</h1><p class="lede">Every method that runs here, ranked by its expected speed relative to exact attention, from its operations at your length and from measurements, stored or made here. Methods that do not fit are listed below, with the reason.</p></div></div>
<section class="bench unpictured" aria-label="What you need">
  <form aria-label="What you need" id="wish" novalidate>
    <div class="param"><label for="tokens">tokens</label><input id="tokens" name="tokens" type="number" min="1" max="65536" value="8192" aria-describedby="tokens-help"><p id="tokens-help">length of the sequence, up to 65,536</p></div>
    <div class="param"><label for="dimension">dimension</label><input id="dimension" name="dimension" type="number" min="1" max="1024" value="64" aria-describedby="dimension-help"><p id="dimension-help">of a head</p></div>
    <div class="param"><label for="device">device</label><select id="device" name="device"><option value="wasm">CPU</option><option value="webgpu">GPU</option></select></div>
    <div class="param"><label class="tick check" for="causal">causal <input type="checkbox" id="causal" name="causal" checked></label><p>no token sees a later one</p></div>
    <div class="param"><label class="tick check" for="training">training <input type="checkbox" id="training" name="training" checked></label><p>a model can be trained or fine-tuned with it</p></div>
    <div class="param"><label class="tick check" for="grid">a grid <input type="checkbox" id="grid" name="grid"></label><p>tokens are patches of a picture</p></div>
  </form>
  <div class="plots" data-live="choose" data-state="idle">
    <p class="actions"><button type="button" class="run" data-measure>Measure the top three here</button> <button type="button" class="run" data-cancel hidden>Cancel</button> <span class="quiet" data-said role="status"></span></p>
    <div class="answer"><ol class="choices-ranked" id="ranked"></ol>
    <p class="caption">A speed is a measured one, scaled to your length by the number of operations. Stored runs: ${stored.map(({ machine }) => html`${formatMachine(machine)}. `)}Repeat them: <code>npx node scripts/measure-methods.ts wasm</code>, or <code>webgpu</code>.</p>
    <h3 id="others-title" hidden>Left out</h3><ul class="left-out" id="others"></ul></div>
  </div>
</section>`;
}
