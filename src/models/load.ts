/** Parameters of models from the tensors of files. */
import { checkChoice, checkOptions, checkRecord, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Described } from '../nn/module';
import { Runtime } from '../runtime/runtime';
import { type DType, isFloat } from '../tensor/dtype';
import { checkHost, convert, type HostTensor } from '../tensor/host';
import { formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { parametersIn } from '../train/parameters-in';

/** The parameters and buffers of a model by the names of its checkpoints. */
export interface WeightNames {
  readonly parameters: Described;
  /** A prefix of these names that files may lack, such as `transformer`. */
  readonly prefix?: string | undefined;
  /** Tensors of files that are passed over: those that only training uses, or that follow from the configuration. */
  readonly ignored?: RegExp | undefined;
}

export interface LoadOptions {
  /** As f32 (default), or with `stored` matrices as the file has them, if these are floats: half the memory in 16 bits. */
  readonly types?: 'f32' | 'stored' | undefined;
}

/** Batches that PyTorch's batch norm has seen. */
const COUNTS = /(^|\.)num_batches_tracked$/;

/**
 * What a model computes with, from the tensors of a file or of the checkpoint of a training, of which it takes the
 * parameters. Their names may begin with `model.` or `module.`.
 *
 * @throws {ParameterError | ShapeError} tensors that are missing, unexpected or of another shape, by their names
 */
export function loadWeights(
  runtime: Runtime,
  { parameters, prefix, ignored }: WeightNames,
  file: Readonly<Record<string, HostTensor>>,
  options: LoadOptions = {},
): Record<string, Tensor> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkRecord('file', file);
  checkOptions('load', options, ['types']);
  const { types = 'f32' } = options;
  checkChoice('types', types, ['f32', 'stored']);
  const known = (name: string) => Object.hasOwn(parameters, name);
  const found = new Map<string, HostTensor>();
  for (const [name, host] of Object.entries(parametersIn(file))) {
    const own = namesOf(name, prefix).find(known);
    if (own === undefined) {
      if (COUNTS.test(name) || ignored?.test(name)) continue;
      throw new ParameterError(`weights have a tensor '${name}' too many`);
    }
    if (found.has(own)) throw new ParameterError(`weights have ${own} twice, also as '${name}'`);
    checkHost(own, host);
    found.set(own, host);
  }
  const missing = Object.keys(parameters).filter((name) => !found.has(name));
  if (missing.length > 0)
    throw new ParameterError(
      `weights have no tensor ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? `, and ${missing.length - 3} more` : ''}`,
    );
  for (const [name, { shape }] of Object.entries(parameters)) {
    const host = found.get(name) as HostTensor;
    if (!sameShape(host.shape, shape))
      throw new ShapeError(`${name} must have shape ${formatShape(shape)}, got ${formatShape(host.shape)}`);
  }
  return runtime.scope(() =>
    Object.fromEntries(
      Object.entries(parameters).map(([name, { shape }]) => {
        const host = found.get(name) as HostTensor;
        const isKept = types === 'stored' && shape.length === 2 && host.dtype !== 'f64' && isFloat(host.dtype);
        return [name, runtime.fromHost(isKept ? (host as HostTensor<DType>) : convert(host, 'f32'))];
      }),
    ),
  );
}

/** The names that a tensor of a file may have in the model, the likeliest first. */
function namesOf(name: string, prefix: string | undefined): string[] {
  const bare = name.replace(/^(module|model)\./, '');
  const names = [name, bare];
  return prefix === undefined ? names : [...names, ...names.map((each) => `${prefix}.${each}`)];
}
