/** Products of few rows as machine code: the sums of few-rows.as.ts, whose other kernels go before and after. */
import type { Integer, Kernel, Rows, Vector } from '../../code/kernel';
import type { Native } from '../../runtime/native/open';
import type { MatmulCall } from './call';
import { isAcross } from './few-rows';
import { FewRowsParams } from './params';

/** Rows whose sums with columns are in registers together, at most. */
const TOGETHER = 4;

/** The code for a call whose b is f32. */
export function codeOfFewRows({ a, b }: MatmulCall, native: Native) {
  const rows = a.shape.at(-2) as number;
  const across = isAcross(b);
  const build = across ? fewRowsAcross : fewRowsAlong;
  const address = native.kernel(`few rows ${across} ${rows}`, (k) => build(k, rows));
  return { address, columns: native.target.lanes };
}

const paramsOf = (k: Kernel) => {
  const p = k.params(FewRowsParams);
  return {
    ...p,
    step: p.depth().times(4),
    pitch: p.pitch().times(4),
    left: p.left().plus(k.base),
    parts: p.parts().plus(k.base),
  };
};

/** Columns of b, whose terms lie side by side: a vector of sums for each row and column, whose lanes are added up at the end. */
function fewRowsAlong(k: Kernel, rows: number): void {
  const p = paramsOf(k);
  const [depth, strip, columns] = [p.depth(), p.strip(), p.b.lanes()];
  const lane = p.b.lane().times(4);
  const first = k.task.times(strip);
  const past = first.plus(strip).least(columns);
  const b = p.b.address().plus(k.base).plus(first.times(lane));
  const to = p.parts.plus(first.times(4));
  const rest = depth.remainder(k.integer(k.lanes));
  const whole = depth.minus(k.lanes - 1);
  const some = (count: number) => {
    const [left, sums] = [p.left.copy(), to.copy()];
    for (let row = 0; row < rows; row += TOGETHER) {
      const group = Math.min(TOGETHER, rows - row);
      // So many columns that the sums are as many as lanes.
      const most = Math.min(count, Math.floor(k.lanes / group));
      const right = b.copy();
      for (let column = 0; column < count; column += most) {
        const some = Math.min(most, count - column);
        const found = dots(k, k.rows(left, p.step, group), k.rows(right, lane, some), group, some, whole, rest);
        found.store(k.scratch.at());
        const place = sums.plus(4 * column);
        for (let r = 0; r < group; r++) {
          k.load(k.scratch.at(4 * some * r), k.integer(some)).store(place.at(), k.integer(some));
          if (r < group - 1) place.add(p.pitch);
        }
        if (column + most < count) right.add(lane.times(most));
      }
      left.add(p.step.times(group));
      sums.add(p.pitch.times(group));
    }
    b.add(lane.times(count));
    to.add(4 * count);
  };
  const done = first.copy();
  k.range('columns', first.plus(k.lanes - 1), past, k.lanes, () => {
    some(k.lanes);
    done.add(k.lanes);
  });
  k.range('last columns', done, past, 1, () => some(1));
}

/** The sums of rows with columns, [rows][columns], in the first lanes. */
function dots(k: Kernel, a: Rows, b: Rows, rows: number, columns: number, whole: Integer, rest: Integer): Vector {
  const sums = Array.from({ length: rows }, () => Array.from({ length: columns }, () => k.number(0)));
  const add = (count?: Integer) => {
    const left = sums.map((_, row) => k.load(a.at(row), count));
    for (let column = 0; column < columns; column++) {
      const right = k.load(b.at(column), count);
      for (const [row, of] of sums.entries()) (of[column] as Vector).addProduct(left[row] as Vector, right);
    }
  };
  k.range('terms', 0, whole, k.lanes, () => {
    add();
    a.add(k.bytes);
    b.add(k.bytes);
  });
  k.if(rest, '>', 0, () => add(rest));
  const all = sums.flat();
  while (all.length < k.lanes) all.push(k.number(0));
  let parts = k.transposed(all);
  // Always in the same order, so that a row has the same bits whatever rows are beside it.
  while (parts.length > 1) {
    const half = parts.length / 2;
    parts = parts.slice(0, half).map((part, at) => part.plus(parts[half + at] as Vector));
  }
  return parts[0] as Vector;
}

/** Some terms of some columns, which lie side by side: added to sums in the first cache, several terms at a time. */
function fewRowsAcross(k: Kernel, rows: number): void {
  const p = paramsOf(k);
  const [depth, most, strip, columns] = [p.depth(), p.terms(), p.strip(), p.b.lanes()];
  const strips = columns.plus(strip).minus(1).over(strip);
  const split = k.task.over(strips);
  const first = split.times(most);
  const terms = most.least(depth.minus(first));
  const column = k.task.remainder(strips).times(strip);
  const count = strip.least(columns.minus(column));
  const next = p.b.term().times(4);
  const sums = p.parts.plus(split.times(p.sumRows()).times(p.pitch)).plus(column.times(4));
  const b = p.b.address().plus(k.base).plus(first.times(next)).plus(column.times(4));
  const a = p.left.plus(first.times(4));
  const whole = count.minus(k.lanes - 1);
  const rest = count.remainder(k.integer(k.lanes));
  /** For all columns, a vector of each row's sums at a time. */
  const overColumns = (name: string, body: (to: Rows, most?: Integer) => void, ...others: Rows[]) => {
    const to = k.rows(sums, p.pitch, rows);
    k.range(name, 0, whole, k.lanes, () => {
      body(to);
      for (const each of [to, ...others]) each.add(k.bytes);
    });
    k.if(rest, '>', 0, () => body(to, rest));
  };
  overColumns('columns to clear', (to, most) => {
    for (let row = 0; row < rows; row++) k.number(0).store(to.at(row), most);
  });
  const addTerms = (count: number) => {
    const factors = Array.from({ length: rows }, (_, row) => {
      const from = a.plus(p.step.times(row));
      return Array.from({ length: count }, (_, term) => k.splat(from.at(4 * term)));
    });
    const right = k.rows(b, next, count);
    overColumns(
      'columns',
      (to, most) => {
        const found = factors.map((_, row) => k.load(to.at(row), most));
        for (let term = 0; term < count; term++) {
          const x = k.load(right.at(term), most);
          for (const [row, sum] of found.entries()) sum.addProduct(factors[row]?.[term] as Vector, x);
        }
        for (const [row, sum] of found.entries()) sum.store(to.at(row), most);
      },
      right,
    );
    b.add(next.times(count));
    a.add(4 * count);
  };
  // Factors, the sums and a vector of b fit into registers.
  const together = Math.min(8, Math.floor((k.target.vectors - 1 - rows) / rows));
  const done = k.integer(0);
  k.range('terms', together - 1, terms, together, () => {
    addTerms(together);
    done.add(together);
  });
  k.range('last terms', done, terms, 1, () => addTerms(1));
}
