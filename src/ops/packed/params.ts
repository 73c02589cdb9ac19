import { Contiguous } from '../../runtime/cpu/params';
import { struct } from '../../runtime/cpu/struct';

/** Numbers that share a scale. */
export const BLOCK = 32;

/** Rows of x, at most, whose products are taken with one row of weights at a time: of exact ones, and of rounded ones. */
export const FEW_ROWS = 5;
export const FEW_ROUNDED_ROWS = 8;
/** Rounded rows in a panel: the sums of more, and what makes them, do not fit the registers. */
export const ROUNDED_PANEL = 4;
/** A task of more rows takes so many of them by so many slices of weights, at most. */
export const TILE_ROWS = 96;
export const TILE_SLICES = 16;
/** Terms of rows of weights that are unpacked at a time, at most. */
export const TERMS = 384;
/** The same where rows are taken one at a time. */
export const LONG_TERMS = 2048;
/** Columns that are finished at once. */
export const FINISHED = 512;
/** Rows of a table that a task picks. */
export const PICKED = 16;

/** How weights are stored, in the order of their codes: as floats, or in blocks of integers of 8 and of 4 bits. */
export const PACKED_TYPES = ['f32', 'f16', 'bf16', 'q8', 'q4'] as const;

/** Rows of `width` numbers; scales and minima are 0 where there are none. */
export const Weight = struct({ values: 'usize', scales: 'usize', minima: 'usize', type: 'i32', width: 'i32' });

/** One product of x. */
export const Product = struct({
  weight: Weight,
  columns: 'i32',
  /** Columns, or slices of them, that a task takes, and the number of tasks. */
  strip: 'i32',
  tasks: 'i32',
  out: 'tensor',
  bias: 'tensor',
  biasStride: 'usize',
});

/** Behind it lie the products, and the numbers of the epilogue. */
export const ProductsParams = struct({
  rows: 'i32',
  depth: 'i32',
  x: Contiguous,
  /** Whether x is rounded to 8 bits, and lies in panels of rows. */
  isRounded: 'bool',
  isPaneled: 'bool',
  /** Whether rows of the weight are terms, and not columns of the result. */
  isAcross: 'bool',
  /** x as f32 or, if it is rounded, integers: [rows][depth] of 8 bits, or [panels][depth / 2][4] of pairs of 16. */
  left: 'usize',
  /** Scales and sums of rounded rows, [rows][blocks] or [panels][blocks][4]. */
  scales: 'usize',
  sums: 'usize',
  products: 'i32',
  program: 'usize',
});

export const PickParams = struct({
  rows: 'i32',
  /** Rows of the table. */
  count: 'i32',
  table: Weight,
  indices: 'tensor',
  out: 'tensor',
});
