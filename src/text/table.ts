/** Plain text tables for the terminal. */
import { stripVTControlCharacters, styleText } from 'node:util';

export interface Column {
  readonly header: string;
  /** Default: left. */
  readonly align?: 'left' | 'right';
}

const GAP = '  ';

/**
 * Rows under a header, columns as wide as their widest cell. A cell may hold several lines and ANSI colours, which
 * take no width. Ends without a newline.
 */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const table = rows.map((row) => columns.map((_, at) => (row[at] ?? '').split('\n')));
  const widths = columns.map(({ header }, at) =>
    Math.max(widthOf(header), ...table.flatMap((row) => (row[at] as string[]).map(widthOf))),
  );
  const line = (cells: readonly string[]) =>
    columns
      .map(({ align }, at) => pad(cells[at] ?? '', widths[at] as number, align))
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

function pad(text: string, length: number, align: Column['align']): string {
  const space = ' '.repeat(length - widthOf(text));
  return align === 'right' ? space + text : text + space;
}
