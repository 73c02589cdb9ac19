import { apply, type Expression, read, type Table } from './expression';

/**
 * The same boolean, but that elements compared with others of their own array, such as documents' ids, are numbered as
 * they first occur. So those of a document whose tokens lie together are a range that no other document's ids are in.
 */
export function renumbered(expression: Expression): Expression {
  const tables = new Map<Table, Table>();
  const done = new Map<Expression, Expression>();
  const visit = (node: Expression): Expression => {
    const known = done.get(node);
    if (known) return known;
    let result = node;
    if ('table' in node) result = read(node.table, visit(node.args[0]));
    else if (!('value' in node || 'name' in node)) result = apply(node.operation, ...node.args.map(visit));
    const [x, y] = result.args;
    if (result.operation === 'equal' && x && y && 'table' in x && 'table' in y && x.table === y.table) {
      const table = tables.get(x.table) ?? { name: x.table.name, values: byOccurrence(x.table.values) };
      tables.set(x.table, table);
      result = apply('equal', read(table, x.args[0]), read(table, y.args[0]));
    }
    done.set(node, result);
    return result;
  };
  return visit(expression);
}

/** Equal numbers for equal values; NaN, which equals nothing, stays. */
function byOccurrence(values: Table['values']): Float64Array {
  const numbers = new Map<number, number>();
  return Float64Array.from(values, (value) => {
    if (Number.isNaN(value)) return value;
    const number = numbers.get(value) ?? numbers.size;
    numbers.set(value, number);
    return number;
  });
}
