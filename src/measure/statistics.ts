/** The value below which `share` of the sorted sample lies, linearly interpolated. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)] as number, sorted[Math.ceil(at)] as number];
  return below + (above - below) * (at - Math.floor(at));
}

/** The values below which these shares of a sample lie, linearly interpolated. */
export function quantiles(sample: readonly number[], shares: readonly number[]): number[] {
  const sorted = [...sample].sort((a, b) => a - b);
  return shares.map((share) => quantile(sorted, share));
}

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly repeats: number;
  /** Half the distance between the quartiles, over the median. */
  readonly spread: number;
}

/** Summarises a sample that is not empty. */
export function summarise(sample: readonly number[]): Summary {
  const sorted = [...sample].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const [min, max] = [sorted[0] as number, sorted.at(-1) as number];
  return {
    median,
    min,
    max,
    repeats: sorted.length,
    spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 / median,
  };
}

/** The median of a[i] / b[i]: samples of one round were taken under the same load, so their ratio varies less. */
export function pairedRatio(a: readonly number[], b: readonly number[]): number {
  const pairs = Math.min(a.length, b.length);
  return summarise(a.slice(0, pairs).map((value, round) => value / (b[round] as number))).median;
}

/** A median and a confidence interval. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The median of a sample, and the interval between two of its members that contains the median of the population with 95%
 * confidence, whatever the distribution. For fewer than six members the interval is infinite.
 */
export function estimateMedian(sample: readonly number[]): Estimate {
  const sorted = [...sample].sort((a, b) => a - b);
  const outside = membersOutside(sorted.length);
  return {
    value: quantile(sorted, 0.5),
    low: sorted[outside - 1] ?? Number.NEGATIVE_INFINITY,
    high: sorted[sorted.length - outside] ?? Number.POSITIVE_INFINITY,
  };
}

/** The 97.5% points of Student's t for 1 to 9 degrees of freedom, and of the normal distribution. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
const NORMAL = 1.96;

/** The mean of a sample, and Student's interval for that of the population with 95% confidence; infinite for a sample of one. */
export function estimateMean(sample: readonly number[]): Estimate {
  const count = sample.length;
  const value = sample.reduce((sum, each) => sum + each, 0) / count;
  const squares = sample.reduce((sum, each) => sum + (each - value) ** 2, 0);
  const half =
    count > 1 ? (STUDENT[count - 2] ?? NORMAL) * Math.sqrt(squares / (count - 1) / count) : Number.POSITIVE_INFINITY;
  return { value, low: value - half, high: value + half };
}

/** The largest k for which fewer than k heads in `count` throws have a chance of at most 2.5%; the k-th member is the bound. */
function membersOutside(count: number): number {
  let [chance, below, k] = [0.5 ** count, 0, 0];
  while (below + chance <= 0.025) {
    below += chance;
    chance *= (count - k) / (k + 1);
    k++;
  }
  return k;
}

/** Correlation of two lists of numbers, from -1 to 1. */
export function pearson(x: readonly number[], y: readonly number[]): number {
  const [dx, dy] = [fromMean(x), fromMean(y)];
  return dot(dx, dy) / Math.sqrt(dot(dx, dx) * dot(dy, dy));
}

/** The exponent p of the y = c x^p that fits best on logarithmic scales. */
export function exponent(x: readonly number[], y: readonly number[]): number {
  const [dx, dy] = [fromMean(x.map(Math.log)), fromMean(y.map(Math.log))];
  return dot(dx, dy) / dot(dx, dx);
}

/** The mean of ratios. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function fromMean(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

function dot(x: readonly number[], y: readonly number[]): number {
  return x.reduce((sum, value, at) => sum + value * (y[at] as number), 0);
}
