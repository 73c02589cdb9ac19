/**
 * Lengths of documents as the Long-Context Attention Benchmark draws them.
 * Source: LongCA-bench, arXiv 2510.17896; the tables are those of the authors' code, thinned from 41 to 44 intervals.
 */
import { checkChoice, checkWhole } from '../check';
import { uniformGenerator } from '../tensor/random';

/** The last length of each interval, and the share of the documents up to it. */
type Shares = readonly (readonly [last: number, share: number])[];

const K = 1024;

/** Shares of all documents up to a length. */
const CUMULATIVE = {
  pile: [
    [32, 0.0299],
    [64, 0.0939],
    [96, 0.1588],
    [128, 0.2289],
    [160, 0.3007],
    [192, 0.3707],
    [256, 0.4978],
    [320, 0.5896],
    [416, 0.6686],
    [512, 0.7203],
    [640, 0.7674],
    [768, 0.8005],
    [1056, 0.8486],
    [1440, 0.8833],
    [2016, 0.9151],
    [2720, 0.9363],
    [3904, 0.9569],
    [5792, 0.9772],
    [7584, 0.9873],
    [14208, 0.9973],
    [9323168, 0.9996],
  ],
  prolong64k: [
    [64, 0.0412],
    [96, 0.0956],
    [128, 0.1531],
    [192, 0.2609],
    [256, 0.3538],
    [320, 0.4338],
    [416, 0.531],
    [512, 0.6125],
    [640, 0.6974],
    [768, 0.7583],
    [928, 0.8129],
    [1120, 0.8576],
    [1376, 0.8937],
    [1792, 0.9267],
    [2304, 0.9481],
    [3392, 0.9683],
    [4768, 0.9784],
    [8928, 0.9885],
    [50272, 0.9985],
    [61920, 1],
  ],
  prolong512k: [
    [32, 0.0101],
    [64, 0.046],
    [96, 0.1045],
    [128, 0.1673],
    [192, 0.2841],
    [256, 0.3826],
    [320, 0.466],
    [416, 0.565],
    [512, 0.6463],
    [640, 0.7286],
    [768, 0.7861],
    [960, 0.8444],
    [1152, 0.8827],
    [1472, 0.9187],
    [1824, 0.941],
    [2464, 0.9618],
    [3104, 0.9722],
    [4544, 0.9822],
    [10912, 0.9922],
    [475872, 0.9995],
  ],
} as const satisfies Readonly<Record<string, Shares>>;

/** Weights of the intervals. */
const WEIGHTED = {
  short: [
    [256, 0.0766],
    [512, 0.1651],
    [768, 0.1246],
    [K, 0.0972],
    [1.5 * K, 0.1324],
    [2 * K, 0.0927],
    [2.5 * K, 0.072],
    [3 * K, 0.0519],
    [3.5 * K, 0.0379],
    [4 * K, 0.0264],
    [5 * K, 0.038],
    [6 * K, 0.0245],
    [7 * K, 0.0145],
    [8 * K, 0.0097],
    [10 * K, 0.0122],
    [15 * K, 0.0128],
    [20 * K, 0.0051],
    [64 * K, 0.0064],
  ],
  long: [
    [2 * K, 0.16],
    [4 * K, 0.05],
    [8 * K, 0.04],
    [16 * K, 0.06],
    [32 * K, 0.08],
    [64 * K, 0.21],
    [128 * K, 0.4],
    [256 * K, 0.2],
    [512 * K, 0.05],
    [1024 * K, 0.04],
    [2048 * K, 0.01],
    [4096 * K, 0.01],
  ],
} as const satisfies Readonly<Record<string, Shares>>;

/** Tables of lengths, by name. */
export const LENGTH_TABLES = ['pile', 'prolong64k', 'prolong512k', 'short', 'long'] as const;
export type LengthTable = (typeof LENGTH_TABLES)[number];

/** The table that the benchmark takes for so many tokens. */
export function tableFor(tokens: number): LengthTable {
  if (tokens <= 12 * K) return 'pile';
  return tokens <= 64 * K ? 'prolong64k' : 'prolong512k';
}

/** Ends and cumulative weights of the intervals of a table. */
function intervalsOf(table: LengthTable): Shares {
  if (table !== 'short' && table !== 'long') return CUMULATIVE[table];
  let sum = 0;
  return WEIGHTED[table].map(([last, weight]) => {
    sum += weight;
    return [last, sum];
  });
}

/**
 * Lengths of documents, together `tokens`: an interval by its weight, a length within it uniformly, and the last cut to what is
 * left; the same for the same seed.
 */
export function drawLengths(tokens: number, seed = 0, table: LengthTable = tableFor(tokens)): number[] {
  checkWhole('tokens', tokens, 1);
  checkWhole('seed', seed, 0);
  checkChoice('table', table, LENGTH_TABLES);
  const intervals = intervalsOf(table);
  const total = (intervals.at(-1) as Shares[number])[1];
  const next = uniformGenerator(seed);
  const lengths: number[] = [];
  for (let left = tokens; left > 0; ) {
    const share = next() * total;
    const at = intervals.findIndex(([, upTo]) => share < upTo);
    const [last] = intervals[at] as Shares[number];
    const before = intervals[at - 1]?.[0] ?? 0;
    const length = Math.min(left, before + 1 + Math.floor(next() * (last - before)));
    lengths.push(length);
    left -= length;
  }
  return lengths;
}
