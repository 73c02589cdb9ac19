/** What `saccade bench longca` finds: the JSON it writes, its CSV, and what its tables and its page show. */
import { formatMachine, type Machine } from '../../machine';
import type { Disagreement } from '../../masks/longca-disagreements';
import { formatBytes, formatRatio, formatTime, significant } from '../../text/format';
import type { LongCaCase } from './cases';

/** What came of a case that has no time. */
type NoTime = 'out of memory' | 'not supported' | 'too slow' | 'wrong' | 'failed';

export interface LongCaRow extends LongCaCase {
  readonly status: 'ok' | NoTime;
  /** Multiplications and additions of a call, of the pairs that are seen alone. */
  readonly flops: number;
  readonly threads?: number;
  /** Milliseconds of a call: the median, and what a fifth of the calls take less and more than. */
  readonly time?: number;
  readonly low?: number;
  readonly high?: number;
  readonly calls?: number;
  /** Bytes that its process took at most beside the inputs it was given. */
  readonly memory?: number;
  /** Largest error, over the largest |v| or gradient. */
  readonly error?: number;
  readonly reason?: string;
  /** What a case without a time was given: seconds a call, bytes. */
  readonly limit?: number;
  readonly allowed?: number | undefined;
}

export interface LongCaReport {
  readonly format: 'saccade longca';
  /** Increases when the meaning of a field changes. */
  readonly version: 1;
  readonly command: string;
  readonly machine: Machine;
  readonly runtime: readonly string[];
  readonly threads: number;
  readonly setting: readonly string[];
  readonly disagreements: readonly Disagreement[];
  /** By name, what was compared. */
  readonly contenders: readonly { readonly name: string; readonly label: string; readonly how: string }[];
  /** False while cases are still to come. */
  readonly complete: boolean;
  /** Cases for which the budget had no time. */
  readonly leftOut: number;
  readonly rows: readonly LongCaRow[];
}

/** A row's multiplications and additions a second, in units of 10^12. */
const teraflops = ({ flops, time }: LongCaRow): number | undefined => time && flops / time / 1e9;

/** A row's time over the share of the pairs that are seen times the time of the contender's own call that sees all; undefined without that. */
export function timesDense(row: LongCaRow, rows: readonly LongCaRow[]): number | undefined {
  const like = tableOf({ ...row, mask: 'full' });
  const dense = rows.find((each) => each.contender === row.contender && each.n === row.n && tableOf(each) === like);
  return row.time && dense?.time && row.time / dense.time / (row.flops / dense.flops);
}

/** What a figure shows of each case. */
const METRICS: Readonly<Record<string, (row: LongCaRow, rows: readonly LongCaRow[]) => number | undefined>> = {
  'TFLOP/s': teraflops,
  'peak memory, MB': ({ memory }) => memory && memory / 1e6,
  'time / (area x dense)': timesDense,
};

/** As the authors' tables have them, -1 and -2; the others have no number there. */
const CODES: Readonly<Record<NoTime, number>> = {
  'out of memory': -1,
  'not supported': -2,
  'too slow': -3,
  wrong: -4,
  failed: -5,
};

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

/** Tables of the authors' kind, one below another: a column for each implementation, a line for each length. */
export function longCaCsv({ rows, contenders }: Pick<LongCaReport, 'rows' | 'contenders'>): string {
  const names = contenders.map(({ name }) => name).filter((name) => rows.some(({ contender }) => contender === name));
  const at = new Map(rows.map((row) => [[row.contender, tableOf(row), row.n].join('|'), row]));
  const lines = Object.entries(METRICS).flatMap(([metric, measure]) =>
    unique(rows.map(tableOf)).flatMap((table) =>
      unique(rows.filter((row) => tableOf(row) === table).map(({ n }) => n))
        .sort((a, b) => a - b)
        .map((n) => {
          const cells = names.map((name) => {
            const row = at.get([name, table, n].join('|'));
            if (!row) return '';
            return row.status === 'ok' ? String(measure(row, rows)?.toPrecision(6) ?? '') : String(CODES[row.status]);
          });
          return [table, metric, n, ...cells].join();
        }),
    ),
  );
  return `${[['mask', 'pass', 'heads', 'kv_heads', 'head_dim', 'metric', 'seqlen', ...names].join(), ...lines].join('\n')}\n`;
}

const tableOf = ({ mask, pass, h, g, d }: LongCaRow): string => [mask, pass, h, g, d].join();

/** One grid of results: masks downwards, lengths to the right. */
export interface HeatMap {
  readonly title: string;
  readonly lengths: readonly number[];
  readonly rows: readonly { readonly mask: string; readonly cells: readonly HeatCell[] }[];
}

interface HeatCell {
  readonly text: string;
  /** The share of the best of all in the pass, from 0 to 1; undefined where there is no number. */
  readonly share?: number | undefined;
  /** More about it. */
  readonly title: string;
}

