/** Options and report of tuning. */
import type { GpuOptions, GpuSizes } from '../runtime/webgpu/adapter';

export interface TuneOptions extends Pick<GpuOptions, 'device' | 'powerPreference' | 'subgroups'> {
  /** Smaller problems and fewer rounds: a first impression in less time. Default false. */
  readonly quick?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the share of the work done, from 0 to 1, and what comes next. */
  readonly onProgress?: ((share: number, what: string) => void) | undefined;
}

/** Sizes that were tried for an entry of the tables. */
export interface TunedCandidate {
  readonly entry: string;
  readonly sizes: unknown;
  /** In words. */
  readonly label: string;
  /** Whether they are the table's for such devices. */
  readonly isTable: boolean;
  /**
   * `'kept'`: the fastest, or the table's if none beats them by more than the noise. `'faster'`, `'as fast'` or `'slower'` than
   * the table's; the table's are `'slower'` if others are kept. `'wrong'`: the results differ from the reference. `'refused'`:
   * they did not run. `'too large'` for the device.
   */
  readonly verdict: 'kept' | 'faster' | 'as fast' | 'slower' | 'wrong' | 'refused' | 'too large';
  /** Why they were not timed. */
  readonly reason?: string;
  /** Milliseconds of the timed calls. */
  readonly ms?: number;
  /** Time relative to the table's sizes, the median of rounds. */
  readonly ratio?: number;
}

/** What `tuneWebGpu` found. */
export interface TuneReport {
  /** Adapter and driver. */
  readonly device: string;
  /** Sizes that beat the table's, by entry: for `createRuntime({ backend: 'webgpu', webgpu: { sizes } })` on this device. */
  readonly sizes: GpuSizes;
  readonly candidates: readonly TunedCandidate[];
}
