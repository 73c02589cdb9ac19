/**
 * An experiment compares a paper's central claims with what is measured here: `index.ts` in the folder of the paper's name
 * exports it as `experiment`. Verdicts follow from numbers alone: each claim says what its figures would have to be.
 */

import type { Estimate } from '../measure/statistics';
import { nextTurn } from '../next-turn';
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
  /** A figure is impossible, so the measurement is no evidence. */
  | 'refused'
  /** Its measurement failed. */
  | 'not measured';

/** Both ends are included and finite. */
export type Range = readonly [low: number, high: number];

/** One figure that a claim is judged by, and what its values mean. */
export interface Criterion {
  /** Name of the figure, with its unit. */
  readonly what: string;
  /** Where the claim holds. */
  readonly expected: Range;
  /** Where it holds in part; outside, it does not hold. Default: nowhere else. */
  readonly partly?: Range;
  /** Outside it the measurement is refused as impossible. Wider than the other two. */
  readonly plausible: Range;
}

/** One claim of the paper and how it is judged. */
export interface Claim {
  /** The claim, figures included, in a sentence. */
  readonly claim: string;
  /** Where it is from: a section, table or figure of the paper, a file of its code, or 'reconstructed'. */
  readonly source: string;
  /** The worst outcome of several counts. */
  readonly criteria: Readonly<Record<string, Criterion>>;
  /** The part of the claim that is not tested, and why: the verdict is 'partly' at best, 'not tested here' without criteria. */
  readonly untested?: string;
  /** It follows from definitions: the figures show that these are met. */
  readonly byConstruction?: true;
  /** Its figures are times, which need repeats: not judged in quick runs. */
  readonly timed?: true;
}

export type Claims = Readonly<Record<string, Claim>>;

/** The measurements for a claim. */
export interface Measurement<C extends Claim = Claim> {
  /** In words, with units. */
  readonly measured: string;
  /** The figures that the criteria ask for. */
  readonly values: Readonly<Record<keyof C['criteria'], number | Estimate>>;
  /** What readers need to judge: the setting, and how it differs from the paper's. */
  readonly details?: string;
  /** The figures behind it, for tables and plots. */
  readonly series?: Series | readonly Series[];
}

/** A figure that a verdict rests on. */
export interface Judgement {
  readonly what: string;
  readonly value: number;
  /** The 95% interval of the median of repeats. */
  readonly interval?: Range;
  /** The expectation, in words. */
  readonly expected: string;
  readonly verdict: Verdict;
}

/** One claim and what came of it here. */
export interface Finding extends Pick<Claim, 'claim' | 'source'>, Pick<Measurement, 'measured' | 'details'> {
  readonly series?: readonly Series[];
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
  /** Findings of an earlier run, which are not measured again unless they could not be measured. */
  readonly earlier?: readonly Finding[];
  /** Called after each measurement with all findings so far. */
  readonly onFindings?: (findings: readonly Finding[]) => void | Promise<void>;
}

export interface Experiment {
  /** The measurements, in a line. */
  readonly title: string;
  readonly claims: Claims;
  /** A finding for each claim, in their order. */
  run(context: ExperimentContext): Promise<Finding[]>;
}

/** Passed to measurements: the context of the run, and how to report. */
export interface MeasureContext extends ExperimentContext {
  readonly quick: boolean;
  /** Reports progress, gives this thread's other work a turn, and throws if the run was aborted. */
  step(share: number, what?: string): Promise<void>;
  /** The same context for one part of the work: its progress goes from `from` to `to`, under a name of its own if it has one. */
  part(from: number, to: number, what?: string): MeasureContext;
  /** What `draw` gives for each seed from 0 on; the run may be aborted before each. */
  draws<T>(count: number, draw: (seed: number) => T | Promise<T>): Promise<T[]>;
}

type Measure<M> = (context: MeasureContext) => M | Promise<M>;

function measureContext(context: ExperimentContext): MeasureContext {
  const { signal, onProgress, quick = false } = context;
  return {
    ...context,
    quick,
    async step(share, what) {
      onProgress?.(share, what);
      await nextTurn();
      signal?.throwIfAborted();
    },
    async draws(count, draw) {
      const drawn = [];
      for (let seed = 0; seed < count; seed++) {
        await nextTurn();
        signal?.throwIfAborted();
        drawn.push(await draw(seed));
      }
      return drawn;
    },
    part: (from, to, name) =>
      measureContext({
        ...context,
        onProgress: (share, what) => onProgress?.(from + (to - from) * share, name ?? what),
      }),
  };
}

/**
 * An experiment of claims and what measures each, in the order in which it is done. A measurement that fails costs its
 * claims, which say why, and no others.
 */
export function defineExperiment<const C extends Claims>({
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
      const { earlier = [], onFindings, quick } = context;
      return reporting(context.runtime, context, async (own) => {
        const found = new Map<string, Finding>();
        const findings = () => Object.keys(claims).flatMap((name) => found.get(name) ?? []);
        const each = measureContext(own);
        for (const [name, by] of Object.entries(measure as Record<string, Measure<Measurement>>)) {
          const claim = claims[name] as Claim;
          const kept = earlier.find((finding) => finding.verdict !== 'not measured' && isOf(claim, finding, quick));
          found.set(name, kept ?? findingOf(claim, await attempt(by, each), quick));
          if (!kept) await onFindings?.(findings());
        }
        await each.step(1);
        return findings();
      });
    },
  };
}

