/** What the kernels of all rooms share with the plans of calls. */
import { struct } from './struct';

/** Where the host says that the job is cancelled: a place in the control block. */
export { ABORT, CONTROL } from './schedule';

/** Queries of a tile, rows of a panel, columns of a slice. */
export const TILE = 24;
export const PANEL = 6;
export const SLICE = 8;
/** Columns of a row of a head, at most. */
export const LARGEST_HEAD = 256;
/** Panels that one task packs. */
export const CHUNK_PANELS = 16;
/** Heads that one task takes side by side, at most. */
export const MOST_HEADS = 8;

/** The dtypes of floats, by their codes. */
export const FLOATS = ['f32', 'f16', 'bf16'] as const;

export const Contiguous = struct({ address: 'usize', dtype: 'i32' });

/** A tensor [batch, row, head, element]; strides in elements. */
export const Operand = struct({
  ...{ address: 'usize', dtype: 'i32' },
  ...{ batch: 'usize', row: 'usize', head: 'usize', element: 'usize' },
});
