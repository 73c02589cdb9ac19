import { Contiguous, Operand } from '../../runtime/cpu/params';
import { struct } from '../../runtime/cpu/struct';

/** After the params: quarter turns a position, for each pair. */
export const RopeParams = struct({
  /** Rows are of a batch; those of all heads are rotated alike. */
  rows: 'i32',
  rowsOfBatch: 'i32',
  rowsOfTask: 'i32',
  heads: 'i32',
  columns: 'i32',
  pairs: 'i32',
  interleaved: 'bool',
  x: Operand,
  out: Contiguous,
  /** The positions of all rows, or of those of a batch, shared by all; without them they follow from the offset. */
  positions: 'tensor',
  places: 'i32',
  offset: 'i32',
  /** What cosines and sines are multiplied by. */
  cosine: 'f64',
  sine: 'f64',
});
