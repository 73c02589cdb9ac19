/** What both kinds of convolution share: phases and taps of an axis, and the epilogue. */
import { firstInstruction, innerInstruction, pastInstruction, run } from '../map/program.as';
import { ConvAxis, ConvParams } from './params.generated.as';

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

/** Runs the epilogue, if there is one, over vectors in place. */
@inline
export function finish(p: ConvParams, at: usize, vectors: i32, pointers: usize, registers: usize): void {
  if (!p.program) return;
  const numbers = changetype<usize>(p) + ConvParams.BYTES;
  const inner = innerInstruction(p.program);
  run(firstInstruction(p.program), inner, 1, numbers, 0, 1, pointers, registers);
  i32.store(pointers, <i32>at);
  i32.store(pointers, <i32>at, 4);
  run(inner, pastInstruction(p.program), vectors, numbers, 0, 1, pointers, registers);
}
