/**
 * Convolutions of many channels at once: products of patches of x, one for each pixel of the result, and the kernels. Patches
 * are never all in memory: a task packs those of its pixels, in blocks of terms, for the micro-kernel.
 */
import { PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { REGISTER_BYTES } from '../map/program.as';
import { ConvAxis, ConvParams, DEPTH, TILE_PANELS, TILE_SLICES } from './params.generated.as';
import { finish, offsetOf, placeOf, resultsOf, strips, tapCount, tapsOf } from './shared.as';

const PIXELS: i32 = TILE_PANELS * PANEL;

// Working memory: patches, sums [pixels][slices][8], zeros that pixels beyond the edges read, of each pixel the address of its
// picture, its place in x, and the address of its result, a row of the bias, and what the epilogue needs.
const SUMS: usize = <usize>(PIXELS * DEPTH) << 2;
const ZEROS: usize = SUMS + (<usize>(PIXELS * TILE_SLICES * SLICE) << 2);
const PLACES: usize = ZEROS + <usize>(DEPTH * 4);
const POINTERS: usize = PLACES + <usize>PIXELS * 20;
const REGISTERS: usize = POINTERS + 16;
export const DENSE_BYTES: usize = REGISTERS + REGISTER_BYTES;

/** What is known of a pixel, in numbers of four bytes. */
const PLACE: usize = 20;

/** Phases that have products of their own. */
@inline
function phasesOf(p: ConvParams): i32 {
  return p.joined > 1 ? 1 : p.z.up * p.y.up * p.x.up;
}

/** Columns of a product. */
@inline
function outputsOf(p: ConvParams): i32 {
  return p.joined * p.outputs;
}

@inline
function zPhase(p: ConvParams, phase: i32): i32 {
  return phase / (p.y.up * p.x.up);
}

@inline
function yPhase(p: ConvParams, phase: i32): i32 {
  return (phase / p.x.up) % p.y.up;
}

@inline
function xPhase(p: ConvParams, phase: i32): i32 {
  return phase % p.x.up;
}

function tapsOfPhase(p: ConvParams, phase: i32): i32 {
  return tapCount(p.z, zPhase(p, phase)) * tapCount(p.y, yPhase(p, phase)) * tapCount(p.x, xPhase(p, phase));
}

/** Where the kernels of a group and phase begin: [groups][phases][slices][taps][inputs][8]. */
function packedOf(p: ConvParams, group: i32, phase: i32): usize {
  let taps: i32 = 0;
  let before: i32 = 0;
  const phases = phasesOf(p);
  for (let each: i32 = 0; each < phases; each++) {
    if (each == phase) before = taps;
    taps += tapsOfPhase(p, each);
  }
  const slices = strips(outputsOf(p), SLICE);
  return p.packed + (<usize>(group * taps + before) * <usize>(slices * p.inputs * SLICE) << 2);
}

/** A slice of eight outputs of the kernels of a group and phase. */
export function packKernels(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ConvParams>(params);
  const slices = strips(outputsOf(p), SLICE);
  const slice = task % slices;
  const phase = (task / slices) % phasesOf(p);
  const group = task / slices / phasesOf(p);
  const count = min(SLICE, outputsOf(p) - slice * SLICE);
  let from = p.weight + <usize>group * p.weightGroup + <usize>(slice * SLICE) * p.weightOutput;
  let to = packedOf(p, group, phase) + (<usize>slice * <usize>(tapsOfPhase(p, phase) * p.inputs * SLICE) << 2);
  const zTaps = tapsOf(p.z, zPhase(p, phase));
  const yTaps = tapsOf(p.y, yPhase(p, phase));
  const xTaps = tapsOf(p.x, xPhase(p, phase));
  const zCount = tapCount(p.z, zPhase(p, phase));
  const yCount = tapCount(p.y, yPhase(p, phase));
  const xCount = tapCount(p.x, xPhase(p, phase));
  const taps = <usize>(p.inputs * SLICE) << 2;
  if (p.joined > 1) {
    packPhases(p, p.weight + <usize>group * p.weightGroup, slice * SLICE, count, to);
    return;
  }
  // Taps within inputs, since kernels mostly lie so.
  for (let input: i32 = 0; input < p.inputs; input++, from += p.weightInput, to += 32) {
    let at = to;
    for (let z: i32 = 0; z < zCount; z++) {
      for (let y: i32 = 0; y < yCount; y++) {
        const row = from + <usize>placeOf(zTaps, z) * p.z.weight + <usize>placeOf(yTaps, y) * p.y.weight;
        for (let x: i32 = 0; x < xCount; x++, at += taps)
          packOutputs(row + <usize>placeOf(xTaps, x) * p.x.weight, count, p.weightOutput, at);
      }
    }
  }
}

/** A slice of outputs of all phases: [taps][inputs][8], with zeros where a phase has no such tap. */
function packPhases(p: ConvParams, from: usize, first: i32, count: i32, to: usize): void {
  for (let z: i32 = 0; z < tapCount(p.z, 0); z++) {
    for (let y: i32 = 0; y < tapCount(p.y, 0); y++) {
      for (let x: i32 = 0; x < tapCount(p.x, 0); x++) {
        for (let input: i32 = 0; input < p.inputs; input++, to += 32) {
          memory.fill(to, 0, 32);
          for (let i: i32 = 0; i < count; i++) {
            const phase = (first + i) / p.outputs;
            const zPlace = placeIn(p.z, z, zPhase(p, phase));
            const yPlace = placeIn(p.y, y, yPhase(p, phase));
            const xPlace = placeIn(p.x, x, xPhase(p, phase));
            if ((zPlace | yPlace | xPlace) < 0) continue;
            const at =
              from +
              <usize>((first + i) % p.outputs) * p.weightOutput +
              <usize>input * p.weightInput +
              <usize>zPlace * p.z.weight +
              <usize>yPlace * p.y.weight +
              <usize>xPlace * p.x.weight;
            f32.store(to + (<usize>i << 2), f32.load(at));
          }
        }
      }
    }
  }
}

/** The place in the kernel of a tap of joined phases, negative for a phase that has no such tap. */
@inline
function placeIn(axis: ConvAxis, tap: i32, phase: i32): i32 {
  return i32.load(axis.taps + (<usize>(placeOf(tapsOf(axis, 0), tap) + phase) << 2));
}

/** Eight outputs, of which `count` are there. */
@inline
function packOutputs(from: usize, count: i32, step: usize, to: usize): void {
  if (count < SLICE) {
    memory.fill(to, 0, 32);
    for (let o: i32 = 0; o < count; o++) f32.store(to + (<usize>o << 2), f32.load(from + <usize>o * step));
  } else if (step == 4) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  } else {
    v128.store(to, four(from, step));
    v128.store(to, four(from + (step << 2), step), 16);
  }
}

