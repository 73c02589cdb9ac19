import { struct } from '../../runtime/cpu/struct';

/** Elements of a task. */
export const RUN = 16384;
/** Inputs and results of an item, at most. */
export const MOST_OPERANDS = 24;
/** Rows of so many elements and more are taken one by one, so that what repeats along them is read where it lies. */
export const LONG_ROW = 256;

/** Followed by the numbers of the call, the captured tensors and, unless it lies elsewhere, the only item. */
export const MapParams = struct({
  program: 'usize',
  inputs: 'i32',
  outs: 'i32',
  numbers: 'usize',
  tensors: 'usize',
  /** Where the items lie; 0 for one that follows. */
  items: 'usize',
});

/** A captured tensor, of words of 32 bits; `outside` is what an index outside finds. */
export const MapTensor = struct({ address: 'usize', size: 'usize', outside: 'i32' });

/** What one function is applied to: followed by its operands, and then for each axis the extent and the inputs' strides. */
export const MapItem = struct({ pastTask: 'i32', size: 'usize', axes: 'usize', bytes: 'usize' });

/** A tensor: i32 goes by the code of f32, as it is words that are loaded. */
export const MapOperand = struct({ address: 'usize', dtype: 'i32' });
