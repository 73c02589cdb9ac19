/**
 * Products of matrices in tiles of the result, in blocks of terms: b is packed for the micro-kernel by tasks of their own or,
 * where only one tile needs what is packed, by that tile, and the rows of a by each tile that needs them: what a tile packs is
 * still in the second-level cache.
 */
import { ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { BLOCK } from '../../expressions/params.generated.as';
import { firstInstruction, innerInstruction, pastInstruction, REGISTER_BYTES, run } from '../map/program.as';
import { FEW_ROWS_BYTES } from './few-rows.as';
import { DEPTH, Factor, FUNCTION_ELEMENTS, GROUP, LeadingAxis, MatmulParams, NATIVE_PANEL, NATIVE_SLICES, OWN_SLICES, OWN_TERMS, TILE_PANELS, TILE_SLICES } from './params.generated.as';

const TILE_BYTES: usize = <usize>(PANEL * SLICE * 4);
const ROW_BYTES: usize = <usize>(TILE_SLICES * SLICE * 4);
/** Bytes of a lane in float32. */
const TERMS_BYTES: usize = <usize>(DEPTH * 4);

// Working memory: a tile of the result, [panels][slices][6][8], a row of it, lanes to be packed, the panels of a, and what the
// epilogue's program needs.
const ROW: usize = <usize>(TILE_PANELS * TILE_SLICES) * TILE_BYTES;
const LANES: usize = ROW + ROW_BYTES;
const PANELS: usize = LANES + 5 * TERMS_BYTES;
const POINTERS: usize = PANELS + <usize>(TILE_PANELS * PANEL) * TERMS_BYTES;
const REGISTERS: usize = POINTERS + 16;
// The program runs once slices have been used up.
const SLICES: usize = REGISTERS;
const SLICE_GAP: usize = 320;
const SLICES_BYTES: usize = <usize>OWN_SLICES * (<usize>(SLICE * OWN_TERMS * 4) + SLICE_GAP);
export const SCRATCH_BYTES: usize = max(
  max(max(REGISTERS + REGISTER_BYTES, SLICES + SLICES_BYTES), FEW_ROWS_BYTES),
  <usize>((NATIVE_SLICES + NATIVE_PANEL) * 4),
);

export { fewRowsAcross, fewRowsAlong, fewRowsFinish, fewRowsOfA } from './few-rows.as';

/** Some slices of one block of terms: a packed matrix is [blocks][slices][terms][8]. */
export function packSlices(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MatmulParams>(params);
  const all = strips(p.b.lanes, SLICE);
  const groups = strips(all, GROUP);
  const blocks = strips(p.depth, p.terms);
  const matrix = task / (groups * blocks);
  const first = ((task / groups) % blocks) * p.terms;
  const terms = min(p.terms, p.depth - first);
  const slice = (task % groups) * GROUP;
  let place: usize = 0;
  for (let i: i32 = 0; i < p.axes; i++) {
    const axis = leadingAxis(p, i);
    if (axis.packed) place += <usize>((matrix / axis.packed) % axis.extent) * axis.b;
  }
  const elements = (<usize>matrix * p.depth + first) * all + <usize>slice * terms;
  packGroup(p.b, place, slice, min(slice + GROUP, all), first, terms, p.packed + elements * (SLICE * 4), <usize>(terms * SLICE * 4), scratch + LANES);
}

function packGroup(b: Factor, matrix: usize, slice: i32, past: i32, first: i32, terms: i32, to: usize, bytes: usize, buffer: usize): void {
  pack(b, matrix, slice, past, first, terms, SLICE, to, bytes, buffer);
}

@inline
function leadingAxis(p: MatmulParams, axis: i32): LeadingAxis {
  return changetype<LeadingAxis>(changetype<usize>(p) + MatmulParams.BYTES + <usize>axis * LeadingAxis.BYTES);
}

@inline
function strips(lanes: i32, width: i32): i32 {
  return (lanes + width - 1) / width;
}

/**
 * Strips of `width` lanes of the matrix at an element of x, as [strips][terms][width], `bytes` from strip to strip, zero past the last
 * lane. `width` is a constant.
 */
@inline
function pack(
  x: Factor,
  matrix: usize,
  strip: i32,
  pastStrip: i32,
  first: i32,
  terms: i32,
  width: i32,
  to: usize,
  bytes: usize,
  buffer: usize,
): void {
  const lane = strip * width;
  const lanes = min(pastStrip * width, x.lanes) - lane;
  const size = bytesOf(x.dtype);
  const source = x.address + (matrix + <usize>lane * x.lane + <usize>first * x.term) * size;
  if (x.lane == 1 && x.term != 1) packAcross(source, x.term * size, x.dtype, lanes, width, terms, to, bytes, buffer);
  else packAlong(source, x.lane * size, x.term, x.dtype, lanes, width, terms, to, bytes, buffer);
}

/** Lanes lie side by side in memory. */
@inline
function packAcross(
  source: usize,
  step: usize,
  dtype: i32,
  lanes: i32,
  width: i32,
  terms: i32,
  to: usize,
  bytes: usize,
  buffer: usize,
): void {
  const isCut = lanes % width != 0;
  if (isCut) memory.fill(buffer, 0, <usize>(strips(lanes, width) * width) << 2);
  const end = <usize>strips(lanes, width) * bytes;
  for (let term: i32 = 0; term < terms; term++, source += step, to += width * 4) {
    let row = loadRow(source, 1, dtype, lanes, buffer);
    if (isCut && row != buffer) {
      memory.copy(buffer, row, <usize>lanes << 2);
      row = buffer;
    }
    for (let at: usize = to, past = to + end; at < past; at += bytes, row += width * 4) {
      v128.store(at, v128.load(row));
      if (width == SLICE) v128.store(at, v128.load(row, 16), 16);
      else i64.store(at, i64.load(row, 16), 16);
    }
  }
}

/** The terms of a lane lie side by side, or nothing does. */
@inline
function packAlong(
  source: usize,
  step: usize,
  stride: usize,
  dtype: i32,
  lanes: i32,
  width: i32,
  terms: i32,
  to: usize,
  bytes: usize,
  buffer: usize,
): void {
  const zeros = buffer + 4 * TERMS_BYTES;
  memory.fill(zeros, 0, TERMS_BYTES);
  for (let lane: i32 = 0; lane < lanes; lane += width, to += bytes) {
    for (let four: i32 = 0; four < width; four += 4) {
      const at = lane + four;
      const from = source + <usize>at * step;
      const r0 = at < lanes ? loadRow(from, stride, dtype, terms, buffer) : zeros;
      const r1 = at + 1 < lanes ? loadRow(from + step, stride, dtype, terms, buffer + TERMS_BYTES) : zeros;
      if (width - four < 4) {
        interleave(r0, r1, terms, to + (four << 2));
        continue;
      }
      const r2 = at + 2 < lanes ? loadRow(from + 2 * step, stride, dtype, terms, buffer + 2 * TERMS_BYTES) : zeros;
      const r3 = at + 3 < lanes ? loadRow(from + 3 * step, stride, dtype, terms, buffer + 3 * TERMS_BYTES) : zeros;
      transpose(r0, r1, r2, r3, terms, to + (four << 2), width * 4);
    }
  }
}

function transpose(r0: usize, r1: usize, r2: usize, r3: usize, count: i32, to: usize, step: usize): void {
  const bytes = <usize>count << 2;
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16, to += 4 * step) {
    storeTransposed(v128.load(r0 + at), v128.load(r1 + at), v128.load(r2 + at), v128.load(r3 + at), to, step);
  }
  for (; at < bytes; at += 4, to += step) {
    f32.store(to, f32.load(r0 + at));
    f32.store(to, f32.load(r1 + at), 4);
    f32.store(to, f32.load(r2 + at), 8);
    f32.store(to, f32.load(r3 + at), 12);
  }
}