/** The result of `measure`, or why it failed; throws what ends the experiment. */
async function attempt(
  measure: Measure<Measurement>,
  context: MeasureContext,
): Promise<Measurement | { readonly failed: string }> {
  try {
    return await measure(context);
  } catch (error) {
    context.signal?.throwIfAborted();
    // Other faults of the same calls would be reported by the next measurement.
    await context.runtime.finish().catch(() => {});
    return { failed: reasonOf(error) };
  }
}

/** A measurement that serves several claims, made once for a run. */
export function together<M extends object, const Names extends readonly (keyof M)[]>(
  names: Names,
  measure: Measure<M>,
): { readonly [Name in Names[number]]: Measure<M[Name]> } {
  const made = new WeakMap<MeasureContext, Promise<M>>();
  const once = (context: MeasureContext) => {
    const found = made.get(context) ?? (async () => measure(context))();
    made.set(context, found);
    return found;
  };
  const entries = names.map((name) => [name, async (context: MeasureContext) => (await once(context))[name]]);
  return Object.fromEntries(entries);
}

function findingOf(claim: Claim, found: Measurement | { readonly failed: string }, quick = false): Finding {
  const { claim: text, source, untested } = claim;
  const common = { claim: text, source, ...(untested !== undefined && { untested }) };
  if ('failed' in found)
    return { ...common, measured: `not measured: ${found.failed}`, judgements: [], verdict: 'not measured' };
  const { values, series, ...measured } = found;
  const told = { ...common, ...measured, ...(series && { series: [series].flat() }) };
  if (quick && claim.timed) return { ...told, judgements: [], verdict: 'not tested here' };
  return { ...told, ...judge(claim, values) };
}

/** Whether a finding is of this claim as it is today: words, criteria and the verdict on its figures. */
export function isOf(claim: Claim, { judgements, verdict, ...finding }: Finding, quick = false): boolean {
  if (finding.claim !== claim.claim || finding.source !== claim.source) return false;
  if (verdict === 'not measured' || (quick && claim.timed)) return true;
  const figures = judgements.map(({ value, interval }) =>
    // JSON has null for NaN and infinities.
    interval
      ? { value, low: interval[0] ?? Number.NEGATIVE_INFINITY, high: interval[1] ?? Number.POSITIVE_INFINITY }
      : (value ?? Number.NaN),
  );
  const names = Object.keys(claim.criteria);
  if (names.length !== figures.length) return false;
  const again = judge(claim, Object.fromEntries(names.map((name, at) => [name, figures[at]!])));
  return JSON.stringify(again) === JSON.stringify({ judgements, verdict });
}

/** From the worst to the best. */
const OUTCOMES = ['refused', 'not reproduced', 'undecided', 'partly', 'reproduced'] as const;
type Outcome = (typeof OUTCOMES)[number];

/** The verdict of the figures on a claim. */
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
  if (meets(expected)) return 'undecided';
  return value >= partly[0] && value <= partly[1] ? 'partly' : 'not reproduced';
}

function describeRange([low, high]: Range): string {
  return low === high ? significant(low) : `${significant(low)} to ${significant(high)}`;
}

/** A criterion by its ranges from the inside out: expected, partly (default: as expected) and plausible. */
export function figure(
  what: string,
  ...ranges: [expected: Range, plausible: Range] | [expected: Range, partly: Range, plausible: Range]
): Criterion {
  const [expected, partly] = ranges;
  const plausible = ranges.at(-1) as Range;
  return { what, expected, partly: ranges.length === 3 ? partly : expected, plausible };
}

/** A criterion of a share of a whole. */
export const share = (what: string, expected: Range, partly = expected): Criterion =>
  figure(what, expected, partly, [0, 1]);

/** The plausible range of a speed over what the work allows: clocks and caches explain a little more than all of it. */
export const OF_POSSIBLE: Range = [0, 1.15];

/** A criterion of the exponent of the length where time is claimed to be linear. */
export const linearIn = (what: string): Criterion => figure(`exponent of ${what}`, [0.9, 1.1], [0.75, 1.3], [0.2, 3]);

/** Lines by label over an axis, which is its name and its values: `chart('Error', { features: [16, 64] }, { ours, theirs })`. */
export function chart(
  title: string,
  axis: Readonly<Record<string, readonly (number | string)[]>>,
  lines: Readonly<Record<string, readonly (number | null)[]>>,
): Series {
  const [[label, values]] = Object.entries(axis) as [[string, Series['x']['values']]];
  return { title, x: { label, values }, lines: Object.entries(lines).map(([label, values]) => ({ label, values })) };
}

/** Numbers in a sentence, by default with three significant digits: `0.101, 2.30, 45.0`. */
export const listed = (values: readonly number[], format: (value: number) => string = significant) =>
  values.map((value) => format(value)).join(', ');

/** Values by label, such as the lines of a chart. */
export function byLabel<const Label extends string, T>(
  labels: readonly Label[],
  of: (label: Label, at: number) => T,
): Record<Label, T> {
  return Object.fromEntries(labels.map((label, at) => [label, of(label, at)])) as Record<Label, T>;
}
