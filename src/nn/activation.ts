/** Activations by their names in configurations, alone and as gates. */
import { apply, type Expression } from '../expressions/expression';
import { WORDS } from '../expressions/words';
import { mapOne } from '../ops/map/core';
import { ElementwiseFunction, element } from '../ops/map/function';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

export const ACTIVATIONS = ['silu', 'gelu', 'relu', 'sigmoid', 'none'] as const;

/** `gelu` is the exact one, by the normal distribution. */
export type Activation = (typeof ACTIVATIONS)[number];

const X = element(0);
const of = (activation: Activation): Expression => (activation === 'none' ? X : WORDS[activation](X));
const functions = <T>(make: (activation: Activation) => T) =>
  Object.fromEntries(ACTIVATIONS.map((activation) => [activation, make(activation)])) as Record<Activation, T>;

const alone = functions((activation) => new ElementwiseFunction(activation, 1, [of(activation)]));
const gates = functions(
  (activation) => new ElementwiseFunction(`${activation} gate`, 2, [apply('multiply', of(activation), element(1))]),
);

export function activate(activation: Activation, x: Tensor, control: Control): Tensor<'f32'> {
  return mapOne(alone[activation], { x }, control);
}

/** activation(gate) x, in one pass; the tape keeps only gate and x. */
export function gated(activation: Activation, gate: Tensor, x: Tensor, control: Control): Tensor<'f32'> {
  return mapOne(gates[activation], { gate, x }, control);
}
