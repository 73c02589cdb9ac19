/** The list of papers: search by words, filters, and the loupe over the plate of glyphs. */
import { $, $$ } from './page';

const rows = $$<HTMLTableRowElement>('tr.method');
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase().replace(/\s+/g, ' ')]));
const finder = $<HTMLFormElement>('.finder');
const query = $<HTMLInputElement>('#query');
const family = $<HTMLSelectElement>('#family');

const chosen = (name: string) => $$<HTMLInputElement>(`[name="${name}"]:checked`, finder).map(({ value }) => value);

function filter(): void {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const [costs, trainings, devices] = ['cost', 'training', 'device'].map(chosen);
  const isShown = (row: HTMLTableRowElement) => {
    const { cost, training, works } = row.dataset;
    return (
      words.every((word) => texts.get(row)!.includes(word)) &&
      (costs.length === 0 || costs.includes(cost!)) &&
      (trainings.length === 0 || trainings.includes(training === 'either way' ? 'not needed' : training!)) &&
      devices.every((device) => works!.split(' ').includes(device)) &&
      (family.value === '' || row.parentElement!.dataset.family === family.value)
    );
  };
  let count = 0;
  for (const row of rows) {
    row.hidden = !isShown(row);
    if (!row.hidden) count++;
    $(`#plate [data-id="${row.id}"]`).classList.toggle('out', row.hidden);
  }
  for (const body of $$('.guide tbody')) body.hidden = $$('tr.method:not([hidden])', body).length === 0;
  $('#count').textContent = `${count} of ${rows.length}`;
  $('#nothing').hidden = count > 0;
  finder.dataset.state = 'done';
  remember();
}

/** The address restores what was searched for. */
function remember(): void {
  const state = new URLSearchParams(query.value ? { q: query.value } : {});
  for (const name of ['cost', 'training', 'device']) for (const value of chosen(name)) state.append(name, value);
  if (family.value) state.set('family', family.value);
  history.replaceState(null, '', state.size > 0 ? `#?${state}` : location.pathname + location.search);
}

function restore(): void {
  if (!location.hash.startsWith('#?')) return;
  const state = new URLSearchParams(location.hash.slice(2));
  query.value = state.get('q') ?? '';
  family.value = state.get('family') ?? '';
  if (family.selectedIndex < 0) family.value = '';
  for (const box of $$<HTMLInputElement>('[type=checkbox]', finder))
    box.checked = state.getAll(box.name).includes(box.value);
  filter();
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
finder.addEventListener('input', filter);
addEventListener('hashchange', restore);
restore();
