/** Activations by their names in configurations, alone and as gates. */
import { apply, constant, type Expression } from '../expressions/expression';
import { WORDS } from '../expressions/words';
import { mapOne } from '../ops/map/core';
import { Elementwise, ElementwiseFunction, element } from '../ops/map/function';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

export const ACTIVATIONS = ['silu', 'gelu', 'gelu-tanh', 'relu', 'sigmoid', 'none'] as const;

/** `gelu` is the exact one, by the normal distribution, and `gelu-tanh` its usual approximation. */
export type Activation = (typeof ACTIVATIONS)[number];

const X = element(0);
const times = (factor: number, x: Expression) => apply('multiply', constant(factor), x);

function of(activation: Activation): Expression {
  switch (activation) {
    case 'none':
      return X;
    case 'gelu-tanh': {
      // x (1 + tanh(z / 2)) / 2 with z = sqrt(8 / pi) (x + 0.044715 x^3), in which the tanh is a sigmoid.
      const cube = apply('multiply', X, apply('multiply', X, X));
      const z = times(Math.sqrt(8 / Math.PI), apply('add', X, times(0.044715, cube)));
      return apply('multiply', X, WORDS.sigmoid(z));
    }
    default:
      return WORDS[activation](X);
  }
}

const functions = <T>(make: (activation: Activation) => T) =>
  Object.fromEntries(ACTIVATIONS.map((activation) => [activation, make(activation)])) as Record<Activation, T>;

const alone = functions((activation) => new ElementwiseFunction(activation, 1, [of(activation)]));
const epilogues = functions((activation) => new Elementwise(alone[activation], []));
const gates = functions(
  (activation) => new ElementwiseFunction(`${activation} gate`, 2, [apply('multiply', of(activation), element(1))]),
);

/** As an op applies it to each of its results before they are stored; undefined for none. */
export const activationEpilogue = (activation: Activation): Elementwise | undefined =>
  activation === 'none' ? undefined : epilogues[activation];

export function activate(activation: Activation, x: Tensor, control: Control): Tensor<'f32'> {
  return mapOne(alone[activation], { x }, control);
}

/** activation(gate) x, in one pass; the tape keeps only gate and x. */
export function gated(activation: Activation, gate: Tensor, x: Tensor, control: Control): Tensor<'f32'> {
  return mapOne(gates[activation], { gate, x }, control);
}
