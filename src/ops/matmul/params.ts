import { struct } from '../../runtime/wasm/struct';

/** A task computes the products of so many panels of a and slices of b, at most. */
export const TILE_PANELS = 16;
export const TILE_SLICES = 16;

/** Terms that are summed at a time: a panel and a slice of so many stay in the first-level cache. */
export const DEPTH = 256;

/** Panels or slices that a task packs. */
export const GROUP = 8;

/**
 * One side of a product: `lanes` rows of a or columns of b, `depth` terms each. Strides are in elements. Packed are
 * `matrices`, one after the other.
 */
export const Factor = struct({
  ...{ address: 'usize', dtype: 'i32', lanes: 'i32', lane: 'usize', term: 'usize', packed: 'usize' },
});

/** A leading axis as one factor has it: from a matrix to the next in elements and in packed matrices, both 0 if all are one. */
export const LeadingAxis = struct({ extent: 'i32', stride: 'usize', matrices: 'i32' });

/** Behind it lie the leading axes of a, those of b, and the numbers of the epilogue. */
export const MatmulParams = struct({
  ...{ depth: 'i32', a: Factor, b: Factor, axes: 'i32' },
  ...{ out: 'tensor', bias: 'tensor', biasStride: 'usize' },
  /** Of the epilogue, 0 without one. */
  program: 'usize',
  /** Of a tile. */
  ...{ panels: 'i32', slices: 'i32' },
});
