/** What all kernels share with the plans of calls. */
import { struct } from './struct';

/** Queries of a tile, rows of a panel, columns of a slice. */
export const TILE = 24;
export const PANEL = 6;
export const SLICE = 8;
/** Most columns of a head. */
export const LARGEST_HEAD = 256;
/** Panels that one task packs. */
export const CHUNK_PANELS = 16;
/** Most heads that one task takes side by side. */
export const MOST_HEADS = 8;

/** The floating-point dtypes, in the order of their codes. */
export const FLOATS = ['f32', 'f16', 'bf16'] as const;

export const Contiguous = struct({ address: 'usize', dtype: 'i32' });

/** A tensor [batch, row, head, element]; strides in elements. */
export const Operand = struct({
  address: 'usize',
  dtype: 'i32',
  batch: 'usize',
  row: 'usize',
  head: 'usize',
  element: 'usize',
});
