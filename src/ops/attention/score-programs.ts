/** A score modifier as the attention kernels take it: its program, that of its derivative, and what they read. */
import { type Expression, input, substitute } from '../../expressions/expression';
import { compileProgram, type Program } from '../../expressions/program';
import type { Extent } from '../../masks/mask';
import { type Score, tablesOf } from '../../scores/score';
import { PLACE_BYTES, Place } from './params.generated';

/** What lies at 16-byte aligned addresses: a program's code, and where its tables lie. */
const ALIGNMENT = 16;
const TABLE_LENGTH = 2;

/** The programs of a modifier for these extents: none without one. */
export function scorePrograms(score: Score | undefined, extent: Extent): Program[] {
  if (!score) return [];
  return [score.expression, score.derivative].map((expression) => compileProgram(score.name, expression, extent));
}

/** The program of a modifier for lanes of keys and rows of queries, with which decoding computes; none without one. */
export function keyProgram(score: Score | undefined, { b, n, m, h, g }: Extent): Program | undefined {
  if (!score) return undefined;
  let turned = turnedExpressions.get(score);
  if (!turned) {
    turned = substitute(score.expression, { q: input('k'), k: input('q'), n: input('m'), m: input('n') });
    turnedExpressions.set(score, turned);
  }
  return compileProgram(score.name, turned, { b, n: m, m: n, h, g });
}

const turnedExpressions = new WeakMap<Score, Expression>();

/** Where a modifier reads a captured table: programs of the index and of how the score changes with the element. */
export interface TablePlace {
  readonly programs: readonly [index: Program, factor: Program];
  /** Of the table, among the elements of all. */
  readonly first: number;
  readonly length: number;
}

export function tablePlaces(score: Score, extent: Extent): TablePlace[] {
  const tables = tablesOf(score);
  return score.tables.map(({ table, index, factor }) => ({
    programs: [compileProgram(score.name, index, extent, 'integer'), compileProgram(score.name, factor, extent)],
    first: tables.slice(0, tables.indexOf(table)).reduce((sum, { values }) => sum + values.length, 0),
    length: table.values.length,
  }));
}

/** The tables that programs read. */
export const tablesRead = (programs: readonly Program[]) => programs.flatMap(({ tables }) => tables);

/** Where a table lies in the heap (kept-tables.ts). */
export type AddressOf = (table: Program['tables'][number]) => number;

/** Bytes that `writeTablePlaces` writes. */
export function tablePlacesBytes(places: readonly TablePlace[]): number {
  return aligned(places.length * PLACE_BYTES) + scoreProgramBytes(places.flatMap(({ programs }) => programs));
}

/** Writes the places to `address` in the heap. */
export function writeTablePlaces(
  places: readonly TablePlace[],
  memory: WebAssembly.Memory,
  address: number,
  addressOf: AddressOf,
): void {
  let next = address + aligned(places.length * PLACE_BYTES);
  const numbers = places.flatMap(({ programs, first, length }) => {
    const written = writeScorePrograms(programs, memory, next, addressOf);
    const [index, indexTables] = [written.program, written.tables];
    const [factor, factorTables] = [written.derivative, written.derivativeTables];
    next += scoreProgramBytes(programs);
    return Place({ index, indexTables, factor, factorTables, first, length });
  });
  new Float64Array(memory.buffer, address, numbers.length).set(numbers);
}

/** Bytes that `writeScorePrograms` writes. */
export function scoreProgramBytes(programs: readonly Program[]): number {
  return programs
    .flatMap(({ code, tables }) => [code.byteLength, tables.length * TABLE_LENGTH * 4])
    .reduce((sum, bytes) => sum + aligned(bytes), 0);
}

/** Writes the programs to `address` in the heap; returns their part of the kernels' params. */
export function writeScorePrograms(
  programs: readonly Program[],
  memory: WebAssembly.Memory,
  address: number,
  addressOf: AddressOf,
): Record<'program' | 'tables' | 'derivative' | 'derivativeTables', number> {
  let next = address;
  const put = (numbers: Int32Array): number => {
    const at = next;
    new Int32Array(memory.buffer, at, numbers.length).set(numbers);
    next += aligned(numbers.byteLength);
    return at;
  };
  const [program = 0, tables = 0, derivative = 0, derivativeTables = 0] = programs.flatMap(({ code, tables }) => [
    put(code),
    put(Int32Array.from(tables.flatMap((table) => [addressOf(table), table.length]))),
  ]);
  return { program, tables, derivative, derivativeTables };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
