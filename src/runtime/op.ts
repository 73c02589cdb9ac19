/** What an op is: a name for messages, and who computes a call of it on each backend. */

import type { Elements } from '../tensor/elements';
import type { HostTensor } from '../tensor/host';
import type { Steps } from './turns';
import type { KernelFiles } from './wasm/modules';
import type { Machine, Plan as WasmPlan } from './wasm/plan';
import type { Plan as GpuPlan, Workspace } from './webgpu/plan';

/** Tensors in host memory, in float64. */
export interface Host {
  /** The elements in row-major order. */
  numbers(x: Elements): Float64Array;
  tensor(x: Elements): HostTensor<'f64'>;
  store(out: Elements, values: Float64Array): void;
  /** One element, so many behind the first of a strided view. */
  storeAt(out: Elements, place: number, value: number): void;
}

/**
 * One room's declaration. A call of it is what its kernels get: tensors, whose shapes, types and owners are checked, and
 * numbers, which together are the whole plan; outputs are allocated and contiguous.
 */
export interface Op<Call> {
  readonly name: string;
  /** Plain loops in float64: the truth that the others are tested against. */
  readonly reference: () => Promise<(call: Call, host: Host) => void>;
  /** What the plans for the CPU run. */
  readonly kernels?: KernelFiles;
  readonly wasm: (call: Call, machine: Machine) => WasmPlan | Steps<WasmPlan>;
  readonly webgpu: () => Promise<(call: Call, workspace: Workspace) => GpuPlan | Steps<GpuPlan>>;
  /** What only the device can check: looked at once the call is computed. The first that fails is the call's fault. */
  readonly faults?: (call: Call) => readonly Expectation[];
}

/** What the elements of a tensor must be; NaN never is. */
export interface Expectation {
  readonly tensor: Elements;
  readonly least: number;
  readonly most: number;
  /** What their magnitude is at least; default 0. */
  readonly magnitude?: number;
  /** An integer that is right wherever it lies. */
  readonly except?: number | undefined;
  /** The error for the first element that is not, by its value and its place in row-major order, and for all of them. */
  error(value: number, place: number, all: Failures): Error;
}

/** How many elements of a tensor are not as expected, and their largest magnitude. */
interface Failures {
  readonly count: number;
  readonly largest: number;
}
