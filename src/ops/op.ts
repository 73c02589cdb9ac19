/** What an op is: a name for messages, and who computes a call of it on each backend. */

import type { Steps } from '../runtime/turns';
import type { KernelFiles } from '../runtime/wasm/modules';
import type { Machine, Plan as WasmPlan } from '../runtime/wasm/plan';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';

/** Where the elements of a tensor lie: a tensor, or a view that nobody else sees. */
export type Elements = Pick<Tensor, 'storage' | 'dtype' | 'shape' | 'strides' | 'offset'>;

/** Tensors in host memory, in float64. */
export interface Host {
  /** The elements in row-major order. */
  numbers(x: Elements): Float64Array;
  tensor(x: Elements): HostTensor<'f64'>;
  store(out: Tensor, values: Float64Array): void;
  /** One element, so many behind the first of a strided view. */
  storeAt(out: Tensor, place: number, value: number): void;
}

/**
 * One room's declaration. A call of it is what its kernels get: tensors, whose shapes, types and owners are checked, and
 * numbers, which together are the whole plan; outputs are allocated and contiguous.
 */
export interface Op<Call> {
  readonly name: string;
  /** Plain loops in float64: the truth that the others are tested against. */
  readonly reference: () => Promise<(call: Call, host: Host) => void>;
  /** Of the room: what the plans for the CPU run. */
  readonly kernels?: KernelFiles;
  readonly wasm: (call: Call, machine: Machine) => WasmPlan | Steps<WasmPlan>;
  /** From a call and the `Workspace` of a GPU to its plan (webgpu/queue.ts), whose types not everybody has. */
  readonly webgpu: () => Promise<(call: Call, workspace: never) => object>;
  /** What only the device can see: each is looked at once the call is computed. The first that fails is the call's fault. */
  readonly faults?: (call: Call) => readonly Expectation[];
}

/** What the elements of a tensor must be; NaN never is. */
export interface Expectation {
  readonly tensor: Tensor;
  readonly least: number;
  readonly most: number;
  /** What their magnitude is at least; default 0. */
  readonly magnitude?: number;
  /** Of integers: one that is right wherever it lies. */
  readonly except?: number | undefined;
  /** The error for the first element that is not, by its value and its place in row-major order, and for all of them. */
  error(value: number, place: number, all: Failures): Error;
}

/** Of the elements of a tensor that are not as expected, how many there are and their largest magnitude. */
interface Failures {
  readonly count: number;
  readonly largest: number;
}
