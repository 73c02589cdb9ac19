/** What an op tells of sizes that can be tuned. */
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
  /** What devices of this class have, unless told otherwise. */
  table(device: DeviceTraits): S;
  /** To try beside the table's. */
  candidates(table: S, device: DeviceTraits): readonly S[];
  /** In words, what candidates differ in. */
  label(sizes: S): string;
  /** Those whose results are checked, of odd extents. */
  trials(quick: boolean): readonly Work[];
  /** Those that are timed, one after the other. */
  timed(isSoftware: boolean, quick: boolean): readonly Work[];
}
