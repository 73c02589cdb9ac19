/** Small networks that were trained, as `scripts/trained-networks.ts` measures them: a row for each training, and what they are together. */

/** A training that has ended. */
export interface NetworkRow {
  readonly name: string;
  readonly model: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly data: 'fashion' | 'digits' | 'street';
  readonly seed: number;
  readonly steps: number;
  readonly batch: number;
  /** Right of the pictures that it has not seen, or of their places. */
  readonly accuracy: number;
  /** The mean over classes of places of intersection over union. */
  readonly meanIou?: number;
  /** The 95% interval of the accuracy by the number of pictures. */
  readonly interval?: readonly [low: number, high: number];
  /** Processor time of the training if that `isWhole`, else of its last part. */
  readonly cpuSeconds: number;
  readonly isWhole: boolean;
  readonly parameters: number;
  /** Products of one picture. */
  readonly multiplications: number;
}

/** The trainings of a network from several seeds. */
export interface NetworkSummary
  extends Pick<NetworkRow, 'name' | 'model' | 'data' | 'steps' | 'batch' | 'parameters' | 'multiplications'> {
  readonly seeds: number;
  /** The mean of how much is right, of places the mean of intersection over union. */
  readonly mean: number;
  /** 95% by Student's t over seeds, of one seed that of its pictures. */
  readonly interval?: readonly [low: number, high: number] | undefined;
  /** The mean of trainings that were not interrupted. */
  readonly cpuSeconds: number | undefined;
}

/** Quantiles of Student's t of two sides, for one to four degrees of freedom. */
const STUDENT = [12.71, 4.3, 3.18, 2.78];

/** The networks in the order in which they first occur. */
export function summaries(rows: readonly NetworkRow[]): NetworkSummary[] {
  return [...new Set(rows.map(({ name }) => name))].map((name) => {
    const own = rows.filter((row) => row.name === name) as [NetworkRow, ...NetworkRow[]];
    const found = own.map(({ accuracy, meanIou }) => meanIou ?? accuracy);
    const mean = meanOf(found);
    const variance = found.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (found.length - 1);
    const half = (STUDENT[found.length - 2] ?? 2.5) * Math.sqrt(variance / found.length);
    const whole = own.filter(({ isWhole }) => isWhole);
    const { model, data, steps, batch, parameters, multiplications, interval } = own[0];
    return {
      name,
      model,
      data,
      steps,
      batch,
      parameters,
      multiplications,
      seeds: own.length,
      mean,
      interval: found.length > 1 ? ([mean - half, mean + half] as const) : interval,
      cpuSeconds: whole.length > 0 ? meanOf(whole.map((row) => row.cpuSeconds)) : undefined,
    };
  });
}

const meanOf = (values: readonly number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;

export const NETWORK_COLUMNS = [
  'network',
  'data',
  'parameters',
  'multiplications',
  'steps x batch',
  'right',
  '95%',
  'seeds',
  'CPU s',
];
/** How many of them are words. */
export const NETWORK_WORDS = 2;

/** The cells of a table of them. */
export const networkCells = (all: readonly NetworkSummary[]): string[][] =>
  all.map(({ name, data, parameters, multiplications, steps, batch, mean, interval, seeds, cpuSeconds }) => [
    name.slice(data.length + 1),
    DATA[data],
    parameters.toLocaleString('en'),
    `${(multiplications / 1e6).toFixed(1)} M`,
    `${steps} x ${batch}`,
    percent(mean),
    interval ? interval.map((each) => percent(each)).join(' to ') : '',
    String(seeds),
    cpuSeconds?.toFixed(0) ?? '',
  ]);

const DATA = { fashion: 'clothes', digits: 'digits', street: 'streets, mean IoU' };
const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
