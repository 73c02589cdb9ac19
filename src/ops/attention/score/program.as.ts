/**
 * An interpreter of score modifiers, whose programs expressions/program.ts writes.
 *
 * It takes chunks of up to 12 keys by 24 queries, one instruction at a time over all of a chunk, so that what it costs to
 * read an instruction is shared by hundreds of elements. Values that do not depend on the key are computed once for a
 * tile of queries, by `beginTile`; the others for each chunk, by `runProgram`.
 *
 * A program is int32 numbers: how many instructions are for the tile and how many for each chunk, then the instructions,
 * six numbers each: operation, result, three operands, an immediate. Results and operands are byte offsets in the working
 * memory plus, in the low four bits, which dimensions they have: a value without rows (keys) is the same for all of them,
 * and one without lanes (queries) has its value in all four lanes of one vector. Values are float32, int32, or masks.
 */
import { operate } from '../../../runtime/wasm/assembly/operate.as';
import { read } from '../../../runtime/wasm/assembly/operations.as';
import {
  BATCH, CHUNK, CHUNK_REGISTERS, CONSTANT, HEAD, HEADER_LENGTH, INSTRUCTION_LENGTH, KEYS, LANES, OUT, QUERIES, READ,
  ROWS, ROW_BYTES, SCORE, TILE_REGISTERS,
} from '../../../expressions/params.generated.as';
import { ModifyParams } from '../params.generated.as';

const OFFSET: i32 = ~15;
const VECTORS: i32 = ROW_BYTES / 16;
const INSTRUCTION: usize = INSTRUCTION_LENGTH * 4;
const HEADER: usize = HEADER_LENGTH * 4;

/** Bytes of working memory that a program may use. */
export const PROGRAM_SCRATCH: i32 = (TILE_REGISTERS + CHUNK_REGISTERS * CHUNK) * ROW_BYTES;

/** What a program runs over; addresses of 16-byte aligned memory. */
@unmanaged
export class Block {
  /** Scores f32[rows][24], and where to put the new ones, which may be the same memory. */
  scores: usize;
  out: usize;
  /** Query tokens i32[24] and key tokens i32[rows]. */
  queries: usize;
  keys: usize;
  /** Keys in the chunk, at most 12. */
  rows: i32;
  batch: i32;
  head: i32;
  /** Address and number of elements of each table, two u32 each. */
  tables: usize;
  /** PROGRAM_SCRATCH bytes, kept from `beginTile` to the last `runProgram` of the tile. */
  scratch: usize;
}

/** Computes what is the same for all keys of the tile that `block.queries`, `batch` and `head` name. */
export function beginTile(program: usize, block: Block): void {
  run(program + HEADER, i32.load(program), block);
}

/** The new scores of a chunk. */
export function runProgram(program: usize, block: Block): void {
  const tile = <usize>i32.load(program) * INSTRUCTION;
  run(program + HEADER + tile, i32.load(program, 4), block);
}

function run(instruction: usize, count: i32, block: Block): void {
  for (const end = instruction + <usize>count * INSTRUCTION; instruction < end; instruction += INSTRUCTION) {
    execute(instruction, block);
  }
}

@inline
function addressOf(operand: i32, block: Block): usize {
  if (operand & SCORE) return block.scores;
  if (operand & OUT) return block.out;
  return block.scratch + <usize>(operand & OFFSET);
}

/** Bytes from one row, or one vector, to the next; 0 where there is but one. */
@inline
function rowStep(operand: i32): usize {
  return operand & ROWS ? (operand & LANES ? <usize>ROW_BYTES : 16) : 0;
}

@inline
function laneStep(operand: i32): usize {
  return operand & LANES ? 16 : 0;
}

function execute(instruction: usize, block: Block): void {
  const operation = i32.load(instruction);
  const result = i32.load(instruction, 4);
  const first = i32.load(instruction, 8);
  const second = i32.load(instruction, 12);
  const third = i32.load(instruction, 16);
  const rows = result & ROWS ? block.rows : 1;
  const vectors = result & LANES ? VECTORS : 1;
  const out = addressOf(result, block);
  const a = addressOf(first, block);
  const b = addressOf(second, block);
  const or = rowStep(result);
  const ar = rowStep(first);
  const br = rowStep(second);
  const ol = laneStep(result);
  const al = laneStep(first);
  const bl = laneStep(second);
  switch (operation) {
    case CONSTANT:
      v128.store(out, i32x4.splat(i32.load(instruction, 20)));
      break;
    case BATCH:
      v128.store(out, i32x4.splat(block.batch));
      break;
    case HEAD:
      v128.store(out, i32x4.splat(block.head));
      break;
    case QUERIES:
      memory.copy(out, block.queries, ROW_BYTES);
      break;
    case KEYS:
      for (let r: i32 = 0; r < rows; r++) v128.store(out + (r << 4), v128.load32_splat(block.keys + (r << 2)));
      break;
    case READ: {
      const table = block.tables + (<usize>i32.load(instruction, 20) << 3);
      read(<usize>i32.load(table), <u32>i32.load(table, 4), rows, vectors, out, or, ol, a, ar, al);
      break;
    }
    default: {
      const c = addressOf(third, block);
      operate(operation, rows, vectors, out, or, ol, a, ar, al, b, br, bl, c, rowStep(third), laneStep(third));
    }
  }
}

/** A program over one tile of queries and `count` keys. */
export function modifyScores(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ModifyParams>(params);
  const block = changetype<Block>(scratch);
  block.queries = p.queries;
  block.batch = p.batch;
  block.head = p.head;
  block.tables = p.tables;
  block.scratch = (scratch + offsetof<Block>() + 15) & ~15;
  beginTile(p.program, block);
  const count = p.count;
  for (let j: i32 = 0; j < count; j += CHUNK) {
    block.scores = p.scores + <usize>j * ROW_BYTES;
    block.out = p.out + <usize>j * ROW_BYTES;
    block.keys = p.keys + (<usize>j << 2);
    block.rows = min(CHUNK, count - j);
    runProgram(p.program, block);
  }
}
