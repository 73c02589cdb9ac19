/**
 * What a method's experiment is: it holds the paper's central claims against what is measured here.
 * `experiment.ts` in the method's folder exports `experiment`; the definition names it by
 * `experiment: () => import('./experiment')`, so that the library loads it only when asked.
 *
 * Verdicts follow from numbers alone: beside each claim stands what its figures would have to be.
 */

import type { Estimate } from '../measure/statistics';
import type { Control } from '../runtime/backend';
import { reporting } from '../runtime/guard';
import type { Runtime } from '../runtime/runtime';
import { significant } from '../text/format';
import { reasonOf } from '../text/reason';

export type Verdict =
  | 'reproduced'
  | 'partly'
  | 'not reproduced'
  /** It follows from definitions, and what was computed agrees. */
  | 'holds by construction'
  | 'not tested here'
  /** The interval of a figure lies on both sides of a limit. */
  | 'undecided'
  /** A figure that cannot be: what was measured is no evidence. */
  | 'refused'
  /** What was to measure it failed. */
  | 'not measured';

/** Both ends belong to it, and both are finite. */
export type Range = readonly [low: number, high: number];

/** One figure that a claim is judged by, and what its values mean. */
export interface Criterion {
  /** What the figure is, with its unit. */
  readonly what: string;
  /** Where the claim holds. */
  readonly expected: Range;
  /** Where it holds in part; outside it does not hold. Default: nowhere else. */
  readonly partly?: Range;
  /** Beyond it the measurement is refused as one that cannot be right. Wider than the other two. */
  readonly plausible: Range;
}

/** One claim of the paper and how it is judged. */
export interface Claim {
  /** The claim, figures included, in a sentence. */
  readonly claim: string;
  /** Where it is from: a section, table or figure of the paper, a file of its code, or 'reconstructed'. */
  readonly source: string;
  /** Of several the worst outcome counts. */
  readonly criteria: Readonly<Record<string, Criterion>>;
  /** What of the claim is not tested, and why: the verdict is 'partly' at best, or 'not tested here' without criteria. */
  readonly untested?: string;
  /** It follows from definitions: the figures show that these are met. */
  readonly byConstruction?: true;
  /** Its figures are times, which need repeats: not judged in quick runs. */
  readonly timed?: true;
}

export type Claims = Readonly<Record<string, Claim>>;

/** What was measured for a claim. */
export interface Measurement<C extends Claim = Claim> {
  /** In words, with units. */
  readonly measured: string;
  /** The figures that the criteria ask for. */
  readonly values: Readonly<Record<keyof C['criteria'], number | Estimate>>;
  /** What a reader must know to judge: the setting, and how it differs from the paper's. */
  readonly details?: string;
  /** The figures behind it, for tables and plots. */
  readonly series?: readonly Series[];
}

/** A figure that a verdict rests on. */
export interface Judgement {
  readonly what: string;
  readonly value: number;
  /** Of the median of repeats, 95%. */
  readonly interval?: Range;
  /** What was expected, in words. */
  readonly expected: string;
  readonly verdict: Verdict;
}

/** One claim and what came of it here. */
export interface Finding extends Pick<Claim, 'claim' | 'source'>, Omit<Measurement, 'values'> {
  readonly judgements: readonly Judgement[];
  readonly untested?: string;
  readonly verdict: Verdict;
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
  readonly claims: Claims;
  /** A finding for each claim, in their order. */
  run(context: ExperimentContext): Promise<Finding[]>;
}

/** A measurement for each of some claims. */
export type Measurements<C extends Claims, Names extends keyof C> = {
  readonly [Name in Names]: Measurement<C[Name]>;
};

type Measure<M> = (context: ExperimentContext) => M | Promise<M>;

/**
 * An experiment of claims and what measures each, in the order in which it is done. A measurement that fails costs its
 * claims, which say why, and no others.
 */
export function defineExperiment<C extends Claims>({
  title,
  claims,
  measure,
}: {
  readonly title: string;
  readonly claims: C;
  readonly measure: { readonly [Name in keyof C]: Measure<Measurement<C[Name]>> };
}): Experiment {
  return {
    title,
    claims,
    async run(context) {
      return reporting(context.runtime, context, async (own) => {
        const findings = new Map<string, Finding>();
        for (const [name, by] of Object.entries(measure as Record<string, Measure<Measurement>>))
          findings.set(name, findingOf(claims[name] as Claim, await attempt(by, own), context.quick));
        return Object.keys(claims).map((name) => findings.get(name) as Finding);
      });
    },
  };
}

