/** Where another op joins in attention of few queries. */
import { DecodeParams } from '../params.generated.as';

/** What attention does; as for the forward pass, another op has the kernels compiled for a class of its own. */
@unmanaged
export class DecodeHook {
  /** Whether scores may have a modifier. */
  @inline get hasScores(): bool { return true; }
  /** Queries in a group of four rows. */
  @inline get queries(): i32 { return 4; }
  /** Passes over the keys of an exceptional row: for the largest score, for the sums, and perhaps more. */
  @inline get passes(): i32 { return 2; }

  /** Lays out other rows of a query's group, which is at `to`. */
  @inline layOut(p: DecodeParams, batch: i32, query: i32, head: i32, to: usize, buffer: usize): void {}

  /** The scores that the weights of a group's rows follow from, of all its scores of a key. */
  @inline scoresOf(all: v128): v128 { return all; }
  /** The rows that a key may be hidden from, among those whose scores hide it. */
  @inline hides(rows: v128): v128 { return rows; }
  /** The weights of a key in the rows, from those of its scores and all its scores. */
  @inline weigh(weights: v128, all: v128): v128 { return weights; }

  /** Whether other rows of a group met what float32 cannot do; `exceptional` has all ones where a row did. */
  @inline isExceptional(exceptional: usize): bool { return false; }
  /** Changes a merged row, number `at` in [b, n, h], by other rows of its group; returns whether float32 did for these. */
  @inline mergeRow(p: DecodeParams, at: usize, first: usize, past: usize, lane: usize, maximum: f32, inverse: f32, row: usize, scratch: usize): bool { return true; }

  /** Before a pass over an exceptional row's keys, from what those before it have summed. */
  @inline beginPass(p: DecodeParams, pass: i32, at: usize, sums: usize, total: f64, seesAny: bool, row: usize): void {}
  /** The weight of a key of an exceptional row in a pass. */
  @inline exactWeight(p: DecodeParams, pass: i32, weight: f64, batch: i32, i: i32, head: i32, key: i32): f64 { return weight; }
}
