/** Which sizes a device's kernels have: the table's, those that `saccade tune` stored for it, or the caller's. */
import { ParameterError } from '../../errors';
import { type GpuSizes, isNode } from './adapter';
import type { Sizes } from './sizes';

export interface ChosenSizes {
  /** In the place of the table's. */
  readonly sizes: Partial<Sizes>;
  /** In words. */
  readonly origin: string;
}

/** Those of a device; what is stored counts for the runtime's own devices, which have all that their adapter offers. */
export async function chooseSizes(gpu: GPUDevice, isOwn: boolean, given: GpuSizes | undefined): Promise<ChosenSizes> {
  if (given !== undefined) {
    const { faultOfSizes } = await import('./size-schemas');
    const fault = faultOfSizes('webgpu.sizes', given, gpu.limits);
    if (fault)
      throw new ParameterError(`${fault}; leave the option out, or take what tuneWebGpu() found for this device`);
    return { sizes: given, origin: 'given' };
  }
  if (isOwn && isNode()) {
    const { readTuned } = await import('./tuned-file');
    const tuned = readTuned(gpu);
    if (tuned) return { sizes: tuned.sizes, origin: `tuned on ${tuned.date}, from ${tuned.path}` };
  }
  return { sizes: {}, origin: "the table's" };
}
