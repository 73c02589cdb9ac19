/** Logits that stay within a bound, as in Gemma 2. */
import { getOrMake } from '../bounded-map';
import { apply, constant, type Expression } from '../expressions/expression';
import type { ResultOptions } from '../ops/float32';
import { mapOne } from '../ops/map/core';
import { ElementwiseFunction, element } from '../ops/map/function';
import type { Tensor } from '../tensor/tensor';

const times = (factor: number, x: Expression) => apply('multiply', constant(factor), x);
const square = (x: Expression) => apply('multiply', x, x);

const functions = new Map<number, Readonly<Record<'cap' | 'slope', ElementwiseFunction>>>();

const functionsOf = (cap: number) =>
  getOrMake(functions, cap, () => ({
    cap: new ElementwiseFunction('softcap', 1, [times(cap, apply('tanh', times(1 / cap, element(0))))]),
    slope: new ElementwiseFunction('gradient of softcap', 2, [
      apply('multiply', element(0), apply('subtract', constant(1), square(times(1 / cap, element(1))))),
    ]),
  }));

/** cap tanh(x / cap) for every element of x. */
export function softcapped(x: Tensor, cap: number, options: ResultOptions): Tensor<'f32'> {
  return mapOne(functionsOf(cap).cap, { x }, options);
}

/** The gradient with respect to x, from that with respect to the result `out`. */
export function softcapGradient(gradOut: Tensor, out: Tensor, cap: number, options: ResultOptions): Tensor<'f32'> {
  return mapOne(functionsOf(cap).slope, { gradOut, out }, options);
}
