/** The small Point-MAE that was trained here, and encoders of its tensors. */

import { checkRecord } from '../../check';
import { ParameterError } from '../../errors';
import { trainedHere } from '../../models/vision/trained';
import type { Runtime } from '../../runtime/runtime';
import type { HostTensor } from '../../tensor/host';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkRuntime } from '../check-runtime';
import type { Encoder } from './encode';
import { POINT_MAE, pointMaeParameters } from './point-mae';

const trained = trainedHere(
  'Point-MAE',
  {},
  () => new URL('./trained/model.safetensors', import.meta.url),
  () => new URL('./trained/config.json', import.meta.url),
);

/** An encoder whose tensors the caller disposes. */
export interface LoadedEncoder extends Encoder {
  readonly parameters: Readonly<Record<string, Tensor>>;
}

/**
 * The frozen network with these tensors, by default those that come with the library, which a page fetches.
 *
 * @throws {ParameterError} a tensor that is missing, or of another shape
 */
export async function loadPointMae(
  runtime: Runtime,
  tensors?: Readonly<Record<string, HostTensor>>,
): Promise<LoadedEncoder> {
  checkRuntime(runtime);
  if (tensors !== undefined) checkRecord('tensors', tensors);
  const given = tensors ?? (await trained.load()).tensors;
  const parameters: Record<string, Tensor> = {};
  for (const [name, { shape }] of Object.entries(pointMaeParameters(POINT_MAE))) {
    const host = given[name];
    if (host?.dtype !== 'f32' || !sameShape(host.shape, shape))
      throw new ParameterError(
        `tensors of Point-MAE must have '${name}', f32 ${formatShape(shape)}, got ${host ? `${host.dtype} ${formatShape(host.shape)}` : 'none'}`,
      );
    parameters[name] = runtime.fromHost(host as HostTensor<'f32'>);
  }
  return { config: POINT_MAE, parameters };
}
