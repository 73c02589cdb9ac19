/** Plans of calls for a GPU. */
import type { GpuLimits, GpuSizes } from './adapter';
import type { Dispatch, Region } from './kernel';

export interface Plan {
  readonly dispatches: readonly Dispatch[];
  /** A fact for `explain()`, such as that a call was computed in host memory. */
  readonly choice?: string;
}

/** What a plan may depend on. */
export interface DeviceTraits {
  /** Whether it computes on the CPU. */
  readonly isSoftware: boolean;
  /** Identifies its adapter and driver. */
  readonly identity: string;
  /** Its vendor in lower case; empty if unknown. */
  readonly vendor: string;
  /** Whether kernels use subgroups. */
  readonly subgroups: boolean;
  /** Invocations of a subgroup, where kernels use them and all are of one size. */
  readonly subgroupSize: number | undefined;
  readonly limits: GpuLimits;
  /** Sizes of kernels that replace those of the ops' tables. */
  readonly sizes: GpuSizes;
}

/** The device, and memory for one call. */
export interface Workspace {
  readonly device: DeviceTraits;
  /** Undefined elements. */
  scratch(shape: readonly number[], dtype?: 'f32' | 'i32'): Region;
  /** A copy of data that differs from call to call. */
  upload(data: Int32Array | Float32Array): Region;
  /** Writes to contiguous elements of four bytes. */
  write(region: Region, data: Int32Array | Float32Array): void;
  /** A copy of data that follows from `owner` and `key`, made once for the device and kept as long as the owner. */
  keep(owner: object, key: string, make: () => Int32Array | Float32Array): Region;
}
