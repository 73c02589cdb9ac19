import { struct } from '../../runtime/wasm/struct';

/** A task computes a tile of so many panels of a by so many slices of b. */
export const TILE_PANELS = 8;
export const TILE_SLICES = 8;

/** Strides in elements. */
export const Matrix = struct({ address: 'tensor', row: 'usize', column: 'usize' });

export const MatmulParams = struct({
  ...{ rows: 'i32', depth: 'i32', columns: 'i32', a: Matrix, b: Matrix },
  ...{ out: 'tensor', packedA: 'usize', packedB: 'usize' },
});
