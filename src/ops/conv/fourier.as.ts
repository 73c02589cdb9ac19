/**
 * Convolutions by channel with large kernels, as products of spectra. A vector has one channel of four groups. A task transforms
 * its kernel, then of each picture window by window what the window's results read. Two rows at a time are the real and imaginary
 * parts of complex ones; of their frequencies half are enough, and columns of them are transformed next. Channels never meet, so
 * that large numbers in one cost no accuracy in another. Local ones, along a single axis, transform parts of the taps in the place
 * of rows, and with them what lies on one side of a window; the window itself is direct.
 */
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { REGISTER_BYTES } from '../map/program.as';
import { FourierAxis, FourierParams, SPECTRUM_VECTORS, TRANSFORMS } from './params.generated.as';
import { finish, gathered, packPixels, storeRow, strips } from './shared.as';
import { imaginaryPart, inverse, realPart, transform } from './transforms.as';

// Working memory: the spectrum of the kernel, that of a picture, their products' sum, rows, and what the epilogue needs.
const PICTURE: usize = <usize>SPECTRUM_VECTORS * 16;
const SUM: usize = 2 * PICTURE;
const ROWS: usize = 3 * PICTURE;
const POINTERS: usize = 4 * PICTURE;
const REGISTERS: usize = POINTERS + 16;
export const FOURIER_BYTES: usize = REGISTERS + REGISTER_BYTES;

/** A window of an axis, as in its table. */
@unmanaged
class Window {
  firstResult: i32;
  results: i32;
  firstElement: i32;
  elements: i32;
  elementPlace: i32;
  firstTap: i32;
  taps: i32;
  tapPlace: i32;
}

@inline
function windowOf(axis: FourierAxis, index: i32): Window {
  return changetype<Window>(axis.table + (<usize>index << 5));
}

/** Bytes of half of the frequencies of a row, real and then imaginary parts. */
@inline
function pitchOf(p: FourierParams): usize {
  return <usize>((p.x.size >> 1) + 1) << 5;
}

/** Rows that are transformed at a time. */
@inline
function lanesOf(p: FourierParams): i32 {
  return max(1, min(TRANSFORMS, SPECTRUM_VECTORS / (2 * p.x.size)));
}

/** A task is one channel of four groups of some pictures, or a share of their windows. */
export function convFourier(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FourierParams>(params);
  const share = task % p.shares;
  task /= p.shares;
  const quads = strips(p.groups, 4);
  const group = (task % quads) << 2;
  const output = (task / quads) % p.outputs;
  const first = (task / quads / p.outputs) * p.pictures;
  const past = min(p.batch, first + p.pictures);
  const lanes = min(4, p.groups - group);
  const from = p.from + <usize>group * p.fromGroup;
  const weight = p.weight + <usize>group * p.weightGroup + <usize>output * p.weightOutput;
  const to = p.to + <usize>group * p.toGroup + <usize>output * p.toOutput;
  const bias = p.bias
    ? gathered(p.bias + (<usize>(group * p.outputs + output) << 2), <usize>p.outputs << 2, lanes)
    : f32x4.splat(0);
  const isOne = p.inputs == 1;
  // Taps lie alike in all windows.
  if (p.near) transformTaps(p, weight, lanes, scratch);
  else if (isOne) transformKernel(p, weight, lanes, scratch);
  for (let picture = first; picture < past; picture++) {
    for (let window = share; window < p.y.windows * p.x.windows; window += p.shares) {
      const y = windowOf(p.y, window / p.x.windows);
      const x = windowOf(p.x, window % p.x.windows);
      const row = from + <usize>picture * p.fromBatch;
      if (p.near) transformElements(p, row, lanes, x, scratch);
      else for (let input: i32 = 0; input < p.inputs; input++) {
        const place = from + <usize>picture * p.fromBatch + <usize>input * p.fromInput;
        transformPicture(p, place, lanes, y, x, scratch);
        if (!isOne) transformKernel(p, weight + <usize>input * p.weightInput, lanes, scratch);
        multiply(p, scratch, scratch + PICTURE, scratch + SUM, input > 0);
      }
      const result =
        to +
        <usize>picture * p.toBatch +
        <usize>y.firstResult * p.y.to +
        <usize>x.firstResult * p.x.to;
      storeResults(p, params + FourierParams.BYTES, bias, lanes, row, y.results, x, result, scratch);
    }
  }
}

