/** Where another op joins in the backward pass. */
import { BackwardParams } from '../params.generated.as';
import { addBlock } from './block.as';
import { Part } from './memory.as';

/** What attention does; as for the forward pass, another op has the kernels compiled for a class of its own. */
@unmanaged
export class BackwardHook {
  /** Whether scores may have a modifier. */
  @inline get hasScores(): bool { return true; }
  /** Panels, from the first on, of which each part and each block of keys takes whole groups. */
  @inline together(f: BackwardParams): i32 { return 1; }
  /** The factor on gradients of queries and keys that is left for the end. */
  @inline factor(f: BackwardParams): f32 { return <f32>f.problem.scale; }

  /** Before a pair of tiles meets its first block. */
  @inline startPair(d: i32): void {}

  /** Lays out what it needs of a pair of tiles. */
  @inline openPair(f: BackwardParams, t: Part, tiles: i32, scratch: usize): void {}

  /** What it needs of row `row` of the pair: `query`, number `at` in [b, n, h], or -1. */
  @inline openRow(f: BackwardParams, t: Part, row: usize, query: i32, at: usize, delta: f32, scratch: usize): void {}

  @inline addBlock(f: BackwardParams, t: Part, segments: i32, scratch: usize): void { addBlock(f, t, segments, scratch); }

  /** Stores its sums of a pair, `place` bytes on in those of all parts, as the queries' gradients are. */
  @inline storePair(f: BackwardParams, place: usize, rows: i32, scratch: usize): void {}
}
