/**
 * Convolutions of many groups of few channels, such as each channel on its own. A vector has one channel of four groups. A task
 * copies the part of x that it needs, with zeros beyond the edges, so that neighbours lie side by side whatever the layout; then
 * some results of a row stay in registers while the taps pass.
 */
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { REGISTER_BYTES } from '../map/program.as';
import { ConvAxis, ConvParams, KERNEL_VECTORS, PICTURE_VECTORS, RESULT_VECTORS } from './params.generated.as';
import {
  finish,
  gathered,
  offsetOf,
  packPixels,
  placeOf,
  resultsOf,
  storeRow,
  strips,
  tapCount,
  tapsOf,
} from './shared.as';

// Working memory: taps of the kernels, a part of the pictures, results, taps that meet some results and their places, and what
// the epilogue needs.
const PICTURE: usize = <usize>KERNEL_VECTORS * 16;
const RESULTS: usize = PICTURE + <usize>PICTURE_VECTORS * 16;
const CHOSEN: usize = RESULTS + <usize>RESULT_VECTORS * 16;
const PLACES: usize = CHOSEN + <usize>KERNEL_VECTORS * 16;
const POINTERS: usize = PLACES + <usize>KERNEL_VECTORS * 4;
const REGISTERS: usize = POINTERS + 16;
export const GROUPED_BYTES: usize = REGISTERS + REGISTER_BYTES;

/** A task is a tile of the results of one phase, of one channel of four groups of a picture. */
export function convGrouped(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ConvParams>(params);
  const xTiles = strips(resultsOf(p.x, 0), p.x.tile);
  const yTiles = strips(resultsOf(p.y, 0), p.y.tile);
  let rest = task;
  const xPhase = rest % p.x.up;
  rest /= p.x.up;
  const left = (rest % xTiles) * p.x.tile;
  rest /= xTiles;
  const yPhase = rest % p.y.up;
  rest /= p.y.up;
  const top = (rest % yTiles) * p.y.tile;
  rest /= yTiles;
  const z = rest % p.z.results;
  rest /= p.z.results;
  const quads = strips(p.groups, 4);
  const group = (rest % quads) << 2;
  rest /= quads;
  const output = rest % p.outputs;
  const picture = rest / p.outputs;

  const columns = min(p.x.tile, resultsOf(p.x, xPhase) - left);
  const rows = min(p.y.tile, resultsOf(p.y, yPhase) - top);
  if (columns <= 0 || rows <= 0) return;
  const lanes = min(4, p.groups - group);
  const pitch = strips(columns, p.width) * p.width;
  begin(p, group, output, lanes, rows * pitch, scratch + RESULTS);

  const zTaps = tapsOf(p.z, z % p.z.up);
  const zCount = tapCount(p.z, z % p.z.up);
  const yTaps = tapsOf(p.y, yPhase);
  const yCount = tapCount(p.y, yPhase);
  const xTaps = tapsOf(p.x, xPhase);
  const xCount = tapCount(p.x, xPhase);
  const from = p.from + <usize>picture * p.fromBatch + <usize>group * p.fromGroup;
  const weight = p.weight + <usize>group * p.weightGroup + <usize>output * p.weightOutput;
  for (let input: i32 = 0; input < p.inputs; input++) {
    for (let zTap: i32 = 0; zTap < zCount; zTap++) {
      const slice = (z / p.z.up) * p.z.stride + offsetOf(zTaps, zTap);
      if (slice < 0 || slice >= p.z.extent) continue;
      const plane = from + <usize>input * p.fromInput + <usize>slice * p.z.from;
      const kernel = weight + <usize>input * p.weightInput + <usize>placeOf(zTaps, zTap) * p.z.weight;
      for (let y: i32 = 0; y < yCount; y += p.y.chunk) {
        const pastY = min(y + p.y.chunk, yCount);
        const firstRow = max(0, top * p.y.stride + offsetOf(yTaps, y));
        const pastRow = min(p.y.extent, (top + rows - 1) * p.y.stride + offsetOf(yTaps, pastY - 1) + 1);
        if (firstRow >= pastRow) continue;
        for (let x: i32 = 0; x < xCount; x += p.x.chunk) {
          const pastX = min(x + p.x.chunk, xCount);
          packTaps(kernel, p.weightGroup, lanes, yTaps, y, pastY, p.y.weight, xTaps, x, pastX, p.x.weight, scratch);
          // Tiles of a row may reach beyond the last result.
          const firstColumn = left * p.x.stride + offsetOf(xTaps, x);
          const length = pitch + (offsetOf(xTaps, pastX - 1) - offsetOf(xTaps, x)) / p.x.stride + 1;
          let to = scratch + PICTURE;
          const rowBytes = <usize>(length * p.x.stride) << 4;
          for (let row = firstRow; row < pastRow; row++, to += rowBytes)
            packRow(plane + <usize>row * p.y.from, p, lanes, firstColumn, length, to);
          addTaps(p, scratch, top, rows, left, pitch, yTaps, y, pastY, firstRow, pastRow, length, xTaps, x, pastX);
        }
      }
    }
  }

  const results = scratch + RESULTS;
  finish(p.program, params + ConvParams.BYTES, results, rows * pitch, scratch + POINTERS, scratch + REGISTERS);
  const to =
    p.to +
    <usize>picture * p.toBatch +
    <usize>group * p.toGroup +
    <usize>output * p.toOutput +
    <usize>z * p.z.to +
    <usize>(top * p.y.up + yPhase) * p.y.to +
    <usize>(left * p.x.up + xPhase) * p.x.to;
  for (let row: i32 = 0; row < rows; row++)
    storeRow(results + (<usize>(row * pitch) << 4), columns, lanes, to + <usize>(row * p.y.up) * p.y.to, <usize>p.x.up * p.x.to, p.toGroup);
}