/** The spectrum of a kernel, turned around and divided by what transforms multiply by. */
function transformKernel(p: FourierParams, weight: usize, lanes: i32, scratch: usize): void {
  const y = windowOf(p.y, 0);
  const x = windowOf(p.x, 0);
  const scale = f32x4.splat(<f32>0.25 / <f32>(p.y.size * p.x.size));
  const atOnce = lanesOf(p);
  const rows = scratch + ROWS;
  const rowBytes = <usize>p.x.size << 4;
  const laneBytes = 2 * rowBytes;
  const pitch = pitchOf(p);
  memory.fill(scratch, 0, <usize>p.y.size * pitch);
  let from = weight + <usize>y.firstTap * p.y.weight + <usize>x.firstTap * p.x.weight;
  let place = y.tapPlace;
  for (let tap: i32 = 0; tap < y.taps; tap += 2 * atOnce) {
    const count = min(2 * atOnce, y.taps - tap);
    memory.fill(rows, 0, <usize>strips(count, 2) * laneBytes);
    for (let row: i32 = 0; row < count; row++, from += p.y.weight)
      packTaps(p, from, lanes, x, scale, rows + <usize>row * rowBytes);
    transform(rows, rowBytes, 16, strips(count, 2), laneBytes, p.x);
    for (let row: i32 = 0; row < count; row += 2) {
      const next = placeAfter(place, p.y);
      separate(p, rows + <usize>row * rowBytes, scratch + <usize>place * pitch, row + 1 < count ? scratch + <usize>next * pitch : 0);
      place = placeAfter(next, p.y);
    }
  }
  transformColumns(p, scratch);
}

/** Where the next tap lies. */
@inline
function placeAfter(place: i32, axis: FourierAxis): i32 {
  const next = (place - axis.dilation) % axis.size;
  return next < 0 ? next + axis.size : next;
}

function packTaps(p: FourierParams, from: usize, lanes: i32, x: Window, scale: v128, row: usize): void {
  let place = x.tapPlace;
  for (let tap: i32 = 0; tap < x.taps; tap++, from += p.x.weight) {
    v128.store(row + (<usize>place << 4), f32x4.mul(gathered(from, p.weightGroup, lanes), scale));
    place = placeAfter(place, p.x);
  }
}

/** The spectrum of what the results of a window read. */
function transformPicture(p: FourierParams, from: usize, lanes: i32, y: Window, x: Window, scratch: usize): void {
  const atOnce = lanesOf(p);
  const rows = scratch + ROWS;
  const rowBytes = <usize>p.x.size << 4;
  const laneBytes = 2 * rowBytes;
  const pitch = pitchOf(p);
  const spectrum = scratch + PICTURE;
  memory.fill(spectrum, 0, <usize>p.y.size * pitch);
  from += <usize>y.firstElement * p.y.from + <usize>x.firstElement * p.x.from;
  const rowStep = <usize>p.y.up * pitch;
  let to = spectrum + <usize>y.elementPlace * pitch;
  for (let element: i32 = 0; element < y.elements; element += 2 * atOnce) {
    const count = min(2 * atOnce, y.elements - element);
    memory.fill(rows, 0, <usize>strips(count, 2) * laneBytes);
    for (let row: i32 = 0; row < count; row++, from += p.y.from)
      packElements(p, from, lanes, x, rows + <usize>row * rowBytes);
    transform(rows, rowBytes, 16, strips(count, 2), laneBytes, p.x);
    for (let row: i32 = 0; row < count; row += 2, to += 2 * rowStep)
      separate(p, rows + <usize>row * rowBytes, to, row + 1 < count ? to + rowStep : 0);
  }
  transformColumns(p, spectrum);
}

function packElements(p: FourierParams, from: usize, lanes: i32, x: Window, row: usize): void {
  const step = p.x.from;
  let to = row + (<usize>x.elementPlace << 4);
  if (p.x.up == 1) {
    packPixels(from, step, p.fromGroup, lanes, x.elements, to, 16);
    return;
  }
  for (let element: i32 = 0; element < x.elements; element++, from += step, to += <usize>p.x.up << 4)
    v128.store(to, gathered(from, p.fromGroup, lanes));
}