/** Pairs of the last two lanes of a panel. */
function interleave(r0: usize, r1: usize, count: i32, to: usize): void {
  const bytes = <usize>count << 2;
  const step = <usize>(PANEL * 4);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16, to += 4 * step) {
    const x = v128.load(r0 + at);
    const y = v128.load(r1 + at);
    const low = v128.shuffle<f32>(x, y, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(x, y, 2, 6, 3, 7);
    v128.store64_lane(to, low, 0);
    v128.store64_lane(to + step, low, 1);
    v128.store64_lane(to + 2 * step, high, 0);
    v128.store64_lane(to + 3 * step, high, 1);
  }
  for (; at < bytes; at += 4, to += step) {
    f32.store(to, f32.load(r0 + at));
    f32.store(to, f32.load(r1 + at), 4);
  }
}

/** The epilogue's program on some elements of the result. */
export function applyFunction(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MatmulParams>(params);
  let size = p.a.lanes * p.b.lanes;
  for (let i: i32 = 0; i < p.axes; i++) size *= leadingAxis(p, i).extent;
  const count = min(FUNCTION_ELEMENTS, size - task * FUNCTION_ELEMENTS);
  const at = p.out + ((<usize>task * FUNCTION_ELEMENTS) << 2);
  memory.copy(scratch, at, <usize>count << 2);
  beginProgram(p, scratch);
  applyProgram(p, scratch, count, scratch);
  memory.copy(at, scratch, <usize>count << 2);
}

