/** Which sizes a device's kernels have: the table's, those that `saccade tune` stored for it, or the caller's. */
import { ParameterError, ParseError } from '../../errors';
import { type ChooseSizes, TABLE } from '../../runtime/webgpu/device';
import type { TunedSizes } from './tuned-file';

/** What is stored was found on a device with all that its adapter offers, and counts for such devices only. */
export const chooseSizes: ChooseSizes = async (device, { sizes, subgroups }, isOwn) => {
  if (sizes !== undefined) {
    const { faultOfSizes } = await import('./schemas');
    const fault = faultOfSizes('webgpu.sizes', sizes, device);
    if (fault)
      throw new ParameterError(`${fault}; leave the option out, or take what tuneWebGpu() found for this device`);
    // Kernels are compiled from these: later changes must not reach them unchecked.
    return { sizes: structuredClone(sizes), origin: 'given' };
  }
  // In Node; what bundlers for browsers put in the place of `process` has no modules.
  if (isOwn && subgroups === undefined && typeof globalThis.process?.getBuiltinModule === 'function') {
    const { readTuned } = await import('./tuned-file');
    try {
      const tuned = readTuned(device);
      if (tuned) return { sizes: tuned.sizes, origin: originOf(tuned) };
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      // A cache is there to help, so a damaged one must not be in the way.
      warnOnce(`ignored ${error.message}`);
      return { ...TABLE, origin: `${TABLE.origin}; ignored ${error.message}` };
    }
  }
  return TABLE;
};

const told = new Set<string>();

function warnOnce(message: string): void {
  if (told.has(message)) return;
  told.add(message);
  process.emitWarning(message, 'SaccadeWarning');
}

function originOf({ date, sizes, path }: TunedSizes): string {
  return Object.keys(sizes).length > 0
    ? `tuned on ${date}, from ${path}`
    : `the table's, which none beat when tuned on ${date}, as ${path} says`;
}
