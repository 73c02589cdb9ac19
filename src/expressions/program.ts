/**
 * Programs for the kernels' interpreters, from typed values: of score modifiers (ops/attention/score/program.as.ts) and of maps
 * (ops/map/map.as.ts).
 */

import { BoundedMap, getOrMake } from '../bounded-map';
import { ParameterError } from '../errors';
import type { Extent } from '../masks/mask';
import type { Expression } from './expression';
import { CHUNK, CHUNK_REGISTERS, INSTRUCTIONS, LANES, OUT, ROW_BYTES, ROWS, SCORE, TILE_REGISTERS } from './params';
import { emit, type Instruction, orderOf, typedValue, type Value } from './typed';

/** A program and the tables it reads, by their numbers. */
export interface Program {
  readonly code: Int32Array;
  readonly tables: readonly (Float32Array | Int32Array)[];
}

/** The number of extents for which the programs of an expression are cached. */
const KEPT = 16;
const known = new WeakMap<Expression, BoundedMap<string, Program>>();

/**
 * The program of a number expression for problems of that extent; its results are float32, or int32 for an expression
 * that is an index. Throws a ParameterError, with `name` for the function and `tensors` for captured tensors, for what
 * is not possible: integers for bits or indices that may leave 32 bits, or too many values at once.
 */
export function compileProgram(
  name: string,
  expression: Expression,
  extent: Extent,
  results: 'float' | 'integer' = 'float',
  tensors: readonly string[] = [],
): Program {
  const programs = getOrMake(known, expression, () => new BoundedMap<string, Program>(KEPT));
  const { b, h, n, m } = extent;
  return programs.get([b, h, n, m, results].join(), () => {
    const { value, tables } = typedValue(name, expression, extent, results, tensors);
    return { code: assemble(`score "${name}"`, [value], TILES), tables };
  });
}

/** How an interpreter stores values. */
export interface Layout {
  /** The dimensions of results. */
  readonly dimensions: number;
  /** The dimension that the values of a chunk have, and those computed once for many do not. */
  readonly inner: number;
  /** Byte offsets of the registers of both. */
  readonly registers: { readonly outer: readonly number[]; readonly inner: readonly number[] };
}

/** Chunks of keys against a tile of queries. */
const TILES: Layout = {
  dimensions: LANES | ROWS,
  inner: ROWS,
  registers: {
    outer: Array.from({ length: TILE_REGISTERS }, (_, at) => at * ROW_BYTES),
    inner: Array.from({ length: CHUNK_REGISTERS }, (_, at) => (TILE_REGISTERS + at * CHUNK) * ROW_BYTES),
  },
};

/**
 * The instructions. Registers are reused after the last use of a value, except those of outer values. Nothing is
 * written to a result before everything is computed, except by the very last instruction, since a result may be an input.
 */
export function assemble(subject: string, results: readonly Value[], layout: Layout): Int32Array {
  const { dimensions, inner } = layout;
  const isInner = (value: Value) => (value.dimensions & inner) !== 0;
  // The instruction that loads the keys does not broadcast them over the queries.
  const isOwn = (value: Value, at: number) =>
    value.instruction && value.instruction.name !== 'keys' && isInner(value) && results.indexOf(value) === at;
  const own = results.map((value, at) => (isOwn(value, at) ? value : emit('copy', value.type, [value], 0, dimensions)));
  const values = orderOf(...own);
  const last = values.at(-1) as Value;
  const copies = own.map((value) => (value === last ? value : emit('copy', value.type, [value], 0, dimensions)));
  const computed = [...values.filter((value) => !isInner(value)), ...values.filter(isInner)];
  const order = [...computed, ...copies.filter((value) => value !== last)];
  const lastUse = new Map<Value, Value>();
  for (const value of order) for (const arg of (value.instruction as Instruction).args) lastUse.set(arg, value);
  const free = { outer: [...layout.registers.outer], inner: [...layout.registers.inner] };
  const freeFor = (value: Value) => free[isInner(value) ? 'inner' : 'outer'];
  const registers = new Map<Value, number>();
  const operand = (value: Value) =>
    value.dimensions | (value.instruction ? (registers.get(value) as number) : SCORE | ((value.place ?? 0) << 4));
  const outerInstructions = values.length - values.filter(isInner).length;
  const words = [outerInstructions, order.length - outerInstructions];
  for (const value of order) {
    const { name: operation, args, immediate } = value.instruction as Instruction;
    const place = copies.indexOf(value);
    if (place === -1) {
      const register = freeFor(value).shift();
      if (register === undefined) {
        throw new ParameterError(`${subject} needs too many values at once for the kernels: write it in fewer terms`);
      }
      registers.set(value, register);
    }
    const operands = [...args.map(operand), 0, 0, 0].slice(0, 3);
    words.push(
      INSTRUCTIONS.indexOf(operation),
      place === -1 ? operand(value) : dimensions | OUT | (place << 4),
      ...operands,
      immediate,
    );
    // After the result has a register: operands of fewer dimensions must not be overwritten while they are read.
    for (const arg of new Set(args)) {
      const isOver = lastUse.get(arg) === value && isInner(arg) === isInner(value);
      if (isOver && arg.instruction) freeFor(arg).unshift(registers.get(arg) as number);
    }
  }
  return Int32Array.from(words);
}