function transformColumns(p: FourierParams, spectrum: usize): void {
  const columns = (p.x.size >> 1) + 1;
  const plane = <usize>columns << 4;
  for (let column: i32 = 0; column < columns; column += TRANSFORMS)
    transform(spectrum + (<usize>column << 4), plane, pitchOf(p), min(TRANSFORMS, columns - column), 16, p.y);
}

/** Twice the spectra of two rows, from that of the first plus i times the second; address 0 stands for no second one. */
function separate(p: FourierParams, rows: usize, a: usize, b: usize): void {
  const size = p.x.size;
  const imaginary = <usize>size << 4;
  const plane = <usize>((size >> 1) + 1) << 4;
  const isPair = b != 0;
  for (let k: i32 = 0; k <= size >> 1; k++, a += 16, b += 16) {
    const at = rows + frequencyAt(p.x, k);
    const other = rows + frequencyAt(p.x, k == 0 ? 0 : size - k);
    const xr = v128.load(at);
    const xi = v128.load(at + imaginary);
    const yr = v128.load(other);
    const yi = v128.load(other + imaginary);
    v128.store(a, f32x4.add(xr, yr));
    v128.store(a + plane, f32x4.sub(xi, yi));
    if (!isPair) continue;
    v128.store(b, f32x4.add(xi, yi));
    v128.store(b + plane, f32x4.sub(yr, xr));
  }
}

/** The inverse of `separate`, but for its factor. */
function combine(p: FourierParams, a: usize, b: usize, rows: usize): void {
  const size = p.x.size;
  const imaginary = <usize>size << 4;
  const plane = <usize>((size >> 1) + 1) << 4;
  for (let k: i32 = 0; k <= size >> 1; k++, a += 16, b += 16) {
    const at = rows + frequencyAt(p.x, k);
    const other = rows + frequencyAt(p.x, k == 0 ? 0 : size - k);
    const ar = v128.load(a);
    const ai = v128.load(a + plane);
    const br = v128.load(b);
    const bi = v128.load(b + plane);
    v128.store(at, f32x4.sub(ar, bi));
    v128.store(at + imaginary, f32x4.add(ai, br));
    v128.store(other, f32x4.add(ar, bi));
    v128.store(other + imaginary, f32x4.sub(br, ai));
  }
}

@inline
function frequencyAt(axis: FourierAxis, k: i32): usize {
  return <usize>i32.load(axis.frequencies + (<usize>k << 2)) << 4;
}

/** Writes or adds the products of two spectra. */
function multiply(p: FourierParams, a: usize, b: usize, to: usize, isAdded: bool): void {
  const plane = pitchOf(p) >> 1;
  for (let row: i32 = 0; row < p.y.size; row++, a += plane, b += plane, to += plane) {
    for (const past = a + plane; a < past; a += 16, b += 16, to += 16) {
      const ar = v128.load(a);
      const ai = v128.load(a + plane);
      const br = v128.load(b);
      const bi = v128.load(b + plane);
      let re = realPart(ar, ai, br, bi);
      let im = imaginaryPart(ar, ai, br, bi);
      if (isAdded) {
        re = f32x4.add(re, v128.load(to));
        im = f32x4.add(im, v128.load(to + plane));
      }
      v128.store(to, re);
      v128.store(to + plane, im);
    }
  }
}

