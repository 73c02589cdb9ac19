/**
 * Score modifiers as programs for the kernels (ops/attention/program.as.ts), from their typed values.
 */

import { BoundedMap } from '../bounded-map';
import { ParameterError } from '../errors';
import type { Extent } from '../masks/mask';
import type { Expression } from './expression';
import { CHUNK, CHUNK_REGISTERS, INSTRUCTIONS, LANES, OUT, ROW_BYTES, ROWS, SCORE, TILE_REGISTERS } from './params';
import { emit, type Instruction, orderOf, typedValue, type Value } from './typed';

/** A program and what it reads, in the order of its table numbers. */
export interface Program {
  readonly code: Int32Array;
  readonly tables: readonly (Float32Array | Int32Array)[];
}

/** Extents for which the programs of an expression are kept. */
const KEPT = 16;
const known = new WeakMap<Expression, BoundedMap<string, Program>>();

/**
 * The program of a number expression for problems of that extent; its results are float32, or int32 for an expression
 * that is an index. A ParameterError, which calls the function `name`, tells what cannot be had: integers for bits or
 * indices that may leave 32 bits, or too many values at once.
 */
export function compileProgram(
  name: string,
  expression: Expression,
  extent: Extent,
  results: 'float' | 'integer' = 'float',
): Program {
  let programs = known.get(expression);
  if (!programs) {
    programs = new BoundedMap(KEPT);
    known.set(expression, programs);
  }
  const { b, h, n, m } = extent;
  return programs.get([b, h, n, m, results].join(), () => {
    const { value, tables } = typedValue(name, expression, extent, results);
    return { code: assemble(name, value), tables };
  });
}

/** The instructions, with values in registers that are handed on after their last use; those of the tile last a tile. */
function assemble(name: string, result: Value): Int32Array {
  // The result has all dimensions, and nothing may write to where it goes before the last instruction.
  // The instruction that loads the keys does not spread them over the queries.
  const isLast = result.instruction && result.instruction.name !== 'keys' && onChunk(result);
  const last: Value = isLast ? result : emit('copy', 'float', [result], 0, LANES | ROWS);
  const values = orderOf(last);
  const order = [...values.filter((value) => !onChunk(value)), ...values.filter(onChunk)];
  const lastUse = new Map<Value, Value>();
  for (const value of order) for (const arg of (value.instruction as Instruction).args) lastUse.set(arg, value);
  const free = [
    Array.from({ length: TILE_REGISTERS }, (_, at) => at * ROW_BYTES),
    Array.from({ length: CHUNK_REGISTERS }, (_, at) => (TILE_REGISTERS + at * CHUNK) * ROW_BYTES),
  ] as const;
  const freeFor = (value: Value) => free[onChunk(value) ? 1 : 0];
  const registers = new Map<Value, number>();
  const operand = (value: Value) =>
    value.instruction ? (registers.get(value) as number) | (value.dimensions & (LANES | ROWS)) : LANES | ROWS | SCORE;
  const tileInstructions = values.length - values.filter(onChunk).length;
  const words = [tileInstructions, values.length - tileInstructions];
  for (const value of order) {
    const { name: operation, args, immediate } = value.instruction as Instruction;
    if (value !== last) {
      const register = freeFor(value).shift();
      if (register === undefined) {
        throw new ParameterError(
          `score "${name}" needs too many values at once for the kernels: write it in fewer terms`,
        );
      }
      registers.set(value, register);
    }
    const operands = [...args.map(operand), 0, 0, 0].slice(0, 3);
    words.push(
      INSTRUCTIONS.indexOf(operation),
      value === last ? LANES | ROWS | OUT : operand(value),
      ...operands,
      immediate,
    );
    // After the result has its own: operands of fewer dimensions must not be overwritten as they are read.
    for (const arg of new Set(args)) {
      const isOver = lastUse.get(arg) === value && onChunk(arg) === onChunk(value);
      if (isOver && arg.instruction) freeFor(arg).unshift(registers.get(arg) as number);
    }
  }
  return Int32Array.from(words);
}

const onChunk = ({ dimensions }: Value) => (dimensions & ROWS) !== 0;