@inline
function four(from: usize, step: usize): v128 {
  let x = v128.load32_zero(from);
  x = v128.load32_lane(from + step, x, 1);
  x = v128.load32_lane(from + 2 * step, x, 2);
  return v128.load32_lane(from + 3 * step, x, 3);
}

/** A task is a tile of pixels and outputs of one phase and group. */
export function convDense(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ConvParams>(params);
  const slices = strips(outputsOf(p), SLICE);
  const across = strips(slices, TILE_SLICES);
  const tile = p.x.tile;
  const tiles = strips(p.batch * resultsOf(p.z, 0) * resultsOf(p.y, 0) * resultsOf(p.x, 0), tile);
  const firstSlice = (task % across) * TILE_SLICES;
  const width = min(TILE_SLICES, slices - firstSlice);
  const firstPixel = ((task / across) % tiles) * tile;
  const phase = (task / across / tiles) % phasesOf(p);
  const group = task / across / tiles / phasesOf(p);
  const count = min(
    tile,
    p.batch * resultsOf(p.z, zPhase(p, phase)) * resultsOf(p.y, yPhase(p, phase)) * resultsOf(p.x, xPhase(p, phase)) - firstPixel,
  );
  if (count <= 0) return;
  place(p, group, phase, firstPixel, count, scratch + PLACES);
  memory.fill(scratch + ZEROS, 0, <usize>(DEPTH * 4));

  const panels = strips(count, PANEL);
  const depth = tapsOfPhase(p, phase) * p.inputs;
  const packed = packedOf(p, group, phase);
  const rowBytes = <usize>(width * SLICE) << 2;
  const sums = scratch + SUMS;
  if (depth == 0) memory.fill(sums, 0, <usize>count * rowBytes);
  for (let first: i32 = 0; first < depth; first += DEPTH) {
    const terms = min(DEPTH, depth - first);
    const panelBytes = <usize>(terms * PANEL) << 2;
    for (let panel: i32 = 0; panel < panels; panel++) {
      packPatches(p, phase, scratch + PLACES + <usize>(panel * PANEL) * PLACE, first, terms, scratch + ZEROS, scratch + <usize>panel * panelBytes);
    }
    for (let slice: i32 = 0; slice < width; slice++) {
      const right = packed + (<usize>((firstSlice + slice) * depth + first) << 5);
      let left = scratch;
      let to = sums + (<usize>slice << 5);
      for (let panel: i32 = 0; panel < panels; panel++, left += panelBytes, to += PANEL * rowBytes) {
        if (first == 0) product(left, PANEL * 4, false, right, terms, to, rowBytes, STORE, 0);
        else product(left, PANEL * 4, false, right, terms, to, rowBytes, ADD, 0);
      }
    }
  }

  const output = firstSlice * SLICE;
  const outputs = min(width * SLICE, outputsOf(p) - output);
  const isJoined = p.joined > 1;
  if (p.bias && isJoined) addBiasOfPhases(p, sums, count, rowBytes, p.bias + (<usize>(group * p.outputs) << 2), output, outputs);
  else if (p.bias) addBias(sums, count, rowBytes, p.bias + (<usize>(group * p.outputs + output) << 2), outputs);
  finish(p.program, params + ConvParams.BYTES, sums, count * <i32>(rowBytes >> 4), scratch + POINTERS, scratch + REGISTERS);
  if (isJoined) storePhases(p, sums, count, rowBytes, output, outputs, scratch + PLACES);
  else store(p, sums, count, rowBytes, output, outputs, scratch + PLACES);
}

