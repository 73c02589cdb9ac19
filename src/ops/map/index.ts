/**
 * Functions of each element on its own, and of the elements of two tensors that broadcast to one shape; f32, any strides.
 * Errors are a few units in the last place also of the smallest results, but that a GPU may take denormals for zeros, and that
 * results of `gelu` at x < 0 lose digits as x^2 grows and those of `silu` where the sigmoid is a denormal.
 */
import { show } from '../../check';
import { ParameterError } from '../../errors';
import { apply, constant, type Expression } from '../../expressions/expression';
import { WORDS } from '../../expressions/words';
import type { Tensor } from '../../tensor/tensor';
import { checkFloat32, type ResultOptions } from '../float32';
import { mapOne } from './core';
import { ElementwiseFunction, element } from './function';

const X = element(0);
const Y = element(1);

/** Each by its name. */
const UNARY = {
  ...Object.fromEntries(Object.entries(WORDS).map(([name, of]) => [name, of(X)])),
  tanh: apply('tanh', X),
  exp: apply('exp', X),
  sin: apply('sin', X),
  cos: apply('cos', X),
  reciprocal: apply('divide', constant(1), X),
} as Readonly<Record<keyof typeof WORDS | 'tanh' | 'exp' | 'sin' | 'cos' | 'reciprocal', Expression>>;
export type Unary = keyof typeof UNARY | 'power';

const functions = new Map<string, ElementwiseFunction>();

/** The function of one or two tensors that `make` gives, made once. */
function functionOf(name: string, inputs: 1 | 2, make: () => Expression): ElementwiseFunction {
  let found = functions.get(name);
  if (!found) {
    found = new ElementwiseFunction(name, inputs, [make()]);
    functions.set(name, found);
  }
  return found;
}

/** max(x, 0) for every element of x. */
export function relu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('relu', x, options);
}

/** The hyperbolic tangent of every element of x. */
export function tanh(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('tanh', x, options);
}

/** e^x for every element of x. */
export function exp(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('exp', x, options);
}

/** 1 / (1 + e^-x) for every element of x. */
export function sigmoid(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('sigmoid', x, options);
}

/** x / (1 + e^-x) for every element of x, also called swish. */
export function silu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('silu', x, options);
}

/** x where it is positive, else e^x - 1, for every element of x. */
export function elu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('elu', x, options);
}

/** elu(x) + 1 for every element of x: positive however small, where the sum of the two would round to 0. */
export function eluPlusOne(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('eluPlusOne', x, options);
}

/** 1 where an element of x is positive, else 0. */
export function step(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('step', x, options);
}

/** The sine of every element of x, in radians; meant for |x| <= 1e9. */
export function sin(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('sin', x, options);
}

/** The cosine of every element of x, in radians; meant for |x| <= 1e9. */
export function cos(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('cos', x, options);
}

/** x Phi(x) for every element of x, with Phi the standard normal CDF. */
export function gelu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('gelu', x, options);
}

/** 1 / x for every element of x. */
export function reciprocal(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('reciprocal', x, options);
}

/** 1 / sqrt(x) for every element of x; NaN below 0. */
export function rsqrt(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('rsqrt', x, options);
}

/** x^exponent for every element of x, of any sign; the exponent is an integer from 1 to 64. */
export function power(x: Tensor, exponent: number, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('power', x, options, exponent);
}

/**
 * a + b, of tensors that broadcast to one shape: axes of extent 1, and those that one lacks in front, are repeated, such as
 * a bias [c] for [n, c], or [n, 1] for [n, c].
 */
export function add(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return binary('add', a, b, options);
}

/** a - b, elementwise; shapes as for `add`. */
export function subtract(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return binary('subtract', a, b, options);
}

/** a b, elementwise; shapes as for `add`. */
export function multiply(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return binary('multiply', a, b, options);
}

function expressionOf(operation: Unary, exponent: number): Expression {
  return operation === 'power' ? apply('power', X, constant(exponent)) : UNARY[operation];
}

function unary(operation: Unary, x: Tensor, options: ResultOptions, exponent?: number): Tensor<'f32'> {
  checkFloat32(operation, { x }, options);
  const checked = checkExponent(operation, exponent);
  const name = checked === 1 ? operation : `power ${checked}`;
  const fn = functionOf(name, 1, () => expressionOf(operation, checked));
  return mapOne(fn, { x }, options);
}

function binary(
  operation: 'add' | 'subtract' | 'multiply',
  a: Tensor,
  b: Tensor,
  options: ResultOptions,
): Tensor<'f32'> {
  checkFloat32(operation, { a, b }, options);
  const fn = functionOf(operation, 2, () => apply(operation, X, Y));
  return mapOne(fn, { a, b }, options);
}

/** The exponent of `power`, 1 for the others; throws unless it is an integer from 1 to 64 and `power` asks. */
export function checkExponent(operation: Unary, exponent: number | undefined): number {
  if (operation !== 'power') {
    if (exponent !== undefined) throw new ParameterError(`exponent is an option of power, not of ${operation}`);
    return 1;
  }
  if (!(Number.isInteger(exponent) && (exponent as number) >= 1 && (exponent as number) <= 64))
    throw new ParameterError(`exponent must be an integer from 1 to 64, got ${show(exponent)}`);
  return exponent as number;
}
