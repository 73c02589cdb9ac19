/** What computes a call on a GPU. */
import type { GpuLimits, GpuSizes } from './adapter';
import type { Dispatch, Region } from './kernel';

export interface Plan {
  readonly dispatches: readonly Dispatch[];
}

/** What a plan may depend on. */
export interface DeviceTraits {
  /** Whether it computes on the CPU. */
  readonly isSoftware: boolean;
  /** What tells its adapter and driver from others. */
  readonly identity: string;
  /** Who made it, in lower case; empty if it does not say. */
  readonly vendor: string;
  /** Whether kernels use subgroups. */
  readonly subgroups: boolean;
  /** Invocations of a subgroup, where kernels use them and all are of one size. */
  readonly subgroupSize: number | undefined;
  readonly limits: GpuLimits;
  /** Sizes of kernels in the place of their tables'. */
  readonly sizes: GpuSizes;
}

/** The device, and memory that lives as long as one call. */
export interface Workspace {
  readonly device: DeviceTraits;
  /** Undefined numbers. */
  scratch(shape: readonly number[], dtype?: 'f32' | 'i32'): Region;
  /** A copy of numbers that differ from call to call. */
  upload(data: Int32Array | Float32Array): Region;
  /** Writes to contiguous elements of four bytes. */
  write(region: Region, data: Int32Array | Float32Array): void;
  /** A copy of numbers that follow from `owner` and `key`, made once for the device and as long as the owner is there. */
  keep(owner: object, key: string, make: () => Int32Array | Float32Array): Region;
}
