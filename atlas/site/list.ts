/** The list of papers: search by words or by meaning, filters, and the loupe over the plate of glyphs. */
import { keepInAddress, stateOfAddress } from './address';
import { Helper, latest } from './ask';
import { $, $$ } from './page';
import type { Likeness } from './tasks/meaning';

const rows = $$<HTMLTableRowElement>('tr.method');
const bodies = $$<HTMLTableSectionElement>('.guide tbody');
const homes = rows.map((row) => row.parentElement!);
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase().replace(/\s+/g, ' ')]));
const finder = $<HTMLFormElement>('.finder');
const query = $<HTMLInputElement>('#query');
const family = $<HTMLSelectElement>('#family');
const [byWords, byMeaning] = ['words', 'meaning'].map((value) => $<HTMLInputElement>(`[name=by][value=${value}]`));
const ranked = $('#ranked');

const chosen = (name: string) => $$<HTMLInputElement>(`[name="${name}"]:checked`, finder).map(({ value }) => value);

/** How many of the nearest stand out on the plate. */
const NEAR = 10;

/** All papers by meaning, the nearest first; undefined during a search by words. */
let order: readonly Likeness[] | undefined;

function filter(): void {
  const words = order ? [] : query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const [costs, trainings, devices] = ['cost', 'training', 'device'].map(chosen);
  const isShown = (row: HTMLTableRowElement) => {
    const { cost, training, works } = row.dataset;
    return (
      words.every((word) => texts.get(row)!.includes(word)) &&
      (costs.length === 0 || costs.includes(cost!)) &&
      (trainings.length === 0 || trainings.includes(training === 'either way' ? 'not needed' : training!)) &&
      devices.every((device) => works!.split(' ').includes(device)) &&
      (family.value === '' || row.dataset.family === family.value)
    );
  };
  const near = order?.slice(0, NEAR).map(({ id }) => id);
  let count = 0;
  for (const row of rows) {
    row.hidden = !isShown(row);
    if (!row.hidden) count++;
    $(`#plate [data-id="${row.id}"]`).classList.toggle('out', row.hidden || near?.includes(row.id) === false);
  }
  for (const body of bodies) body.hidden = $$('tr.method:not([hidden])', body).length === 0;
  $('#count').textContent = `${count} of ${rows.length}`;
  $('#first').textContent =
    order && count > 0 ? `${$('tr.method:not([hidden]) .name', ranked).textContent} is nearest` : '';
  $('#nothing').hidden = count > 0;
}

function search(): void {
  if (!byMeaning.checked) {
    asking?.abort();
    arrange(undefined);
  }
  filter();
  remember();
  if (byMeaning.checked) rankAll();
  else finder.dataset.state = 'done';
}

/** Puts the rows in an order by meaning, or back to their families. */
function arrange(by: readonly Likeness[] | undefined): void {
  for (const line of $$('.likeness')) line.remove();
  if (by) {
    for (const { id, cosine, text } of by) {
      const row = document.getElementById(id)!;
      $('.what', row).append(likeness(row, cosine, text));
      ranked.append(row);
    }
  } else if (order) {
    rows.forEach((row, at) => {
      homes[at].append(row);
    });
  }
  order = by;
}

function likeness(row: HTMLElement, cosine: number, text: string): HTMLElement {
  const line = document.createElement('p');
  line.className = 'likeness';
  const bar = document.createElement('i');
  bar.style.setProperty('--share', String(Math.max(0, cosine)));
  // Its summary stands above already.
  line.append(bar, `${cosine.toFixed(2)} ${text === $('.idea', row).textContent ? '' : `${text} `}`);
  const kin = document.createElement('span');
  kin.textContent = row.dataset.family!.replaceAll('-', ' ');
  line.append(kin);
  return line;
}

const helper = new Helper();
const loading = $('#loading');
const said = $('[data-said]', loading);
const stop = $<HTMLButtonElement>('[data-cancel]', loading);
let asking: AbortController | undefined;
let isLoaded = false;

function say(sentence: string, isGoing = false): void {
  said.textContent = sentence;
  loading.hidden = sentence === '';
  stop.hidden = !isGoing;
}

const rankAll = latest(async () => {
  if (!byMeaning.checked) return;
  asking = new AbortController();
  const { signal } = asking;
  finder.dataset.state = 'running';
  const onProgress = (share: unknown) =>
    say(`The sentence encoder is loading: ${Math.floor(100 * (share as number))}% of ${said.dataset.size}.`, true);
  if (!isLoaded) onProgress(0);
  try {
    const question = query.value.trim();
    const found = await helper.ask('rankByMeaning', { question }, { signal, onProgress });
    isLoaded = true;
    say(question ? '' : 'The sentence encoder is there: ask in a sentence of your own.');
    arrange(question && byMeaning.checked ? found : undefined);
    filter();
    finder.dataset.state = 'done';
  } catch (error) {
    const sentence = `The sentence encoder could not be loaded: ${(error as Error).message}. The list answers to words.`;
    say(signal.aborted ? '' : sentence);
    const state = signal.aborted ? 'done' : 'error';
    byWords.checked = true;
    search();
    finder.dataset.state = state;
  }
});
stop.addEventListener('click', () => {
  query.focus();
  asking?.abort();
});

/** The address restores what was searched for. */
function remember(): void {
  const state = new URLSearchParams(query.value ? { q: query.value } : {});
  if (byMeaning.checked) state.set('by', 'meaning');
  for (const name of ['cost', 'training', 'device']) for (const value of chosen(name)) state.append(name, value);
  if (family.value) state.set('family', family.value);
  keepInAddress(state);
}

function restore(): void {
  const state = stateOfAddress();
  if (!state) return;
  query.value = state.get('q') ?? '';
  family.value = state.get('family') ?? '';
  if (family.selectedIndex < 0) family.value = '';
  for (const box of $$<HTMLInputElement>('[type=checkbox]', finder))
    box.checked = state.getAll(box.name).includes(box.value);
  (state.get('by') === 'meaning' ? byMeaning : byWords).checked = true;
  search();
}

const loupe = $('#loupe');
function show(item: Element | null): void {
  const { name, idea, reading, family: kin } = (item as HTMLElement | null)?.dataset ?? {};
  if (!item || name === undefined) return;
  loupe.dataset.family = kin;
  $('strong', loupe).textContent = name;
  $('.idea', loupe).textContent = idea!;
  $('.reading', loupe).textContent = reading!;
  const glyph = $('.glyph', loupe);
  glyph.style.cssText = $('.glyph', item).style.cssText;
  glyph.setAttribute('aria-label', `Picture of ${name}`);
  const isOfPairs = !['large-kernels', 'kernel-methods'].includes(kin!);
  for (const axis of $$('.across, .down', loupe)) axis.style.visibility = isOfPairs ? '' : 'hidden';
  for (const link of $$('#plate a')) link.classList.toggle('held', link.parentElement === item);
}
for (const event of ['pointerover', 'focusin'])
  $('#plate').addEventListener(event, ({ target }) => show((target as Element).closest('[data-name]')));
$('#guide').addEventListener('pointerover', ({ target }) => {
  const row = (target as Element).closest('tr.method');
  if (row) show($(`#plate [data-id="${row.id}"]`));
});

finder.addEventListener('submit', (event) => event.preventDefault());
finder.addEventListener('input', search);
addEventListener('hashchange', restore);
restore();
