/** Functions that JavaScript's Math lacks, as expressions of their argument. */
import { apply, constant, type Expression } from './expression';

const ZERO = constant(0);
const ONE = constant(1);
const isPositive = (x: Expression) => apply('less', ZERO, x);

type Word = (x: Expression) => Expression;

const operation =
  (name: 'sigmoid' | 'softplus' | 'erf' | 'rsqrt'): Word =>
  (x) =>
    apply(name, x);

export const WORDS = {
  sigmoid: operation('sigmoid'),
  softplus: operation('softplus'),
  erf: operation('erf'),
  rsqrt: operation('rsqrt'),
  /** Its derivative at 0 is 0. */
  relu: (x) => apply('max', ZERO, x),
  silu: (x) => apply('multiply', x, apply('sigmoid', x)),
  gelu: (x) => apply('multiply', x, apply('normalCdf', x)),
  elu: (x) => apply('select', isPositive(x), x, apply('expm1', x)),
  /** The sum of elu and 1, positive however small. */
  eluPlusOne: (x) => apply('select', isPositive(x), apply('add', x, ONE), apply('exp', x)),
  step: (x) => apply('select', isPositive(x), ONE, ZERO),
} satisfies Record<string, Word>;

/** Their types in a function that is compiled. */
export type Words = { readonly [Name in keyof typeof WORDS]: (x: number) => number };
