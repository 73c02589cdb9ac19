/** The page that chooses a method for a length, a device and a model, ranked by cost and by measurements, stored and made here. */
import './page';
import { formatBytes, formatFlops, formatRatio, formatTime } from '../../src/text/format';
import { keepInAddress, stateOfAddress } from './address';
import { type AskOptions, Cancelled, Helper, latest } from './ask';
import { type MethodTime, timesOf } from './method-time';
import { $, $$, grouped, markBusy, wholeNumber } from './page';
import type { Choice, Wish } from './tasks/choose';
import type { RunProgress } from './tasks/run';

const [counter, runner] = [new Helper(), new Helper()];
const verdicts = JSON.parse($('#verdicts').textContent!) as Record<string, string>;
/** Stored runs, then what is measured here. */
const times = JSON.parse($('#times').textContent!) as MethodTime[];
const form = $<HTMLFormElement>('#wish');
const box = $('[data-live="choose"]');
const said = $('[data-said]', box);
const [measure, stop] = [$<HTMLButtonElement>('[data-measure]'), $<HTMLButtonElement>('[data-cancel]')];
/** So that a measurement takes seconds. */
const MEASURED_TOKENS = 2048;
const DEVICES = { wasm: 'CPU', webgpu: 'GPU', reference: 'reference' };
let ranked: Choice[] = [];

function wishOf(): Wish {
  const is = (name: string) => $<HTMLInputElement>(`#${name}`).checked;
  return {
    tokens: wholeNumber('tokens', 65_536),
    dimension: wholeNumber('dimension', 1024),
    causal: is('causal'),
    training: is('training'),
    grid: is('grid'),
    device: $<HTMLSelectElement>('#device').value as Wish['device'],
  };
}

function item({ setting }: Choice, lead: string, reasons: string): HTMLElement {
  const line = document.createElement('li');
  const anchor = document.createElement('a');
  anchor.href = `../methods/${setting.method}/index.html`;
  anchor.className = 'name';
  anchor.textContent = setting.method;
  const details = document.createElement('small');
  details.textContent = reasons;
  line.append(anchor, `: ${lead}.`, details);
  return line;
}

/** How fast it should be, in a few words. */
function lead({ speedup, measured, isBaseline }: Choice): string {
  if (isBaseline) return 'what the others are measured against';
  return `about ${formatRatio(speedup)} as fast as exact attention${measured ? '' : ', as counted, not measured'}`;
}

function reasons({ flops, gain, measured, kept, besides, training, setting }: Choice): string {
  const much =
    gain > 1.05
      ? `${formatRatio(gain)} fewer than exact attention`
      : gain < 0.95
        ? `${formatRatio(1 / gain)} as many as exact attention`
        : 'as many as exact attention';
  const params = Object.entries(setting.params)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
  const facts = [
    measured && evidence(measured),
    `${formatFlops(flops)} a head, ${much}${params && ` (${params})`}`,
    `${formatBytes(kept)} kept for the next token`,
    training === 'needed' && 'a model must be trained with it',
    training === 'either way' && 'without training or with it',
    besides.length > 0 && `a layer computes ${besides.join(', ')} too`,
    verdicts[setting.method],
  ].filter(Boolean);
  const text = facts.join('; ');
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function evidence({ time, speedup, tokens, dimension, backend, machine }: MethodTime): string {
  const where = machine === undefined ? `here on the ${DEVICES[backend]}` : `on ${machine}`;
  return `measured ${where}: ${formatRatio(speedup)} as fast as exact attention, ${formatTime(time)} at ${grouped(tokens)} tokens of ${dimension} numbers`;
}

/** Shows what is going on, with a button to cancel it; an error becomes a sentence. */
async function during(work: (control: AskOptions) => Promise<string>): Promise<void> {
  const control = new AbortController();
  going?.abort();
  going = control;
  box.dataset.state = 'running';
  markBusy(measure, stop, true);
  try {
    said.textContent = await work({ signal: control.signal });
    box.dataset.state = 'done';
  } catch (error) {
    if (going !== control) return;
    const text = error instanceof Error ? error.message : String(error);
    said.textContent = error instanceof Cancelled ? 'Cancelled.' : text;
    box.dataset.state = error instanceof Cancelled ? 'idle' : 'error';
  }
  if (going === control) going = undefined;
  if (!going) markBusy(measure, stop, false);
}
let going: AbortController | undefined;
stop.addEventListener('click', () => going?.abort());

async function rank(control: AskOptions): Promise<string> {
  const wish = wishOf();
  const choices = await counter.ask(
    'chooseFrom',
    { wish, times },
    {
      ...control,
      onProgress: (method) => {
        said.textContent = `counting ${method} …`;
      },
    },
  );
  ranked = choices.filter(({ refused }) => !refused);
  const others = choices.filter(({ refused }) => refused);
  $('#ranked').replaceChildren(...ranked.map((choice) => item(choice, lead(choice), reasons(choice))));
  $('#others').replaceChildren(...others.map((choice) => item(choice, choice.refused!, '')));
  $('#others-title').hidden = others.length === 0;
  const isMissing = wish.device === 'webgpu' && !('gpu' in navigator);
  return `At ${grouped(wish.tokens)} tokens on the ${DEVICES[wish.device]}.${isMissing ? ' This browser has no WebGPU, so nothing can be measured on the GPU here.' : ''}`;
}
const choose = latest(() => during(rank));

measure.addEventListener('click', () => {
  if (going) return;
  void during(async (control) => {
    const wish = wishOf();
    const isDone = ({ measured, isBaseline }: Choice) => isBaseline || (measured && measured.machine === undefined);
    const next = ranked.filter((choice) => !isDone(choice)).slice(0, 3);
    const smaller = { ...wish, tokens: Math.min(MEASURED_TOKENS, wish.tokens) };
    const choices = await counter.ask('chooseFrom', { wish: smaller, times: [] }, control);
    for (const { setting } of next.map(
      (choice) => choices.find((other) => other.setting.method === choice.setting.method)!,
    )) {
      const onProgress = (found: unknown) => {
        said.textContent = `measuring ${setting.method}: ${(found as RunProgress).said} …`;
      };
      const { rows } = await runner.ask('runHere', { setting, backends: [wish.device] }, { ...control, onProgress });
      const { failure } = rows[0];
      if (failure) throw new Error(failure);
      times.push(...timesOf(setting, wish.causal, rows));
    }
    return `${await rank(control)} What was measured here counts in place of stored runs.`;
  });
});

function restore(): void {
  const state = stateOfAddress();
  if (!state) return;
  for (const field of $$<HTMLInputElement | HTMLSelectElement>('input, select', form)) {
    if (field instanceof HTMLInputElement && field.type === 'checkbox') field.checked = state.has(field.name);
    else field.value = state.get(field.name) ?? field.value;
    if (field instanceof HTMLSelectElement && field.selectedIndex < 0) field.selectedIndex = 0;
  }
}

form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('input', () => {
  keepInAddress(new URLSearchParams([...new FormData(form)] as [string, string][]));
  going?.abort();
  choose();
});
addEventListener('hashchange', () => {
  restore();
  choose();
});
restore();
choose();
