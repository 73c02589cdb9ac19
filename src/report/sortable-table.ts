/** A table whose rows can be sorted by any column: numbers by value, words by letter, missing values last. */
import { type Child, element, scrollingTable } from './dom';

export interface SortableColumn<Row> {
  readonly header: string;
  /** What the column means, shown as a tooltip. */
  readonly help?: string;
  /** What the column sorts by; a number aligns it to the right. */
  value(row: Row): number | string | undefined;
  /** What the cell shows; default: the value as text, and a dash for a missing one. */
  cell?(row: Row): Child;
}

/**
 * Rows come in the order given; `rowClass` names the style of a row, `instead` is what stands in the place of all its cells
 * but the first.
 */
export function sortableTable<Row>(
  caption: string,
  columns: readonly SortableColumn<Row>[],
  rows: readonly Row[],
  rowClass: (row: Row) => string | undefined = () => undefined,
  instead: (row: Row) => Child | undefined = () => undefined,
): HTMLElement {
  const headers = columns.map((column) => {
    const button = element('button', { type: 'button', title: column.help }, column.header);
    return element('th', { scope: 'col', class: alignment(column, rows) }, button);
  });
  const cell = (column: SortableColumn<Row>, row: Row) =>
    element('td', { class: alignment(column, rows) }, show(column, row));
  const lines = rows.map((row) => {
    const text = instead(row);
    const cells =
      text === undefined
        ? columns.map((column) => cell(column, row))
        : [...columns.slice(0, 1).map((column) => cell(column, row)), spanning(text, columns.length - 1)];
    return { row, line: element('tr', { class: rowClass(row) }, ...cells) };
  });

  headers.forEach((header, at) => {
    header.firstElementChild?.addEventListener('click', () => {
      const direction = header.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
      for (const other of headers) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', direction);
      const column = columns[at] as SortableColumn<Row>;
      const sorted = [...lines].sort((a, b) => compareValues(column.value(a.row), column.value(b.row), direction));
      lines[0]?.line.parentElement?.append(...sorted.map(({ line }) => line));
    });
  });
  return scrollingTable(
    caption,
    element('tr', {}, ...headers),
    lines.map(({ line }) => line),
  );
}

const spanning = (text: Child, columns: number) => element('td', { colspan: columns, class: 'instead' }, text);

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
