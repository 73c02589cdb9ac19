/** A sweep's results in one table: what `saccade sweep status` and `collect` show, and the JSON and CSV that they write. */
import { MEASURES, type MeasureName } from '../bench/report';
import { formatMachine } from '../machine';
import { formatPercent, formatTime } from '../text/format';
import { shellCommand } from '../text/shell';
import type { Outcome } from './outcome';

export interface SweepReport {
  readonly format: 'saccade sweep';
  /** Increases when the meaning of a field changes. */
  readonly version: 1;
  readonly sweep: string;
  /** Jobs that have no outcome yet. */
  readonly waiting: number;
  readonly outcomes: readonly Outcome[];
}

/** One thing that was measured, or a job that was given up. */
export interface SweepRow {
  readonly machine: string;
  /** The command of the case, in words. */
  readonly job: readonly string[];
  /** The row of a benchmark, the claim of a paper, or the training. */
  readonly what: string;
  /** In words: a time, a verdict, an accuracy, or why there is none. */
  readonly result: string;
  readonly status: 'ok' | 'failed';
  readonly measures: Readonly<Partial<Record<MeasureName, number>>>;
}

/** By job, so that the machines of alike jobs are beside each other. */
export function sweepRows(outcomes: readonly Outcome[]): SweepRow[] {
  const collator = new Intl.Collator('en', { numeric: true });
  const key = ({ words, machine }: Outcome) => `${shellCommand(words)} ${machine}`;
  const sorted = [...outcomes].sort((a, b) => collator.compare(key(a), key(b)));
  return sorted.flatMap((outcome) => rowsOf(outcome));
}

function rowsOf({ machine, words, report, error = 'nothing' }: Outcome): SweepRow[] {
  const row = (what: string, result: string, more: Partial<SweepRow> = {}): SweepRow => ({
    machine,
    job: words,
    what,
    result,
    status: 'ok',
    measures: {},
    ...more,
  });
  switch (report?.format) {
    case undefined:
      return [row('', error, { status: 'failed' })];
    case 'saccade bench':
      return report.rows.map(({ label, measures, status, reason = '' }) =>
        status === 'ok'
          ? row(label, timeOf(measures, report.measures[0]), { measures })
          : row(label, `${status}: ${reason}`, { status: 'failed' }),
      );
    case 'saccade longca':
      return report.rows.map(({ mask, n, pass, h, g, status, flops, time, memory, error, reason = '' }) => {
        const what = `${mask}, ${n} tokens, ${pass}, ${h === g ? `${h} heads` : `${h} heads on ${g}`}`;
        if (time === undefined) return row(what, `${status}: ${reason}`, { status: 'failed' });
        const measures = {
          time,
          rate: flops / time / 1e6,
          ...(memory !== undefined && { memory }),
          ...(error !== undefined && { error }),
        };
        return row(what, formatTime(time), { measures });
      });
    case 'saccade reproduce':
      return report.findings.map(({ claim, measured, verdict }) => row(claim, `${verdict}: ${measured}`));
    case 'saccade quality':
      return report.runs.map(({ task, method, seed, accuracy, reason = '' }) => {
        const what = `${task} by ${method}, seed ${seed}`;
        return accuracy === undefined
          ? row(what, `failed: ${reason}`, { status: 'failed' })
          : row(what, formatPercent(accuracy));
      });
  }
}

function timeOf(measures: SweepRow['measures'], first: MeasureName | undefined): string {
  if (measures.time !== undefined) return formatTime(measures.time);
  const value = first && measures[first];
  return first === undefined || value === undefined ? '' : `${MEASURES[first].header} ${MEASURES[first].format(value)}`;
}

/** The commands of all jobs as a table shows them: without what those of one suite have in common, which is said once. */
export function shortJobs(outcomes: readonly Outcome[]): {
  readonly common: readonly string[];
  name(words: readonly string[]): string;
} {
  const groups = new Map<string, (readonly string[])[]>();
  for (const { words } of outcomes) {
    const start = words.slice(0, 2).join(' ');
    groups.set(start, [...(groups.get(start) ?? []), words]);
  }
  const shared = new Map(
    [...groups].map(([start, jobs]) => {
      const others = jobs.slice(1).map((words) => new Set(flagsOf(words)));
      const inAll = flagsOf(jobs[0] as string[]).filter((flag) => others.every((flags) => flags.has(flag)));
      return [start, others.length > 0 ? inAll : []] as const;
    }),
  );
  return {
    common: [...shared].flatMap(([start, flags]) =>
      flags.length > 0 ? [`${start}: all with ${flags.join(' ')}`] : [],
    ),
    name(words) {
      const start = words.slice(0, 2).join(' ');
      return [start, ...flagsOf(words).filter((flag) => !shared.get(start)?.includes(flag))].join(' ');
    },
  };
}

/** Each option with its value, as it is typed. */
function flagsOf(words: readonly string[]): string[] {
  const starts = words.flatMap((word, at) => (word.startsWith('--') ? [at] : []));
  return starts.map((start, at) => shellCommand(words.slice(start, starts[at + 1])));
}

/** The measures that some row has, in the order of bench's tables; the time is the result. */
export function measuresOf(rows: readonly SweepRow[]): MeasureName[] {
  const all = (Object.keys(MEASURES) as MeasureName[]).filter((name) => name !== 'time');
  return all.filter((name) => rows.some(({ measures }) => measures[name] !== undefined));
}

/** Everything of the table as comma-separated values, numbers in full. */
export function sweepCsv(outcomes: readonly Outcome[]): string {
  const rows = sweepRows(outcomes);
  const measures = (['time', ...measuresOf(rows)] as const).filter((name) => rows.some((row) => name in row.measures));
  const header = ['machine', 'job', 'what', 'status', 'result', ...measures];
  const lines = rows.map((row) => [
    ...[row.machine, shellCommand(row.job), row.what, row.status, row.result],
    ...measures.map((name) => String(row.measures[name] ?? '')),
  ]);
  return `${[header, ...lines].map((cells) => cells.map(quoted).join(',')).join('\n')}\n`;
}

/** Quoted where it has to be; a spreadsheet shall not compute what a stranger's text says. */
function quoted(cell: string): string {
  const text = /^[=+\-@\t\r]/.test(cell) && !Number.isFinite(Number(cell)) ? `'${cell}` : cell;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** What each machine of the results is, a line each. */
export function machinesOf(outcomes: readonly Outcome[]): string[] {
  const lines = outcomes.flatMap(({ machine, report }) => {
    if (!report) return [];
    const { date: _, ...facts } = report.machine;
    return [`${machine}: ${formatMachine({ ...facts, date: '' }).replace(/, $/, '')}`];
  });
  return [...new Set(lines)].sort();
}
