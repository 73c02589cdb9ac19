/** What came of a job, as a worker stores it. Workers are strangers: what they store counts only once it has been checked. */
import * as valibot from 'valibot';
import type { LongCaReport } from '../bench/longca/report';
import type { QualityReport } from '../bench/quality/report';
import { type BenchReport, MEASURES, type MeasureName } from '../bench/report';
import type { Verdict } from '../experiments/experiment';
import type { Reproduction } from '../report/reproduction';
import { printable } from '../text/printable';
import { idOf, type Job, jobEntries } from './job';

/** What a case's `--json` writes. */
export type CaseReport = BenchReport | LongCaReport | QualityReport | Reproduction;

export interface Outcome extends Job {
  /** The name of the worker's machine. */
  readonly machine: string;
  /** How often the job was begun. */
  readonly tries: number;
  /** When it ended, ISO 8601 in UTC. */
  readonly date: string;
  /** What was measured, or else why nothing was. */
  readonly report?: CaseReport | undefined;
  readonly error?: string | undefined;
}

const VERDICTS: Readonly<Record<Verdict, true>> = {
  reproduced: true,
  partly: true,
  'not reproduced': true,
  'holds by construction': true,
  'not tested here': true,
  undecided: true,
  refused: true,
  'not measured': true,
};

// Whatever a text holds, a terminal shows it as text.
const text = valibot.pipe(valibot.string(), valibot.maxLength(20_000), valibot.transform(printable));
const name = valibot.pipe(valibot.string(), valibot.minLength(1), valibot.maxLength(100), valibot.transform(printable));
const number = valibot.pipe(valibot.number(), valibot.finite());
const count = valibot.pipe(number, valibot.integer(), valibot.minValue(0));
const date = valibot.pipe(valibot.string(), valibot.isoTimestamp());
const optional = valibot.exactOptional;
const list = <const Item extends valibot.GenericSchema>(item: Item, most = 10_000) =>
  valibot.pipe(valibot.array(item), valibot.maxLength(most));

const machine = valibot.object({
  cpu: text,
  cores: count,
  memoryGiB: optional(number),
  platform: text,
  runtime: text,
  saccade: text,
  date,
});

const common = { command: text, machine, runtime: list(text) };

const measureName = valibot.picklist(Object.keys(MEASURES) as MeasureName[]);

const benchRow = valibot.object({
  name: text,
  label: text,
  how: optional(text),
  n: count,
  h: count,
  g: optional(count),
  d: count,
  mask: text,
  threads: optional(count),
  status: valibot.picklist(['ok', 'wrong', 'failed', 'too slow']),
  reason: optional(text),
  measures: valibot.pipe(
    valibot.record(measureName, valibot.nullable(number)),
    // JSON has null for what is not finite.
    valibot.transform((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== null))),
  ),
  goal: optional(valibot.object({ measure: measureName, atLeast: optional(number), atMost: optional(number) })),
  command: text,
});

const bench = valibot.object({
  format: valibot.literal('saccade bench'),
  version: valibot.literal(1),
  suite: text,
  summary: text,
  measures: list(measureName),
  ratio: optional(text),
  notes: optional(list(text)),
  complete: valibot.literal(true),
  rows: list(benchRow),
  ...common,
});

const quality = valibot.object({
  format: valibot.literal('saccade quality'),
  version: valibot.literal(1),
  setting: text,
  tasks: list(valibot.object({ name: text, summary: text, length: count, steps: count, chance: number })),
  complete: valibot.literal(true),
  runs: list(
    valibot.object({
      task: text,
      method: text,
      seed: count,
      parameters: count,
      flops: number,
      milliseconds: number,
      accuracy: optional(number),
      reason: optional(text),
      losses: list(valibot.object({ steps: count, loss: number })),
    }),
  ),
  ...common,
});

const longCa = valibot.object({
  format: valibot.literal('saccade longca'),
  version: valibot.literal(1),
  threads: count,
  setting: list(text),
  disagreements: list(
    valibot.object({ mask: text, forms: text, areas: valibot.tuple([count, count]), differing: optional(count) }),
  ),
  contenders: list(valibot.object({ name: text, label: text, how: text })),
  complete: valibot.literal(true),
  leftOut: count,
  rows: list(
    valibot.object({
      contender: text,
      mask: text,
      n: count,
      pass: valibot.picklist(['forward', 'backward']),
      ...{ h: count, g: count, d: count, threads: optional(count) },
      status: valibot.picklist(['ok', 'out of memory', 'not supported', 'too slow', 'wrong', 'failed']),
      flops: number,
      ...{ time: optional(number), low: optional(number), high: optional(number), calls: optional(count) },
      ...{ memory: optional(number), error: optional(number), reason: optional(text) },
      ...{ limit: optional(number), allowed: optional(number) },
    }),
  ),
  ...common,
});

const verdict = valibot.picklist(Object.keys(VERDICTS) as Verdict[]);
const interval = valibot.tuple([number, number]);

const reproduction = valibot.object({
  format: valibot.literal('saccade reproduce'),
  version: valibot.literal(3),
  paper: valibot.object({ id: text, title: text, authors: text, year: count, arxiv: text }),
  title: text,
  quick: valibot.boolean(),
  findings: list(
    valibot.object({
      claim: text,
      source: text,
      measured: text,
      details: optional(text),
      untested: optional(text),
      verdict,
      judgements: list(
        valibot.object({ what: text, value: number, interval: optional(interval), expected: text, verdict }),
      ),
      series: optional(
        list(
          valibot.object({
            title: text,
            x: valibot.object({ label: text, values: list(valibot.union([number, text])) }),
            lines: list(valibot.object({ label: text, values: list(valibot.nullable(number)) })),
          }),
        ),
      ),
    }),
  ),
  ...common,
});

const report = valibot.variant('format', [bench, longCa, quality, reproduction]);

const outcome = valibot.object({
  ...jobEntries,
  machine: name,
  tries: count,
  date,
  report: optional(report),
  error: optional(text),
});

/** The outcome of the job of that id; undefined for anything else. */
export function parseOutcome(id: string, value: unknown): Outcome | undefined {
  const { success, output } = valibot.safeParse(outcome, value);
  if (!success || idOf(output) !== id) return undefined;
  const { report: found, error, words } = output;
  if ((found === undefined) === (error === undefined)) return undefined;
  return found === undefined || belongsTo(words, found as CaseReport) ? (output as Outcome) : undefined;
}

/** Whether a report is of the kind that the command writes. */
function belongsTo([command, what]: readonly string[], found: CaseReport): boolean {
  switch (found.format) {
    case 'saccade bench':
      return command === 'bench' && what === found.suite;
    case 'saccade longca':
      return command === 'bench' && what === 'longca';
    case 'saccade quality':
      return command === 'bench' && what === 'quality';
    case 'saccade reproduce':
      return command === 'reproduce' && what === found.paper.id;
  }
}

/** What is wrong with a report that a case should write; undefined if nothing is. */
export function faultOf(words: readonly string[], value: unknown): string | undefined {
  const { success, output, issues } = valibot.safeParse(report, value);
  if (!success) return `${valibot.getDotPath(issues[0]) ?? 'the report'}: ${issues[0].message}`;
  return belongsTo(words, output as CaseReport) ? undefined : `it is a report of ${output.format} on something else`;
}
