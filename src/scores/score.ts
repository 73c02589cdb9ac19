/** Score modifiers: what changes a scaled score before the softmax, by where it stands. */
import { checkNumbers, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { derivativeOf, type TableDerivative, tableDerivatives } from '../expressions/differentiate';
import {
  apply,
  constant,
  type Expression,
  type InputName,
  input,
  read,
  substitute,
  type Table,
  tableOf,
} from '../expressions/expression';
import type { Extent } from '../masks/mask';
import { checkHost, type HostTensor, toFloats } from '../tensor/host';
import { formatShape } from '../tensor/shape';

export interface Score {
  /** What it is and with which params, such as `softcap 30`. */
  readonly name: string;
  /** The new score, from the old one and its place. */
  readonly expression: Expression;
  /** d new score / d old score. */
  readonly derivative: Expression;
  /** How the new score changes with the elements of captured arrays. */
  readonly tables: readonly TableDerivative[];
  /** Throws a ShapeError if it does not fit the problem. */
  check?(extent: Extent): void;
}

/** Throws a ParameterError unless `score` is one. */
export function checkScore(what: string, score: Score): void {
  if (score?.expression && score.derivative) return;
  throw new ParameterError(`${what} must be a Score, such as scores.softcap(30), got ${show(score)}`);
}

/** The captured arrays whose elements change the score, each once. */
export function tablesOf({ tables }: Score): Table[] {
  return [...new Set(tables.map(({ table }) => table))];
}

/** c tanh(score / c): scores stay within c of 0. */
export function softcap(c: number): Score {
  // Kernels compute in float32.
  const held = typeof c === 'number' ? Math.fround(c) : Number.NaN;
  if (!(held > 0 && held < Number.POSITIVE_INFINITY)) {
    throw new ParameterError(`softcap needs a positive number that float32 can hold, got ${show(c)}`);
  }
  const share = apply('divide', input('score'), constant(c));
  return named(`softcap ${c}`, apply('multiply', constant(c), apply('tanh', share)));
}

/** score - slopes[h] |q + m - n - k|: further keys count less, at a slope for each query head. */
export function alibi(slopes: ArrayLike<number>): Score {
  checkNumbers('slopes of alibi', slopes, 'finite numbers', (slope) => Number.isFinite(Math.fround(slope)));
  const distance = apply('abs', apply('subtract', lastSeen(), input('k')));
  const slope = read(tableOf('slopes', slopes), input('h'));
  const expression = apply('subtract', input('score'), apply('multiply', slope, distance));
  return named('alibi', expression, ({ h }) => {
    if (slopes.length !== h) throw new ShapeError(`alibi needs a slope for each of ${h} heads, got ${slopes.length}`);
  });
}

/**
 * score + table[h, k - (q + m - n) + L - 1], from a table [h, 2 L - 1] for distances of less than L. The table is copied:
 * what becomes of it later changes nothing.
 */
export function relativeBias(table: HostTensor): Score {
  checkHost('table', table);
  const [heads, columns] = table.shape;
  if (table.shape.length !== 2 || (columns as number) % 2 === 0) {
    throw new ShapeError(`relativeBias needs a table [heads, 2 L - 1], got ${formatShape(table.shape)}`);
  }
  const reach = ((columns as number) + 1) / 2;
  const row = apply('multiply', input('h'), constant(columns as number));
  const distance = apply('subtract', input('k'), lastSeen());
  const index = sum(row, distance, constant(reach - 1));
  return named(`relative bias ${formatShape(table.shape)}`, plus(table, index), ({ h, n, m }) => {
    if (heads === h && reach >= Math.max(n, m)) return;
    throw new ShapeError(
      `relativeBias needs a table [${h}, at least ${2 * Math.max(n, m) - 1}] for ${h} heads, ${n} queries and ${m} keys, got ${formatShape(table.shape)}`,
    );
  });
}

/**
 * score + table[b, h, q, k], from a table [n, m], [h, n, m] or [b, h, n, m]; axes of extent 1 are shared. The table is
 * copied: what becomes of it later changes nothing. Runtimes that compute with it keep a copy of their own, in
 * float32, from the first call on for as long as the score can be reached: call after call make it once.
 */
export function additiveBias(table: HostTensor): Score {
  checkHost('table', table);
  const rank = table.shape.length;
  if (rank < 2 || rank > 4) {
    throw new ShapeError(
      `additiveBias needs a table [n, m], [h, n, m] or [b, h, n, m], got ${formatShape(table.shape)}`,
    );
  }
  const [batches, heads, rows, columns] = [1, 1, ...table.shape].slice(-4) as [number, number, number, number];
  const axes: readonly (readonly [name: InputName, extent: number, step: number])[] = [
    ['b', batches, heads * rows * columns],
    ['h', heads, rows * columns],
    ['q', rows, columns],
    ['k', columns, 1],
  ];
  const terms = axes
    .filter(([, extent]) => extent !== 1)
    .map(([name, , step]) => (step === 1 ? input(name) : apply('multiply', input(name), constant(step))));
  const index = terms.length > 0 ? sum(...terms) : constant(0);
  return named(`additive bias ${formatShape(table.shape)}`, plus(table, index), ({ b, h, n, m }) => {
    const fits = (extent: number, whole: number) => extent === 1 || extent === whole;
    if (fits(batches, b) && fits(heads, h) && fits(rows, n) && fits(columns, m)) return;
    throw new ShapeError(
      `additiveBias needs a table [${n}, ${m}], [${h}, ${n}, ${m}] or [${b}, ${h}, ${n}, ${m}], got ${formatShape(table.shape)}`,
    );
  });
}

/** The modifiers one after another: the first gets the score, the next its result. */
export function compose(...scores: readonly Score[]): Score {
  scores.forEach((score, at) => {
    checkScore(`score ${at} of compose()`, score);
  });
  const checking = scores.filter(({ check }) => check);
  return named(
    scores.map(({ name }) => name).join(', then '),
    scores.reduce((inner, { expression }) => substitute(expression, { score: inner }), input('score')),
    checking.length > 0
      ? (extent) => {
          for (const score of checking) score.check?.(extent);
        }
      : undefined,
  );
}

/** The last key that a query sees under a causal mask: q + m - n. */
const lastSeen = () => apply('subtract', sum(input('q'), input('m')), input('n'));

const sum = (...terms: readonly Expression[]) => terms.reduce((a, b) => apply('add', a, b));

const plus = (table: HostTensor, index: Expression) =>
  apply('add', input('score'), read(tableOf('table', toFloats(table)), index));

/** The score of an expression. */
export function named(name: string, expression: Expression, check?: (extent: Extent) => void): Score {
  return {
    name,
    expression,
    derivative: derivativeOf(expression, 'score'),
    tables: tableDerivatives(expression),
    ...(check && { check }),
  };
}