/** What is known of each pixel; those that fill up the last panel read zeros. */
function place(p: ConvParams, group: i32, phase: i32, first: i32, count: i32, to: usize): void {
  const xCount = resultsOf(p.x, xPhase(p, phase));
  const yCount = resultsOf(p.y, yPhase(p, phase));
  const zCount = resultsOf(p.z, zPhase(p, phase));
  for (let i: i32 = 0; i < strips(count, PANEL) * PANEL; i++, to += PLACE) {
    if (i >= count) {
      // No offset leads back into a picture.
      i32.store(to, 0);
      i32.store(to, -0x40000000, 4);
      i32.store(to, 0, 12);
      continue;
    }
    let rest = first + i;
    let picture: i32 = 0;
    if (p.batchInner) {
      picture = rest % p.batch;
      rest /= p.batch;
    }
    const x = rest % xCount;
    rest /= xCount;
    const y = rest % yCount;
    rest /= yCount;
    const z = rest % zCount;
    if (!p.batchInner) picture = rest / zCount;
    i32.store(to, <i32>(p.from + <usize>picture * p.fromBatch + <usize>group * p.fromGroup));
    i32.store(to, z * p.z.stride, 4);
    i32.store(to, y * p.y.stride, 8);
    i32.store(to, x * p.x.stride, 12);
    const result =
      p.to +
      <usize>picture * p.toBatch +
      <usize>group * p.toGroup +
      <usize>(z * p.z.up + zPhase(p, phase)) * p.z.to +
      <usize>(y * p.y.up + yPhase(p, phase)) * p.y.to +
      <usize>(x * p.x.up + xPhase(p, phase)) * p.x.to;
    i32.store(to, <i32>result, 16);
  }
}

/** The address of the element of x that a pixel reads, 0 beyond the edges. */
@inline
function addressOf(p: ConvParams, pixel: usize, z: i32, y: i32, x: i32): usize {
  const slice = i32.load(pixel, 4) + z;
  const row = i32.load(pixel, 8) + y;
  const column = i32.load(pixel, 12) + x;
  if (<u32>slice >= <u32>p.z.extent || <u32>row >= <u32>p.y.extent || <u32>column >= <u32>p.x.extent) return 0;
  return <usize>i32.load(pixel) + <usize>slice * p.z.from + <usize>row * p.y.from + <usize>column * p.x.from;
}

