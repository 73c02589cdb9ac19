/**
 * What a method's experiment is: it holds the paper's central claims against what is measured here.
 * `experiment.ts` in the method's folder exports `experiment`; the definition names it by
 * `experiment: () => import('./experiment')`, so that the library loads it only when asked.
 */
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';

export type Verdict = 'reproduced' | 'partly' | 'not reproduced';

/** One claim of the paper and what came of it here. */
export interface Finding {
  /** The claim, figures included, in a sentence. */
  readonly claim: string;
  /** Where it is from: a section, table or figure of the paper, a file of its code, or 'reconstructed'. */
  readonly source: string;
  /** What was measured, with its unit. */
  readonly measured: string;
  readonly verdict: Verdict;
  /** What a reader must know to judge: the setting, and how it differs from the paper's. */
  readonly details?: string;
  /** The figures behind it, for tables and plots. */
  readonly series?: readonly Series[];
}

/** Values over a common axis. */
export interface Series {
  readonly title: string;
  /** Such as `layer` or `n`. */
  readonly x: { readonly label: string; readonly values: readonly (number | string)[] };
  /** One value for each of the axis; null where there is none. */
  readonly lines: readonly { readonly label: string; readonly values: readonly (number | null)[] }[];
}

export interface ExperimentContext {
  readonly runtime: Runtime;
  /** Aborts the experiment. */
  readonly signal?: Control['signal'];
  /** Called with the share of the work done, from 0 to 1, and what is being done. */
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
  /** Smaller sizes and fewer repeats, a few seconds in all: shows that it works, not what the paper claims. */
  readonly quick?: boolean;
}

export interface Experiment {
  /** What is measured, in a line. */
  readonly title: string;
  run(context: ExperimentContext): Promise<Finding[]>;
}
