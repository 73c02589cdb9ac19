/**
 * Functions of each element on its own, and of the elements of two tensors that broadcast to one shape; f32, any strides.
 * Errors are a few units in the last place also of the smallest results, but that a GPU may take denormals for zeros, and that
 * results of `gelu` at x < 0 lose digits as x^2 grows and those of `silu` where the sigmoid is a denormal.
 */
import { getOrMake } from '../../bounded-map';
import { apply, constant, type Expression } from '../../expressions/expression';
import { WORDS } from '../../expressions/words';
import type { Tensor } from '../../tensor/tensor';
import { defineComposite, f32, whole } from '../define';
import type { ResultOptions } from '../float32';
import { mapOne } from './core';
import { ElementwiseFunction, element } from './function';

const X = element(0);
const x = f32('*', { strided: true });

/** An op that maps its inputs by an expression of them. */
/* @__NO_SIDE_EFFECTS__ */
function elementwiseOp<const I extends Readonly<Record<string, typeof x>>>(
  name: string,
  inputs: I,
  expression: Expression,
) {
  const fn = new ElementwiseFunction(name, Object.keys(inputs).length, [expression]);
  return defineComposite({
    name,
    inputs,
    options: {},
    results: { out: f32('*') },
    run: (given, options) => mapOne(fn, given as Readonly<Record<string, Tensor>>, options),
  });
}

/* @__NO_SIDE_EFFECTS__ */
const unary = (name: string, expression: Expression) => elementwiseOp(name, { x }, expression);

export const unaryOps = {
  relu: unary('relu', WORDS.relu(X)),
  sigmoid: unary('sigmoid', WORDS.sigmoid(X)),
  silu: unary('silu', WORDS.silu(X)),
  gelu: unary('gelu', WORDS.gelu(X)),
  elu: unary('elu', WORDS.elu(X)),
  eluPlusOne: unary('eluPlusOne', WORDS.eluPlusOne(X)),
  step: unary('step', WORDS.step(X)),
  rsqrt: unary('rsqrt', WORDS.rsqrt(X)),
  tanh: unary('tanh', apply('tanh', X)),
  exp: unary('exp', apply('exp', X)),
  sin: unary('sin', apply('sin', X)),
  cos: unary('cos', apply('cos', X)),
  reciprocal: unary('reciprocal', apply('divide', constant(1), X)),
};

/* @__NO_SIDE_EFFECTS__ */
const binary = (name: 'add' | 'subtract' | 'multiply') =>
  elementwiseOp(name, { a: x, b: x }, apply(name, X, element(1)));

export const binaryOps = { add: binary('add'), subtract: binary('subtract'), multiply: binary('multiply') };

/** The largest exponent of `power`. */
export const MOST_POWER = 64;
const powers = new Map<number, ElementwiseFunction>();

/** @internal */
export const powerOp = defineComposite({
  name: 'power',
  inputs: { x, exponent: whole({ least: 1, most: MOST_POWER }) },
  options: {},
  results: { out: f32('*') },
  run({ x, exponent }, options) {
    const make = () => new ElementwiseFunction(`power ${exponent}`, 1, [apply('power', X, constant(exponent))]);
    return mapOne(getOrMake(powers, exponent, make), { x }, options);
  },
});

/** max(x, 0) for every element of x. */
export const relu = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.relu({ x }, options);

/** The hyperbolic tangent of every element of x. */
export const tanh = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.tanh({ x }, options);

/** e^x for every element of x. */
export const exp = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.exp({ x }, options);

/** 1 / (1 + e^-x) for every element of x. */
export const sigmoid = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.sigmoid({ x }, options);

/** x / (1 + e^-x) for every element of x, also called swish. */
export const silu = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.silu({ x }, options);

/** x where it is positive, else e^x - 1, for every element of x. */
export const elu = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.elu({ x }, options);

/** elu(x) + 1 for every element of x: positive however small, where the sum of the two would round to 0. */
export const eluPlusOne = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.eluPlusOne({ x }, options);

/** 1 where an element of x is positive, else 0. */
export const step = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.step({ x }, options);

/** The sine of every element of x, in radians; meant for |x| <= 1e9. */
export const sin = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.sin({ x }, options);

/** The cosine of every element of x, in radians; meant for |x| <= 1e9. */
export const cos = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.cos({ x }, options);

/** x Phi(x) for every element of x, with Phi the standard normal CDF. */
export const gelu = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.gelu({ x }, options);

/** 1 / x for every element of x. */
export const reciprocal = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.reciprocal({ x }, options);

/** 1 / sqrt(x) for every element of x; NaN below 0. */
export const rsqrt = (x: Tensor, options?: ResultOptions): Tensor<'f32'> => unaryOps.rsqrt({ x }, options);

/** x^exponent for every element of x, of any sign; the exponent is an integer from 1 to 64. */
export function power(x: Tensor, exponent: number, options?: ResultOptions): Tensor<'f32'> {
  return powerOp({ x, exponent }, options);
}

/**
 * a + b, of tensors that broadcast to one shape: axes of extent 1, and those that one lacks in front, are repeated, such as
 * a bias [c] for [n, c], or [n, 1] for [n, c].
 */
export function add(a: Tensor, b: Tensor, options?: ResultOptions): Tensor<'f32'> {
  return binaryOps.add({ a, b }, options);
}

/** a - b, elementwise; shapes as for `add`. */
export function subtract(a: Tensor, b: Tensor, options?: ResultOptions): Tensor<'f32'> {
  return binaryOps.subtract({ a, b }, options);
}

/** a b, elementwise; shapes as for `add`. */
export function multiply(a: Tensor, b: Tensor, options?: ResultOptions): Tensor<'f32'> {
  return binaryOps.multiply({ a, b }, options);
}
