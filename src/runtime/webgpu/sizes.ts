/** How kernels are cut for a device: one row for each class of devices. */
import type { Device } from './device';
import type { TiledSizes } from './kernels/attention-tiled';

export interface Sizes {
  readonly attention: TiledSizes;
}

export type DeviceClass = 'software' | 'integrated' | 'discrete';

const SIZES: Readonly<Record<DeviceClass, Sizes>> = {
  software: { attention: { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 } },
  integrated: { attention: { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 } },
  discrete: { attention: { queries: 64, keys: 64, columns: 8, rows: 4, depth: 32, values: 32 } },
};

/** The table's row for a device. */
export function tableSizes(device: Device): Sizes {
  return SIZES[device.isSoftware ? 'software' : 'discrete'];
}

/** What a device's kernels are cut by: the table's row, unless others were tuned or given. */
export const sizesOf = (device: Device): Sizes => ({ ...tableSizes(device), ...device.chosen.sizes });
