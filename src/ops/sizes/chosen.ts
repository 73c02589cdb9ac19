/** Chooses the sizes of a device's kernels: the caller's, those that `saccade tune` stored, or the tables'. */
import { ParameterError, ParseError } from '../../errors';
import { type ChooseSizes, TABLE } from '../../runtime/webgpu/device';
import type { TunedSizes } from './tuned-file';

/** Stored sizes are for devices with everything their adapter offers, so not for a caller's device. */
export const chooseSizes: ChooseSizes = async (device, { sizes, subgroups }, isOwn) => {
  if (sizes !== undefined) {
    const { faultOfSizes } = await import('./schemas');
    const fault = faultOfSizes('webgpu.sizes', sizes, device);
    if (fault)
      throw new ParameterError(`${fault}; leave the option out, or take what tuneWebGpu() found for this device`);
    // A copy, since later changes by the caller would be unchecked.
    return { sizes: structuredClone(sizes), origin: 'given' };
  }
  // In Node; the `process` that bundlers for browsers provide has no modules.
  if (isOwn && subgroups === undefined && typeof globalThis.process?.getBuiltinModule === 'function') {
    const { readTuned } = await import('./tuned-file');
    try {
      const tuned = readTuned(device);
      if (tuned) return { sizes: tuned.sizes, origin: originOf(tuned) };
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      // A damaged cache must not stop anybody.
      warnOnce(`ignored ${error.message}`);
      return { ...TABLE, origin: `${TABLE.origin}; ignored ${error.message}` };
    }
  }
  return TABLE;
};

const warned = new Set<string>();

function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(message, 'SaccadeWarning');
}

function originOf({ date, sizes, path }: TunedSizes): string {
  return Object.keys(sizes).length > 0
    ? `tuned on ${date}, from ${path}`
    : `the table's, which none beat when tuned on ${date}, as ${path} says`;
}
