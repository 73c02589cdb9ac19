/** What `saccade bench long-context` finds: the JSON it writes, and the rows and curves that its table and its page show. */
import type { Series } from '../../experiments/experiment';
import type { Machine } from '../../machine';
import { formatBytes, formatPercent, formatRatio, formatTime, significant } from '../../text/format';

/** A contender after so many tokens. */
export interface SpeedRow {
  readonly label: string;
  readonly n: number;
  /** Milliseconds. */
  readonly prompt?: number;
  readonly step?: number;
  /** Bytes of keys and values that a step reads, as the method counts them. */
  readonly read?: number;
  /** Bytes: what the cache keeps, and what the process took at most. */
  readonly cache?: number;
  readonly resident?: number;
  /** Why it was not measured; and whether for want of time, so that it is yet to come. */
  readonly reason?: string;
  readonly isLate?: true;
}

/** A contender in the default model. */
export interface LossRow {
  readonly label: string;
  readonly n: number;
  /** Nats a token. */
  readonly loss?: number;
  /** By where the needle is, as a share of the text: nats a token of its repetition. */
  readonly needles?: readonly { readonly depth: number; readonly loss: number }[];
  readonly reason?: string;
  readonly isLate?: true;
}

/** An index of the keys of a head, or the exact prompt beside which it is made. */
export interface IndexRow {
  readonly label: string;
  readonly n: number;
  /** Milliseconds, and over those of the exact prompt; bytes of memory. */
  readonly build?: number;
  readonly ofPrompt?: number;
  readonly bytes?: number;
  /** What is found of the 100 keys with the largest products, by settings of a search. */
  readonly searches?: readonly IndexSearch[];
  readonly reason?: string;
  readonly isLate?: true;
}

export interface IndexSearch {
  readonly setting: string;
  readonly recall: number;
  /** The share of the keys that are scored, where it is known. */
  readonly scanned?: number;
  /** Milliseconds of a step, and how many times as fast as an exact one it is. */
  readonly step: number;
  readonly speedup?: number;
  /** The length of what its outputs differ by from those of exact attention, over that of these. */
  readonly error?: number;
}

export interface LongContextReport {
  readonly format: 'saccade long context';
  /** Increases when the meaning of a field changes. */
  readonly version: 1;
  readonly command: string;
  readonly machine: Machine;
  readonly runtime: readonly string[];
  /** What was measured, in words. */
  readonly setting: readonly string[];
  /** False while rows are still to come. */
  readonly complete: boolean;
  readonly speed: readonly SpeedRow[];
  readonly losses: readonly LossRow[];
  readonly indexes: readonly IndexRow[];
}

export const SPEED_COLUMNS: readonly (readonly [header: string, help: string])[] = [
  ['tokens', ''],
  ['attention', ''],
  ['prompt', 'time of the prompt, with what it prepares for steps'],
  ['step', 'least time of a step after it'],
  ['keys and values read', 'by a step, as the method counts them; by a search of a graph at most'],
  ['cache', 'what is kept of the tokens, indexes among it'],
  ['resident set', 'of a process of its own, at most'],
];

export const speedCells = ({ n, label, prompt, step, read, cache, resident, reason }: SpeedRow): string[] => [
  String(n),
  label,
  ...(reason === undefined
    ? [
        formatTime(prompt as number),
        formatTime(step as number),
        ...[read, cache, resident].map((each) => formatBytes(each as number)),
      ]
    : ['–', '–', '–', '–', '–']),
];

export const LOSS_COLUMNS: readonly (readonly [header: string, help: string])[] = [
  ['tokens', ''],
  ['attention', ''],
  ['loss', 'nats a token of a text that the model wrote with exact attention'],
  ['needles', 'nats a token of a needle that occurs a second time, the mean over depths'],
];

export const lossCells = ({ n, label, loss, needles = [], reason }: LossRow): string[] => [
  String(n),
  label,
  reason === undefined ? (loss as number).toFixed(4) : '–',
  needles.length === 0 ? '–' : significant(needles.reduce((sum, { loss }) => sum + loss, 0) / needles.length),
];

export const INDEX_COLUMNS: readonly (readonly [header: string, help: string])[] = [
  ['keys', 'in clusters, of one head of 64 dimensions; queries lie apart from them'],
  ['index', ''],
  ['made in', ''],
  ['of a prompt', 'the time of making it, over that of the exact prompt'],
  ['size', ''],
  ['search', ''],
  ['recall', 'of the 100 keys with the largest products, the mean over 64 queries'],
  ['scored', 'share of the keys'],
  ['step', 'time of attention to what is found, the mean over queries; of another library that of the search alone'],
  ['speed-up', 'over an exact step, measured in turns'],
  ['error', 'beside exact attention in float64, relative'],
];

