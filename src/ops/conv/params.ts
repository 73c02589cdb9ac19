import { struct } from '../../runtime/cpu/struct';

/** Vectors of working memory: kernels, a part of the pictures, and results of a task; see grouped.as.ts. */
export const KERNEL_VECTORS = 4096;
export const PICTURE_VECTORS = 24576;
export const RESULT_VECTORS = 8192;

/** A task of `convNear` has so many vectors of channels, a cache line, and columns at most; see near.as.ts. */
export const NEAR_VECTORS = 4;
export const NEAR_COLUMNS = 128;

/** Vectors of a spectrum, at most: complex numbers of half of the frequencies of a tile; see fourier.as.ts. */
export const SPECTRUM_VECTORS = 21120;
/** Tasks transform so many rows or columns at a time, at most: they stay in the first-level cache. */
export const TRANSFORMS = 8;

/** A task of `convDense` computes the products of so many panels of pixels and slices of channels, at most. */
export const TILE_PANELS = 16;
export const TILE_SLICES = 64;
/** Terms that are summed at a time, at most: a panel and a slice of so many stay in the first-level cache. */
export const DEPTH = 384;

/**
 * A spatial axis. Result `up * j + phase` reads elements `stride * j + offset` of x; for each phase the table has where its taps
 * begin and how many there are, and then the offset and place in the kernel of each, by offset. Strides are in bytes.
 */
export const ConvAxis = struct({
  extent: 'i32',
  results: 'i32',
  stride: 'i32',
  up: 'i32',
  from: 'usize',
  weight: 'usize',
  to: 'usize',
  taps: 'usize',
  /** Results of a task, and taps that it takes at a time. */
  tile: 'i32',
  chunk: 'i32',
});

/** Behind it lie the numbers of the epilogue. Strides are in bytes. */
export const ConvParams = struct({
  batch: 'i32',
  groups: 'i32',
  /** Channels of a group. */
  inputs: 'i32',
  outputs: 'i32',
  z: ConvAxis,
  y: ConvAxis,
  x: ConvAxis,
  from: 'tensor',
  fromBatch: 'usize',
  fromGroup: 'usize',
  fromInput: 'usize',
  weight: 'tensor',
  weightGroup: 'usize',
  weightOutput: 'usize',
  weightInput: 'usize',
  to: 'tensor',
  toBatch: 'usize',
  toGroup: 'usize',
  toOutput: 'usize',
  /** [groups][outputs], 0 for none. */
  bias: 'tensor',
  /** The epilogue's program, 0 for none. */
  program: 'usize',
  /** Results in registers, for `convGrouped`. */
  width: 'i32',
  /** The kernels as `packKernels` lays them out, for `convDense`. */
  packed: 'usize',
  /** Phases whose results are outputs of one product, for `convDense`; 1 where each phase has a product of its own. */
  joined: 'i32',
  /** Whether the batch is the innermost axis of pixels. */
  batchInner: 'bool',
});

/**
 * A spatial axis of `convFourier`. Each of its windows is in a table: first result and results, first element and elements, where
 * that element lies, first tap and taps, where that tap lies. Strides are in bytes.
 */
export const FourierAxis = struct({
  /** Places that are transformed. */
  size: 'i32',
  windows: 'i32',
  stride: 'i32',
  dilation: 'i32',
  up: 'i32',
  from: 'usize',
  weight: 'usize',
  to: 'usize',
  table: 'usize',
  /** The number of radices, the radices, and where each frequency lies when they have passed. */
  radices: 'usize',
  frequencies: 'usize',
  /** Complex factors of each radix at each place: those of its second number and all after it. */
  twiddles: 'usize',
});

/** Behind it lie the numbers of the epilogue. Strides are in bytes. */
export const FourierParams = struct({
  batch: 'i32',
  /** What a task goes through. */
  pictures: 'i32',
  /** Of `Local`, near 0 where transforms see all; and elements along x. */
  near: 'i32',
  /** Tasks that share the windows of a picture. */
  shares: 'i32',
  parts: 'i32',
  partTaps: 'i32',
  extent: 'i32',
  groups: 'i32',
  inputs: 'i32',
  outputs: 'i32',
  y: FourierAxis,
  x: FourierAxis,
  from: 'tensor',
  fromBatch: 'usize',
  fromGroup: 'usize',
  fromInput: 'usize',
  weight: 'tensor',
  weightGroup: 'usize',
  weightOutput: 'usize',
  weightInput: 'usize',
  to: 'tensor',
  toBatch: 'usize',
  toGroup: 'usize',
  toOutput: 'usize',
  /** [groups][outputs], 0 for none. */
  bias: 'tensor',
  /** The epilogue's program, 0 for none. */
  program: 'usize',
});
