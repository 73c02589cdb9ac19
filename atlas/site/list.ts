/** The list of papers: search by words or by meaning, filters, and the loupe over the plate of glyphs. */
import { keepInAddress, stateOfAddress } from './address';
import { Helper, latest } from './ask';
import { element, html } from './html';
import { $, $$ } from './page';
import { answers, sentencesOf, stems, Words } from './ranking';
import type { Likeness } from './tasks/meaning';

const rows = $$<HTMLTableRowElement>('tr.method');
const bodies = $$<HTMLTableSectionElement>('.guide tbody');
const homes = rows.map((row) => row.parentElement!);
const finder = $<HTMLFormElement>('.finder');
const query = $<HTMLInputElement>('#query');
const family = $<HTMLSelectElement>('#family');
const [plain, byMeaning] = ['words', 'meaning'].map((value) => $<HTMLInputElement>(`[name=by][value=${value}]`));
const ranked = $('#ranked');

const chosen = (name: string) => $$<HTMLInputElement>(`[name="${name}"]:checked`, finder).map(({ value }) => value);

const problems = JSON.parse($('#problems').textContent!) as Record<string, readonly string[]>;
const findable = rows.map((row) => {
  const text = (selector: string) => $(selector, row).textContent;
  const sentences = [text('.idea'), row.dataset.family!.replaceAll('-', ' '), ...problems[row.id]];
  return { id: row.id, title: `${text('.name')} ${text('cite')}`, sentences };
});
const words = new Words(findable);

/** Papers in the order of their answer to the question, or of a column; undefined for that of their families. */
let order: readonly Found[] | undefined;
interface Found {
  readonly id: string;
  readonly score?: number;
  /** What it has to say to the question. */
  readonly text?: string;
}

function filter(): void {
  const [costs, trainings, devices] = ['cost', 'training', 'device'].map(chosen);
  const found = new Set(order?.map(({ id }) => id));
  const isShown = (row: HTMLTableRowElement) => {
    const { cost, training, works } = row.dataset;
    return (
      (!order || found.has(row.id)) &&
      (costs.length === 0 || costs.includes(cost!)) &&
      (trainings.length === 0 || trainings.includes(training === 'either way' ? 'not needed' : training!)) &&
      devices.every((device) => works!.split(' ').includes(device)) &&
      (family.value === '' || row.dataset.family === family.value)
    );
  };
  let count = 0;
  for (const row of rows) {
    row.hidden = !isShown(row);
    if (!row.hidden) count++;
    $(`#plate [data-id="${row.id}"]`).classList.toggle('out', row.hidden);
  }
  for (const body of bodies) body.hidden = $$('tr.method:not([hidden])', body).length === 0;
  $('#count').textContent = `${count} of ${rows.length}`;
  const question = query.value.trim();
  $('#first').textContent =
    order && question && count > 0 ? `${$('tr.method:not([hidden]) .name', ranked).textContent} is first` : '';
  $('#nothing').hidden = count > 0;
  const isMissed = question !== '' && order?.length === 0;
  $('#nothing').firstElementChild!.textContent = isMissed
    ? `Nothing here answers “${question}”.`
    : 'No paper fits all of these filters.';
  $('#nothing').lastElementChild!.toggleAttribute('hidden', !isMissed || byMeaning.checked);
}

function search(): void {
  if (!byMeaning.checked || query.value.trim() === '') {
    asking?.abort();
    arrange(sorted() ?? byWords());
  }
  filter();
  remember();
  if (byMeaning.checked) rankAll();
  else finder.dataset.state = 'done';
}

function byWords(): Found[] | undefined {
  const question = query.value.trim();
  if (question === '') return undefined;
  const asked = new Set(stems(question));
  const shared = (text: string) => stems(text).filter((stem) => asked.has(stem)).length;
  return answers(sentencesOf(question), words).map((each) => {
    const { sentences } = findable.find(({ id }) => id === each.id)!;
    const [text] = sentences.toSorted((a, b) => shared(b) - shared(a));
    return shared(text) > 0 ? { ...each, text } : each;
  });
}

