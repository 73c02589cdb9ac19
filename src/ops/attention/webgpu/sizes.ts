/** How kernels are cut for a device: a row for each class of devices. */

import type { DeviceTraits } from '../../../runtime/webgpu/plan';

/** How the kernel by tiles (../forward/webgpu/tiled.ts) shares out a tile. */
export interface TiledSizes {
  /** Queries of a tile: 16 or a multiple of 32. */
  readonly queries: number;
  /** Keys of a panel: a multiple of 4 columns. */
  readonly keys: number;
  /** Invocations along the keys. */
  readonly columns: number;
  /** Queries of an invocation: 4 or 8. */
  readonly rows: number;
  /** How much of the head dimension is staged at once: a multiple of 4. */
  readonly depth: number;
  /** Keys whose values are staged at once; divides the panel. */
  readonly values: number;
}

/** How the kernel by rows (../forward/webgpu/rows.ts) does. */
export interface RowsSizes {
  /** Invocations of a workgroup; each has `rows` queries of a tile, which has at most 32. */
  readonly lanes: number;
  readonly rows: number;
  /** Keys of a panel. */
  readonly keys: number;
  /** Whether the lanes are one subgroup, a multiple of 4. */
  readonly shares: boolean;
}

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
export function tableSizes({ isSoftware, vendor, subgroupSize: lanes }: DeviceTraits): Sizes {
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
export const sizesOf = (device: DeviceTraits): Sizes => ({
  ...tableSizes(device),
  ...(device.sizes as Partial<Sizes>),
});

/** Workgroup memory of a tiled kernel for values of e columns. */
export function tiledBytes({ queries, keys, columns, depth, values }: TiledSizes, e: number): number {
  const width = columnsOf(columns, e);
  return 4 * (Math.max((queries + keys) * depth, queries * keys) + values * width + columns * queries);
}

/** Columns of outputs that the invocations of a tiled kernel hold together. */
export const columnsOf = (columns: number, e: number) => Math.ceil(e / (4 * columns)) * 4 * columns;

/** That of one that stages as few values at once as attention does where memory is short. */
export function leastTiledBytes(sizes: TiledSizes, e: number): number {
  const { values } = sizes;
  return values % 2 === 0 ? leastTiledBytes({ ...sizes, values: values / 2 }, e) : tiledBytes(sizes, e);
}
