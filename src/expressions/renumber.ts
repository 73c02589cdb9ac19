import { getOrMake } from '../bounded-map';
import { apply, type Expression, read, rewritten, type Table } from './expression';

/**
 * The same boolean expression, in which elements compared with others of their own array, such as documents' ids, are numbered
 * by first occurrence. So a document whose tokens are adjacent is a range that contains no other document's ids.
 */
export function renumbered(expression: Expression): Expression {
  const tables = new Map<Table, Table>();
  return rewritten(expression, (node) => {
    const [x, y] = node.args;
    if (!(node.operation === 'equal' && x && y && 'table' in x && 'table' in y && x.table === y.table)) return node;
    const { name, values } = x.table;
    const table = getOrMake(tables, x.table, () => ({ name, values: byOccurrence(values) }));
    return apply('equal', read(table, x.args[0]), read(table, y.args[0]));
  });
}

/** Equal numbers for equal values; NaN, which equals nothing, is kept. */
function byOccurrence(values: Table['values']): Float64Array {
  const numbers = new Map<number, number>();
  return Float64Array.from(values, (value) =>
    Number.isNaN(value) ? value : getOrMake(numbers, value, () => numbers.size),
  );
}
