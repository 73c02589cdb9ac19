/**
 * Products of rows of x and weights in blocks of 8 or 4 bits, which are read once, where they lie. Few rows are taken with one
 * row of weights at a time; for more, weights are unpacked into slices that stay in the nearest caches.
 */
import { ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { firstInstruction, innerInstruction, pastInstruction, REGISTER_BYTES, run } from '../map/program.as';
import { unpackRow } from './blocks.as';
import { addExact, addRounded, FEW_BYTES } from './few.as';
import {
  BLOCK, FINISHED, LONG_TERMS, PICKED, PickParams, Product, ProductsParams, ROUNDED_PANEL, TERMS, TILE_ROWS,
} from './params.generated.as';
import {
  fetchSlice, GROUP, MINIMA, roundedProduct, SCALES, SLICE_BYTES, SLICES, SLICES_BYTES, unpackAcross, unpackIntegerSlice, unpackSlice,
} from './slices.as';

// Working memory of many rows: slices, and their part of the result [panels][slices][rows of a panel][8].
const TILE: usize = SLICES_BYTES;
const TILE_BYTES: usize = <usize>(TILE_ROWS * GROUP * SLICE * 4);
const MANY_BYTES: usize = TILE + TILE_BYTES;
// For `finish`: a strip of bias, and what the program needs.
const POINTERS: usize = <usize>FINISHED * 4;
const REGISTERS: usize = POINTERS + 16;
export const SCRATCH_BYTES: usize = max(max(FEW_BYTES, MANY_BYTES), REGISTERS + REGISTER_BYTES);

export { prepareRow } from './rows.as';

@inline
function productAt(params: usize, index: i32): Product {
  return changetype<Product>(params + ProductsParams.BYTES + <usize>index * Product.BYTES);
}

/** Some columns of one of the products of few rows. */
export function fewRows(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ProductsParams>(params);
  let index: i32 = 0;
  while (task >= productAt(params, index).tasks) task -= productAt(params, index++).tasks;
  const own = productAt(params, index);
  const first = task * own.strip;
  const past = min(first + own.strip, own.columns);
  for (let term: i32 = 0; term < p.depth; term += LONG_TERMS) {
    const terms = min(LONG_TERMS, p.depth - term);
    if (p.isRounded) addRounded(p, own, first, past, term, terms, scratch);
    else for (let column = first; column < past; column++) addExact(p, own, column, term, terms, scratch);
  }
}

/** A tile of one of the products of many rows. */
export function manyRows(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ProductsParams>(params);
  let index: i32 = 0;
  while (task >= productAt(params, index).tasks) task -= productAt(params, index++).tasks;
  const own = productAt(params, index);
  const panelRows = p.isRounded ? ROUNDED_PANEL : PANEL;
  const panelBytes = <usize>(panelRows * SLICE * 4);
  const panels = (p.rows + panelRows - 1) / panelRows;
  const down = (p.rows + TILE_ROWS - 1) / TILE_ROWS;
  const firstPanel = (task % down) * (TILE_ROWS / panelRows);
  const pastPanel = min(firstPanel + TILE_ROWS / panelRows, panels);
  const firstSlice = (task / down) * own.strip;
  const pastSlice = min(firstSlice + own.strip, (own.columns + SLICE - 1) / SLICE);
  const group = p.isAcross ? GROUP : 1;
  for (let slice = firstSlice; slice < pastSlice; slice += group) {
    const slices = min(group, pastSlice - slice);
    if (p.isRounded) {
      memory.fill(scratch + TILE, 0, <usize>(pastPanel - firstPanel) * panelBytes);
      fetchSlice(own.weight, slice * SLICE, own.columns, scratch);
    }
    // Terms are the inner loop, so that rows of weights are read in their order.
    for (let term: i32 = 0; term < p.depth; term += TERMS) {
      const terms = min(TERMS, p.depth - term);
      const column = slice * SLICE;
      if (p.isAcross) unpackAcross(own.weight, term, terms, column, scratch);
      else if (p.isRounded) unpackIntegerSlice(own.weight, column, own.columns, term, terms, scratch);
      else unpackSlice(own.weight, column, own.columns, term, terms, scratch);
      let c = scratch + TILE;
      for (let panel = firstPanel; panel < pastPanel; panel++) {
        const left = p.left + (<usize>panel * <usize>p.depth + <usize>term) * (PANEL * 4);
        let place = scratch + SLICES;
        for (let i: i32 = 0; i < slices; i++, place += SLICE_BYTES, c += panelBytes) {
          if (p.isRounded) addBlocks(p, own, panel, term, terms, c, scratch);
          else if (term == 0) product(left, PANEL * 4, false, place, terms, c, 32, STORE, 0);
          else product(left, PANEL * 4, false, place, terms, c, 32, ADD, 0);
        }
      }
    }
    let from = scratch + TILE;
    for (let panel = firstPanel; panel < pastPanel; panel++)
      for (let i: i32 = 0; i < slices; i++, from += panelBytes)
        storePanel(from, own, panel * panelRows, min(panelRows, p.rows - panel * panelRows), (slice + i) * SLICE);
  }
}

@inline
function addBlocks(p: ProductsParams, own: Product, panel: i32, term: i32, terms: i32, c: usize, scratch: usize): void {
  const left = p.left + (<usize>panel * <usize>(p.depth >> 1) + <usize>(term >> 1)) * (ROUNDED_PANEL * 4);
  const at = (<usize>panel * <usize>(p.depth / BLOCK) + <usize>(term / BLOCK)) * (ROUNDED_PANEL * 4);
  const minima = own.weight.minima ? scratch + MINIMA : 0;
  roundedProduct(left, p.scales + at, p.sums + at, scratch + SLICES, scratch + SCALES, minima, terms / BLOCK, c);
}

/** Some rows of eight columns of the result, or as many as there are. */
function storePanel(from: usize, own: Product, row: i32, rows: i32, column: i32): void {
  const count = min(SLICE, own.columns - column);
  let to = own.out + ((<usize>row * <usize>own.columns + <usize>column) << 2);
  for (const past = from + (<usize>rows << 5); from < past; from += 32, to += <usize>own.columns << 2) {
    if (count == SLICE) {
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
    } else memory.copy(to, from, <usize>count << 2);
  }
}

/** The bias, and the epilogue, of a strip of a row of one of the products. */
export function finish(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ProductsParams>(params);
  let index: i32 = 0;
  while (task >= stripsOf(productAt(params, index)) * p.rows) task -= stripsOf(productAt(params, index++)) * p.rows;
  const own = productAt(params, index);
  const strips = stripsOf(own);
  const column = (task % strips) * FINISHED;
  const count = min(FINISHED, own.columns - column);
  const to = own.out + ((<usize>(task / strips) * <usize>own.columns + <usize>column) << 2);
  if (own.bias) {
    const from = own.bias + <usize>column * own.biasStride * bytesOf(p.x.dtype);
    addTo(to, loadRow(from, own.biasStride, p.x.dtype, count, scratch), count);
  }
  if (!p.program) return;
  // Programs work on whole vectors.
  memory.copy(scratch, to, <usize>count << 2);
  const numbers = changetype<usize>(productAt(params, p.products));
  const inner = innerInstruction(p.program);
  run(firstInstruction(p.program), inner, 1, numbers, 0, 1, scratch + POINTERS, scratch + REGISTERS);
  i32.store(scratch + POINTERS, <i32>scratch);
  i32.store(scratch + POINTERS, <i32>scratch, 4);
  run(inner, pastInstruction(p.program), (count + 3) >> 2, numbers, 0, 1, scratch + POINTERS, scratch + REGISTERS);
  memory.copy(to, scratch, <usize>count << 2);
}

@inline
function stripsOf(own: Product): i32 {
  return (own.columns + FINISHED - 1) / FINISHED;
}

function addTo(sums: usize, from: usize, count: i32): void {
  let c: i32 = 0;
  for (; c + 4 <= count; c += 4, sums += 16, from += 16) v128.store(sums, f32x4.add(v128.load(sums), v128.load(from)));
  for (; c < count; c++, sums += 4, from += 4) f32.store(sums, f32.load(sums) + f32.load(from));
}

/** Rows of a table of weights. */
export function pick(params: usize, task: i32, scratch: usize): void {
  const p = changetype<PickParams>(params);
  const width = p.table.width;
  for (let r = task * PICKED; r < min((task + 1) * PICKED, p.rows); r++) {
    // Those outside the table are a fault that the host tells.
    const row = max(0, min(p.count - 1, i32.load(p.indices + (<usize>r << 2))));
    for (let term: i32 = 0; term < width; term += LONG_TERMS) {
      const to = p.out + ((<usize>r * <usize>width + <usize>term) << 2);
      unpackRow(p.table, row, term, min(LONG_TERMS, width - term), to, scratch);
    }
  }
}
