/** What a change of scores of whole sequences does to those of some queries, keys and heads. */
import { getOrMake } from '../bounded-map';
import {
  apply,
  constant,
  type Expression,
  type InputName,
  input,
  read,
  substitute,
  tableOf,
} from '../expressions/expression';
import { inputsOf } from '../expressions/steps';
import type { Score } from '../scores/score';
import { type Part, positionsOf } from './part-mask';
import type { Run } from './shards';

/** The changes of a part, each of which is made once. */
export class PartScores {
  readonly #replacements: Readonly<Partial<Record<InputName, Expression>>>;
  readonly #known = new WeakMap<Expression, Pick<Score, 'expression' | 'derivative' | 'tables'>>();

  constructor({ whole, queries, keys, firstHead }: Part) {
    this.#replacements = {
      q: positionOf('q', queries),
      k: positionOf('k', keys),
      n: constant(whole.n),
      m: constant(whole.m),
      h: moved('h', firstHead),
    };
  }

  /** The score, whose queries, keys and heads are numbered by themselves. */
  of({ name, numbers, tensors, ...score }: Score): Score {
    const own = getOrMake(this.#known, score.expression, () => this.#moved(score));
    return { name, numbers, tensors, ...own };
  }

  #moved({ expression, derivative, tables }: Pick<Score, 'expression' | 'derivative' | 'tables'>) {
    const names = [...inputsOf(expression)];
    if (!names.some((name) => name in this.#replacements)) return { expression, derivative, tables };
    const ofPart = (each: Expression) => substitute(each, this.#replacements);
    return {
      expression: ofPart(expression),
      derivative: ofPart(derivative),
      tables: tables.map(({ table, index, factor }) => ({ table, index: ofPart(index), factor: ofPart(factor) })),
    };
  }
}

/** The token of a query or key. */
function positionOf(name: 'q' | 'k', runs: readonly Run[]): Expression {
  const [[start, past]] = runs as [Run];
  const isOne = runs.length === 1 || runs.every(([first], at) => at === 0 || first === (runs[at - 1] as Run)[1]);
  if (isOne && past > start) return moved(name, start);
  return read(tableOf(`positions of ${name}`, positionsOf(runs)), input(name));
}

const moved = (name: 'q' | 'k' | 'h', by: number): Expression =>
  by === 0 ? input(name) : apply('add', input(name), constant(by));
