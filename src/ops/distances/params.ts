import { struct } from '../../runtime/cpu/struct';

/** How coordinates count: by their squares, or by their magnitudes. */
export const NORMS = ['squared', 'absolute'] as const;

/** Rows of x that a task takes, and panels of these. */
export const ROWS = 32;
export const PANELS = 8;

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
  /** x in panels of six, [terms][6], for products. */
  panels: 'usize',
});
