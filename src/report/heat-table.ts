import { element, scrollingTable } from './dom';

/** A table of shares from 0 to 1, each cell tinted by its value: rows by name, a column for each head. */
export function heatTable(
  caption: string,
  rows: readonly { readonly name: string; readonly values: readonly number[] }[],
): HTMLElement {
  const heads = rows[0]?.values ?? [];
  const header = element(
    'tr',
    {},
    element('th', { scope: 'col' }, 'Attention'),
    ...heads.map((_, head) => element('th', { scope: 'col', class: 'number' }, `Head ${head}`)),
  );
  const body = rows.map(({ name, values }) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, name),
      ...values.map((value) =>
        element('td', { class: 'number heat', style: `--share: ${Math.min(1, value)}` }, (100 * value).toFixed(1)),
      ),
    ),
  );
  return scrollingTable(caption, header, body);
}