/** The part of the epilogue's program that is the same for all elements. */
function beginProgram(p: MatmulParams, scratch: usize): void {
  run(firstInstruction(p.program), innerInstruction(p.program), 1, numbersOf(p), 0, 1, scratch + POINTERS, scratch + REGISTERS);
}

/** The rest of it, on so many elements, and as many more as make fours. */
function applyProgram(p: MatmulParams, at: usize, count: i32, scratch: usize): void {
  // Its registers hold a block.
  for (; count > 0; count -= BLOCK, at += BLOCK * 4) {
    i32.store(scratch + POINTERS, <i32>at);
    i32.store(scratch + POINTERS, <i32>at, 4);
    const vectors = (min(BLOCK, count) + 3) >> 2;
    run(innerInstruction(p.program), pastInstruction(p.program), vectors, numbersOf(p), 0, 1, scratch + POINTERS, scratch + REGISTERS);
  }
}

/** The numbers of the epilogue lie behind the leading axes. */
@inline
function numbersOf(p: MatmulParams): usize {
  return changetype<usize>(leadingAxis(p, p.axes));
}

export function matmul(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MatmulParams>(params);
  const depth = p.depth;
  const rows = p.a.lanes;
  const columns = p.b.lanes;
  const panels = strips(rows, PANEL);
  const slices = strips(columns, SLICE);
  const across = strips(slices, p.slices);
  const tiles = across * strips(panels, p.panels);
  const batch = task / tiles;
  const firstPanel = ((task % tiles) / across) * p.panels;
  const firstSlice = (task % across) * p.slices;
  const lastPanel = min(firstPanel + p.panels, panels);
  const lastSlice = min(firstSlice + p.slices, slices);
  let a: usize = 0;
  let ownB: usize = 0;
  let matrix: i32 = 0;
  let index = batch;
  for (let i = p.axes - 1; i >= 0; i--) {
    const axis = leadingAxis(p, i);
    a += <usize>(index % axis.extent) * axis.a;
    ownB += <usize>(index % axis.extent) * axis.b;
    matrix += (index % axis.extent) * axis.packed;
    index /= axis.extent;
  }
  const b = p.packed + <usize>matrix * <usize>(slices * SLICE * 4) * depth;
  const packed = scratch + PANELS;
  const rowBytes = <usize>columns << 2;
  const out = p.out + <usize>batch * <usize>rows * rowBytes;
  const isPlain = !p.bias && !p.program;
  const wholePanels = rows / PANEL;
  const wholeSlices = columns / SLICE;

  for (let first: i32 = 0; first < depth; first += p.terms) {
    const terms = min(p.terms, depth - first);
    const panelBytes = <usize>(terms * PANEL * 4);
    // Slices a power of two apart would keep each other out of the first cache.
    const sliceBytes = <usize>(terms * SLICE * 4) + SLICE_GAP;
    for (let panel = firstPanel, to = packed; panel < lastPanel; panel += GROUP, to += GROUP * panelBytes)
      pack(p.a, a, panel, min(panel + GROUP, lastPanel), first, terms, PANEL, to, panelBytes, scratch + LANES);
    for (let slice = firstSlice; slice < lastSlice; slice++) {
      let right = b + (<usize>first * slices + <usize>slice * terms) * <usize>(SLICE * 4);
      if (!p.packed) {
        const at = (slice - firstSlice) % OWN_SLICES;
        if (at == 0)
          packGroup(p.b, ownB, slice, min(slice + OWN_SLICES, lastSlice), first, terms, scratch + SLICES, sliceBytes, scratch + LANES);
        right = scratch + SLICES + <usize>at * sliceBytes;
      }
      let left = packed;
      for (let panel = firstPanel; panel < lastPanel; panel++, left += panelBytes) {
        const isOut = isPlain && panel < wholePanels && slice < wholeSlices;
        const sums = isOut
          ? out + <usize>panel * (PANEL * rowBytes) + <usize>(slice * SLICE * 4)
          : panelOf(scratch, panel - firstPanel) + <usize>(slice - firstSlice) * TILE_BYTES;
        const step: usize = isOut ? rowBytes : 32;
        if (first == 0) product(left, PANEL * 4, false, right, terms, sums, step, STORE, 0);
        else product(left, PANEL * 4, false, right, terms, sums, step, ADD, 0);
      }
    }
  }

  const column = firstSlice * SLICE;
  const count = min(lastSlice * SLICE, columns) - column;
  const width = lastSlice - firstSlice;
  if (p.bias) {
    const size = bytesOf(p.a.dtype);
    const bias = loadRow(p.bias + <usize>column * p.biasStride * size, p.biasStride, p.a.dtype, count, scratch + ROW);
    // Also what lies past the last column is read, and not used.
    memory.copy(scratch + ROW, bias, <usize>count << 2);
    for (let panel = firstPanel; panel < lastPanel; panel++) addBias(panelOf(scratch, panel - firstPanel), width, scratch + ROW);
  }
  if (p.program) {
    beginProgram(p, scratch);
    for (let panel = firstPanel; panel < lastPanel; panel++)
      applyProgram(p, panelOf(scratch, panel - firstPanel), width * <i32>(TILE_BYTES / 4), scratch);
  }
  for (let row = firstPanel * PANEL; row < min(lastPanel * PANEL, rows); row++) {
    const panel = row / PANEL;
    const skip = isPlain && panel < wholePanels ? min(wholeSlices, lastSlice) - firstSlice : 0;
    const from = panelOf(scratch, panel - firstPanel) + ((row % PANEL) << 5) + <usize>skip * TILE_BYTES;
    storeRow(from, count - skip * SLICE, out + <usize>row * rowBytes + (<usize>(column + skip * SLICE) << 2));
  }
}

@inline
function panelOf(tile: usize, panel: i32): usize {
  return tile + <usize>(panel * TILE_SLICES) * TILE_BYTES;
}

function addBias(panel: usize, slices: i32, bias: usize): void {
  for (let slice: i32 = 0; slice < slices; slice++, bias += 32) {
    const left = v128.load(bias);
    const right = v128.load(bias, 16);
    for (const past = panel + TILE_BYTES; panel < past; panel += 32) {
      v128.store(panel, f32x4.add(v128.load(panel), left));
      v128.store(panel, f32x4.add(v128.load(panel, 16), right), 16);
    }
  }
}

/** A row of a tile, whose slices lie apart. */
function storeRow(from: usize, count: i32, to: usize): void {
  let i: i32 = 0;
  for (; i + SLICE <= count; i += SLICE, from += TILE_BYTES, to += 32) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  }
  memory.copy(to, from, <usize>(count - i) << 2);
}
