/** Where another op joins in the forward pass. */
import { ForwardParams } from '../params.generated.as';
import { rowOfSlices } from './block.as';

/**
 * What is done beside attention itself: nothing. The kernels are compiled for a class with these methods, and another op
 * (ops/parallax) compiles them, into a module of its own, for one that does more. `this` is memory of the tile's own,
 * and the op's params lie behind attention's.
 */
@unmanaged
export class ForwardHook {
  /** Whether scores may have a modifier. */
  @inline get hasScores(): bool { return true; }
  /** Whether it makes weights of a block itself (`weigh`, `exceptionalRow`). */
  @inline get hasOwnWeights(): bool { return false; }
  /** Panels, from the first on, of which each block of keys takes whole groups. */
  @inline together(f: ForwardParams): i32 { return 1; }
  /** Weights of a block of keys at SCORES, and what they add to the tile's maxima and sums. */
  @inline weigh(f: ForwardParams, place: i32, segments: i32, panels: i32, rows: i32, own: usize, scratch: usize): void {}
  /** Row r of an exceptional tile. */
  @inline exceptionalRow(f: ForwardParams, place: i32, r: i32, own: usize, scratch: usize): void {}
  /** Passes over the keys of an exceptional row: for the largest score, for the sums, and perhaps more. */
  @inline get passes(): i32 { return 2; }

  /** Opens a tile; returns what the largest value may be multiplied with beside weights. */
  @inline open(f: ForwardParams, batch: i32, head: i32, first: i32, rows: i32, keyNorm: f32, scratch: usize): f32 { return 1; }

  /** After a block's values: its keys' weights are at SCORES, what it consists of at SEGMENTS and STRETCHES. */
  @inline addBlock(f: ForwardParams, place: i32, segments: i32, rows: i32, own: usize, scratch: usize): void {}

  /** Where the maxima of four rows from `row` on have moved. */
  @inline rescale(row: i32, slices: i32, factor: v128): void {}

  /** Row r of the result, number `at` in [b, n, h], from its sums and the inverse of the sum of its weights. */
  @inline finishRow(f: ForwardParams, r: i32, at: usize, sums: usize, slices: i32, inverse: f32, to: usize, scratch: usize): void {
    rowOfSlices(sums, slices, inverse, to);
  }

  /** Before a pass over an exceptional row's keys, from what those before it have summed. */
  @inline beginPass(f: ForwardParams, pass: i32, at: usize, sums: usize, total: f64, seesAny: bool, row: usize): void {}

  /** The weight of a key of an exceptional row in a pass. */
  @inline exactWeight(f: ForwardParams, pass: i32, weight: f64, batch: i32, i: i32, head: i32, key: usize): f64 { return weight; }
}