/** Results begin as the bias. */
function begin(p: ConvParams, group: i32, output: i32, lanes: i32, count: i32, to: usize): void {
  let bias = f32x4.splat(0);
  if (p.bias) bias = gathered(p.bias + (<usize>(group * p.outputs + output) << 2), <usize>p.outputs << 2, lanes);
  for (const past = to + (<usize>count << 4); to < past; to += 16) v128.store(to, bias);
}

/** Some taps side by side. Mostly they lie so, forwards or, in gradients with respect to x, backwards. */
function packTaps(
  kernel: usize,
  step: usize,
  lanes: i32,
  yTaps: usize,
  y: i32,
  pastY: i32,
  yStep: usize,
  xTaps: usize,
  x: i32,
  pastX: i32,
  xStep: usize,
  to: usize,
): void {
  const across = pastX - x;
  const down = pastY - y;
  const left = placeOf(xTaps, x);
  const right = placeOf(xTaps, pastX - 1);
  const top = placeOf(yTaps, y);
  const bottom = placeOf(yTaps, pastY - 1);
  const isForward = right - left == across - 1;
  const isBackward = left - right == across - 1;
  const isWhole = yStep == <usize>across * xStep && across > 1;
  if (isWhole && isForward && bottom - top == down - 1) {
    packPixels(kernel + <usize>top * yStep + <usize>left * xStep, xStep, step, lanes, across * down, to, 16);
    return;
  }
  if (isWhole && isBackward && top - bottom == down - 1) {
    const last = to + (<usize>(across * down - 1) << 4);
    packPixels(kernel + <usize>bottom * yStep + <usize>right * xStep, xStep, step, lanes, across * down, last, -16);
    return;
  }
  for (let v = y; v < pastY; v++) {
    const row = kernel + <usize>placeOf(yTaps, v) * yStep;
    if (isForward) {
      packPixels(row + <usize>left * xStep, xStep, step, lanes, across, to, 16);
      to += <usize>across << 4;
    } else if (isBackward) {
      to += <usize>across << 4;
      packPixels(row + <usize>right * xStep, xStep, step, lanes, across, to - 16, -16);
    } else {
      for (let u = x; u < pastX; u++, to += 16) v128.store(to, gathered(row + <usize>placeOf(xTaps, u) * xStep, step, lanes));
    }
  }
}

/** A row of x from a column on, zeros beyond the edges: columns that are a stride apart lie side by side, `length` of them. */
function packRow(row: usize, p: ConvParams, lanes: i32, first: i32, length: i32, to: usize): void {
  const stride = p.x.stride;
  const extent = p.x.extent;
  const step = <usize>stride * p.x.from;
  for (let phase: i32 = 0; phase < stride; phase++, to += <usize>length << 4) {
    const column = first + phase;
    const begin = min(length, column < 0 ? strips(-column, stride) : 0);
    const end = max(begin, min(length, column < extent ? strips(extent - column, stride) : 0));
    memory.fill(to, 0, <usize>begin << 4);
    memory.fill(to + (<usize>end << 4), 0, <usize>(length - end) << 4);
    packPixels(row + <usize>(column + begin * stride) * p.x.from, step, p.fromGroup, lanes, end - begin, to + (<usize>begin << 4), 16);
  }
}

/**
 * Where the taps of some rows, from column `first` up to `past`, lie in what `packRow` made of the rows, in bytes, and these
 * taps side by side.
 */
function placeTaps(
  yTaps: usize,
  y: i32,
  pastY: i32,
  rowBytes: usize,
  xTaps: usize,
  x: i32,
  pastX: i32,
  first: i32,
  past: i32,
  stride: i32,
  length: i32,
  scratch: usize,
): void {
  const offset = offsetOf(xTaps, x);
  let place = scratch + PLACES;
  let tap = scratch + CHOSEN;
  for (let v = y; v < pastY; v++) {
    const row = offsetOf(yTaps, v) * <i32>rowBytes;
    let from = scratch + (<usize>((v - y) * (pastX - x) + first - x) << 4);
    for (let u = first; u < past; u++, place += 4, tap += 16, from += 16) {
      const column = offsetOf(xTaps, u) - offset;
      i32.store(place, row + (((column % stride) * length + column / stride) << 4));
      v128.store(tap, v128.load(from));
    }
  }
}