/** Terms of six pixels, [terms][6]: channels within taps. */
function packPatches(p: ConvParams, phase: i32, pixels: usize, first: i32, terms: i32, zeros: usize, to: usize): void {
  const inputs = p.inputs;
  const xTaps = tapsOf(p.x, xPhase(p, phase));
  const yTaps = tapsOf(p.y, yPhase(p, phase));
  const zTaps = tapsOf(p.z, zPhase(p, phase));
  const xCount = tapCount(p.x, xPhase(p, phase));
  const yCount = tapCount(p.y, yPhase(p, phase));
  // Taps of one channel follow each other as channels do.
  const isOne = inputs == 1;
  const apart = xCount > 1 ? offsetOf(xTaps, 1) - offsetOf(xTaps, 0) : 1;
  const step = isOne ? <usize>apart * p.x.from : p.fromInput;
  const areTogether = togetherAt(pixels);
  // Whether the channels of the taps of a row lie side by side.
  const areRows = step == 4 && p.x.from == <usize>inputs << 2 && offsetOf(xTaps, xCount - 1) - offsetOf(xTaps, 0) == xCount - 1;
  // Where six pixels lie, if all of their taps are within their pictures.
  const isInside = !areTogether && areInside(p, pixels, zTaps, tapCount(p.z, zPhase(p, phase)), yTaps, yCount, xTaps, xCount);
  const a = isInside ? addressOf(p, pixels, 0, 0, 0) : 0;
  const b = isInside ? addressOf(p, pixels + PLACE, 0, 0, 0) : 0;
  const c = isInside ? addressOf(p, pixels + 2 * PLACE, 0, 0, 0) : 0;
  const d = isInside ? addressOf(p, pixels + 3 * PLACE, 0, 0, 0) : 0;
  const e = isInside ? addressOf(p, pixels + 4 * PLACE, 0, 0, 0) : 0;
  const f = isInside ? addressOf(p, pixels + 5 * PLACE, 0, 0, 0) : 0;
  let channel = first % inputs;
  let rest = first / inputs;
  let xTap = rest % xCount;
  rest /= xCount;
  let yTap = rest % yCount;
  let zTap = rest / yCount;
  while (terms > 0) {
    const z = offsetOf(zTaps, zTap);
    const y = offsetOf(yTaps, yTap);
    const x = offsetOf(xTaps, xTap);
    const skip = <usize>channel * step;
    let count = min(inputs - channel, terms);
    let taps: i32 = 1;
    if (isOne) {
      taps = runOf(p, pixels, x, apart, min(xCount - xTap, terms));
      count = taps;
    }
    if (areTogether) {
      packTogether(addressOf(p, pixels, z, y, x), skip, step, count, to);
    } else {
      if (areRows && inputs < 16 && !isOne) {
        const more = min(xCount - xTap, strips(channel + terms, inputs));
        if (isInside || areWithin(p, pixels, x, x + more - 1)) {
          taps = more;
          count = min(more * inputs - channel, terms);
        }
      }
      const tap = <usize>z * p.z.from + <usize>y * p.y.from + <usize>x * p.x.from;
      if (isInside) packSix(a + tap, b + tap, c + tap, d + tap, e + tap, f + tap, skip, step, count, zeros, to);
      else {
        packSix(
          addressOf(p, pixels, z, y, x),
          addressOf(p, pixels + PLACE, z, y, x),
          addressOf(p, pixels + 2 * PLACE, z, y, x),
          addressOf(p, pixels + 3 * PLACE, z, y, x),
          addressOf(p, pixels + 4 * PLACE, z, y, x),
          addressOf(p, pixels + 5 * PLACE, z, y, x),
          skip,
          step,
          count,
          zeros,
          to,
        );
      }
    }
    to += <usize>(count * PANEL) << 2;
    terms -= count;
    channel = 0;
    xTap += taps;
    if (xTap == xCount) {
      xTap = 0;
      yTap++;
      if (yTap == yCount) {
        yTap = 0;
        zTap++;
      }
    }
  }
}

