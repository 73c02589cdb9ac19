/** Score modifiers, which change scaled scores before the softmax, depending on their position. */
import { checkNumbers, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
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
  type TensorName,
  tableOf,
} from '../expressions/expression';
import { type CapturedTensor, type Given, messageName } from '../expressions/forms';
import type { Extent } from '../masks/mask';
import { checkHost, type HostTensor, toFloats } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';

/** A change of scores before the softmax, made by the functions of `saccade/scores`. */
export interface Score extends Given {
  /** Its kind and params, such as `softcap 30`. */
  readonly name: string;
  /** The new score, from the old one and its position. */
  readonly expression: Expression;
  /** d new score / d old score. */
  readonly derivative: Expression;
  /** How the new score changes with the elements of captured arrays and tensors. */
  readonly tables: readonly TableDerivative[];
  /** Throws a ShapeError if it does not fit the problem. */
  check?(extent: Extent): void;
}

/** Throws a ParameterError unless `score` is one. */
export function checkScore(what: string, score: Score): void {
  if (score?.expression && score.derivative) return;
  throw new ParameterError(`${what} must be a Score, such as scores.softcap(30), got ${show(score)}`);
}

/** A captured array or tensor whose elements change the score, and the position of its gradient among those of all. */
export interface CapturedPart {
  /** If several have one name, the second is called `name_2`, and so on. */
  readonly name: string;
  readonly table: Table | TensorName;
  /** Undefined for an array. */
  readonly tensor: Tensor | undefined;
  readonly first: number;
  readonly length: number;
}

/** The captured parts of a score, each once. */
export function partsOf({ tables, tensors }: Pick<Score, 'tables' | 'tensors'>): CapturedPart[] {
  const parts: CapturedPart[] = [];
  let first = 0;
  for (const table of new Set(tables.map(({ table }) => table))) {
    const { name: called, tensor } =
      typeof table === 'string' ? (tensors[Number(table.slice(1))] as CapturedTensor) : { ...table, tensor: undefined };
    const length = tensor ? tensor.size : (table as Table).values.length;
    let name = called;
    for (let count = 2; parts.some((part) => part.name === name); count++) name = `${called}_${count}`;
    parts.push({ name, table, tensor, first, length });
    first += length;
  }
  return parts;
}

/** The same with other tensors in the places of those that it captured. */
export const withTensors = (score: Score, tensorAt: (at: number) => Tensor): Score => ({
  ...score,
  tensors: score.tensors.map(({ name }, at) => ({ name, tensor: tensorAt(at) })),
});

