/** Plain text tables for the terminal. */
import { stripVTControlCharacters, styleText } from 'node:util';

/** A header, over text that is aligned to the left unless it says otherwise. */
export type Column = string | { readonly header: string; readonly align?: 'left' | 'right' };

/** A column that is aligned to the right, as numbers are. */
export const right = (header: string): Column => ({ header, align: 'right' });

const GAP = '  ';

/**
 * Rows under a header, columns as wide as their widest cell. A cell may hold several lines and ANSI colours, which
 * take no width. Where a row has fewer cells than there are columns, its last one reaches over the rest. Ends without a newline.
 */
export function formatTable(given: readonly Column[], rows: readonly (readonly string[])[]): string {
  const columns = given.map((column) => (typeof column === 'string' ? { header: column } : column));
  const table = rows.map((row) => row.map((cell) => cell.split('\n')));
  const reaches = (row: readonly unknown[], at: number) => at === row.length - 1 && row.length < columns.length;
  const widths = columns.map(({ header }, at) =>
    Math.max(widthOf(header), ...table.flatMap((row) => (reaches(row, at) ? [] : (row[at] ?? []).map(widthOf)))),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (reaches(cells, at) ? cell : pad(cell, widths[at] as number, columns[at]?.align === 'right')))
      .join(GAP)
      .trimEnd();
  const body = table.flatMap((row) => {
    const height = Math.max(...row.map((cell) => cell.length));
    return Array.from({ length: height }, (_, at) => line(row.map((cell) => cell[at] ?? '')));
  });
  const header = line(columns.map((column) => column.header));
  const rule = widths.map((length) => '─'.repeat(length)).join(GAP);
  return [styleText('bold', header), styleText('dim', rule), ...body].join('\n');
}

/** Columns that `text` takes on a terminal. */
export function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

function pad(text: string, length: number, isRight: boolean): string {
  const space = ' '.repeat(length - widthOf(text));
  return isRight ? space + text : text + space;
}

/** The text of a cell in a style: each line by itself, since tables are laid out line by line. */
export function styledLines(style: Parameters<typeof styleText>[0], text: string): string {
  return text
    .split('\n')
    .map((line) => styleText(style, line))
    .join('\n');
}
