import { struct } from '../../runtime/cpu/struct';

/** A task computes the products of so many panels of a and slices of b, at most: the panels stay in the second-level cache. */
export const TILE_PANELS = 16;
export const TILE_SLICES = 128;

/** Terms that are summed at a time, at most: a panel and a slice of so many stay in the first-level cache. */
export const DEPTH = 384;

/** Elements of the result that an epilogue's program is applied to at a time, where machine code leaves it to that. */
export const FUNCTION_ELEMENTS = 8192;

/** Floats of a thread's working memory that machine code takes: slices of a tile, and a panel. */
export const NATIVE_SLICES = 384 * 256;
export const NATIVE_PANEL = 8 * 256;

/** Panels or slices that are packed at a time. */
export const GROUP = 8;

/** Slices and terms that a tile packs for itself at a time: rows of b are read in pieces of a kilobyte. */
export const OWN_SLICES = 32;
export const OWN_TERMS = 128;

/** One side of a product: `lanes` rows of a or columns of b, `depth` terms each. Strides are in elements. */
export const Factor = struct({
  address: 'usize',
  dtype: 'i32',
  lanes: 'i32',
  lane: 'usize',
  term: 'usize',
});

/** A leading axis: from a matrix to the next in elements of a and of b, and in matrices of b as they are packed. */
export const LeadingAxis = struct({ extent: 'i32', a: 'usize', b: 'usize', packed: 'i32' });

/** Behind it lie the leading axes and the numbers of the epilogue. */
export const MatmulParams = struct({
  depth: 'i32',
  a: Factor,
  b: Factor,
  /** b in the order of the micro-kernel; 0 where each tile packs what it needs. */
  packed: 'usize',
  axes: 'i32',
  out: 'tensor',
  bias: 'tensor',
  biasStride: 'usize',
  /** The epilogue's program, 0 without one. */
  program: 'usize',
  /** Terms that are summed at a time. */
  terms: 'i32',
  /** The extents of a tile. */
  panels: 'i32',
  slices: 'i32',
});

/** Rows of a product whose b is read where it lies, at most, if the terms of a column lie side by side or if columns do. */
export const MOST_ALONG = 16;
export const MOST_ACROSS = 4;
/** Columns that are finished at once, and whose terms are converted at once. */
export const FINISHED = 512;
export const CONVERTED_COLUMNS = 512;

/** Behind it lie the numbers of the epilogue. */
export const FewRowsParams = struct({
  depth: 'i32',
  a: Factor,
  b: Factor,
  out: 'tensor',
  bias: 'tensor',
  biasStride: 'usize',
  program: 'usize',
  /** a in float32, [groups of rows][fours of terms][rows][4], and how many rows a group has: 1 or 4. */
  left: 'usize',
  together: 'i32',
  /** Sums [splits][sumRows][pitch]. */
  parts: 'usize',
  splits: 'i32',
  sumRows: 'i32',
  pitch: 'i32',
  /** Terms of a split, and columns that a task takes. */
  terms: 'i32',
  strip: 'i32',
});
