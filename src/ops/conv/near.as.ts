/**
 * Convolutions of each channel by 3 x 3 neighbouring taps, where channels lie side by side. A task goes down some rows of results
 * of a few vectors of channels, which are a cache line: it copies each row of x once, with zeros around, and along a row the taps
 * of a vector stay in registers.
 */
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { REGISTER_BYTES } from '../map/program.as';
import { ConvParams, NEAR_COLUMNS, NEAR_VECTORS } from './params.generated.as';
import { finish, gathered, offsetOf, placeOf, strips, tapsOf } from './shared.as';

const PIXEL: usize = <usize>NEAR_VECTORS << 4;

// Working memory: the taps and the bias of each vector, three rows of x, a row of results, and what the epilogue needs.
const TAPS: usize = 9 * 16;
const BIAS: usize = <usize>NEAR_VECTORS * TAPS;
const ROWS: usize = BIAS + PIXEL;
const ROW: usize = <usize>(NEAR_COLUMNS + 2) * PIXEL;
const RESULTS: usize = ROWS + 3 * ROW;
const POINTERS: usize = RESULTS + <usize>NEAR_COLUMNS * PIXEL;
const REGISTERS: usize = POINTERS + 16;
export const NEAR_BYTES: usize = REGISTERS + REGISTER_BYTES;

/** A task is a tile of the results of some channels of a picture. */
export function convNear(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ConvParams>(params);
  const blocks = strips(p.groups, 4 * NEAR_VECTORS);
  let rest = task;
  const group = (rest % blocks) * 4 * NEAR_VECTORS;
  rest /= blocks;
  const xTiles = strips(p.x.results, p.x.tile);
  const left = (rest % xTiles) * p.x.tile;
  rest /= xTiles;
  const yTiles = strips(p.y.results, p.y.tile);
  const top = (rest % yTiles) * p.y.tile;
  const picture = rest / yTiles;

  const vectors = min(NEAR_VECTORS, (p.groups - group) >> 2);
  const columns = min(p.x.tile, p.x.results - left);
  const past = min(top + p.y.tile, p.y.results);
  const yTaps = tapsOf(p.y, 0);
  const xTaps = tapsOf(p.x, 0);
  for (let vector: i32 = 0; vector < vectors; vector++) {
    const channel = group + 4 * vector;
    const weight = p.weight + <usize>channel * p.weightGroup;
    for (let row: i32 = 0; row < 3; row++)
      for (let column: i32 = 0; column < 3; column++) {
        const tap = weight + <usize>placeOf(yTaps, row) * p.y.weight + <usize>placeOf(xTaps, column) * p.x.weight;
        v128.store(scratch + <usize>vector * TAPS + (<usize>(3 * row + column) << 4), gathered(tap, p.weightGroup, 4));
      }
    const bias = p.bias ? gathered(p.bias + (<usize>channel << 2), 4, 4) : f32x4.splat(0);
    v128.store(scratch + BIAS + (<usize>vector << 4), bias);
  }

  const from = p.from + <usize>picture * p.fromBatch + (<usize>group << 2);
  const to = p.to + <usize>picture * p.toBatch + (<usize>group << 2) + <usize>left * p.x.to;
  const firstRow = top + offsetOf(yTaps, 0);
  const firstColumn = left + offsetOf(xTaps, 0);
  copyRow(p, from, firstRow, firstColumn, columns + 2, vectors, scratch + ROWS);
  copyRow(p, from, firstRow + 1, firstColumn, columns + 2, vectors, scratch + ROWS + ROW);
  // The three rows take turns.
  let first = scratch + ROWS;
  let second = first + ROW;
  let third = second + ROW;
  for (let row = top; row < past; row++) {
    copyRow(p, from, firstRow + row - top + 2, firstColumn, columns + 2, vectors, third);
    for (let vector: usize = 0; vector < <usize>vectors; vector++) {
      const at = vector << 4;
      alongRow(first + at, second + at, third + at, scratch + vector * TAPS, scratch + BIAS + at, columns, scratch + RESULTS + at);
    }
    const results = scratch + RESULTS;
    finish(p.program, params + ConvParams.BYTES, results, columns * NEAR_VECTORS, scratch + POINTERS, scratch + REGISTERS);
    storePixels(results, columns, vectors, to + <usize>row * p.y.to, p.x.to);
    const free = first;
    first = second;
    second = third;
    third = free;
  }
}

/** Columns of a row of x, zeros beyond its edges. */
function copyRow(p: ConvParams, from: usize, row: i32, first: i32, count: i32, vectors: i32, to: usize): void {
  const isInside = row >= 0 && row < p.y.extent;
  const begin = isInside ? min(count, max(0, -first)) : count;
  const end = max(begin, min(count, p.x.extent - first));
  memory.fill(to, 0, <usize>begin * PIXEL);
  memory.fill(to + <usize>end * PIXEL, 0, <usize>(count - end) * PIXEL);
  let at = from + <usize>row * p.y.from + <usize>(first + begin) * p.x.from;
  let next = to + <usize>begin * PIXEL;
  for (let column = begin; column < end; column++, at += p.x.from, next += PIXEL)
    if (vectors == NEAR_VECTORS) copyPixel(at, next);
    else for (let v: i32 = 0; v < vectors; v++) v128.store(next + (<usize>v << 4), v128.load(at + (<usize>v << 4)));
}

function storePixels(from: usize, columns: i32, vectors: i32, to: usize, step: usize): void {
  for (let column: i32 = 0; column < columns; column++, from += PIXEL, to += step)
    if (vectors == NEAR_VECTORS) copyPixel(from, to);
    else for (let v: i32 = 0; v < vectors; v++) v128.store(to + (<usize>v << 4), v128.load(from + (<usize>v << 4)));
}

@inline
function copyPixel(from: usize, to: usize): void {
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
  v128.store(to, v128.load(from, 48), 48);
}

/** The results of a row, of one vector of channels: what lies in a column meets three results. */
function alongRow(first: usize, second: usize, third: usize, taps: usize, bias: usize, columns: i32, to: usize): void {
  const a = v128.load(taps);
  const b = v128.load(taps, 16);
  const c = v128.load(taps, 32);
  const d = v128.load(taps, 48);
  const e = v128.load(taps, 64);
  const f = v128.load(taps, 80);
  const g = v128.load(taps, 96);
  const h = v128.load(taps, 112);
  const i = v128.load(taps, 128);
  let x = v128.load(first);
  let y = v128.load(second);
  let z = v128.load(third);
  let now = madd(x, a, madd(y, d, madd(z, g, v128.load(bias))));
  x = v128.load(first + PIXEL);
  y = v128.load(second + PIXEL);
  z = v128.load(third + PIXEL);
  now = madd(x, b, madd(y, e, madd(z, h, now)));
  let next = madd(x, a, madd(y, d, madd(z, g, v128.load(bias))));
  for (let column: i32 = 0; column < columns; column++, to += PIXEL) {
    first += PIXEL;
    second += PIXEL;
    third += PIXEL;
    x = v128.load(first + PIXEL);
    y = v128.load(second + PIXEL);
    z = v128.load(third + PIXEL);
    v128.store(to, madd(x, c, madd(y, f, madd(z, i, now))));
    now = madd(x, b, madd(y, e, madd(z, h, next)));
    next = madd(x, a, madd(y, d, madd(z, g, v128.load(bias))));
  }
}
