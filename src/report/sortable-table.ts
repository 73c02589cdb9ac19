/** A table whose rows can be sorted by any column: numbers by value, words by letter, missing values last. */
import { type Child, element } from './dom';

export interface SortableColumn<Row> {
  readonly header: string;
  /** What the column means, shown as a tooltip. */
  readonly help?: string;
  /** What the column sorts by; a number aligns it to the right. */
  value(row: Row): number | string | undefined;
  /** What the cell shows; default: the value as text, and a dash for a missing one. */
  cell?(row: Row): Child;
}

/** The table in a box that scrolls sideways where the page is narrow; rows come in the order given. */
export function sortableTable<Row>(
  caption: string,
  columns: readonly SortableColumn<Row>[],
  rows: readonly Row[],
): HTMLElement {
  const body = element('tbody');
  const headers = columns.map((column) => {
    const button = element('button', { type: 'button', title: column.help }, column.header);
    return element('th', { scope: 'col', class: alignment(column, rows) }, button);
  });
  const lines = rows.map((row) => ({
    row,
    line: element(
      'tr',
      {},
      ...columns.map((column) => element('td', { class: alignment(column, rows) }, show(column, row))),
    ),
  }));
  body.append(...lines.map(({ line }) => line));

  headers.forEach((header, at) => {
    header.firstElementChild?.addEventListener('click', () => {
      const direction = header.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
      for (const other of headers) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', direction);
      const column = columns[at] as SortableColumn<Row>;
      const sorted = [...lines].sort((a, b) => compareValues(column.value(a.row), column.value(b.row), direction));
      body.append(...sorted.map(({ line }) => line));
    });
  });
  const table = element(
    'table',
    {},
    element('caption', {}, caption),
    element('thead', {}, element('tr', {}, ...headers)),
    body,
  );
  return element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table);
}

function show<Row>(column: SortableColumn<Row>, row: Row): Child {
  return column.cell?.(row) ?? String(column.value(row) ?? '–');
}

function alignment<Row>(column: SortableColumn<Row>, rows: readonly Row[]): string | undefined {
  return rows.some((row) => typeof column.value(row) === 'number') ? 'number' : undefined;
}

function compareValues(
  a: number | string | undefined,
  b: number | string | undefined,
  direction: 'ascending' | 'descending',
): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
  return direction === 'ascending' ? order : -order;
}
