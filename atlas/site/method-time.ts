import type { BackendName } from '../../src/runtime/backend';
import { tokensIn } from './problem';
import type { RunResult } from './tasks/run';
import type { Setting } from './tasks/setting';

/** How fast a method was beside exact attention on the same numbers. */
export interface MethodTime {
  readonly method: string;
  readonly causal: boolean;
  readonly tokens: number;
  readonly dimension: number;
  readonly backend: BackendName;
  /** Milliseconds of a call. */
  readonly time: number;
  /** How many times as fast as exact attention. */
  readonly speedup: number;
  /** The machine of a stored run. */
  readonly machine?: string;
}

/** The times of a run, without backends that failed and exact attention itself. */
export function timesOf({ method, extents }: Setting, causal: boolean, rows: readonly RunResult[]): MethodTime[] {
  return rows.flatMap(({ backend, time, speedup }) =>
    time !== undefined && speedup !== undefined
      ? [{ method, causal, tokens: tokensIn(extents), dimension: extents.d, backend, time, speedup }]
      : [],
  );
}