/** What `measure` gives, or why it gives nothing; what ends the experiment is thrown. */
async function attempt(
  measure: Measure<Measurement>,
  context: ExperimentContext,
): Promise<Measurement | { readonly failed: string }> {
  try {
    return await measure(context);
  } catch (error) {
    context.signal?.throwIfAborted();
    // Other faults of the same calls would be told of the next measurement.
    await context.runtime.finish().catch(() => {});
    return { failed: reasonOf(error) };
  }
}

/** A measurement that serves several claims, made once for a run. */
export function together<M extends object, const Names extends readonly (keyof M)[]>(
  names: Names,
  measure: Measure<M>,
): { readonly [Name in Names[number]]: Measure<M[Name]> } {
  const made = new WeakMap<ExperimentContext, Promise<M>>();
  const once = (context: ExperimentContext) => {
    const found = made.get(context) ?? (async () => measure(context))();
    made.set(context, found);
    return found;
  };
  const entries = names.map((name) => [name, async (context: ExperimentContext) => (await once(context))[name]]);
  return Object.fromEntries(entries);
}

function findingOf(claim: Claim, found: Measurement | { readonly failed: string }, quick = false): Finding {
  const { claim: text, source, untested } = claim;
  const common = { claim: text, source, ...(untested !== undefined && { untested }) };
  if ('failed' in found)
    return { ...common, measured: `not measured: ${found.failed}`, judgements: [], verdict: 'not measured' };
  const { values, ...measurement } = found;
  if (quick && claim.timed) return { ...common, ...measurement, judgements: [], verdict: 'not tested here' };
  return { ...common, ...measurement, ...judge(claim, values) };
}

/** From the worst to the best. */
const OUTCOMES = ['refused', 'not reproduced', 'undecided', 'partly', 'reproduced'] as const;
type Outcome = (typeof OUTCOMES)[number];

/** What the figures say of a claim. */
export function judge(
  { criteria, untested, byConstruction }: Claim,
  values: Measurement['values'],
): Pick<Finding, 'judgements' | 'verdict'> {
  const outcomes: Outcome[] = [];
  const judgements = Object.entries(criteria).map(([name, criterion]): Judgement => {
    const figure = values[name] as number | Estimate;
    const { value, low, high } = typeof figure === 'number' ? { value: figure, low: figure, high: figure } : figure;
    const verdict = outcomeOf(criterion, { value, low, high });
    outcomes.push(verdict);
    return {
      what: criterion.what,
      value,
      ...(typeof figure !== 'number' && { interval: [low, high] }),
      expected: describeRange(criterion.expected),
      verdict,
    };
  });
  const worst = OUTCOMES.find((outcome) => outcomes.includes(outcome));
  if (worst === undefined) return { judgements, verdict: 'not tested here' };
  if (worst !== 'reproduced') return { judgements, verdict: worst };
  return { judgements, verdict: byConstruction ? 'holds by construction' : untested === undefined ? worst : 'partly' };
}

function outcomeOf({ expected, partly = expected, plausible }: Criterion, { value, low, high }: Estimate): Outcome {
  const holds = ([least, most]: Range) => low >= least && high <= most;
  const meets = ([least, most]: Range) => high >= least && low <= most;
  if (!(value >= plausible[0] && value <= plausible[1])) return 'refused';
  if (holds(expected)) return 'reproduced';
  if (!meets(partly)) return 'not reproduced';
  return holds(partly) && !meets(expected) ? 'partly' : 'undecided';
}

function describeRange([low, high]: Range): string {
  return low === high ? significant(low) : `${significant(low)} to ${significant(high)}`;
}

/** The bounds of a share of a whole, a natural limit of what can be measured. */
export const SHARE: Range = [0, 1];
/** Of a time, as a share of what the work allows: clocks and caches explain some more than all of it, not much more. */
export const OF_POSSIBLE: Range = [0, 1.15];

/** How an exponent of the length is judged where time is claimed to be linear: neither much more nor much less. */
export const linearIn = (what: string): Criterion => ({
  what: `exponent of ${what}`,
  expected: [0.9, 1.1],
  partly: [0.75, 1.3],
  plausible: [0.2, 3],
});
