/** A score modifier as the attention kernels take it: its program, that of its derivative, and what they read. */
import { type Expression, input, substitute } from '../../../expressions/expression';
import { HEADER_LENGTH, INSTRUCTION_LENGTH, INSTRUCTIONS } from '../../../expressions/params';
import { compileProgram, type Program } from '../../../expressions/program';
import type { Extent } from '../../../masks/mask';
import type { HeapMemory } from '../../../runtime/cpu/heap';
import { address } from '../../../runtime/cpu/plan';
import { placesOf, type Score } from '../../../scores/score';
import { Tensor } from '../../../tensor/tensor';
import { PLACE_BYTES, Place } from '../params.generated';

/** What lies at 16-byte aligned addresses: a program's code, and where its tables lie. */
const ALIGNMENT = 16;
const TABLE_LENGTH = 2;

type Table = Program['tables'][number];

/** A program with the numbers of a call, and the tensors that it captured behind its own tables. */
export interface ScoreProgram {
  readonly code: Int32Array;
  readonly tables: readonly (Table | Tensor)[];
}

/** The programs of a modifier for these extents: none without one. */
export function scorePrograms(score: Score | undefined, extent: Extent): ScoreProgram[] {
  if (!score) return [];
  return [score.expression, score.derivative].map((expression) => programOf(score, expression, extent));
}

const [CONSTANT, NUMBER, READ, LOOKUP] = ['constant', 'number', 'read', 'lookup'].map((name) =>
  INSTRUCTIONS.indexOf(name),
) as [number, number, number, number];

function programOf(
  { name, numbers, tensors }: Score,
  expression: Expression,
  extent: Extent,
  results?: 'integer',
): ScoreProgram {
  const names = tensors.map((each) => each.name);
  const program = compileProgram(name, expression, extent, results, names);
  if (numbers.length === 0 && tensors.length === 0) return program;
  const code = program.code.slice();
  const bits = new Int32Array(Float32Array.from(numbers).buffer);
  for (let at = HEADER_LENGTH; at < code.length; at += INSTRUCTION_LENGTH) {
    const immediate = at + INSTRUCTION_LENGTH - 1;
    const place = code[immediate] as number;
    if (code[at] === NUMBER) {
      code[at] = CONSTANT;
      code[immediate] = bits[place] as number;
    } else if (code[at] === LOOKUP) {
      code[at] = READ;
      code[immediate] = program.tables.length + place;
    }
  }
  return { code, tables: [...program.tables, ...tensors.map(({ tensor }) => tensor)] };
}

/** The program of a modifier for lanes of keys and rows of queries, with which decoding computes; none without one. */
export function keyProgram(score: Score | undefined, { b, n, m, h, g }: Extent): ScoreProgram | undefined {
  if (!score) return undefined;
  let transposed = transposedExpressions.get(score.expression);
  if (!transposed) {
    transposed = substitute(score.expression, { q: input('k'), k: input('q'), n: input('m'), m: input('n') });
    transposedExpressions.set(score.expression, transposed);
  }
  return programOf(score, transposed, { b, n: m, m: n, h, g });
}

const transposedExpressions = new WeakMap<Expression, Expression>();

/** Where a modifier reads what it captured: programs of the index and of how the score changes with the element. */
export interface TablePlace {
  readonly programs: readonly [index: ScoreProgram, factor: ScoreProgram];
  /** Where the array or tensor begins among the elements of all. */
  readonly first: number;
  readonly length: number;
}

export function tablePlaces(score: Score, extent: Extent): TablePlace[] {
  return placesOf(score).map(({ index, factor, first, length }) => ({
    programs: [programOf(score, index, extent, 'integer'), programOf(score, factor, extent)],
    first,
    length,
  }));
}

/** The tables that programs read, beside tensors. */
export const tablesRead = (programs: readonly ScoreProgram[]) =>
  programs.flatMap(({ tables }) => tables.filter((table) => !(table instanceof Tensor)) as Table[]);

/** Where a table lies in the heap (kept-tables.ts). */
export type AddressOf = (table: Table) => number;

/** Bytes that `writeTablePlaces` writes. */
export function tablePlacesBytes(places: readonly TablePlace[]): number {
  return aligned(places.length * PLACE_BYTES) + scoreProgramBytes(places.flatMap(({ programs }) => programs));
}

/** Writes the places to `address` in the heap. */
export function writeTablePlaces(
  places: readonly TablePlace[],
  memory: HeapMemory,
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
export function scoreProgramBytes(programs: readonly ScoreProgram[]): number {
  return programs
    .flatMap(({ code, tables }) => [code.byteLength, tables.length * TABLE_LENGTH * 4])
    .reduce((sum, bytes) => sum + aligned(bytes), 0);
}

/** Writes the programs from `first` on in the heap; returns their part of the kernels' params. */
export function writeScorePrograms(
  programs: readonly ScoreProgram[],
  memory: HeapMemory,
  first: number,
  addressOf: AddressOf,
): Record<'program' | 'tables' | 'derivative' | 'derivativeTables', number> {
  let next = first;
  const put = (numbers: Int32Array): number => {
    const at = next;
    new Int32Array(memory.buffer, at, numbers.length).set(numbers);
    next += aligned(numbers.byteLength);
    return at;
  };
  const [program = 0, tables = 0, derivative = 0, derivativeTables = 0] = programs.flatMap(({ code, tables }) => [
    put(code),
    put(
      Int32Array.from(
        tables.flatMap((table) =>
          table instanceof Tensor ? [address(table), table.size] : [addressOf(table), table.length],
        ),
      ),
    ),
  ]);
  return { program, tables, derivative, derivativeTables };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
