/**
 * Derivatives of number expressions. At jumps and kinks, the derivative is that of the piece a value is on; for equal
 * operands, `min` and `max` have that of the first.
 */
import {
  apply,
  constant,
  constantOf,
  type Expression,
  type InputName,
  type Table,
  type TensorName,
} from './expression';
import { type Step, stepsOf } from './steps';

/** How an expression changes with an element of a captured array or tensor: at `index`, by `factor`. */
export interface TableDerivative {
  readonly table: Table | TensorName;
  readonly index: Expression;
  readonly factor: Expression;
}

/** d expression / d one of its inputs. */
export function derivativeOf(expression: Expression, name: InputName): Expression {
  return derivative(expression, (node) => 'name' in node && node.name === name);
}

/** The gradient with respect to an input, from those with respect to expressions of it: the sum of their products with the derivatives. */
export function gradientOf(
  expressions: readonly Expression[],
  gradients: readonly Expression[],
  name: InputName,
): Expression {
  return expressions
    .map((expression, at) => multiply(derivativeOf(expression, name), gradients[at] as Expression))
    .reduce(add, ZERO);
}

/**
 * Its derivatives with respect to the elements it reads, one for each place where it reads, without zeros.
 */
export function tableDerivatives(expression: Expression): readonly TableDerivative[] {
  const isRead = (node: Expression) => 'table' in node || node.operation === 'lookup';
  return readDerivatives(expression, isRead).map(({ node, factor }) => {
    if ('table' in node) return { table: node.table, index: node.args[0], factor };
    const [tensor, index] = node.args as [Expression & { readonly name: TensorName }, Expression];
    return { table: tensor.name, index, factor };
  });
}

/**
 * The gradient with respect to a captured tensor, from those with respect to expressions of it: for each place where it
 * is looked up, which element, and what the place adds to its gradient.
 */
export function lookupGradients(
  expressions: readonly Expression[],
  gradients: readonly Expression[],
  name: InputName,
): readonly { readonly index: Expression; readonly term: Expression }[] {
  const products = expressions.map((expression, at) => multiply(expression, gradients[at] as Expression));
  const isRead = ({ operation, args: [tensor] }: Expression) =>
    operation === 'lookup' && tensor !== undefined && 'name' in tensor && tensor.name === name;
  return readDerivatives(products.reduce(add, ZERO), isRead).map(({ node, factor }) => ({
    index: node.args[1] as Expression,
    term: factor,
  }));
}

/** The places where an expression reads, and its derivatives with respect to the values read there, unless they are 0. */
function readDerivatives(expression: Expression, isRead: (node: Expression) => boolean) {
  return stepsOf(expression).flatMap(({ node }) => {
    const factor = isRead(node) ? derivative(expression, (each) => each === node) : ZERO;
    return isZero(factor) ? [] : [{ node, factor }];
  });
}

function derivative(expression: Expression, isVariable: (node: Expression) => boolean): Expression {
  const steps = stepsOf(expression);
  const results: Expression[] = [];
  for (const { node, args } of steps) {
    if (isVariable(node)) results.push(ONE);
    else if ('value' in node || 'name' in node || 'table' in node || node.kind === 'boolean') results.push(ZERO);
    else {
      const [x, y] = args.map((arg) => (steps[arg] as Step).node) as [Expression, Expression];
      const [dx, dy, dz] = args.map((arg) => results[arg]) as [Expression, Expression, Expression];
      const isConstant = args.every((arg) => isZero(results[arg] as Expression));
      results.push((isConstant ? undefined : RULES[node.operation]?.({ node, x, y, dx, dy, dz })) ?? ZERO);
    }
  }
  return results.at(-1) as Expression;
}

/** A node with its operands and their derivatives. */
interface Operands {
  readonly node: Expression;
  readonly x: Expression;
  readonly y: Expression;
  readonly dx: Expression;
  readonly dy: Expression;
  readonly dz: Expression;
}

