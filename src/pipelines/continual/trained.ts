/** The generator of digits that was trained here on five tasks of two, and generators of other runs. */
import { checkNumbers, checkRecord, checkWhole } from '../../check';
import { ParameterError } from '../../errors';
import { trainedHere } from '../../models/vision/trained';
import type { Runtime } from '../../runtime/runtime';
import type { HostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { autoencoderParameters, generate } from '../autoencoder';
import { checkRuntime } from '../check-runtime';

const trained = trainedHere(
  'generator',
  {},
  () => new URL('./trained/model.safetensors', import.meta.url),
  () => new URL('./trained/config.json', import.meta.url),
);

/** Makes rows of the classes that it learned. The caller disposes it. */
export interface Generator extends Disposable {
  readonly classes: number;
  /** Numbers of a row. */
  readonly width: number;
  /**
   * A row for each label, from 0 to 1: [labels, width].
   *
   * @throws {ParameterError} a label of no class
   */
  make(labels: readonly number[], seed: number): Promise<Float32Array>;
}

/**
 * The generator that `continual` saved as these tensors; default: the one that comes along, whose rows are digits of 28 x 28, which a
 * page fetches.
 *
 * @throws {ParameterError} a tensor that is missing, or of another shape
 */
export async function loadGenerator(
  runtime: Runtime,
  tensors?: Readonly<Record<string, HostTensor>>,
): Promise<Generator> {
  checkRuntime(runtime);
  if (tensors !== undefined) checkRecord('tensors', tensors);
  const given = tensors ?? (await trained.load()).tensors;
  const [hidden, width] = given['encoder.0.weight']?.shape ?? [];
  const [classes, latent] = given['prior.mean']?.shape ?? [];
  const config = { width: width ?? 1, hidden: hidden ?? 1, latent: latent ?? 1, classes: classes ?? 1 };
  const parameters: Record<string, Tensor> = {};
  for (const [name, { shape }] of Object.entries(autoencoderParameters(config))) {
    const host = given[name];
    if (host?.dtype !== 'f32' || !sameShape(host.shape, shape))
      throw new ParameterError(
        `tensors of a generator must have '${name}', f32 ${formatShape(shape)}, got ${host ? `${host.dtype} ${formatShape(host.shape)}` : 'none'}`,
      );
    parameters[name] = runtime.fromHost(host as HostTensor<'f32'>);
  }
  return {
    ...{ classes: config.classes, width: config.width },
    async make(labels, seed) {
      checkNumbers(
        'labels',
        labels,
        `integers from 0 to ${config.classes - 1}`,
        (label) => Number.isInteger(label) && label >= 0 && label < config.classes,
      );
      if (labels.length === 0) throw new ParameterError('labels must be one at least, got none');
      checkWhole('seed', seed, 0);
      using rows = runtime.scope(() =>
        generate(
          parameters,
          runtime.tensor(Int32Array.from(labels), [labels.length], 'i32'),
          runtime.tensor(normal(labels.length * config.latent, seed), [labels.length, config.latent]),
        ),
      );
      return await rows.read();
    },
    [Symbol.dispose]() {
      for (const tensor of Object.values(parameters)) tensor.dispose();
    },
  };
}
