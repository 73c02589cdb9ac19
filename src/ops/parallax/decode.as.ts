/** Parallax of few queries: a group is two rows of q, then those of r, whose weights are those of q's times r's products. */
import { layOutQuery } from '../attention/decode/decode.as';
import { DECODE_BYTES as END, fours, groupsOf, partBytes, VALUE_ROWS } from '../attention/decode/memory.as';
import { addSplits, dot, scaleRow } from '../attention/decode/merge.as';
import { divideSums } from '../attention/forward/exceptional.as';
import { DecodeParams } from '../attention/params.generated.as';
import { Forward } from './params.generated.as';
import { storeRow } from '../../runtime/wasm/assembly/storage.as';
import { F32 } from '../../runtime/cpu/params.generated.as';

export const DECODE_BYTES: usize = END + 16;

@inline
function own(p: DecodeParams): Forward {
  return changetype<Forward>(changetype<usize>(p) + DecodeParams.BYTES);
}

/** attention/decode/hook.as.ts says what its methods are for. */
@unmanaged
export class DecodeTilt {
  level: f64;

  @inline get hasScores(): bool { return false; }
  @inline get queries(): i32 { return 2; }
  @inline get passes(): i32 { return 3; }

  layOut(p: DecodeParams, batch: i32, query: i32, head: i32, to: usize, buffer: usize): void {
    layOutQuery(own(p).r, batch, query, head, p.d, 1, to + 32, buffer);
  }

  @inline scoresOf(all: v128): v128 { return v128.shuffle<f32>(all, all, 0, 1, 0, 1); }
  @inline hides(rows: v128): v128 { return v128.and(rows, i64x2(-1, 0)); }
  @inline weigh(weights: v128, all: v128): v128 { return f32x4.mul(weights, v128.shuffle<f32>(all, f32x4.splat(1), 4, 5, 2, 3)); }

  @inline isExceptional(exceptional: usize): bool { return i32.load(exceptional, 8) != 0; }

  mergeRow(p: DecodeParams, at: usize, first: usize, past: usize, lane: usize, maximum: f32, inverse: f32, row: usize, scratch: usize): bool {
    const columns = fours(p.e);
    const tilted = scratch + VALUE_ROWS;
    const step = <usize>groupsOf<DecodeTilt>(p) * partBytes(p);
    // The maxima of r's rows are those of q's.
    const level: f32 = inverse * addSplits(p, first, past, step, lane + 8, maximum, tilted);
    const isOrdinary = scaleRow(tilted, columns, inverse);
    storeMeans(p, at, row, level);
    for (let c: usize = 0; c < <usize>columns << 4; c += 16) {
      v128.store(row + c, f32x4.sub(f32x4.mul(v128.load(row + c), f32x4.splat(1 + level)), v128.load(tilted + c)));
    }
    return isOrdinary;
  }

  beginPass(p: DecodeParams, pass: i32, at: usize, sums: usize, total: f64, seesAny: bool, row: usize): void {
    if (pass == 0) this.level = 0;
    if (pass < 2) return;
    this.level = seesAny ? this.level / total : 0;
    divideSums(sums, seesAny ? total : 1, p.e, row);
    storeMeans(p, at, row, <f32>this.level);
    memory.fill(sums, 0, <usize>p.e << 3);
  }

  exactWeight(p: DecodeParams, pass: i32, weight: f64, batch: i32, i: i32, head: i32, key: i32): f64 {
    const product = dot(p, own(p).r, batch, head, i, key);
    if (pass == 2) return weight * (1 + this.level - product);
    this.level += weight * product;
    return weight;
  }
}

/** What the backward pass wants of a row, if there is to be one. */
function storeMeans(p: DecodeParams, at: usize, row: usize, level: f32): void {
  if (!own(p).mean) return;
  storeRow(row, own(p).mean + at * (<usize>p.e << 2), F32, p.e);
  f32.store(own(p).level + (at << 2), level);
}