/** The results of a window, from the sum of products of spectra. */
function storeResults(
  p: FourierParams,
  numbers: usize,
  bias: v128,
  lanes: i32,
  from: usize,
  results: i32,
  x: Window,
  to: usize,
  scratch: usize,
): void {
  const columns = x.results;
  const sum = scratch + SUM;
  const half = (p.x.size >> 1) + 1;
  const pitch = pitchOf(p);
  for (let column: i32 = 0; column < half; column += TRANSFORMS)
    inverse(sum + (<usize>column << 4), <usize>half << 4, pitch, min(TRANSFORMS, half - column), 16, p.y);
  const atOnce = lanesOf(p);
  const rows = scratch + ROWS;
  const rowBytes = <usize>p.x.size << 4;
  const laneBytes = 2 * rowBytes;
  const rowStep = <usize>p.y.stride * pitch;
  let spectrum = sum;
  for (let first: i32 = 0; first < results; first += 2 * atOnce) {
    const count = min(2 * atOnce, results - first);
    for (let row: i32 = 0; row < count; row += 2, spectrum += 2 * rowStep)
      combine(p, spectrum, row + 1 < count ? spectrum + rowStep : spectrum, rows + <usize>row * rowBytes);
    inverse(rows, rowBytes, 16, strips(count, 2), laneBytes, p.x);
    for (let row: i32 = 0; row < count; row++, to += p.y.to) {
      const at = rows + <usize>row * rowBytes;
      if (p.near) addNear(p, from, lanes, x, at, scratch);
      begin(at, columns, p.x.stride, bias);
      finish(p.program, numbers, at, columns, scratch + POINTERS, scratch + REGISTERS);
      storeRow(at, columns, lanes, to, p.x.to, p.toGroup);
    }
  }
}

/** Results in registers, of those that are direct. */
const EIGHT: i32 = 8;

/** Where the taps of direct results lie by their distance, behind the spectrum of the kernel. */
@inline
function distancesOf(taps: i32, scratch: usize): usize {
  return scratch + (<usize>(SPECTRUM_VECTORS - taps) << 4);
}

/** The spectra of the parts of the taps, which lie by what they read: from the first to the last. */
function transformTaps(p: FourierParams, weight: usize, lanes: i32, scratch: usize): void {
  const x = windowOf(p.x, 0);
  const distances = distancesOf(x.taps, scratch);
  const step = p.near * p.x.dilation;
  const first = step > 0 ? x.firstTap : x.firstTap + x.taps - 1;
  let from = weight + <usize>windowOf(p.y, 0).firstTap * p.y.weight + <usize>first * p.x.weight;
  for (let tap: i32 = 0; tap < x.taps; tap++, from += <usize>step * p.x.weight)
    v128.store(distances + (<usize>tap << 4), gathered(from, p.weightGroup, lanes));
  const scale = f32x4.splat(<f32>0.25 / <f32>p.x.size);
  const size = <usize>p.x.size;
  const rows = scratch + ROWS;
  memory.fill(rows, 0, <usize>strips(p.parts, 2) * (size << 5));
  for (let tap: i32 = 0; tap < x.taps; tap++) {
    const place = tap % p.partTaps;
    const row = rows + (<usize>(tap / p.partTaps) * size + <usize>(place == 0 ? 0 : p.x.size - place) << 4);
    const distance = p.near < 0 ? x.taps - 1 - tap : tap;
    v128.store(row, f32x4.mul(v128.load(distances + (<usize>distance << 4)), scale));
  }
  transformParts(p, scratch, scratch);
}

/** The sum of products of the spectra of taps and of what each part of them reads outside the window. */
function transformElements(p: FourierParams, from: usize, lanes: i32, x: Window, scratch: usize): void {
  const size = <usize>p.x.size;
  const rows = scratch + ROWS;
  memory.fill(rows, 0, <usize>strips(p.parts, 2) * (size << 5));
  for (let part: i32 = 0; part < p.parts; part++) {
    const begin = x.firstResult + part * p.partTaps + (p.near < 0 ? 1 - x.taps : 0);
    const past = begin + x.results + p.partTaps - 1;
    packOthers(p, from, lanes, x, begin, past, rows + (<usize>part * size << 4));
  }
  transformParts(p, scratch + PICTURE, scratch);
  const pitch = pitchOf(p);
  for (let part: i32 = 0; part < p.parts; part++) {
    const spectrum = scratch + <usize>part * pitch;
    multiply(p, spectrum, spectrum + PICTURE, scratch + SUM, part > 0);
  }
}

/** Elements from one place on that lie outside a window, on its side. */
function packOthers(p: FourierParams, from: usize, lanes: i32, x: Window, begin: i32, past: i32, to: usize): void {
  const first = max(max(begin, 0), p.near < 0 ? 0 : x.firstResult + x.results);
  const count = min(min(past, p.extent), p.near < 0 ? x.firstResult : past) - first;
  const step = p.x.from;
  if (count > 0)
    packPixels(from + <usize>first * step, step, p.fromGroup, lanes, count, to + (<usize>(first - begin) << 4), 16);
}

