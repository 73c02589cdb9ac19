/** A score modifier as the attention kernels take it: its program, that of its derivative, and what they read. */
import { compileProgram, type Program } from '../../expressions/program';
import type { Extent } from '../../masks/mask';
import type { Score } from '../../scores/score';

/** What lies at 16-byte aligned addresses: a program's code and tables. */
const ALIGNMENT = 16;
const TABLE_LENGTH = 2;

/** The programs of a modifier for these extents: none without one. */
export function scorePrograms(score: Score | undefined, extent: Extent): Program[] {
  if (!score) return [];
  return [score.expression, score.derivative].map((expression) => compileProgram(score.name, expression, extent));
}

/** Bytes that `writeScorePrograms` writes. */
export function scoreProgramBytes(programs: readonly Program[]): number {
  return programs
    .flatMap(({ code, tables }) => [
      code.byteLength,
      tables.length * TABLE_LENGTH * 4,
      ...tables.map((x) => x.byteLength),
    ])
    .reduce((sum, bytes) => sum + aligned(bytes), 0);
}

/** Writes the programs to `address` in the heap; returns their part of the kernels' params (assembly/blocks.ts). */
export function writeScorePrograms(
  programs: readonly Program[],
  memory: WebAssembly.Memory,
  address: number,
): [program: number, tables: number, derivative: number, derivativeTables: number] {
  let next = address;
  const put = (numbers: Int32Array | Float32Array): number => {
    const at = next;
    new Uint8Array(memory.buffer, at, numbers.byteLength).set(
      new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength),
    );
    next += aligned(numbers.byteLength);
    return at;
  };
  const [program = 0, tables = 0, derivative = 0, derivativeTables = 0] = programs.flatMap(({ code, tables }) => [
    put(code),
    put(Int32Array.from(tables.flatMap((table) => [put(table), table.length]))),
  ]);
  return [program, tables, derivative, derivativeTables];
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
