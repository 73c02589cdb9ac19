/**
 * The model of what the ways of convolutions by channel cost: counts of what there is to do, in vectors of four channels, and
 * nanoseconds of each, as `scripts/measure-conv-costs.ts` measures them. They are constants, so that the same shapes go the
 * same way, to the same bits, on every machine.
 */
const COSTS = {
  direct: {
    /** Multiply-adds. */
    macs: 0.2,
    /** Results, which begin as the bias and are stored. */
    results: 4.5,
    /** Taps that are copied. */
    taps: 12,
  },
  fourier: {
    /** Complex numbers that a radix passes over. */
    stages: 1.6,
    /** Products of frequencies. */
    products: 6,
    taps: 6,
  },
} as const;

type Counts<Way extends keyof typeof COSTS> = Readonly<Record<keyof (typeof COSTS)[Way], number>>;
export type DirectCounts = Counts<'direct'>;
export type FourierCounts = Counts<'fourier'>;

/** Nanoseconds of one thread. */
export const costOf = <Way extends keyof typeof COSTS>(way: Way, counts: Counts<Way>): number =>
  Object.entries<number>(counts).reduce(
    (sum, [name, count]) => sum + count * (COSTS[way] as Readonly<Record<string, number>>)[name]!,
    0,
  );
