/** Which method for a length, a device and a model: ranked by cost, with what was measured, here too. */
import './page';
import { formatBytes, formatFlops, formatRatio, formatTime } from '../../src/text/format';
import { Helper, latest } from './ask';
import { $, $$ } from './page';
import type { Choice, Wish } from './tasks/choose';
import type { RunResult } from './tasks/run';

const [counter, runner] = [new Helper(), new Helper()];
const verdicts = JSON.parse($('#verdicts').textContent!) as Record<string, string>;
const form = $<HTMLFormElement>('#wish');
const box = $('[data-live="choose"]');
const said = $('[data-said]', box);
const [measure, stop] = [$<HTMLButtonElement>('[data-measure]'), $<HTMLButtonElement>('[data-cancel]')];
/** So that a measurement takes seconds. */
const MEASURED_TOKENS = 2048;
let ranked: Choice[] = [];

function wishOf(): Wish {
  const whole = (name: string, most: number) => {
    const { value } = $<HTMLInputElement>(`#${name}`);
    const number = Number(value);
    if (!Number.isInteger(number) || number < 1 || number > most)
      throw new Error(
        `${name} must be a whole number from 1 to ${most.toLocaleString('en')}, got ${value || 'nothing'}.`,
      );
    return number;
  };
  const is = (name: string) => $<HTMLInputElement>(`#${name}`).checked;
  return {
    tokens: whole('tokens', 65_536),
    dimension: whole('dimension', 1024),
    causal: is('causal'),
    training: is('training'),
    grid: is('grid'),
  };
}

const item = (...parts: (Node | string)[]) => {
  const line = document.createElement('li');
  line.append(...parts);
  return line;
};
function link({ setting }: Choice): HTMLAnchorElement {
  const anchor = document.createElement('a');
  anchor.href = `../methods/${setting.method}/index.html`;
  anchor.className = 'name';
  anchor.textContent = setting.method;
  return anchor;
}

function reason({ flops, gain, kept, besides, training, setting }: Choice): string {
  const much =
    gain > 1.05
      ? `${formatRatio(gain)} less than exact attention`
      : gain < 0.95
        ? `${formatRatio(1 / gain)} as much as exact attention`
        : 'as much as exact attention';
  const params = Object.entries(setting.params)
    .map(([name, value]) => `${name} ${JSON.stringify(value)}`)
    .join(', ');
  return [
    `${formatFlops(flops)} a head, ${much}${params && ` (${params})`}`,
    `keeps ${formatBytes(kept)} for the next token`,
    training === 'needed'
      ? 'a model must be trained with it'
      : training === 'either way'
        ? 'without training or with it'
        : '',
    besides.length > 0 ? `a layer computes ${besides.join(', ')} too` : '',
    verdicts[setting.method] ?? '',
  ]
    .filter(Boolean)
    .join('; ');
}

const choose = latest(async () => {
  box.dataset.state = 'running';
  try {
    const wish = wishOf();
    const choices = await counter.ask('chooseFrom', { wish });
    ranked = choices.filter(({ refused }) => !refused);
    const others = choices.filter(({ refused }) => refused);
    $('#ranked').replaceChildren(...ranked.map((choice) => item(link(choice), `: ${reason(choice)}.`)));
    $('#others').replaceChildren(...others.map((choice) => item(link(choice), `: ${choice.refused}.`)));
    $('#others-title').hidden = others.length === 0;
    said.textContent = `At ${wish.tokens.toLocaleString('en')} tokens; operations are counted, not measured.`;
    box.dataset.state = 'done';
  } catch (error) {
    said.textContent = error instanceof Error ? error.message : String(error);
    box.dataset.state = 'error';
  }
  history.replaceState(null, '', `#?${new URLSearchParams([...new FormData(form)] as [string, string][])}`);
});

let measuring: AbortController | undefined;
measure.addEventListener('click', async () => {
  measuring = new AbortController();
  const { signal } = measuring;
  [measure.disabled, stop.hidden] = [true, false];
  const backend = $<HTMLSelectElement>('#device').value as 'wasm' | 'webgpu';
  try {
    for (const [at, { setting }] of ranked.slice(0, 3).entries()) {
      const tokens =
        setting.tokens.length === 1
          ? [Math.min(MEASURED_TOKENS, setting.tokens[0])]
          : setting.tokens.map((extent) => Math.min(48, extent));
      said.textContent = `measuring ${setting.method} …`;
      const [row] = (await runner.ask(
        'runHere',
        { setting: { ...setting, tokens }, backends: [backend] },
        { signal },
      )) as RunResult[];
      const length = tokens.reduce((size, extent) => size * extent, 1).toLocaleString('en');
      const found =
        row.failure ??
        `here ${formatTime(row.time!)} at ${length} tokens${row.speedup ? `, ${formatRatio(row.speedup)} as fast as exact attention` : ''}`;
      $$('li', $('#ranked'))[at]?.append(` ${found}.`);
    }
    said.textContent = 'Measured in this page, on one head; the order is still that of the operations.';
  } catch (error) {
    said.textContent = error instanceof Error ? error.message : String(error);
  }
  [measure.disabled, stop.hidden] = [false, true];
});
stop.addEventListener('click', () => measuring?.abort());

function restore(): void {
  if (!location.hash.startsWith('#?')) return;
  const state = new URLSearchParams(location.hash.slice(2));
  for (const field of $$<HTMLInputElement | HTMLSelectElement>('input, select', form)) {
    if (field instanceof HTMLInputElement && field.type === 'checkbox') field.checked = state.has(field.name);
    else field.value = state.get(field.name) ?? field.value;
    if (field instanceof HTMLSelectElement && field.selectedIndex < 0) field.selectedIndex = 0;
  }
}

form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('input', choose);
restore();
choose();
