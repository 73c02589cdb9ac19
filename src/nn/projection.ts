/** Projections: matrices, with a bias or without, by their names in checkpoints. */
import { matmul } from '../ops/matmul';
import { PackedWeight } from '../ops/packed';
import type { Tensor } from '../tensor/tensor';
import { linearAll } from './linear';
import type { Described, ModuleControl, ModuleParameter, Parameters } from './module';

export interface ProjectionOptions {
  /** Whether there is a bias, which starts at 0. */
  readonly bias: boolean;
  /** Whether the matrix is [in, out], as in GPT-2; default: [out, in]. */
  readonly transposed?: boolean | undefined;
}

/** A matrix [out, in] whose training starts from normal numbers with standard deviation 0.02. */
export function matrix(out: number, into: number): ModuleParameter {
  return { shape: [out, into], initial: { std: 0.02 } };
}

/** The parameters of the projection of that name: its weight, and its bias [out]. */
export function projection(name: string, out: number, into: number, options: ProjectionOptions): Described {
  const weight = { [`${name}.weight`]: options.transposed ? matrix(into, out) : matrix(out, into) };
  return options.bias ? { ...weight, [`${name}.bias`]: { shape: [out], initial: { value: 0 } } } : weight;
}

interface ProjectControl extends Pick<ProjectionOptions, 'transposed'>, Pick<ModuleControl, 'signal' | 'activations'> {}

/** x [..., n, in] by the projection of that name -> [..., n, out]. */
export const project = (name: string, x: Tensor, parameters: Parameters, control: ProjectControl): Tensor<'f32'> =>
  projectAll([name], x, parameters, control)[0] as Tensor<'f32'>;

/** By several, as one call if their weights are in blocks. */
export function projectAll(
  names: readonly string[],
  x: Tensor,
  parameters: Parameters,
  { transposed, signal, activations: given }: ProjectControl,
): Tensor<'f32'>[] {
  const weights = names.map((name) => parameters[`${name}.weight`] as Tensor | PackedWeight);
  const biases = names.map((name) => parameters[`${name}.bias`] as Tensor | undefined);
  // Floats are multiplied as they are, and blocks beside them as `f32` says.
  const activations = given === 'f32' || weights.every(isInBlocks) ? given : undefined;
  if (transposed) return weights.map((weight, at) => matmul(x, weight, { bias: biases[at], activations, signal }));
  return linearAll(x, weights, { biases, activations, signal });
}

const isInBlocks = (weight: Tensor | PackedWeight) => weight instanceof PackedWeight && weight.isQuantised;
