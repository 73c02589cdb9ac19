/** What an op says about sizes that can be tuned. */
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import type { DeviceTraits } from '../../runtime/webgpu/plan';
import type { Tensor } from '../../tensor/tensor';

type Inputs = Readonly<Record<string, Tensor>>;

/** A call. */
export interface Work {
  inputs(runtime: Runtime): Inputs;
  run(inputs: Inputs, control: Control): readonly Tensor[];
}

/** Sizes of kernels that can be tuned. */
export interface Tunable<S> {
  /** The sizes for devices of this class by default. */
  table(device: DeviceTraits): S;
  /** Sizes to try besides the table's. */
  candidates(table: S, device: DeviceTraits): readonly S[];
  /** A candidate's differences in words. */
  label(sizes: S): string;
  /** Calls whose results are checked, with odd extents. */
  trials(quick: boolean): readonly Work[];
  /** Calls that are timed, one after the other. */
  timed(isSoftware: boolean, quick: boolean): readonly Work[];
}
