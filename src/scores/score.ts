/** Score modifiers: what changes a scaled score before the softmax, by where it stands. */
import { checkNumbers, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { scoreDerivative, type TableDerivative, tableDerivatives } from '../expressions/differentiate';
import { type Expression, input, substitute, type Table } from '../expressions/expression';
import { type Captured, parse, sourceOf } from '../expressions/parse';
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

/**
 * The score of query q and key k, in batch b and query head h, from `score`, which is q.k times the scale. `captured`
 * also has n and m, the numbers of queries and keys.
 */
export type ScoreFunction<C extends Captured> = (
  score: number,
  b: number,
  h: number,
  q: number,
  k: number,
  captured: C & { readonly n: number; readonly m: number },
) => number;

/**
 * The modifier that `fn` says, such as `from((score, b, h, q, k, { bias }) => score + bias[k], { bias })`.
 *
 * The function is compiled from its source, once, and never called; so it is one expression (or declarations, `if`s and
 * `return`) of its parameters and `Math`, and what else it uses is passed as `captured`: numbers, booleans, flat arrays
 * and tensors (their `data` and `shape`), which are copied: what becomes of them later changes nothing. An index outside an array reads NaN. A ParameterError tells
 * what cannot be compiled.
 *
 * Integers are exact within 32 bits; all else is float32, and integers that it would round are refused where that would
 * give quite another result, as in remainders. A new score of -Infinity hides the key from the query, whatever key and
 * value hold; NaN is no -Infinity, so hide by a condition and not by a sum: `k < n ? score : hidden`.
 */
export function from<C extends Captured = Record<never, never>>(fn: ScoreFunction<C>, captured?: C): Score {
  const expression = compile(fn, captured);
  return named(`from ${sourceOf(fn)}`, expression);
}

/** c tanh(score / c): scores stay within c of 0. */
export function softcap(c: number): Score {
  // Kernels compute in float32.
  const held = typeof c === 'number' ? Math.fround(c) : Number.NaN;
  if (!(held > 0 && held < Number.POSITIVE_INFINITY)) {
    throw new ParameterError(`softcap needs a positive number that float32 can hold, got ${show(c)}`);
  }
  const expression = compile((score, _b, _h, _q, _k, { c }) => c * Math.tanh(score / c), { c });
  return named(`softcap ${c}`, expression);
}

/** score - slopes[h] |q + m - n - k|: further keys count less, at a slope for each query head. */
export function alibi(slopes: ArrayLike<number>): Score {
  checkNumbers('slopes of alibi', slopes, 'finite numbers', (slope) => Number.isFinite(Math.fround(slope)));
  const expression = compile(
    (score, _b, h, q, k, { slopes, n, m }) => score - (slopes[h] as number) * Math.abs(q + m - n - k),
    { slopes: Array.from(slopes) },
  );
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
  const expression = compile(
    (score, _b, h, q, k, { table, reach, n, m }) =>
      score + (table[h * (2 * reach - 1) + k - (q + m - n) + reach - 1] as number),
    { table: toFloats(table), reach },
  );
  return named(`relative bias ${formatShape(table.shape)}`, expression, ({ h, n, m }) => {
    if (heads === h && reach >= Math.max(n, m)) return;
    throw new ShapeError(
      `relativeBias needs a table [${h}, at least ${2 * Math.max(n, m) - 1}] for ${h} heads, ${n} queries and ${m} keys, got ${formatShape(table.shape)}`,
    );
  });
}

/**
 * score + table[b, h, q, k], from a table [n, m], [h, n, m] or [b, h, n, m]; batches and heads of extent 1 are shared. The
 * table is copied: what becomes of it later changes nothing. Runtimes that compute with it keep a copy of their own, in
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
  const expression = compile(
    (score, b, h, q, k, { table, perBatch, perHead, perQuery }) =>
      score + (table[b * perBatch + h * perHead + q * perQuery + k] as number),
    {
      table: toFloats(table),
      perBatch: batches === 1 ? 0 : heads * rows * columns,
      perHead: heads === 1 ? 0 : rows * columns,
      perQuery: columns,
    },
  );
  return named(`additive bias ${formatShape(table.shape)}`, expression, ({ b, h, n, m }) => {
    if ((batches === 1 || batches === b) && (heads === 1 || heads === h) && rows === n && columns === m) return;
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
    scores.reduce((inner, { expression }) => substitute(expression, 'score', inner), input('score')),
    checking.length > 0
      ? (extent) => {
          for (const score of checking) score.check?.(extent);
        }
      : undefined,
  );
}

function compile<C extends Captured = Record<never, never>>(fn: ScoreFunction<C>, captured?: C): Expression {
  return parse(fn, captured === undefined ? {} : captured, {
    caller: 'scores.from',
    parameters: ['score', 'b', 'h', 'q', 'k'],
    returns: 'number',
  });
}

function named(name: string, expression: Expression, check?: (extent: Extent) => void): Score {
  return {
    name,
    expression,
    derivative: scoreDerivative(expression),
    tables: tableDerivatives(expression),
    ...(check && { check }),
  };
}
