/** The page that chooses a method for a length, a device and a model, ranked by cost and by measurements, stored and made here. */
import './page';
import { formatBytes, formatFlops, formatRatio, formatTime } from '../../src/text/format';
import { keepInAddress, stateOfAddress } from './address';
import { type AskOptions, Cancelled, Helper, latest } from './ask';
import { element, Html, html } from './html';
import { type MethodTime, timesOf } from './method-time';
import { $, $$, grouped, markBusy, wholeNumber } from './page';
import type { Choice, Wish } from './tasks/choose';
import type { RunProgress } from './tasks/run';

const [counter, runner] = [new Helper(), new Helper()];
/** What the table shows of a method besides its numbers. */
export interface MethodFacts {
  readonly title: string;
  readonly family: string;
  /** As HTML. */
  readonly glyph: string;
  readonly verdicts: string;
}
const facts = JSON.parse($('#facts').textContent!) as Record<string, MethodFacts>;
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
let others: Choice[] = [];
/** The column that the table is sorted by, and whether from the largest down. */
let sorting = { by: 'speedup', isDown: true };

function wishOf(): Wish {
  const is = (name: string) => $<HTMLInputElement>(`#${name}`).checked;
  return {
    tokens: wholeNumber('tokens', 2 ** 20),
    dimension: wholeNumber('dimension', 1024),
    causal: is('causal'),
    training: is('training'),
    grid: is('grid'),
    device: $<HTMLSelectElement>('#device').value as Wish['device'],
  };
}

/** A row of the table; `range`: the least and the largest speed. */
function line(choice: Choice, range: readonly [number, number]): HTMLElement {
  const { setting, flops, kept, sees, training, refused } = choice;
  const { title, family, glyph, verdicts } = facts[setting.method];
  const name = html`<a class="name" href="../methods/${setting.method}/index.html">${title}</a><small>${settingOf(choice)}</small>`;
  // What cells are called where columns have no heads.
  const cells = {
    operations: formatFlops(flops),
    kept: formatBytes(kept),
    sees: sees === wishOf().tokens ? 'all' : grouped(sees),
    training,
  };
  const numbers = refused
    ? html`<td colspan="5">${refused}</td>`
    : html`<td>${bar(choice, range)}${formatRatio(choice.speedup)}${evidence(choice)}</td>${Object.entries(cells).map(([label, text]) => html`<td data-label="${label}">${text}</td>`)}`;
  return element(
    html`<tr data-family="${family}"><td><div>${new Html(glyph)}${name}</div></td>${numbers}<td>${new Html(verdicts)}</td></tr>`,
  );
}

/** From 1× as far as was measured, and on to what is expected. */
function bar({ speedup, measured }: Choice, [least, most]: readonly [number, number]): Html {
  const place = (ratio: number) => (100 * Math.log(ratio / least)) / Math.log(most / least);
  const [low, high] = [Math.min(1, speedup), Math.max(1, speedup)];
  const end = Math.min(high, Math.max(low, measured?.speedup ?? 1));
  const ink = (from: number, to: number, kind: string) =>
    from !== to &&
    html`<i class="${kind}" style="left:${place(Math.min(from, to))}%;width:${Math.abs(place(to) - place(from))}%"></i>`;
  return html`<span class="speed" style="--one:${place(1)}%">${ink(1, end, '')}${ink(end, speedup, 'counted')}</span>`;
}

function settingOf({ setting, besides }: Choice): string {
  const params = Object.entries(setting.params).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [...params, besides.length > 0 ? `a layer computes ${besides.join(', ')} too` : ''].filter(Boolean).join(', ');
}

/** What the speed rests on. */
function evidence({ measured, isBaseline }: Choice): Html {
  if (isBaseline) return html`<small>what others are measured against</small>`;
  if (!measured) return html`<small>counted, not measured</small>`;
  const { time, speedup, tokens, dimension, backend, machine } = measured;
  const title = `${formatTime(time)} on the ${DEVICES[backend]}${machine ? ` of ${machine}` : ''}, heads of ${dimension} numbers`;
  return html`<small title="${title}">${formatRatio(speedup)} at ${grouped(tokens)}, ${machine === undefined ? 'measured here' : 'in a stored run'}</small>`;
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

/** What columns are sorted by. */
const KEYS: Record<string, (choice: Choice) => number | string> = {
  method: ({ setting }) => facts[setting.method].title,
  speedup: ({ speedup }) => speedup,
  flops: ({ flops }) => flops,
  kept: ({ kept }) => kept,
  sees: ({ sees }) => sees,
  training: ({ training }) => training,
  claims: ({ setting }) => facts[setting.method].verdicts.split('verdict reproduced').length,
};

function show(): void {
  const key = KEYS[sorting.by];
  const order = (a: Choice, b: Choice) => {
    const [x, y] = [key(a), key(b)];
    return typeof x === 'number' ? x - (y as number) : x.localeCompare(y as string, 'en');
  };
  const all = ranked.toSorted((a, b) => (sorting.isDown ? order(b, a) : order(a, b)));
  const speeds = ranked.map(({ speedup }) => speedup);
  const range = [Math.min(0.9, ...speeds), Math.max(1.1, ...speeds)] as const;
  $('#ranked').replaceChildren(...all.map((choice) => line(choice, range)));
  $('#others').replaceChildren(...others.map((choice) => line(choice, range)));
  for (const head of $$('[data-sort]', box)) {
    const isOn = head.dataset.sort === sorting.by;
    head.closest('th')!.setAttribute('aria-sort', isOn ? (sorting.isDown ? 'descending' : 'ascending') : 'none');
  }
}
for (const head of $$('[data-sort]', box))
  head.addEventListener('click', () => {
    const by = head.dataset.sort!;
    sorting = { by, isDown: sorting.by === by ? !sorting.isDown : ['speedup', 'sees', 'claims'].includes(by) };
    show();
  });

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
  others = choices.filter(({ refused }) => refused);
  show();
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