/** How many taps from column `x` on, `apart` columns apart, all of six pixels have, at least one and at most `most`. */
function runOf(p: ConvParams, pixels: usize, x: i32, apart: i32, most: i32): i32 {
  let first = i32.MAX_VALUE;
  let last = i32.MIN_VALUE;
  for (let i: i32 = 0; i < PANEL; i++, pixels += PLACE) {
    const column = i32.load(pixels, 12) + x;
    first = min(first, column);
    last = max(last, column);
  }
  if (first < 0 || last >= p.x.extent) return 1;
  return min(most, (p.x.extent - 1 - last) / apart + 1);
}

/** Whether six pixels have one place, in pictures that lie side by side. */
function togetherAt(pixels: usize): bool {
  for (let i: i32 = 1; i < PANEL; i++) {
    const at = pixels + <usize>i * PLACE;
    const isNext = i32.load(at) == i32.load(pixels) + 4 * i && i32.load(at, 4) == i32.load(pixels, 4);
    if (!isNext || i32.load(at, 8) != i32.load(pixels, 8) || i32.load(at, 12) != i32.load(pixels, 12)) return false;
  }
  return true;
}

/** Whether six pixels have all taps, and lie within the picture themselves. */
function areInside(
  p: ConvParams,
  pixels: usize,
  zTaps: usize,
  zCount: i32,
  yTaps: usize,
  yCount: i32,
  xTaps: usize,
  xCount: i32,
): bool {
  if (zCount == 0 || yCount == 0 || xCount == 0) return false;
  const top = min(0, offsetOf(yTaps, 0));
  const left = min(0, offsetOf(xTaps, 0));
  const front = min(0, offsetOf(zTaps, 0));
  const bottom = max(0, offsetOf(yTaps, yCount - 1));
  const right = max(0, offsetOf(xTaps, xCount - 1));
  const back = max(0, offsetOf(zTaps, zCount - 1));
  for (let i: i32 = 0; i < PANEL; i++, pixels += PLACE) {
    const z = i32.load(pixels, 4);
    const y = i32.load(pixels, 8);
    const x = i32.load(pixels, 12);
    if (z + front < 0 || z + back >= p.z.extent || y + top < 0 || y + bottom >= p.y.extent) return false;
    if (x + left < 0 || x + right >= p.x.extent) return false;
  }
  return true;
}

/** Whether all of six pixels have these columns. */
function areWithin(p: ConvParams, pixels: usize, first: i32, last: i32): bool {
  for (let i: i32 = 0; i < PANEL; i++, pixels += PLACE) {
    const x = i32.load(pixels, 12);
    if (x + first < 0 || x + last >= p.x.extent) return false;
  }
  return true;
}

function packTogether(from: usize, skip: usize, step: usize, count: i32, to: usize): void {
  if (from == 0) {
    memory.fill(to, 0, <usize>(count * PANEL) << 2);
    return;
  }
  from += skip;
  for (let i: i32 = 0; i < count; i++, from += step, to += 24) {
    v128.store(to, v128.load(from));
    i64.store(to, i64.load(from, 16), 16);
  }
}

/** `count` channels of six pixels, side by side; address 0 stands for zeros. */
function packSix(
  a: usize,
  b: usize,
  c: usize,
  d: usize,
  e: usize,
  f: usize,
  skip: usize,
  step: usize,
  count: i32,
  zeros: usize,
  to: usize,
): void {
  let i: i32 = 0;
  if (a != 0 && b == a + 4 && c == a + 8 && d == a + 12 && e == a + 16 && f == a + 20) {
    packTogether(a, skip, step, count, to);
    return;
  }
  const aStep = a ? step : 0;
  const bStep = b ? step : 0;
  const cStep = c ? step : 0;
  const dStep = d ? step : 0;
  const eStep = e ? step : 0;
  const fStep = f ? step : 0;
  a = a ? a + skip : zeros;
  b = b ? b + skip : zeros;
  c = c ? c + skip : zeros;
  d = d ? d + skip : zeros;
  e = e ? e + skip : zeros;
  f = f ? f + skip : zeros;
  if (step == 4) {
    // Zeros are as many as there are terms, so that all six go on alike.
    for (; i + 4 <= count; i += 4, a += 16, b += 16, c += 16, d += 16, e += 16, f += 16, to += 96) {
      storeTransposed(v128.load(a), v128.load(b), v128.load(c), v128.load(d), to, 24);
      const x = v128.load(e);
      const y = v128.load(f);
      const low = v128.shuffle<f32>(x, y, 0, 4, 1, 5);
      const high = v128.shuffle<f32>(x, y, 2, 6, 3, 7);
      v128.store64_lane(to, low, 0, 16);
      v128.store64_lane(to, low, 1, 40);
      v128.store64_lane(to, high, 0, 64);
      v128.store64_lane(to, high, 1, 88);
    }
  }
  for (; i < count; i++, to += 24) {
    f32.store(to, f32.load(a));
    f32.store(to, f32.load(b), 4);
    f32.store(to, f32.load(c), 8);
    f32.store(to, f32.load(d), 12);
    f32.store(to, f32.load(e), 16);
    f32.store(to, f32.load(f), 20);
    a += aStep;
    b += bStep;
    c += cStep;
    d += dStep;
    e += eStep;
    f += fStep;
  }
}

