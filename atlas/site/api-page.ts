/** The API reference: search over its names. */
import './page';
import { keepInAddress, stateOfAddress } from './address';
import { $, $$ } from './page';

const query = $<HTMLInputElement>('#query');
const items = $$('[data-name]').map((item) => ({ item, text: item.textContent.toLowerCase() }));
const groups = $$('[data-group]');
const names = document.querySelector<HTMLDetailsElement>('.names-of');

function filter(): void {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { item, text } of items) {
    item.hidden = !words.every((word) => text.includes(word));
    if (!item.hidden) count++;
  }
  for (const group of groups) group.hidden = !group.querySelector('[data-name]:not([hidden])');
  $('#count').textContent = words.length > 0 ? `${count} of ${items.length}` : '';
  if (names && words.length > 0) names.open = true;
}

if (names) names.open = matchMedia('(min-width: 54rem)').matches;
$('.find').addEventListener('submit', (event) => event.preventDefault());
query.addEventListener('input', () => {
  filter();
  keepInAddress(new URLSearchParams(query.value ? { q: query.value } : {}));
});
const state = stateOfAddress();
if (state) {
  query.value = state.get('q') ?? '';
  filter();
}