/** Adds the products of some taps to the results. */
function addTaps(
  p: ConvParams,
  scratch: usize,
  top: i32,
  rows: i32,
  left: i32,
  pitch: i32,
  yTaps: usize,
  y: i32,
  pastY: i32,
  firstRow: i32,
  pastRow: i32,
  length: i32,
  xTaps: usize,
  x: i32,
  pastX: i32,
): void {
  const width = p.width;
  const stride = p.x.stride;
  const rowBytes = <usize>(length * stride) << 4;
  let firstBefore: i32 = 0;
  let pastBefore: i32 = 0;
  for (let column: i32 = 0; column < pitch; column += width) {
    // Taps that meet nothing but zeros are left out.
    const begin = (left + column) * stride;
    let first = x;
    let past = pastX;
    while (first < past && begin + (width - 1) * stride + offsetOf(xTaps, first) < 0) first++;
    while (first < past && begin + offsetOf(xTaps, past - 1) >= p.x.extent) past--;
    if (first == past) continue;
    if (first != firstBefore || past != pastBefore)
      placeTaps(yTaps, y, pastY, rowBytes, xTaps, x, pastX, first, past, stride, length, scratch);
    firstBefore = first;
    pastBefore = past;
    const count = past - first;
    const picture = scratch + PICTURE + (<usize>column << 4) - <usize>firstRow * rowBytes;
    let results = scratch + RESULTS + (<usize>column << 4);
    for (let row: i32 = 0; row < rows; row++, results += <usize>pitch << 4) {
      const from = (top + row) * p.y.stride;
      let v = y;
      while (v < pastY && from + offsetOf(yTaps, v) < firstRow) v++;
      let pastV = pastY;
      while (v < pastV && from + offsetOf(yTaps, pastV - 1) >= pastRow) pastV--;
      const at = picture + <usize>from * rowBytes;
      const places = scratch + PLACES + (<usize>((v - y) * count) << 2);
      const pastPlaces = scratch + PLACES + (<usize>((pastV - y) * count) << 2);
      const taps = scratch + CHOSEN + (<usize>((v - y) * count) << 4);
      if (width == 8) eight(results, at, taps, places, pastPlaces);
      else if (width == 7) seven(results, at, taps, places, pastPlaces);
      else if (width == 6) six(results, at, taps, places, pastPlaces);
      else if (width == 5) five(results, at, taps, places, pastPlaces);
      else if (width == 4) four(results, at, taps, places, pastPlaces);
      else three(results, at, taps, places, pastPlaces);
    }
  }
}

// Functions of their own, so that each has its results in registers.
function eight(to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  add(8, to, at, taps, places, pastPlaces);
}
function seven(to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  add(7, to, at, taps, places, pastPlaces);
}
function six(to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  add(6, to, at, taps, places, pastPlaces);
}
function five(to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  add(5, to, at, taps, places, pastPlaces);
}
function four(to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  add(4, to, at, taps, places, pastPlaces);
}
function three(to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  add(3, to, at, taps, places, pastPlaces);
}

/** `width` neighbouring results += taps times what lies at their places from `at` on. `width` is a constant. */
@inline
function add(width: i32, to: usize, at: usize, taps: usize, places: usize, pastPlaces: usize): void {
  let a = v128.load(to);
  let b = v128.load(to, 16);
  let c = v128.load(to, 32);
  let d = width > 3 ? v128.load(to, 48) : a;
  let e = width > 4 ? v128.load(to, 64) : a;
  let f = width > 5 ? v128.load(to, 80) : a;
  let g = width > 6 ? v128.load(to, 96) : a;
  let h = width > 7 ? v128.load(to, 112) : a;
  for (; places < pastPlaces; places += 4, taps += 16) {
    const x = at + <usize>i32.load(places);
    const w = v128.load(taps);
    a = madd(v128.load(x), w, a);
    b = madd(v128.load(x, 16), w, b);
    c = madd(v128.load(x, 32), w, c);
    if (width > 3) d = madd(v128.load(x, 48), w, d);
    if (width > 4) e = madd(v128.load(x, 64), w, e);
    if (width > 5) f = madd(v128.load(x, 80), w, f);
    if (width > 6) g = madd(v128.load(x, 96), w, g);
    if (width > 7) h = madd(v128.load(x, 112), w, h);
  }
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to, c, 32);
  if (width > 3) v128.store(to, d, 48);
  if (width > 4) v128.store(to, e, 64);
  if (width > 5) v128.store(to, f, 80);
  if (width > 6) v128.store(to, g, 96);
  if (width > 7) v128.store(to, h, 112);
}
