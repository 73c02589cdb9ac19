/**
 * What a function over indices or elements is compiled into: a small directed graph of operations on numbers and booleans,
 * whose meaning is JavaScript's own, in float64. Booleans are held as 0 and 1.
 */
import { getOrMake } from '../bounded-map';
import { OPERATIONS, type Operation } from './operations';

type Kind = 'number' | 'boolean';

/**
 * What a function is given: over pairs of queries and keys the score, batch, query head, query, key, and the numbers of
 * queries and keys; over elements those of the tensors x0, x1, ...; and the captured numbers c0, c1, ... and tensors
 * t0, t1, ... of a call, which are looked up by index.
 */
export type InputName = PairInput | `x${number}` | `c${number}` | TensorName;
export type TensorName = `t${number}`;
type PairInput = 'score' | 'b' | 'h' | 'q' | 'k' | 'n' | 'm';

/** A captured array, copied when the function was compiled. An index outside it reads NaN. */
export interface Table {
  /** How the function calls it, such as `doc` or `tree.parents`. */
  readonly name: string;
  readonly values: Float32Array | Float64Array;
}

/** A table of a copy: later changes of `values` do not matter. */
export function tableOf(name: string, values: ArrayLike<number | boolean>): Table {
  // float32 is kept, since kernels compute in it.
  if (values instanceof Float32Array) return { name, values: values.slice() };
  const numbers = new Float64Array(values.length);
  if (values.length > 0) numbers.set(values as ArrayLike<number>);
  return { name, values: numbers };
}

export type Expression =
  | { readonly operation: 'constant'; readonly kind: Kind; readonly args: readonly []; readonly value: number }
  | { readonly operation: 'input'; readonly kind: 'number'; readonly args: readonly []; readonly name: InputName }
  | {
      readonly operation: 'read';
      readonly kind: 'number';
      readonly args: readonly [Expression];
      readonly table: Table;
    }
  | { readonly operation: Operation; readonly kind: Kind; readonly args: readonly Expression[] };

export function constant(value: number | boolean): Expression {
  return {
    operation: 'constant',
    kind: typeof value === 'boolean' ? 'boolean' : 'number',
    args: [],
    value: Number(value),
  };
}

export function input(name: InputName): Expression {
  return { operation: 'input', kind: 'number', args: [], name };
}

export function read(table: Table, index: Expression): Expression {
  return { operation: 'read', kind: 'number', args: [index], table };
}

/** `operation` of `args`, computed at once where they are constants. */
export function apply(operation: Operation, ...args: readonly Expression[]): Expression {
  const kind = operation === 'select' ? (args[1] as Expression).kind : OPERATIONS[operation].kind;
  const values = args.map(constantOf);
  if (values.every((value) => value !== undefined)) {
    return { operation: 'constant', kind, args: [], value: compute(operation, values) };
  }
  const chosen = values[0];
  if (operation === 'select' && chosen !== undefined) return args[chosen ? 1 : 2] as Expression;
  const [operand] = args;
  if (operation === 'not' && operand?.operation === 'not') return operand.args[0] as Expression;
  return { operation, kind, args };
}

/** The value of a constant. */
export function constantOf(expression: Expression): number | undefined {
  return 'value' in expression ? expression.value : undefined;
}

/** `expression` with some of its inputs replaced. */
export function substitute(
  expression: Expression,
  replacements: Readonly<Partial<Record<InputName, Expression>>>,
): Expression {
  return rewritten(expression, (node) => ('name' in node && replacements[node.name]) || node);
}

/** The expression with each node, once its arguments are rewritten, replaced by what `change` makes of it. */
export function rewritten(expression: Expression, change: (node: Expression) => Expression): Expression {
  const done = new Map<Expression, Expression>();
  const visit = (node: Expression): Expression =>
    getOrMake(done, node, () => {
      if ('value' in node || 'name' in node) return change(node);
      if ('table' in node) return change(read(node.table, visit(node.args[0])));
      return change(apply(node.operation, ...node.args.map(visit)));
    });
  return visit(expression);
}

/** What an operation gives for numbers. */
export function compute(operation: Operation, values: readonly number[]): number {
  const operand = (at: number) => Float64Array.of(values[at] ?? 0);
  const out = new Float64Array(1);
  OPERATIONS[operation].loop(out, operand(0), operand(1), operand(2), 1);
  return out[0] as number;
}
