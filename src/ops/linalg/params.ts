import { struct } from '../../runtime/cpu/struct';

/** Columns of a factor that are finished at a time: a multiple of panels and of slices. */
export const BLOCK = 96;
/** Terms that are summed at a time. */
export const TERMS = 384;

/** What becomes of a row: all is well, the matrix is not symmetric there, or its pivot is of no use. */
export const FINE = 0;
export const ASYMMETRIC = 1;
export const BAD_PIVOT = 2;

/** Matrices [batches][n][n], f64 where `wide`. */
export const CholeskyParams = struct({
  n: 'i32',
  batches: 'i32',
  wide: 'bool',
  /** The block at hand, and how many slices of rows a task takes. */
  first: 'i32',
  count: 'i32',
  slicesOfTask: 'i32',
  a: 'usize',
  out: 'usize',
  status: 'usize',
  /** The factor in slices of rows, and the block's rows in panels, negative. */
  slices: 'usize',
  panels: 'usize',
});

/** Triangles [batches][n][n] and right-hand sides [batches][n][columns]. */
export const TriangularParams = struct({
  n: 'i32',
  columns: 'i32',
  batches: 'i32',
  wide: 'bool',
  /** Whether rows are taken from the last to the first, and the triangle is that of the transpose. */
  backwards: 'bool',
  transposed: 'bool',
  unit: 'bool',
  slicesOfTask: 'i32',
  a: 'usize',
  b: 'usize',
  out: 'usize',
  status: 'usize',
  slices: 'usize',
  panels: 'usize',
});

/** A decomposition of matrices [batches][rows][columns], a task each, in float64. */
export const DenseParams = struct({
  rows: 'i32',
  columns: 'i32',
  /** Columns of the right-hand side. */
  others: 'i32',
  wide: 'bool',
  a: 'usize',
  b: 'usize',
  /** Results, as the kernel has them. */
  first: 'usize',
  second: 'usize',
  third: 'usize',
  status: 'usize',
  /** Working memory, and its bytes for a matrix. */
  memory: 'usize',
  bytes: 'usize',
});

/** Residuals of systems [batches][n][n], [batches][n][columns], in float64. */
export const ResidualParams = struct({
  n: 'i32',
  columns: 'i32',
  batches: 'i32',
  wide: 'bool',
  /** Pairs of rows. */
  pairsOfTask: 'i32',
  a: 'usize',
  b: 'usize',
  x: 'usize',
  residual: 'usize',
  correction: 'usize',
});
