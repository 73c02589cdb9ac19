/**
 * The interpreter of functions of elements (expressions/program.ts): one instruction at a time over a block of elements in the
 * first cache. Outer instructions, which depend on no element, come first and run once; inner ones for each block.
 */
import { operate } from '../../runtime/wasm/assembly/operate.as';
import {
  BLOCK,
  BLOCK_REGISTERS,
  CONSTANT,
  HEADER_LENGTH,
  INSTRUCTION_LENGTH,
  INTEGER_NUMBER,
  LANES,
  LOOKUP,
  NUMBER,
  OUT,
  SCORE,
  VECTOR_REGISTERS,
} from '../../expressions/params.generated.as';
import { MapTensor } from './params.generated.as';

const INSTRUCTION: usize = INSTRUCTION_LENGTH * 4;
const HEADER: usize = HEADER_LENGTH * 4;

/** Bytes of the registers of a program. */
export const REGISTER_BYTES: usize = <usize>VECTOR_REGISTERS * 16 + <usize>BLOCK_REGISTERS * BLOCK * 4;

@inline
export function firstInstruction(program: usize): usize {
  return program + HEADER;
}

@inline
export function innerInstruction(program: usize): usize {
  return firstInstruction(program) + <usize>i32.load(program) * INSTRUCTION;
}

@inline
export function pastInstruction(program: usize): usize {
  return innerInstruction(program) + <usize>i32.load(program, 4) * INSTRUCTION;
}

@inline
function addressOf(operand: i32, inputs: i32, pointers: usize, registers: usize): usize {
  if (operand & SCORE) return <usize>i32.load(pointers + (<usize>(operand >> 4) << 2));
  if (operand & OUT) return <usize>i32.load(pointers + (<usize>(inputs + (operand >> 4)) << 2));
  return registers + <usize>(operand & ~15);
}

@inline
function laneStep(operand: i32): usize {
  return operand & LANES ? 16 : 0;
}

/** The elements of a captured tensor at `vectors` times 4 indices. */
function lookUp(tensor: usize, indices: usize, vectors: i32, out: usize): void {
  const address = changetype<MapTensor>(tensor).address;
  const size = <u32>changetype<MapTensor>(tensor).size;
  const outside = changetype<MapTensor>(tensor).outside;
  for (let vector: i32 = 0; vector < vectors; vector++, indices += 16, out += 16) {
    for (let lane: usize = 0; lane < 16; lane += 4) {
      const at = <u32>i32.load(indices + lane);
      let word = outside;
      if (at < size) word = i32.load(address + (<usize>at << 2));
      i32.store(out + lane, word);
    }
  }
}

/**
 * Instructions over so many vectors; `pointers` are the addresses of the inputs, then of the results, 32 bits each, and
 * `tensors` the captured ones.
 */
export function run(
  instruction: usize,
  end: usize,
  vectors: i32,
  numbers: usize,
  tensors: usize,
  inputs: i32,
  pointers: usize,
  registers: usize,
): void {
  for (; instruction < end; instruction += INSTRUCTION) {
    const operation = i32.load(instruction);
    const result = i32.load(instruction, 4);
    const first = i32.load(instruction, 8);
    const second = i32.load(instruction, 12);
    const third = i32.load(instruction, 16);
    const immediate = i32.load(instruction, 20);
    const out = addressOf(result, inputs, pointers, registers);
    switch (operation) {
      case CONSTANT:
        v128.store(out, i32x4.splat(immediate));
        break;
      case NUMBER:
        v128.store(out, f32x4.splat(<f32>f64.load(numbers + (<usize>immediate << 3))));
        break;
      case INTEGER_NUMBER:
        v128.store(out, i32x4.splat(<i32>f64.load(numbers + (<usize>immediate << 3))));
        break;
      case LOOKUP:
        lookUp(
          tensors + <usize>immediate * MapTensor.BYTES,
          addressOf(first, inputs, pointers, registers),
          laneStep(result) ? vectors : 1,
          out,
        );
        break;
      default: {
        const a = addressOf(first, inputs, pointers, registers);
        const b = addressOf(second, inputs, pointers, registers);
        const c = addressOf(third, inputs, pointers, registers);
        const ol = laneStep(result);
        const n = ol ? vectors : 1;
        operate(operation, 1, n, out, 0, ol, a, 0, laneStep(first), b, 0, laneStep(second), c, 0, laneStep(third));
      }
    }
  }
}
