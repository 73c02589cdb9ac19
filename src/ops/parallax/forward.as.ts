/** Parallax's forward pass: a block's weights are multiplied with a second product of its keys, and both go over the values. */
import { flagsOf, isSeen, patternAt, Segment, SEGMENT_BYTES } from '../attention/blocks.as';
import { rowOfSlices, scaleRows, fillScores, weighValues } from '../attention/forward/block.as';
import { divideSums, dot } from '../attention/forward/exceptional.as';
import { AFTER_HOOKS, LAYOUT, SCORES, SEGMENTS } from '../attention/forward/memory.as';
import { packedKeysOf, packedValuesOf, panelStep, sliceStep, slicesOf } from '../attention/forward/pack.as';
import { BLOCK_PANELS, ForwardParams } from '../attention/params.generated.as';
import { Forward } from './params.generated.as';
import { layOutTile, rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { tiltedProduct } from '../../runtime/wasm/assembly/product.as';
import { storeRow } from '../../runtime/wasm/assembly/storage.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { F32, LARGEST_HEAD, PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';

// Memory of a tile, behind the level of a row:
const SUMS: usize = 16; // of the tilted weights, [24]
const PROBES: usize = SUMS + TILE * 4; // r, [3 slices][d][8]
const RESULT: usize = PROBES + TILE * LARGEST_HEAD * 4; // the sums of tilted values, [slices of e][24][8]
// and of all tiles: weights times the products of keys with r, [336 keys][24].
const TILTED: usize = AFTER_HOOKS;
export const FORWARD_BYTES: usize = TILTED + <usize>(BLOCK_PANELS * PANEL * TILE * 4);

@inline
function own(f: ForwardParams): Forward {
  return changetype<Forward>(changetype<usize>(f) + ForwardParams.BYTES);
}

/** attention/forward/hook.as.ts says what its methods are for. */
@unmanaged
export class ForwardTilt {
  level: f64;

  @inline get hasScores(): bool { return false; }
  @inline get hasOwnWeights(): bool { return false; }
  @inline together(f: ForwardParams): i32 { return 1; }
  @inline weigh(f: ForwardParams, place: i32, segments: i32, panels: i32, rows: i32, tile: usize, scratch: usize): void {}
  @inline exceptionalRow(f: ForwardParams, place: i32, r: i32, tile: usize, scratch: usize): void {}
  @inline get passes(): i32 { return 3; }

  open(f: ForwardParams, batch: i32, head: i32, first: i32, rows: i32, keyNorm: f32, scratch: usize): f32 {
    const p = f.problem;
    const mine = changetype<usize>(this);
    const norm = layOutTile(own(f).r, batch, head, p.queries, p.n, p.d, first, rows, 1, mine + PROBES, scratch + LAYOUT);
    const product: f32 = sqrt(norm) * sqrt(keyNorm);
    memory.fill(mine + SUMS, 0, TILE * 4);
    memory.fill(mine + RESULT, 0, <usize>(slicesOf(p) * SLICE * TILE * 4));
    return product > 1 || product != product ? product : 1;
  }

  addBlock(f: ForwardParams, place: i32, segments: i32, rows: i32, tile: usize, scratch: usize): void {
    const values = packedValuesOf(f, place, scratch);
    this.tilt(f, place, segments, rows, scratch);
    weighValues(values, sliceStep(f), panelStep(f), slicesOf(f.problem), rows, scratch + TILTED, changetype<usize>(this) + RESULT, scratch);
  }

  /** Weights of a block times the products of its keys with r, and their sums. */
  tilt(f: ForwardParams, place: i32, segments: i32, rows: i32, scratch: usize): void {
    const p = f.problem;
    const d = p.d;
    const keys = packedKeysOf(f, place, scratch);
    const panelBytes = <usize>(d * PANEL * 4);
    let offset: usize = 0;
    for (let at: i32 = 0; at < segments; at++) {
      const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
      const flags = flagsOf(patternAt(p, segment.pattern));
      let panel = keys + <usize>segment.first * panelBytes;
      for (const past = keys + <usize>segment.past * panelBytes; panel < past; panel += panelBytes) {
        for (let s: i32 = 0; s * SLICE < rows; s++) {
          const probes = changetype<usize>(this) + PROBES + <usize>s * (<usize>d << 5);
          const lane = <usize>s << 5;
          const to = scratch + TILTED + offset + lane;
          const weights = scratch + SCORES + offset + lane;
          if (isSeen(flags, s)) tiltedProduct(panel, probes, d, to, changetype<usize>(this) + SUMS + lane, weights);
          else fillScores(to, 0);
        }
        offset += PANEL * TILE * 4;
      }
    }
  }

  rescale(row: i32, slices: i32, factor: v128): void {
    const sums = changetype<usize>(this) + SUMS + (<usize>row << 2);
    v128.store(sums, f32x4.mul(v128.load(sums), factor));
    scaleRows(changetype<usize>(this) + RESULT + <usize>(row * SLICE * 4), slices, factor);
  }

  finishRow(f: ForwardParams, r: i32, at: usize, sums: usize, slices: i32, inverse: f32, to: usize, scratch: usize): void {
    const level = f32.load(changetype<usize>(this) + SUMS + (<usize>r << 2)) * inverse;
    rowOfSlices(sums, slices, inverse, scratch + LAYOUT);
    storeMeans(f, at, scratch + LAYOUT, level);
    rowOfSlices(sums, slices, inverse * (1 + level), to);
    addSlices(changetype<usize>(this) + RESULT + (<usize>r << 5), slices, -inverse, to);
  }

  beginPass(f: ForwardParams, pass: i32, at: usize, sums: usize, total: f64, seesAny: bool, row: usize): void {
    if (pass == 0) this.level = 0;
    if (pass < 2) return;
    const e = f.problem.e;
    this.level /= total;
    divideSums(sums, seesAny ? total : 1, e, row);
    storeMeans(f, at, row, seesAny ? <f32>this.level : 0);
    memory.fill(sums, 0, <usize>e << 3);
  }

  exactWeight(f: ForwardParams, pass: i32, weight: f64, batch: i32, i: i32, head: i32, key: usize): f64 {
    const r = own(f).r;
    const product = dot(r, rowAddress(r, batch, i, head), f.problem.k, key, f.problem.d);
    if (pass == 2) return weight * (1 + this.level - product);
    this.level += weight * product;
    return weight;
  }
}

/** What the backward pass wants of a row. */
function storeMeans(f: ForwardParams, at: usize, row: usize, level: f32): void {
  const e = f.problem.e;
  storeRow(row, own(f).mean + at * (<usize>e << 2), F32, e);
  f32.store(own(f).level + (at << 2), level);
}

/** Adds eight columns of each slice [24][8], times a factor, to a row. */
function addSlices(from: usize, slices: i32, factor: f32, to: usize): void {
  const scale = f32x4.splat(factor);
  for (let s: i32 = 0; s < slices; s++, from += TILE * SLICE * 4, to += 32) {
    v128.store(to, madd(v128.load(from), scale, v128.load(to)));
    v128.store(to, madd(v128.load(from, 16), scale, v128.load(to, 16)), 16);
  }
}