function transformParts(p: FourierParams, spectra: usize, scratch: usize): void {
  const rows = scratch + ROWS;
  const rowBytes = <usize>p.x.size << 4;
  const pitch = pitchOf(p);
  transform(rows, rowBytes, 16, strips(p.parts, 2), 2 * rowBytes, p.x);
  for (let part: i32 = 0; part < p.parts; part += 2, spectra += 2 * pitch)
    separate(p, rows + <usize>part * rowBytes, spectra, part + 1 < p.parts ? spectra + pitch : 0);
}

/** Adds what results read of their own window to what they read of others; where that is not finite they are direct altogether. */
function addNear(p: FourierParams, from: usize, lanes: i32, x: Window, at: usize, scratch: usize): void {
  const step = p.x.from;
  const isBehind = p.near < 0;
  const isDirect = !areFinite(at, x.results);
  // Elements lie behind the spectrum of the picture: others, this window's, and zeros around.
  const others = x.taps + EIGHT;
  const place = scratch + PICTURE + (<usize>(SPECTRUM_VECTORS - x.results - EIGHT) << 4) - (<usize>others << 4);
  const own = isBehind ? place + (<usize>others << 4) : place;
  const zeros = isDirect ? others : EIGHT;
  memory.fill(isBehind ? own - (<usize>zeros << 4) : own, 0, <usize>(zeros + x.results + EIGHT) << 4);
  const count = min(x.results, p.extent - x.firstResult);
  if (count > 0) packPixels(from + <usize>x.firstResult * step, step, p.fromGroup, lanes, count, own, 16);
  if (isDirect) {
    memory.fill(at, 0, <usize>x.results << 4);
    const begin = isBehind ? x.firstResult - others : x.firstResult;
    packOthers(p, from, lanes, x, begin, begin + x.results + others, place);
  }
  for (let column: i32 = 0; column < x.results; column += EIGHT) {
    const reach = isDirect ? x.taps : min(x.taps, isBehind ? column + EIGHT : x.results - column);
    const offset = <usize>column << 4;
    addEight(at + offset, own + offset, <usize>p.near << 4, distancesOf(x.taps, scratch), reach);
  }
}

function areFinite(at: usize, count: i32): bool {
  let odd = f32x4.splat(0);
  for (const past = at + (<usize>count << 4); at < past; at += 16) {
    const value = v128.load(at);
    const zero = f32x4.sub(value, value);
    odd = v128.or(odd, f32x4.ne(zero, zero));
  }
  return !v128.any_true(odd);
}

/** Eight neighbouring results += the first taps times the elements that lie `step` bytes apart from each. */
function addEight(to: usize, x: usize, step: usize, taps: usize, count: i32): void {
  let a = v128.load(to);
  let b = v128.load(to, 16);
  let c = v128.load(to, 32);
  let d = v128.load(to, 48);
  let e = v128.load(to, 64);
  let f = v128.load(to, 80);
  let g = v128.load(to, 96);
  let h = v128.load(to, 112);
  for (; count > 0; count--, x += step, taps += 16) {
    const w = v128.load(taps);
    a = madd(v128.load(x), w, a);
    b = madd(v128.load(x, 16), w, b);
    c = madd(v128.load(x, 32), w, c);
    d = madd(v128.load(x, 48), w, d);
    e = madd(v128.load(x, 64), w, e);
    f = madd(v128.load(x, 80), w, f);
    g = madd(v128.load(x, 96), w, g);
    h = madd(v128.load(x, 112), w, h);
  }
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to, c, 32);
  v128.store(to, d, 48);
  v128.store(to, e, 64);
  v128.store(to, f, 80);
  v128.store(to, g, 96);
  v128.store(to, h, 112);
}

/** Brings results together that are a stride apart, and adds the bias. */
function begin(row: usize, columns: i32, stride: i32, bias: v128): void {
  let from = row;
  for (let column: i32 = 0; column < columns; column++, row += 16, from += <usize>stride << 4)
    v128.store(row, f32x4.add(v128.load(from), bias));
}
