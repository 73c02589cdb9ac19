/** Which sizes a device's kernels have: the table's, those that `saccade tune` stored for it, or the caller's. */
import { ParameterError } from '../../errors';
import { type GpuOptions, isNode } from './adapter';
import type { Device } from './device';
import type { Sizes } from './sizes';

export interface ChosenSizes {
  /** In the place of the table's. */
  readonly sizes: Partial<Sizes>;
  /** In words. */
  readonly origin: string;
}

export const TABLE: ChosenSizes = { sizes: {}, origin: "the table's" };

/** What is stored was found on a device with all that its adapter offers, and counts for such devices only. */
export async function chooseSizes(
  device: Device,
  { sizes, subgroups }: GpuOptions,
  isOwn: boolean,
): Promise<ChosenSizes> {
  if (sizes !== undefined) {
    const { faultOfSizes } = await import('./size-schemas');
    const fault = faultOfSizes('webgpu.sizes', sizes, device);
    if (fault)
      throw new ParameterError(`${fault}; leave the option out, or take what tuneWebGpu() found for this device`);
    return { sizes, origin: 'given' };
  }
  if (isOwn && subgroups === undefined && isNode()) {
    const { readTuned } = await import('./tuned-file');
    const tuned = readTuned(device);
    if (tuned) return { sizes: tuned.sizes, origin: `tuned on ${tuned.date}, from ${tuned.path}` };
  }
  return TABLE;
}