/** The chain rule. Rounding, bit operations and lookups are not in it: they are piecewise constant. */
const RULES: Partial<Record<Expression['operation'], (operands: Operands) => Expression>> = {
  add: ({ dx, dy }) => add(dx, dy),
  subtract: ({ dx, dy }) => add(dx, negative(dy)),
  multiply: ({ x, y, dx, dy }) => add(multiply(dx, y), multiply(x, dy)),
  divide: ({ node, y, dx, dy }) => divide(add(dx, negative(multiply(node, dy))), y),
  remainder: ({ x, y, dx, dy }) =>
    add(dx, negative(multiply(isZero(dy) ? ZERO : apply('trunc', apply('divide', x, y)), dy))),
  power: ({ node, x, y, dx, dy }) =>
    add(
      isZero(dx) ? ZERO : multiply(slopeByBase(x, y), dx),
      isZero(dy) ? ZERO : multiply(slopeByExponent(node, x, y), dy),
    ),
  min: ({ x, y, dx, dy }) => select(apply('less', y, x), dy, dx),
  max: ({ x, y, dx, dy }) => select(apply('less', x, y), dy, dx),
  negative: ({ dx }) => negative(dx),
  abs: ({ x, dx }) => multiply(apply('sign', x), dx),
  sqrt: ({ node, dx }) => divide(dx, multiply(constant(2), node)),
  exp: ({ node, dx }) => multiply(node, dx),
  log: ({ x, dx }) => divide(dx, x),
  tanh: ({ x, dx }) => multiply(multiply(constant(4), apply('sigmoidSlope', apply('add', x, x))), dx),
  expm1: ({ x, dx }) => multiply(apply('exp', x), dx),
  log1p: ({ x, dx }) => divide(dx, apply('add', ONE, x)),
  sigmoid: ({ x, dx }) => multiply(apply('sigmoidSlope', x), dx),
  // The slope times -tanh(x / 2): the second derivative of the sigmoid.
  sigmoidSlope: ({ node, x, dx }) => negative(multiply(multiply(node, apply('tanh', multiply(constant(0.5), x))), dx)),
  softplus: ({ x, dx }) => multiply(apply('sigmoid', x), dx),
  erf: ({ x, dx }) => multiply(bell(2 / Math.sqrt(Math.PI), -1, x), dx),
  normalCdf: ({ x, dx }) => multiply(bell(1 / Math.sqrt(2 * Math.PI), -0.5, x), dx),
  rsqrt: ({ node, x, dx }) => multiply(multiply(constant(-0.5), divide(node, x)), dx),
  cos: ({ x, dx }) => negative(multiply(apply('sin', x), dx)),
  sin: ({ x, dx }) => multiply(apply('cos', x), dx),
  select: ({ x, dy, dz }) => select(x, dy, dz),
};

/** y x^(y - 1), and 0 if y is 0, also at x = 0. */
function slopeByBase(x: Expression, y: Expression): Expression {
  const slope = multiply(y, apply('power', x, apply('subtract', y, ONE)));
  return constantOf(y) === undefined ? apply('select', apply('equal', y, ZERO), ZERO, slope) : slope;
}

/** x^y log x, and its limit 0 where x^y is 0 and the logarithm infinite; at x = y = 0 it is 0 as well. */
function slopeByExponent(power: Expression, x: Expression, y: Expression): Expression {
  const slope = multiply(power, apply('log', x));
  const base = constantOf(x) ?? 0;
  if (base > 0 && base < Number.POSITIVE_INFINITY) return slope;
  const atOrigin = apply('and', apply('equal', x, ZERO), apply('equal', y, ZERO));
  return apply('select', apply('or', apply('equal', power, ZERO), atOrigin), ZERO, slope);
}

/** height e^(rate x^2) */
function bell(height: number, rate: number, x: Expression): Expression {
  return multiply(constant(height), apply('exp', multiply(constant(rate), multiply(x, x))));
}

const ZERO = constant(0);
const ONE = constant(1);
const isZero = (x: Expression) => constantOf(x) === 0;
const isOne = (x: Expression) => constantOf(x) === 1;

function add(x: Expression, y: Expression): Expression {
  return isZero(x) ? y : isZero(y) ? x : apply('add', x, y);
}

function negative(x: Expression): Expression {
  return isZero(x) ? x : apply('negative', x);
}

function multiply(x: Expression, y: Expression): Expression {
  if (isZero(x) || isZero(y)) return ZERO;
  return isOne(x) ? y : isOne(y) ? x : apply('multiply', x, y);
}

function divide(x: Expression, y: Expression): Expression {
  if (isZero(x)) return x;
  return isOne(y) ? x : apply('divide', x, y);
}

function select(condition: Expression, x: Expression, y: Expression): Expression {
  const [a, b] = [constantOf(x), constantOf(y)];
  return a !== undefined && a === b ? x : apply('select', condition, x, y);
}
