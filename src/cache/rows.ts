/** What callers say of the rows of a cache. */
import { checkWhole, show } from '../check';
import { ParameterError } from '../errors';

/** @throws {ParameterError} unless they are a whole number for all rows, or one for each */
export function rowLengths(lengths: number | readonly number[], rows: number): readonly number[] {
  const wanted = typeof lengths === 'number' ? new Array<number>(rows).fill(lengths) : lengths;
  if (!Array.isArray(wanted) || wanted.length !== rows)
    throw new ParameterError(`lengths must be a number for each of ${rows} rows, got ${show(lengths)}`);
  for (const [at, length] of wanted.entries()) checkWhole(`lengths[${at}]`, length, 0);
  return wanted;
}

/** @throws {ParameterError} unless a fork can have these rows of a cache with `count` */
export function checkRows(rows: readonly number[], count: number): void {
  if (!Array.isArray(rows) || rows.length === 0)
    throw new ParameterError(`rows of fork() must be a list of rows, got ${show(rows)}`);
  for (const [at, row] of rows.entries()) checkWhole(`rows[${at}]`, row, 0, count - 1);
}
