/** What an op is: a name for messages, and what computes a call of it on each backend. */
import type { Elements } from '../tensor/elements';
import type { HostTensor } from '../tensor/host';
import type { Plan as CpuPlan, Machine } from './cpu/plan';
import type { Steps } from './turns';
import type { KernelFiles } from './wasm/files';
import type { Plan as GpuPlan, Workspace } from './webgpu/plan';

/** Tensors in host memory, in float64. */
export interface Host {
  /** The elements in row-major order. */
  numbers(x: Elements): Float64Array;
  tensor(x: Elements): HostTensor<'f64'>;
  store(out: Elements, values: Float64Array): void;
  /** One element, `place` elements after the first of a strided view. */
  storeAt(out: Elements, place: number, value: number): void;
}

/** A call is what its kernels get: checked tensors, with outputs allocated and contiguous, and numbers. */
export interface Op<Call> {
  readonly name: string;
  /** Plain loops in float64, which the others are tested against. */
  readonly reference: () => Promise<(call: Call, host: Host) => void>;
  /** What the plans for the CPU run. */
  readonly kernels?: KernelFiles;
  readonly cpu: (call: Call, machine: Machine) => CpuPlan | Steps<CpuPlan>;
  /** The name of the plan that takes the place of `cpu` where machine code may be run, for the calls that it covers (ops/native.ts). */
  readonly native?: string;
  readonly webgpu: () => Promise<(call: Call, workspace: Workspace) => GpuPlan | Steps<GpuPlan>>;
  /** Checked where the tensors are, after the call. The first one that fails is the call's fault. */
  readonly faults?: (call: Call) => readonly Expectation[];
}

/** A range that the elements of a tensor must be in; NaN is in none. */
export interface Expectation {
  readonly tensor: Elements;
  readonly least: number;
  readonly most: number;
  /** Least magnitude; default 0. */
  readonly magnitude?: number;
  /** An integer that is always right. */
  readonly except?: number | undefined;
  /** The error, for the first wrong element with its index in row-major order, and for all of them. */
  error(value: number, place: number, all: Failures): Error;
}

/** The number of wrong elements and their largest magnitude. */
interface Failures {
  readonly count: number;
  readonly largest: number;
}