/** A heat map for each contender, in the pass and with the heads. */
export function heatMaps(
  { rows, contenders }: Pick<LongCaReport, 'rows' | 'contenders'>,
  own: readonly LongCaRow[],
): HeatMap[] {
  const best = Math.max(...own.map((row) => teraflops(row) ?? 0));
  return contenders
    .filter(({ name }) => own.some(({ contender }) => contender === name))
    .map(({ name, label }) => heatMapOf(label, name, rows, own, (row) => cellOf(row, best, own)));
}

/** How far Saccade's times are from those that the share of the pairs predicts, where it was measured without a mask too. */
export function ratioMaps(report: Pick<LongCaReport, 'rows' | 'contenders'>, own: readonly LongCaRow[]): HeatMap[] {
  return report.contenders
    .filter(
      ({ name }) => name.startsWith('saccade') && own.some((row) => row.contender === name && timesDense(row, own)),
    )
    .map(({ name, label }) =>
      heatMapOf(`${label}: time over area x dense`, name, report.rows, own, (row) => {
        const { title } = cellOf(row, 1, own);
        const ratio = row && timesDense(row, own);
        return ratio ? { text: significant(ratio), share: Math.min(1, 1 / ratio), title } : { text: '', title };
      }),
    );
}

function heatMapOf(
  title: string,
  contender: string,
  rows: readonly LongCaRow[],
  own: readonly LongCaRow[],
  cell: (row: LongCaRow | undefined) => HeatCell,
): HeatMap {
  const lengths = unique(own.map(({ n }) => n)).sort((a, b) => a - b);
  const at = (mask: string, n: number) =>
    own.find((row) => row.contender === contender && row.mask === mask && row.n === n);
  const masks = unique(rows.map(({ mask }) => mask));
  return {
    title,
    lengths,
    rows: masks.map((mask) => ({ mask, cells: lengths.map((n) => cell(at(mask, n))) })),
  };
}

const SHORT: Readonly<Record<NoTime, string>> = {
  'out of memory': 'memory',
  'not supported': '–',
  'too slow': 'slow',
  wrong: 'wrong',
  failed: 'failed',
};

function cellOf(row: LongCaRow | undefined, best: number, own: readonly LongCaRow[] = []): HeatCell {
  if (!row) return { text: '', title: 'not measured' };
  const rate = teraflops(row);
  if (row.status !== 'ok' || rate === undefined)
    return { text: SHORT[row.status as NoTime], title: `${row.status}: ${row.reason ?? ''}` };
  const { time = 0, low = 0, high = 0, memory = 0 } = row;
  const ratio = timesDense(row, own);
  return {
    text: significant(1000 * rate),
    share: rate / best,
    title: [
      `${formatTime(time)} (${formatTime(low)} to ${formatTime(high)})`,
      formatBytes(memory),
      ...(ratio === undefined ? [] : [`${formatRatio(ratio)} of area x dense`]),
    ].join(', '),
  };
}

/** The passes and heads that there are, with their rows. */
export function panelsOf(
  rows: readonly LongCaRow[],
): { readonly title: string; readonly rows: readonly LongCaRow[] }[] {
  const titleOf = ({ pass, h, g }: LongCaRow) =>
    `${pass}, ${h === g ? (h === 1 ? 'one head' : `${h} heads`) : `${h} heads on ${g} of keys`}`;
  return unique(rows.map(titleOf)).map((title) => ({ title, rows: rows.filter((row) => titleOf(row) === title) }));
}

/** A line for each mask, pass, length and heads: GFLOP/s of each contender, or why there is none. */
export function longCaTable({ rows, contenders }: Pick<LongCaReport, 'rows' | 'contenders'>): string[][] {
  const shown = contenders.filter(({ name }) => rows.some(({ contender }) => contender === name));
  const problems = unique(rows.map((row) => [row.mask, row.pass, `${row.h}:${row.g}`, row.n].join('|')));
  return [
    ['mask', 'pass', 'heads', 'tokens', ...shown.map(({ label }) => label)],
    ...problems.map((problem) => [
      ...problem.split('|'),
      ...shown.map(({ name }) => {
        const row = rows.find(
          (each) =>
            each.contender === name && [each.mask, each.pass, `${each.h}:${each.g}`, each.n].join('|') === problem,
        );
        return cellOf(row, 1).text;
      }),
    ]),
  ];
}

/** Why results are missing, each reason once. */
export function longCaFailures({ rows, contenders }: Pick<LongCaReport, 'rows' | 'contenders'>): string[] {
  const labels = new Map(contenders.map(({ name, label }) => [name, label]));
  const told = rows
    .filter(({ status }) => status !== 'ok')
    .map(({ contender, status, reason }) => `${labels.get(contender)}: ${status}: ${reason}`);
  return unique(told).map((text) => {
    const count = told.filter((each) => each === text).length;
    return count === 1 ? text : `${text} (${count} cases)`;
  });
}

export const machineLine = ({ machine, runtime }: Pick<LongCaReport, 'machine' | 'runtime'>): string =>
  `${formatMachine(machine)}; ${runtime.join('; ')}.`;
