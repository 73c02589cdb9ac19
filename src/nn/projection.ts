/** Projections: matrices, with a bias or without, by their names in checkpoints. */
import { matmul } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';
import { linear } from './linear';
import type { Described, ModuleParameter, Parameters } from './module';

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

/** x [..., n, in] by the projection of that name -> [..., n, out]. */
export function project(
  name: string,
  x: Tensor,
  parameters: Parameters,
  { transposed, signal }: Pick<ProjectionOptions, 'transposed'> & Pick<Control, 'signal'>,
): Tensor<'f32'> {
  const weight = parameters[`${name}.weight`] as Tensor;
  const options = { bias: parameters[`${name}.bias`], signal };
  return transposed ? matmul(x, weight, options) : linear(x, weight, options);
}
