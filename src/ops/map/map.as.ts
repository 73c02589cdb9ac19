/**
 * Functions of the elements of tensors, as programs (expressions/program.ts) that run over blocks of elements in the first
 * cache, one instruction at a time. Tensors of 32-bit numbers that lie side by side are read and written where they are, all
 * others by way of working memory. A task is a run of elements of one item.
 */
import { bytesOf, loadElement, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { F32 } from '../../runtime/cpu/params.generated.as';
import { BLOCK } from '../../expressions/params.generated.as';
import { LONG_ROW, MapItem, MapOperand, MapParams, MapTensor, MOST_OPERANDS, RUN } from './params.generated.as';
import { firstInstruction, innerInstruction, pastInstruction, REGISTER_BYTES, run } from './program.as';

const BLOCK_BYTES: usize = BLOCK * 4;

// Working memory: where the operands of a block lie, whether they stay there, a block for each, and the registers.
const STAYS: usize = <usize>MOST_OPERANDS * 4;
const BUFFERS: usize = (STAYS + <usize>MOST_OPERANDS * 4 + 63) & ~63;
const REGISTERS: usize = BUFFERS + <usize>MOST_OPERANDS * BLOCK_BYTES;
export const SCRATCH_BYTES: i32 = <i32>(REGISTERS + REGISTER_BYTES);

export function map(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MapParams>(params);
  const inputs = p.inputs;
  const all = inputs + p.outs;
  const numbers = params + MapParams.BYTES;
  const tensors = numbers + (p.numbers << 3);
  let item = p.items != 0 ? p.items : tensors + p.tensors * MapTensor.BYTES;
  let first: i32 = 0;
  for (; task >= changetype<MapItem>(item).pastTask; item += changetype<MapItem>(item).bytes) {
    first = changetype<MapItem>(item).pastTask;
  }
  const operands = item + MapItem.BYTES;
  const axes = operands + <usize>all * MapOperand.BYTES;
  const step = <usize>(inputs + 1) << 3;
  const last = axes + (changetype<MapItem>(item).axes - 1) * step;
  const row = extentOf(last);
  const outer = firstInstruction(p.program);
  const inner = innerInstruction(p.program);
  run(outer, inner, 1, numbers, tensors, inputs, scratch, scratch + REGISTERS);
  const end = pastInstruction(p.program);
  for (let j: i32 = 0; j < inputs; j++) {
    let moves = false;
    for (let axis = axes; axis <= last; axis += step) moves = moves || strideOf(axis, j) != 0;
    i32.store(scratch + STAYS + (<usize>j << 2), moves ? 0 : 1);
    if (!moves) loadInput(operands, axes, last, step, j, 0, BLOCK, scratch);
  }
  const size = changetype<MapItem>(item).size;
  const past = min(<usize>(task - first + 1) * RUN, size);
  for (let at = <usize>(task - first) * RUN; at < past; ) {
    let count = min(<usize>BLOCK, past - at);
    if (row >= <usize>LONG_ROW) count = min(count, row - (at % row));
    for (let j: i32 = 0; j < inputs; j++) {
      if (!i32.load(scratch + STAYS + (<usize>j << 2))) loadInput(operands, axes, last, step, j, at, count, scratch);
    }
    for (let j = inputs; j < all; j++) {
      const operand = changetype<MapOperand>(operands + <usize>j * MapOperand.BYTES);
      // A vector that is not full would write beyond the end.
      const isDirect = operand.dtype == F32 && (count & 3) == 0;
      i32.store(scratch + (<usize>j << 2), <i32>(isDirect ? operand.address + (at << 2) : bufferOf(j, scratch)));
    }
    run(inner, end, <i32>(count + 3) >> 2, numbers, tensors, inputs, scratch, scratch + REGISTERS);
    for (let j = inputs; j < all; j++) {
      const operand = changetype<MapOperand>(operands + <usize>j * MapOperand.BYTES);
      const dtype = operand.dtype;
      const from = <usize>i32.load(scratch + (<usize>j << 2));
      if (from == bufferOf(j, scratch)) storeRow(from, operand.address + at * bytesOf(dtype), dtype, <i32>count);
    }
    at += count;
  }
}

@inline
function bufferOf(operand: i32, scratch: usize): usize {
  return scratch + BUFFERS + <usize>operand * BLOCK_BYTES;
}

@inline
function extentOf(axis: usize): usize {
  return <usize>f64.load(axis);
}

@inline
function strideOf(axis: usize, input: i32): usize {
  return <usize>f64.load(axis + (<usize>input << 3), 8);
}

/** Makes `count` elements of an input from `at` on ready, within its row or from several ones. */
function loadInput(
  operands: usize,
  axes: usize,
  last: usize,
  step: usize,
  input: i32,
  at: usize,
  count: usize,
  scratch: usize,
): void {
  const operand = changetype<MapOperand>(operands + <usize>input * MapOperand.BYTES);
  const dtype = operand.dtype;
  const shift: usize = dtype == F32 ? 2 : 1;
  const stride = strideOf(last, input);
  const row = extentOf(last);
  const pointer = scratch + (<usize>input << 2);
  let to = bufferOf(input, scratch);
  i32.store(pointer, <i32>to);
  // The rows of the last axis but one follow each other by its stride; where it ends, all indices are worked out anew.
  const next = last - step;
  const hasRows = last > axes;
  const rowStride = hasRows ? strideOf(next, input) << shift : 0;
  let rows: usize = 0;
  let from: usize = 0;
  let inRow = at % row;
  while (count > 0) {
    if (rows == 0) {
      let place = inRow * stride;
      let rest = at / row;
      if (hasRows) rows = extentOf(next) - (rest % extentOf(next));
      for (let axis = next; axis >= axes; axis -= step) {
        const extent = extentOf(axis);
        place += (rest % extent) * strideOf(axis, input);
        rest /= extent;
      }
      from = operand.address + (place << shift);
    }
    // What stays is the same beyond the end.
    const piece = hasRows || stride != 0 ? min(count, row - inRow) : count;
    if (dtype == F32 && stride == 1) {
      if (piece == count && to == bufferOf(input, scratch)) {
        i32.store(pointer, <i32>from);
        return;
      }
      copyWords(from, to, piece);
    } else if (stride == 0) fill(from, dtype, to, piece);
    else loadRow(from, stride, dtype, <i32>piece, to);
    to += piece << 2;
    at += piece;
    count -= piece;
    from += rowStride - ((inRow * stride) << shift);
    inRow = 0;
    rows--;
  }
}

/** Without a call, which short rows would feel. */
@inline
function copyWords(from: usize, to: usize, count: usize): void {
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) v128.store(to + (i << 2), v128.load(from + (i << 2)));
  for (; i < count; i++) i32.store(to + (i << 2), i32.load(from + (i << 2)));
}

@inline
function fill(from: usize, dtype: i32, to: usize, count: usize): void {
  const value = f32x4.splat(loadElement(from, dtype));
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) v128.store(to + (i << 2), value);
  for (; i < count; i++) v128.store32_lane(to + (i << 2), value, 0);
}