/** Each place where a score reads an array or tensor: the part, the element, and how the score changes with it. */
export function placesOf(score: Pick<Score, 'tables' | 'tensors'>): (TableDerivative & CapturedPart)[] {
  const parts = partsOf(score);
  return score.tables.map((place) => ({
    ...(parts.find(({ table }) => table === place.table) as CapturedPart),
    ...place,
  }));
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

/**
 * score - slopes[h] |q + m - n - k|: further keys count less, at a slope for each query head. An array is copied: what
 * becomes of it later changes nothing. A tensor, f32, is an input of the calls.
 */
export function alibi(slopes: ArrayLike<number> | Tensor): Score {
  if (!(slopes instanceof Tensor))
    checkNumbers('slopes of alibi', slopes, 'finite numbers', (slope) => Number.isFinite(Math.fround(slope)));
  const distance = apply('abs', apply('subtract', lastSeen(), input('k')));
  const { element, given } = captured('slopes', slopes, input('h'));
  const expression = apply('subtract', input('score'), apply('multiply', element, distance));
  const count = slopes instanceof Tensor ? slopes.size : slopes.length;
  const check = ({ h }: Extent) => {
    if (count !== h) throw new ShapeError(`alibi needs a slope for each of ${h} heads, got ${count}`);
  };
  return named('alibi', expression, check, given);
}

/**
 * score + table[h, k - (q + m - n) + L - 1], from a table [h, 2 L - 1] for distances of less than L. A host tensor is
 * copied: what becomes of it later changes nothing. A tensor, f32, is an input of the calls.
 */
export function relativeBias(table: HostTensor | Tensor): Score {
  if (!(table instanceof Tensor)) checkHost('table', table);
  const [heads, columns] = table.shape;
  if (table.shape.length !== 2 || (columns as number) % 2 === 0) {
    throw new ShapeError(`relativeBias needs a table [heads, 2 L - 1], got ${formatShape(table.shape)}`);
  }
  const reach = ((columns as number) + 1) / 2;
  const row = apply('multiply', input('h'), constant(columns as number));
  const distance = apply('subtract', input('k'), lastSeen());
  const index = sum(row, distance, constant(reach - 1));
  return plus(`relative bias ${formatShape(table.shape)}`, table, index, ({ h, n, m }) => {
    if (heads === h && reach >= Math.max(n, m)) return;
    throw new ShapeError(
      `relativeBias needs a table [${h}, at least ${2 * Math.max(n, m) - 1}] for ${h} heads, ${n} queries and ${m} keys, got ${formatShape(table.shape)}`,
    );
  });
}

/**
 * score + table[b, h, q, k], from a table [n, m], [h, n, m] or [b, h, n, m]; axes of extent 1 are shared. A tensor, f32, is
 * an input of the calls. A host tensor is copied: what becomes of it later changes nothing. Runtimes that compute with it
 * keep a copy of their own, in float32, from the first call on for as long as the score can be reached: call after call
 * make it once.
 */
export function additiveBias(table: HostTensor | Tensor): Score {
  if (!(table instanceof Tensor)) checkHost('table', table);
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
  return plus(`additive bias ${formatShape(table.shape)}`, table, index, ({ b, h, n, m }) => {
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
  const [numbers, tensors]: [number[], CapturedTensor[]] = [[], []];
  let expression: Expression = input('score');
  for (const score of scores) {
    // Its captured values follow those of the scores before it.
    const moved = [
      ...score.numbers.map((_, at) => [`c${at}`, input(`c${numbers.length + at}`)]),
      ...score.tensors.map((_, at) => [`t${at}`, input(`t${tensors.length + at}`)]),
    ];
    expression = substitute(score.expression, { ...Object.fromEntries(moved), score: expression });
    numbers.push(...score.numbers);
    tensors.push(...score.tensors);
  }
  const check = (extent: Extent) => {
    for (const score of checking) score.check?.(extent);
  };
  const name = scores.map(({ name }) => name).join(', then ');
  return named(name, expression, checking.length > 0 ? check : undefined, { numbers, tensors });
}

/** The last key that a query sees under a causal mask: q + m - n. */
const lastSeen = () => apply('subtract', sum(input('q'), input('m')), input('n'));

const sum = (...terms: readonly Expression[]) => terms.reduce((a, b) => apply('add', a, b));

function plus(name: string, table: HostTensor | Tensor, index: Expression, check: (extent: Extent) => void): Score {
  const { element, given } = captured('table', table instanceof Tensor ? table : toFloats(table), index);
  return named(name, apply('add', input('score'), element), check, given);
}

/** An element of the only array or tensor that a score captures: of a copy, or of the tensor. */
function captured(name: string, values: ArrayLike<number> | Tensor, index: Expression) {
  if (!(values instanceof Tensor)) return { element: read(tableOf(name, values), index), given: NOTHING };
  const given = { numbers: [], tensors: [{ name, tensor: values }] };
  checkCaptured(given.tensors);
  return { element: apply('lookup', input('t0'), index), given };
}

/** Throws unless kernels can look up elements of these. */
export function checkCaptured(tensors: readonly CapturedTensor[]): void {
  for (const { name, tensor } of tensors) {
    tensor.assertUsable(messageName(name));
    if (tensor.dtype !== 'f32') throw new DTypeError(`${messageName(name)} must be f32, got ${tensor.dtype}`);
  }
}

const NOTHING: Given = { numbers: [], tensors: [] };

/** The score of an expression. */
export function named(
  name: string,
  expression: Expression,
  check?: (extent: Extent) => void,
  given: Given = NOTHING,
): Score {
  return { name, ...withDerivatives(expression), ...given, ...(check && { check }) };
}

export const withDerivatives = (expression: Expression) => ({
  expression,
  derivative: derivativeOf(expression, 'score'),
  tables: tableDerivatives(expression),
});
