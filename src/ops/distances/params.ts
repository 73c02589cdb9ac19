import { struct } from '../../runtime/cpu/struct';

/** How coordinates count: by their squares, or by their magnitudes. */
export const NORMS = ['squared', 'absolute'] as const;

/** Rows of x that a task takes. */
export const ROWS = 32;

/** Points x [rows][terms] and y [columns][terms], and numbers [rows][columns] of each pair. */
export const DistancesParams = struct({
  rows: 'i32',
  columns: 'i32',
  terms: 'i32',
  norm: 'i32',
  x: 'tensor',
  y: 'tensor',
  /** What the pairs weigh, where gradients are summed. */
  weights: 'tensor',
  out: 'tensor',
  /** y in slices of eight points, [terms][8]. */
  packed: 'usize',
});
