import { Operand } from '../../runtime/cpu/params';
import { struct } from '../../runtime/cpu/struct';

/** Storage of a cache's rows; 8-bit integers have a scale for each row of a head. Floats as everywhere. */
export const STORAGE = ['f32', 'f16', 'bf16', 'i8'] as const;

/** Tokens of a page. */
export const PAGE_ROWS = 32;

/**
 * Where things lie in a page: keys [heads][32][keyRow], from `values` bytes on values [heads][32][valueRow], and from
 * `keyScales` and `valueScales` bytes on the scales of 8-bit ones, f32 [heads][32]. Rows are padded to whole vectors by zeros.
 */
export const Page = struct({
  heads: 'i32',
  d: 'i32',
  e: 'i32',
  dtype: 'i32',
  keyRow: 'i32',
  valueRow: 'i32',
  values: 'usize',
  keyScales: 'usize',
  valueScales: 'usize',
  bytes: 'usize',
});

/** Numbers of a write: batch and first token of what is appended, how many tokens, the page's address, its first free row. */
export const WRITE_LENGTH = 5;

export const AppendParams = struct({
  page: Page,
  k: Operand,
  v: Operand,
  writes: 'usize',
  /** Addresses of pages, from and to in turns. */
  copies: 'usize',
});

export const ReadParams = struct({
  page: Page,
  /** Addresses, 0 for one that was evicted, whose rows read as zeros. */
  pages: 'usize',
  /** Rows in all; f32 [rows][heads][d] and [rows][heads][e]. */
  rows: 'i32',
  k: 'tensor',
  v: 'tensor',
});
