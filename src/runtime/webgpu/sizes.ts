/** How kernels are cut for a device: a row for each class of devices. */

import type { RowsSizes } from '../../ops/attention/webgpu/rows';
import type { TiledSizes } from '../../ops/attention/webgpu/tiled';
import type { Device } from './device';

/** A kernel of attention, for problems of fewer than `below` operations. */
export type AttentionSizes = ({ readonly rows: RowsSizes } | { readonly tiled: TiledSizes }) & {
  readonly below?: number;
};

export interface Sizes {
  /** The first that is for a problem takes it; the last is for all. */
  readonly attention: readonly AttentionSizes[];
  /** Workgroups that keep the device busy. */
  readonly workgroups: number;
}

/** In software a larger kernel takes seconds to compile, which only problems of so many operations repay. */
const LARGE = 2 ** 26;

const SIZES: Readonly<Record<'software' | 'integrated' | 'discrete', Sizes>> = {
  software: {
    attention: [
      { rows: { lanes: 8, rows: 1, keys: 4, shares: false }, below: LARGE },
      { rows: { lanes: 8, rows: 4, keys: 4, shares: false } },
    ],
    workgroups: 8,
  },
  // What every device has room for.
  integrated: {
    attention: [{ tiled: { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 } }],
    workgroups: 64,
  },
  discrete: {
    attention: [{ tiled: { queries: 64, keys: 64, columns: 8, rows: 4, depth: 32, values: 32 } }],
    workgroups: 512,
  },
};

/** The table's row for a device. */
export function tableSizes({ isSoftware, vendor, subgroupSize: lanes }: Device): Sizes {
  if (!isSoftware) return SIZES[/nvidia|amd/i.test(vendor) ? 'discrete' : 'integrated'];
  if (!lanes || lanes < 4 || lanes > 32) return SIZES.software;
  // Workgroups of one subgroup, whose lanes share what they load.
  return {
    ...SIZES.software,
    attention: [
      { rows: { lanes, rows: 1, keys: 4, shares: true }, below: LARGE },
      { rows: { lanes, rows: 32 / lanes, keys: 8, shares: true } },
    ],
  };
}

/** What a device's kernels are cut by: the table's row, unless others were tuned or given. */
export const sizesOf = (device: Device): Sizes => ({ ...tableSizes(device), ...device.sizes });
