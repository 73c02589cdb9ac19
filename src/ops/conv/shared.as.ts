/** What both kinds of convolution share: phases and taps of an axis, and the epilogue. */
import { BLOCK } from '../../expressions/params.generated.as';
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { firstInstruction, innerInstruction, pastInstruction, run } from '../map/program.as';
import { ConvAxis } from './params.generated.as';

@inline
export function strips(count: i32, width: i32): i32 {
  return (count + width - 1) / width;
}

/** How many results a phase has. */
@inline
export function resultsOf(axis: ConvAxis, phase: i32): i32 {
  return strips(axis.results - phase, axis.up);
}

@inline
export function tapCount(axis: ConvAxis, phase: i32): i32 {
  return i32.load(axis.taps + (<usize>phase << 3), 4);
}

/** The address of the taps of a phase: pairs of an offset in x and a place in the kernel. */
@inline
export function tapsOf(axis: ConvAxis, phase: i32): usize {
  return axis.taps + (<usize>i32.load(axis.taps + (<usize>phase << 3)) << 2);
}

@inline
export function offsetOf(taps: usize, tap: i32): i32 {
  return i32.load(taps + (<usize>tap << 3));
}

@inline
export function placeOf(taps: usize, tap: i32): i32 {
  return i32.load(taps + (<usize>tap << 3), 4);
}

/** Runs the epilogue, if there is one, over vectors in place: a block of them at a time, which is what registers hold. */
export function finish(program: usize, numbers: usize, at: usize, vectors: i32, pointers: usize, registers: usize): void {
  if (!program) return;
  const inner = innerInstruction(program);
  run(firstInstruction(program), inner, 1, numbers, 0, 1, pointers, registers);
  for (; vectors > 0; vectors -= BLOCK / 4, at += BLOCK * 4) {
    i32.store(pointers, <i32>at);
    i32.store(pointers, <i32>at, 4);
    run(inner, pastInstruction(program), min(vectors, BLOCK / 4), numbers, 0, 1, pointers, registers);
  }
}

/** Up to four numbers, `step` bytes apart, and zeros. */
@inline
export function gathered(from: usize, step: usize, lanes: i32): v128 {
  let x = v128.load32_zero(from);
  if (lanes > 1) x = v128.load32_lane(from + step, x, 1);
  if (lanes > 2) x = v128.load32_lane(from + 2 * step, x, 2);
  if (lanes > 3) x = v128.load32_lane(from + 3 * step, x, 3);
  return x;
}

/** Pixels or taps, each a vector of up to four groups, `toStep` bytes apart. */
export function packPixels(from: usize, step: usize, groupStep: usize, lanes: i32, count: i32, to: usize, toStep: usize): void {
  let i: i32 = 0;
  if (lanes == 4 && groupStep == 4) {
    for (; i < count; i++, from += step, to += toStep) v128.store(to, v128.load(from));
  } else if (lanes == 4 && step == 4) {
    for (; i + 4 <= count; i += 4, from += 16, to += toStep << 2) {
      const other = from + 2 * groupStep;
      storeTransposed(v128.load(from), v128.load(from + groupStep), v128.load(other), v128.load(other + groupStep), to, toStep);
    }
  }
  for (; i < count; i++, from += step, to += toStep) v128.store(to, gathered(from, groupStep, lanes));
}

/** Pixels side by side to where they belong. */
export function storeRow(from: usize, count: i32, lanes: i32, to: usize, step: usize, groupStep: usize): void {
  let i: i32 = 0;
  if (lanes == 4 && groupStep == 4) {
    for (; i < count; i++, from += 16, to += step) v128.store(to, v128.load(from));
  } else if (lanes == 4 && step == 4) {
    for (; i + 4 <= count; i += 4, from += 64, to += 16)
      storeTransposed(v128.load(from), v128.load(from, 16), v128.load(from, 32), v128.load(from, 48), to, groupStep);
  }
  for (; i < count; i++, from += 16, to += step) {
    const x = v128.load(from);
    v128.store32_lane(to, x, 0);
    if (lanes > 1) v128.store32_lane(to + groupStep, x, 1);
    if (lanes > 2) v128.store32_lane(to + 2 * groupStep, x, 2);
    if (lanes > 3) v128.store32_lane(to + 3 * groupStep, x, 3);
  }
}