/** A line for each search. */
export function indexCells({ n, label, build, ofPrompt, bytes, searches = [], reason }: IndexRow): string[][] {
  const made = [
    build === undefined ? '–' : formatTime(build),
    ofPrompt === undefined ? '' : formatRatio(ofPrompt),
    bytes === undefined ? '' : formatBytes(bytes),
  ];
  if (searches.length === 0) return [[String(n), label, ...made, '', '', '', reason === undefined ? '' : '–', '', '']];
  return searches.map(({ setting, recall, scanned, step, speedup, error }, at) => [
    ...(at === 0 ? [String(n), label, ...made] : ['', '', '', '', '']),
    setting,
    significant(recall),
    scanned === undefined ? '' : formatPercent(scanned),
    formatTime(step),
    speedup === undefined ? '' : formatRatio(speedup),
    error === undefined ? '' : significant(error),
  ]);
}

/** Why rows are missing, each reason once. */
export function longFailures({ speed, losses, indexes }: LongContextReport): string[] {
  const failed = [...speed, ...losses, ...indexes].filter(({ reason }) => reason !== undefined);
  return [...new Set(failed.map(({ label, n, reason }) => `${label}, ${n} tokens: ${reason}`))];
}

/** The curves. */
export function longSeries({ speed, losses, indexes }: LongContextReport): Series[] {
  const measured = speed.filter(({ reason }) => reason === undefined);
  const byLength = <Row extends { readonly label: string; readonly n: number }>(
    title: string,
    rows: readonly Row[],
    numberOf: (row: Row) => number | undefined,
  ): Series => {
    const values = [...new Set(rows.map(({ n }) => n))].sort((a, b) => a - b);
    const labels = [...new Set(rows.map(({ label }) => label))];
    const at = (label: string, n: number) => {
      const row = rows.find((each) => each.label === label && each.n === n);
      return (row && numberOf(row)) ?? null;
    };
    const lines = labels.map((label) => ({ label, values: values.map((n) => at(label, n)) }));
    return { title, x: { label: 'tokens', values }, lines };
  };
  const known = losses.filter(({ reason }) => reason === undefined);
  const exactAt = ({ n }: LossRow) => known.find((row) => row.label === 'exact' && row.n === n)?.loss;
  const others = known.filter((row) => row.label !== 'exact' && exactAt(row) !== undefined);
  const longest = Math.max(...known.map(({ n }) => n));
  const last = known.filter(({ n, needles }) => n === longest && needles);
  const depths = last[0]?.needles?.map(({ depth }) => depth) ?? [];
  return [
    ...(measured.length > 0
      ? [
          byLength('Milliseconds of a prompt', measured, ({ prompt }) => prompt),
          byLength('Milliseconds of a step', measured, ({ step }) => step),
          byLength('Megabytes of keys and values that a step reads', measured, ({ read }) => (read as number) / 1e6),
          byLength('Megabytes of the resident set', measured, ({ resident }) => (resident as number) / 1e6),
        ]
      : []),
    ...(others.length > 0
      ? [
          byLength(
            'Nats a token more than with exact attention, default model',
            others,
            (row) => row.loss! - exactAt(row)!,
          ),
        ]
      : []),
    ...(depths.length > 0
      ? [
          {
            title: `Nats a token of a needle's repetition, by its depth in ${longest} tokens`,
            x: { label: 'depth', values: depths },
            lines: last.map(({ label, needles = [] }) => ({ label, values: needles.map(({ loss }) => loss) })),
          },
        ]
      : []),
    ...indexSeries(indexes),
  ];
}

/** Recall by the time of a step, at the most keys that there are. */
function indexSeries(indexes: readonly IndexRow[]): Series[] {
  const most = Math.max(...indexes.map(({ n }) => n));
  const measured = indexes.filter(({ n, searches = [] }) => n === most && searches.length > 0);
  if (measured.length === 0) return [];
  const times = measured.flatMap(({ searches = [] }) => searches.map(({ step }) => Number(step.toPrecision(3))));
  const values = [...new Set(times)].sort((a, b) => a - b);
  const lines = measured.map(({ label, searches = [] }) => {
    const at = new Map(searches.map(({ step, recall }) => [Number(step.toPrecision(3)), recall]));
    return { label, values: values.map((time) => at.get(time) ?? null) };
  });
  return [{ title: `Recall by milliseconds of a step, ${most} keys`, x: { label: 'milliseconds', values }, lines }];
}
