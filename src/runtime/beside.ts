/** Calls that go on beside the order of all others. */
import type { Fault } from '../tensor/outcome';
import type { Backend, Control } from './backend';
import type { Pause } from './order';

/** What begins in its turn and goes on while later calls are computed, such as an exchange with other ranks. */
export interface Beside<Call> {
  readonly name: string;
  /** Begins, also if what it reads has a fault. Returns what those wait for that need what it writes. */
  begin(call: Call, given: BesideCall): Generator<Pause, Pause, void>;
}

export interface BesideCall {
  readonly backend: Backend;
  /** That of what it reads. */
  readonly fault: Fault | undefined;
  readonly control: Control;
  /** Whether kernels run now, which it should not hold up. */
  isComputing(): boolean;
  /** To be called once, when what it writes is there, or with what it threw. */
  end(thrown?: { readonly error: unknown }): void;
}
