/**
 * What a layer of a network is: parameters, a forward pass, and a backward pass that needs the input alone. Nothing is
 * kept between the two: the backward pass computes again what it needs of the forward one, so that the memory of a deep
 * network is that of one layer and the inputs of all.
 */
import { checkKnown, checkRecord, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import { matmul } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import { Runtime } from '../runtime/runtime';
import { normal } from '../tensor/random';
import { checkShape, formatShape, type Shape, sameShape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

export interface Module {
  /** By name, f32. They belong to whoever made them. */
  readonly parameters: Parameters;
  /** [b, n, D] -> [b, n, D]. */
  forward(x: Tensor, control?: ModuleControl): Tensor;
  /** From the input of the forward pass and the gradient with respect to its result. */
  backward(x: Tensor, gradOut: Tensor, control?: ModuleControl): ModuleGradients;
}

/** Progress is for whoever runs many modules to tell. */
export type ModuleControl = Pick<Control, 'signal'>;

export type Parameters = Readonly<Record<string, Tensor>>;
export type ParameterShapes = Readonly<Record<string, Shape>>;

export interface ModuleGradients {
  readonly x: Tensor;
  /** By the parameters, under their names. */
  readonly parameters: Parameters;
}

/** How many numbers parameters of these shapes are. */
export function countParameters(shapes: ParameterShapes): number {
  checkRecord('shapes', shapes);
  for (const [name, shape] of Object.entries(shapes)) checkShape(`shape of ${name}`, shape);
  return Object.values(shapes).reduce((sum, shape) => sum + sizeOf(shape), 0);
}

/** Standard normal numbers times `deviation`, each parameter with a seed of its own. */
export function randomParameters<Name extends string>(
  runtime: Runtime,
  shapes: Readonly<Record<Name, Shape>>,
  seed: number,
  deviation: number,
): Record<Name, Tensor> {
  checkRuntime(runtime);
  if (!Number.isSafeInteger(seed)) throw new ParameterError(`seed must be an integer, got ${show(seed)}`);
  const entries = Object.entries<Shape>(shapes).map(([name, shape], at) => {
    const values = normal(sizeOf(shape), seed + at).map((value) => deviation * value);
    return [name, runtime.tensor(values, shape)] as const;
  });
  return Object.fromEntries(entries) as Record<Name, Tensor>;
}

/** The parameters whose names begin with `prefix` and a dot, without it. */
export function partOf(parameters: Parameters, prefix: string): Parameters {
  const entries = Object.entries(parameters).filter(([name]) => name.startsWith(`${prefix}.`));
  return Object.fromEntries(entries.map(([name, tensor]) => [name.slice(prefix.length + 1), tensor]));
}

/** The same parameters under names that begin with `prefix` and a dot. */
export function prefixed<T>(prefix: string, parameters: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`${prefix}.${name}`, value]));
}

/** Throws a ParameterError unless all of these parameters are there, and no others. */
export function checkNames(
  module: string,
  parameters: Parameters,
  names: readonly string[],
  optional: readonly string[] = [],
): void {
  checkRecord('parameters', parameters);
  for (const name of Object.keys(parameters)) {
    if (![...names, ...optional].includes(name))
      throw new ParameterError(`${module} has no parameter '${name}': expected ${names.join(', ')}`);
  }
  const given = Object.entries(parameters).filter(([, tensor]) => tensor !== undefined);
  checkTensors(Object.fromEntries(given));
  for (const [name, tensor] of given) tensor.assertUsable(name);
  for (const name of names) {
    if (!parameters[name])
      throw new ParameterError(`${module} needs a parameter '${name}': expected ${names.join(', ')}`);
  }
}

/** Throws a ParameterError unless `runtime` is one. */
export function checkRuntime(runtime: Runtime): void {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
}

/** Throws a ParameterError unless `extents` have integers >= 1 under the names in `whole`, and no names but those and `others`. */
export function checkExtents<Name extends string>(
  extents: Readonly<Record<Name, number>>,
  whole: readonly Name[],
  others: readonly string[] = [],
): void {
  checkKnown('extents', extents, [...whole, ...others], (name) => `extents have no '${name}'`);
  for (const name of whole) checkWhole(name, extents[name], 1);
}

/** Throws unless the inputs of a pass are tensors and its control is one. */
export function checkPass(
  { parameters }: Module,
  inputs: { readonly x: Tensor; readonly gradOut?: Tensor },
  control: ModuleControl,
): void {
  checkTensors({ ...inputs });
  commonRuntime({ ...inputs, ...parameters });
  const { x, gradOut } = inputs;
  if (gradOut && !sameShape(gradOut.shape, x.shape))
    throw new ShapeError(`gradOut must have the shape of x ${formatShape(x.shape)}, got ${formatShape(gradOut.shape)}`);
  checkKnown('control', control, ['signal'], (name) => `control has no '${name}'`);
  checkControl(control);
}

/** Gradients of `matmul(x, weight)`, x [..., D] and weight [D, F], from that by its result. */
export function matmulBackward(
  x: Tensor,
  weight: Tensor,
  gradOut: Tensor,
  control: ModuleControl = {},
): Record<'x' | 'weight', Tensor> {
  using transposed = weight.permute([1, 0]);
  using rows = x.reshape([-1, weight.shape[0] as number]);
  using columns = rows.permute([1, 0]);
  using byRows = gradOut.reshape([-1, weight.shape[1] as number]);
  const byWeight = matmul(columns, byRows, control);
  return { x: matmul(gradOut, transposed, control), weight: byWeight };
}
