/** The value below which `share` of the sorted sample lies, linearly interpolated. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)] as number, sorted[Math.ceil(at)] as number];
  return below + (above - below) * (at - Math.floor(at));
}

export interface Summary {
  readonly median: number;
  /** Half the distance between the quartiles, over the median. */
  readonly spread: number;
}

/** Median and spread of a sample of at least one. */
export function summarise(sample: readonly number[]): Summary {
  const sorted = [...sample].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  return { median, spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 / median };
}

/** The median of a[i] / b[i]: samples of one round share the machine's mood, so their ratio is steadier than theirs. */
export function pairedRatio(a: readonly number[], b: readonly number[]): number {
  const pairs = Math.min(a.length, b.length);
  return summarise(a.slice(0, pairs).map((value, round) => value / (b[round] as number))).median;
}
