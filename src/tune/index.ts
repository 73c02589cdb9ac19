/** Finds the fastest sizes of kernels for a device. */
import { ParameterError } from '../errors';
import { checkControl, checkOptions } from '../ops/check';
import type { TuneOptions, TuneReport } from './report';

export type { TunedCandidate, TuneOptions, TuneReport } from './report';

const OPTION_NAMES = ['device', 'powerPreference', 'subgroups', 'quick', 'signal', 'onProgress'];

/**
 * Measures which sizes of kernels are the fastest on a device, in Node or a page: checks the results of each candidate against
 * the reference, then times batches of calls in interleaved rounds. This takes from seconds to a few minutes, during which
 * nothing else should use the GPU. The command `saccade tune` does the same and stores the sizes for Node.
 *
 * @throws {UnsupportedError} if there is no GPU, or not the subgroups asked for
 * @throws {BackendError} if the device is lost, or no sizes compute as they should
 */
export async function tuneWebGpu(options: TuneOptions = {}): Promise<TuneReport> {
  checkOptions('tuneWebGpu', options, OPTION_NAMES);
  const { quick, signal, onProgress } = options;
  checkControl({ signal, onProgress: onProgress as (share: number) => void });
  if (quick !== undefined && typeof quick !== 'boolean')
    throw new ParameterError(`quick must be true or false, got ${quick}`);
  const { tune } = await import('./tuning');
  return tune(options);
}
