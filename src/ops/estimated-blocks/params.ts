import { struct } from '../../runtime/cpu/struct';

/** How queries and keys are rounded: scales of groups of rows, of each row, or not at all. */
export const QUANTIZE = ['thread', 'token', 'none'] as const;

/** The largest integer: four bits, signed. */
export const LARGEST = 7;

/** Neighbouring queries whose rows r and r + 8 share a scale. */
export const QUERY_GROUP = 16;

/** Keys of a block in the kernels' memory are a multiple of it: groups, in each of which the likeliest come first. */
export const KEYS = 32;
/** Keys whose scores are compared together. */
export const PART = 8;

export const EstimatedBlocksParams = struct({
  b: 'i32',
  n: 'i32',
  m: 'i32',
  h: 'i32',
  g: 'i32',
  d: 'i32',
  queryBlocks: 'i32',
  keyBlocks: 'i32',
  queryBlock: 'i32',
  keyBlock: 'i32',
  quantize: 'i32',
  terms: 'i32',
  q: 'tensor',
  center: 'tensor',
  k: 'tensor',
  limits: 'tensor',
  spans: 'tensor',
  kept: 'tensor',
  /** Integers of queries, [b][h][n][depth], depth a multiple of 16; 8 times their sums, of the first terms and of all [b][h][n][2]. */
  rows: 'usize',
  rowSums: 'usize',
  /** [b][h][n]: their scales and inverses, limits and those over scales, and norms of the integers behind the first terms. */
  rowScales: 'usize',
  rowInverses: 'usize',
  rowLimits: 'usize',
  tops: 'usize',
  rowNorms: 'usize',
  /** [b][h][n][2]: limits, and norms of all integers times their scale, both a little on the safe side. */
  rowReaches: 'usize',
  /** Integers of keys plus 8: all, [b][g][blocks][keys][depth], and the first terms, [b][g][blocks][terms / 4][keys][4]. */
  keyRows: 'usize',
  columns: 'usize',
  /** [b][g][blocks][keys]: their scales and inverses, and norms of the integers behind the first terms. */
  columnScales: 'usize',
  inverses: 'usize',
  columnNorms: 'usize',
  /** [b][g][blocks][keys]: which key of its block each is. */
  order: 'usize',
  /** [b][g][blocks][keys / 32][2]: the largest and the least norm of all integers times their scale. */
  extremes: 'usize',
  /** [b][g][blocks]: the largest inverse of each block. */
  largestInverses: 'usize',
  /** Products of keys with the centers, [b][h][blocks][keys], those over the scales, and the largest of each block. */
  products: 'usize',
  biases: 'usize',
  largestBiases: 'usize',
  /** [b][h][blocks][keys / 8]: what scores of these and later keys of a group are at most, for a query of typical norm. */
  reaches: 'usize',
});
