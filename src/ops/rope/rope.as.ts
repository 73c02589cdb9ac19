/** Rotary position embeddings; tasks are runs of rows, whose cosines and sines serve all heads. */
import { cosineOfRest, sineOfRest } from '../../runtime/wasm/assembly/functions.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { F32, LARGEST_HEAD } from '../../runtime/cpu/params.generated.as';
import { RopeParams } from './params.generated.as';

const ROW: usize = LARGEST_HEAD << 2;
/** Cosines and sines, and a row as f32. */
export const SCRATCH_BYTES: usize = 2 * ROW;

export function rope(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RopeParams>(params);
  const columns = p.columns;
  const pairs = p.pairs;
  const rotated = pairs << 1;
  const interleaved = p.interleaved;
  const x = p.x;
  const dtype = x.dtype;
  const element = x.element;
  const bytes = bytesOf(dtype);
  const buffer = scratch + ROW;
  const cosines = scratch;
  const sines = scratch + (ROW >> 1);
  let out = p.out.address + <usize>(task * p.rowsOfTask) * <usize>p.heads * <usize>columns * bytes;
  const last = min((task + 1) * p.rowsOfTask, p.rows);
  for (let r = task * p.rowsOfTask; r < last; r++) {
    const i = r % p.rowsOfBatch;
    const position = p.positions != 0 ? i32.load(p.positions + (<usize>(r % p.places) << 2)) : p.offset + i;
    anglesOf(position, params + RopeParams.BYTES, pairs, p.cosine, p.sine, cosines, sines);
    let from = x.address + (<usize>(r / p.rowsOfBatch) * x.batch + <usize>i * x.row) * bytes;
    for (let h = 0; h < p.heads; h++) {
      const direct = dtype == F32;
      const to = direct ? out : buffer;
      const row = loadRow(from, element, dtype, columns, to);
      if (interleaved) turnNeighbours(row, to, pairs, cosines, sines);
      else turnHalves(row, to, pairs, cosines, sines);
      if (row != to && rotated < columns) memory.copy(to + (<usize>rotated << 2), row + (<usize>rotated << 2), <usize>(columns - rotated) << 2);
      if (!direct) storeRow(buffer, out, dtype, columns);
      from += x.head * bytes;
      out += <usize>columns * bytes;
    }
  }
}

/** Angles in float64, since their rest is what is left of many turns. */
function anglesOf(
  position: i32,
  quarters: usize,
  pairs: i32,
  cosine: f64,
  sine: f64,
  cosines: usize,
  sines: usize,
): void {
  const at = f64x2.splat(<f64>position);
  // Adding it rounds to an integer, which then stands in the low bits.
  const magic = f64x2.splat(6755399441055744);
  const quarter = f32x4.splat(1.5707964);
  const cosine4 = f32x4.splat(<f32>cosine);
  const sine4 = f32x4.splat(<f32>sine);
  const one = i32x4.splat(1);
  const two = i32x4.splat(2);
  // The last four may reach past the pairs, into what nobody reads.
  for (let j: usize = 0; j < <usize>pairs; j += 4) {
    const low = f64x2.mul(at, v128.load(quarters + (j << 3)));
    const high = f64x2.mul(at, v128.load(quarters + (j << 3), 16));
    const wholeLow = f64x2.add(low, magic);
    const wholeHigh = f64x2.add(high, magic);
    const restLow = f32x4.demote_f64x2_zero(f64x2.sub(low, f64x2.sub(wholeLow, magic)));
    const restHigh = f32x4.demote_f64x2_zero(f64x2.sub(high, f64x2.sub(wholeHigh, magic)));
    const rest = f32x4.mul(v128.shuffle<f32>(restLow, restHigh, 0, 1, 4, 5), quarter);
    const quadrant = v128.shuffle<i32>(wholeLow, wholeHigh, 0, 2, 4, 6);
    const s = sineOfRest(rest);
    const c = cosineOfRest(rest);
    const odd = i32x4.eq(v128.and(quadrant, one), one);
    const cosineSign = i32x4.shl(v128.and(i32x4.add(quadrant, one), two), 30);
    const sineSign = i32x4.shl(v128.and(quadrant, two), 30);
    v128.store(cosines + (j << 2), f32x4.mul(cosine4, v128.xor(v128.bitselect(s, c, odd), cosineSign)));
    v128.store(sines + (j << 2), f32x4.mul(sine4, v128.xor(v128.bitselect(c, s, odd), sineSign)));
  }
}

/** Pairs of elements j and j + pairs. */
function turnHalves(x: usize, out: usize, pairs: i32, cosines: usize, sines: usize): void {
  const half = <usize>pairs << 2;
  let at: usize = 0;
  for (; at + 16 <= half; at += 16) {
    const a = v128.load(x + at);
    const b = v128.load(x + half + at);
    const c = v128.load(cosines + at);
    const s = v128.load(sines + at);
    v128.store(out + at, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(out + half + at, madd(b, c, f32x4.mul(a, s)));
  }
  for (; at < half; at += 4) turnPair(x + at, x + half + at, out + at, out + half + at, cosines + at, sines + at);
}

/** Pairs of elements 2 j and 2 j + 1. */
function turnNeighbours(x: usize, out: usize, pairs: i32, cosines: usize, sines: usize): void {
  const half = <usize>pairs << 2;
  let at: usize = 0;
  for (; at + 16 <= half; at += 16) {
    const first = v128.load(x + (at << 1));
    const second = v128.load(x + (at << 1), 16);
    const a = v128.shuffle<f32>(first, second, 0, 2, 4, 6);
    const b = v128.shuffle<f32>(first, second, 1, 3, 5, 7);
    const c = v128.load(cosines + at);
    const s = v128.load(sines + at);
    const turnedA = f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s));
    const turnedB = madd(b, c, f32x4.mul(a, s));
    v128.store(out + (at << 1), v128.shuffle<f32>(turnedA, turnedB, 0, 4, 1, 5));
    v128.store(out + (at << 1), v128.shuffle<f32>(turnedA, turnedB, 2, 6, 3, 7), 16);
  }
  for (; at < half; at += 4) {
    const a = x + (at << 1);
    const to = out + (at << 1);
    turnPair(a, a + 4, to, to + 4, cosines + at, sines + at);
  }
}

@inline
function turnPair(a: usize, b: usize, outA: usize, outB: usize, cosine: usize, sine: usize): void {
  const s = f32.load(a);
  const t = f32.load(b);
  const cos = f32.load(cosine);
  const sin = f32.load(sine);
  f32.store(outA, s * cos - t * sin);
  f32.store(outB, t * cos + s * sin);
}
