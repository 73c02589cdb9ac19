/** Times of attention over ranks, as `measure-context-parallel.ts` stores them. */
import type { Machine } from '../src/machine';
import type { Link, Mechanism } from '../src/simulate';

export interface RanksRow {
  /** Workers of one thread each. */
  readonly ranks: number;
  /** Those of the one process beside them. */
  readonly threads: number;
  readonly besideSeconds: number;
  readonly link: Link;
  /** Forward and backward pass. */
  readonly mechanisms: readonly {
    readonly mechanism: Mechanism;
    readonly seconds: number;
    readonly modelSeconds: number;
  }[];
}

export interface RanksRun {
  readonly command: string;
  readonly machine: Machine;
  readonly tokens: number;
  readonly heads: number;
  readonly d: number;
  readonly rows: readonly RanksRow[];
}
