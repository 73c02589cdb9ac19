import { struct } from '../../runtime/cpu/struct';

/** Columns of a factor that are finished at a time: a multiple of panels and of slices. */
export const BLOCK = 96;
/** Terms that are summed at a time. */
export const TERMS = 384;

/** What becomes of a row: all is well, its pivot is of no use, it is not symmetric, or it holds NaN or infinity. */
export const FINE = 0;
export const BAD_PIVOT = 1;
export const ASYMMETRIC = 2;
export const NOT_FINITE = 3;

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
  /** Where each matrix says whether it is done already, so that nothing is to do; 0 for none. */
  done: 'usize',
  a: 'usize',
  b: 'usize',
  out: 'usize',
  status: 'usize',
  slices: 'usize',
  panels: 'usize',
});

/** Reflections that are applied at a time. */
export const REFLECTIONS = 32;
/** Rows of a strip that a task takes, and coordinates of eigenvectors that it rotates. */
export const STRIP = 96;
export const LANES = 16;

/** Symmetric matrices [batches][n][n]; what is between `matrix` and `ranks` is working memory in float64. */
export const EighParams = struct({
  n: 'i32',
  wide: 'bool',
  /** The first column of the block at hand, and the column. */
  first: 'i32',
  column: 'i32',
  /** Parts of the matrix whose products with a vector are summed by themselves. */
  parts: 'i32',
  a: 'usize',
  values: 'usize',
  vectors: 'usize',
  status: 'usize',
  /** [n][n]; then, transposed, the product of the reflections. */
  matrix: 'usize',
  /** [n][n], a row each; then eigenvectors in chunks [n][LANES] of their coordinates. */
  reflections: 'usize',
  /** [blocks][REFLECTIONS][REFLECTIONS] */
  triangles: 'usize',
  /** [REFLECTIONS][n]: by what reflections change the matrix. */
  changes: 'usize',
  /** [parts][n] */
  sums: 'usize',
  /** [2][n]: the diagonal and what is beside it. */
  diagonals: 'usize',
  /** Cosines and sines of rotations, and the sweeps that they are of, as `Sweep`. */
  rotations: 'usize',
  sweeps: 'usize',
  /** [8] of each matrix, as `State`. */
  state: 'usize',
  /** [2 n], i32 and then f32: the order of eigenvalues, and the signs of their vectors. */
  ranks: 'usize',
  mostRotations: 'i32',
  mostSweeps: 'i32',
});

/** Matrices [batches][rows][columns], k the smaller extent; what is behind `r` is working memory in float64. */
export const QrParams = struct({
  rows: 'i32',
  columns: 'i32',
  wide: 'bool',
  /** The first column of the block at hand. */
  first: 'i32',
  a: 'usize',
  q: 'usize',
  r: 'usize',
  /** The transpose, [columns][rows]. */
  lines: 'usize',
  /** [k][rows] each */
  reflections: 'usize',
  basis: 'usize',
  /** [blocks][REFLECTIONS][REFLECTIONS] */
  triangles: 'usize',
});

/** Matrices [batches][rows][columns]; what is behind `status` is working memory in float64. */
export const SvdParams = struct({
  rows: 'i32',
  columns: 'i32',
  wide: 'bool',
  a: 'usize',
  u: 'usize',
  s: 'usize',
  v: 'usize',
  status: 'usize',
  /** The vectors of the shorter side, [k][longer], as they are and rotated. */
  lines: 'usize',
  rotated: 'usize',
  /** [k][k]: products of all pairs, their eigenvectors, and by what the vectors were rotated. */
  products: 'usize',
  vectors: 'usize',
  turns: 'usize',
  /** [2 k]: lengths, and what is marked. */
  norms: 'usize',
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
  /** For a refined solution: where its condition, backward error and number of corrections go; 0 otherwise. */
  condition: 'usize',
  error: 'usize',
  steps: 'usize',
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
  /** Whether x is f64 even if the matrix is not. */
  wideX: 'bool',
  /** Pairs of rows. */
  pairsOfTask: 'i32',
  a: 'usize',
  b: 'usize',
  x: 'usize',
  residual: 'usize',
  correction: 'usize',
  done: 'usize',
  /** The rest is of refined solutions alone. */
  factor: 'usize',
  /** [batches][2 n + 2]: the norm of the matrix, and vectors. */
  memory: 'usize',
  condition: 'usize',
  error: 'usize',
  steps: 'usize',
});