function addBias(sums: usize, count: i32, rowBytes: usize, bias: usize, outputs: i32): void {
  for (let row: i32 = 0; row < count; row++, sums += rowBytes) {
    let o: i32 = 0;
    for (; o + 4 <= outputs; o += 4) {
      const at = <usize>o << 2;
      v128.store(sums + at, f32x4.add(v128.load(sums + at), v128.load(bias + at)));
    }
    for (; o < outputs; o++) {
      const at = <usize>o << 2;
      f32.store(sums + at, f32.load(sums + at) + f32.load(bias + at));
    }
  }
}

/** In place of `memory.copy`, which is a call out of WebAssembly. */
@inline
function copyRow(from: usize, to: usize, count: i32): void {
  let i: i32 = 0;
  for (; i + 4 <= count; i += 4, from += 16, to += 16) v128.store(to, v128.load(from));
  for (; i < count; i++, from += 4, to += 4) f32.store(to, f32.load(from));
}

function addBiasOfPhases(p: ConvParams, sums: usize, count: i32, rowBytes: usize, bias: usize, output: i32, outputs: i32): void {
  for (let o: i32 = 0; o < outputs; o++, sums += 4) {
    const added = f32.load(bias + (<usize>((output + o) % p.outputs) << 2));
    let at = sums;
    for (let row: i32 = 0; row < count; row++, at += rowBytes) f32.store(at, f32.load(at) + added);
  }
}

/** Results of all phases; the last pixels may lie beyond those of some. */
function storePhases(
  p: ConvParams,
  sums: usize,
  count: i32,
  rowBytes: usize,
  output: i32,
  outputs: i32,
  pixels: usize,
): void {
  for (let o: i32 = 0; o < outputs; o++, sums += 4) {
    const phase = (output + o) / p.outputs;
    const z = zPhase(p, phase);
    const y = yPhase(p, phase);
    const x = xPhase(p, phase);
    const zCount = resultsOf(p.z, z);
    const yCount = resultsOf(p.y, y);
    const xCount = resultsOf(p.x, x);
    const skip =
      <usize>((output + o) % p.outputs) * p.toOutput + <usize>z * p.z.to + <usize>y * p.y.to + <usize>x * p.x.to;
    let from = sums;
    for (let row: i32 = 0, at = pixels; row < count; row++, from += rowBytes, at += PLACE) {
      if (i32.load(at, 4) < zCount && i32.load(at, 8) < yCount && i32.load(at, 12) < xCount)
        f32.store(<usize>i32.load(at, 16) + skip, f32.load(from));
    }
  }
}

function store(p: ConvParams, sums: usize, count: i32, rowBytes: usize, output: i32, outputs: i32, pixels: usize): void {
  const step = p.toOutput;
  const skip = <usize>output * step;
  if (step == 4) {
    for (let row: i32 = 0; row < count; row++, sums += rowBytes, pixels += PLACE)
      copyRow(sums, <usize>i32.load(pixels, 16) + skip, outputs);
    return;
  }
  for (let o: i32 = 0; o < outputs; o++, sums += 4) {
    let from = sums;
    const plane = skip + <usize>o * step;
    for (let row: i32 = 0, at = pixels; row < count; row++, from += rowBytes, at += PLACE)
      f32.store(<usize>i32.load(at, 16) + plane, f32.load(from));
  }
}
