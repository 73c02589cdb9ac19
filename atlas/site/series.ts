/** Rows of a stored benchmark as lines over the length. */
import type { BenchRow } from '../../src/bench/report';

/** What rows have in common that stand in one plot. */
export const panelOf = ({ mask, d }: BenchRow) => `${mask}, d = ${d}`;

export const lengthsOf = (rows: readonly BenchRow[]) => [...new Set(rows.map(({ n }) => n))].sort((a, b) => a - b);

/**
 * For each label of each panel the rows from the shortest on, the first of each length, if there are at least so many lengths.
 * A label with many rows at each length is of several problems, and no line.
 */
export function linesOf(rows: readonly BenchRow[], least = 2): BenchRow[][] {
  const labelled = [...Map.groupBy(rows, (row) => `${panelOf(row)}: ${row.label}`).values()];
  return labelled.flatMap((all) => {
    const lengths = lengthsOf(all);
    const isLine = lengths.length >= least && 2 * lengths.length > all.length;
    return isLine ? [lengths.map((length) => all.find(({ n }) => n === length)!)] : [];
  });
}