function byBoth(sentences: readonly string[], meanings: readonly (readonly Likeness[])[]): Found[] {
  const near = meanings.flat().sort((a, b) => a.cosine - b.cosine);
  const texts = new Map(near.map(({ id, text }) => [id, text]));
  return answers(sentences, words, meanings).map((each) => ({ ...each, text: texts.get(each.id)! }));
}

/** Puts the rows in an order, or back to their families. */
function arrange(by: readonly Found[] | undefined): void {
  for (const line of $$('.likeness')) line.remove();
  if (order || by)
    rows.forEach((row, at) => {
      homes[at].append(row);
    });
  for (const { id, score, text } of by ?? []) {
    const row = document.getElementById(id)!;
    if (score !== undefined) $('.what', row).append(likeness(row, score, text));
    ranked.append(row);
  }
  const [title, explanation] = $$('h2, p', ranked);
  const isOfQuestion = by?.some(({ score }) => score !== undefined) ?? false;
  title.textContent = isOfQuestion ? 'Best first' : 'Sorted';
  explanation.textContent = isOfQuestion
    ? `By ${byMeaning.checked ? 'words and meaning' : 'the words of your question'}, over what each paper is about and the problems that lead to it (1 at most).`
    : '';
  order = by;
}

function likeness(row: HTMLElement, score: number, text: string | undefined): HTMLElement {
  // Its summary stands above already.
  const isNew = text !== undefined && text !== $('.idea', row).textContent && text !== familyOf(row);
  return element(
    html`<p class="likeness"><i style="--share:${Math.max(0, score)}"></i>${score.toFixed(2)} ${isNew && `${text} `}<span>${familyOf(row)}</span></p>`,
  );
}
const familyOf = (row: HTMLElement) => row.dataset.family!.replaceAll('-', ' ');

/** The column by which the list is sorted, and whether from the largest down. */
let column: { readonly name: string; readonly isDown: boolean } | undefined;
const heads = $$<HTMLButtonElement>('[data-sort]');

function sorted(): Found[] | undefined {
  if (!column || query.value.trim() !== '') return undefined;
  const { name, isDown } = column;
  const key = (row: HTMLElement) => row.dataset[`by${name}`]!;
  const by = (a: HTMLElement, b: HTMLElement) => key(a).localeCompare(key(b), 'en', { numeric: true });
  const all = rows.toSorted((a, b) => (isDown ? by(b, a) : by(a, b)));
  return all.map(({ id }) => ({ id }));
}

for (const head of heads)
  head.addEventListener('click', () => {
    const name = head.dataset.sort!;
    const isDown = column?.name === name ? !column.isDown : head.dataset.first === 'down';
    column = column?.name === name && isDown === (head.dataset.first === 'down') ? undefined : { name, isDown };
    query.value = '';
    search();
    for (const each of heads) {
      const isOn = column?.name === each.dataset.sort;
      each.closest('th')!.setAttribute('aria-sort', isOn ? (column!.isDown ? 'descending' : 'ascending') : 'none');
      each.toggleAttribute('data-on', isOn);
      each.dataset.way = column?.isDown ? '↓' : '↑';
    }
  });
$('#lines').addEventListener('input', ({ target }) => {
  $('#guide').classList.toggle('lines', (target as HTMLInputElement).checked);
});

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
    const sentences = sentencesOf(query.value).filter(Boolean);
    const found = await helper.ask('rankByMeaning', { sentences }, { signal, onProgress });
    isLoaded = true;
    say(sentences.length > 0 ? '' : 'The sentence encoder is there: ask in a sentence of your own.');
    if (sentences.length > 0 && byMeaning.checked) arrange(byBoth(sentences, found));
    filter();
    finder.dataset.state = 'done';
  } catch (error) {
    const sentence = `The sentence encoder could not be loaded: ${(error as Error).message}. The list answers to words.`;
    say(signal.aborted ? '' : sentence);
    const state = signal.aborted ? 'done' : 'error';
    plain.checked = true;
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
  (state.get('by') === 'meaning' ? byMeaning : plain).checked = true;
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
