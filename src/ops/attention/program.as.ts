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
import { exp, log, tanh } from '../../runtime/wasm/assembly/functions.as';
import { cos, power, sin } from '../../runtime/wasm/assembly/scalar.as';
import {
  ABS, ADD, AND, BATCH, CEIL, CHUNK, CHUNK_REGISTERS, CONSTANT, COPY, COS, DIVIDE, DIVIDE_CEIL, DIVIDE_FLOOR,
  DIVIDE_TRUNC, EQUAL, EXP, FLOOR, HEAD, HEADER_LENGTH, INSTRUCTION_LENGTH, INTEGER_ABS, INTEGER_ADD, INTEGER_EQUAL,
  INTEGER_LESS, INTEGER_LESS_OR_EQUAL, INTEGER_MAX, INTEGER_MIN, INTEGER_MULTIPLY, INTEGER_NEGATIVE,
  INTEGER_REMAINDER, INTEGER_SIGN, INTEGER_SUBTRACT, KEYS, LANES, LESS, LESS_OR_EQUAL, LOG, MAX, MIN, MULTIPLY,
  NEGATIVE, NOT, OR, OUT, POWER, QUERIES, READ, REMAINDER, ROUND, ROWS, ROW_BYTES, SCORE, SELECT, SHIFT_LEFT,
  SHIFT_RIGHT, SHIFT_RIGHT_UNSIGNED, SIGN, SIN, SQRT, SUBTRACT, TANH, TILE_REGISTERS, TO_FLOAT, TO_INTEGER, TRUNC,
  XOR,
} from '../../expressions/params.generated.as';
import { ModifyParams } from './params.generated.as';

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

// @ts-ignore: decorator
@inline
function addressOf(operand: i32, block: Block): usize {
  if (operand & SCORE) return block.scores;
  if (operand & OUT) return block.out;
  return block.scratch + <usize>(operand & OFFSET);
}

/** Bytes from one row, or one vector, to the next; 0 where there is but one. */
// @ts-ignore: decorator
@inline
function rowStep(operand: i32): usize {
  return operand & ROWS ? (operand & LANES ? <usize>ROW_BYTES : 16) : 0;
}

// @ts-ignore: decorator
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
    case SELECT: {
      const c = addressOf(third, block);
      select(rows, vectors, out, or, ol, a, ar, al, b, br, bl, c, rowStep(third), laneStep(third));
      break;
    }
    case COPY:
      unary(COPY, rows, vectors, out, or, ol, a, ar, al);
      break;
    case TO_FLOAT:
      unary(TO_FLOAT, rows, vectors, out, or, ol, a, ar, al);
      break;
    case TO_INTEGER:
      unary(TO_INTEGER, rows, vectors, out, or, ol, a, ar, al);
      break;
    case NOT:
      unary(NOT, rows, vectors, out, or, ol, a, ar, al);
      break;
    case NEGATIVE:
      unary(NEGATIVE, rows, vectors, out, or, ol, a, ar, al);
      break;
    case ABS:
      unary(ABS, rows, vectors, out, or, ol, a, ar, al);
      break;
    case SIGN:
      unary(SIGN, rows, vectors, out, or, ol, a, ar, al);
      break;
    case FLOOR:
      unary(FLOOR, rows, vectors, out, or, ol, a, ar, al);
      break;
    case CEIL:
      unary(CEIL, rows, vectors, out, or, ol, a, ar, al);
      break;
    case TRUNC:
      unary(TRUNC, rows, vectors, out, or, ol, a, ar, al);
      break;
    case ROUND:
      unary(ROUND, rows, vectors, out, or, ol, a, ar, al);
      break;
    case SQRT:
      unary(SQRT, rows, vectors, out, or, ol, a, ar, al);
      break;
    case EXP:
      unary(EXP, rows, vectors, out, or, ol, a, ar, al);
      break;
    case LOG:
      unary(LOG, rows, vectors, out, or, ol, a, ar, al);
      break;
    case TANH:
      unary(TANH, rows, vectors, out, or, ol, a, ar, al);
      break;
    case INTEGER_NEGATIVE:
      unary(INTEGER_NEGATIVE, rows, vectors, out, or, ol, a, ar, al);
      break;
    case INTEGER_ABS:
      unary(INTEGER_ABS, rows, vectors, out, or, ol, a, ar, al);
      break;
    case INTEGER_SIGN:
      unary(INTEGER_SIGN, rows, vectors, out, or, ol, a, ar, al);
      break;
    case COS:
      unary(COS, rows, vectors, out, or, ol, a, ar, al);
      break;
    case SIN:
      unary(SIN, rows, vectors, out, or, ol, a, ar, al);
      break;
    case AND:
      binary(AND, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case OR:
      binary(OR, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case XOR:
      binary(XOR, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case ADD:
      binary(ADD, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case SUBTRACT:
      binary(SUBTRACT, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case MULTIPLY:
      binary(MULTIPLY, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case DIVIDE:
      binary(DIVIDE, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case MIN:
      binary(MIN, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case MAX:
      binary(MAX, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case LESS:
      binary(LESS, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case LESS_OR_EQUAL:
      binary(LESS_OR_EQUAL, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case EQUAL:
      binary(EQUAL, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_ADD:
      binary(INTEGER_ADD, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_SUBTRACT:
      binary(INTEGER_SUBTRACT, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_MULTIPLY:
      binary(INTEGER_MULTIPLY, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_MIN:
      binary(INTEGER_MIN, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_MAX:
      binary(INTEGER_MAX, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_LESS:
      binary(INTEGER_LESS, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_LESS_OR_EQUAL:
      binary(INTEGER_LESS_OR_EQUAL, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_EQUAL:
      binary(INTEGER_EQUAL, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case DIVIDE_FLOOR:
      binary(DIVIDE_FLOOR, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case DIVIDE_CEIL:
      binary(DIVIDE_CEIL, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case DIVIDE_TRUNC:
      binary(DIVIDE_TRUNC, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case INTEGER_REMAINDER:
      binary(INTEGER_REMAINDER, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case SHIFT_LEFT:
      binary(SHIFT_LEFT, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case SHIFT_RIGHT:
      binary(SHIFT_RIGHT, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case SHIFT_RIGHT_UNSIGNED:
      binary(SHIFT_RIGHT_UNSIGNED, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case REMAINDER:
      binary(REMAINDER, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case POWER:
      binary(POWER, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    default:
      unreachable();
  }
}

// @ts-ignore: decorator
@inline
function unary(
  operation: i32,
  rows: i32,
  vectors: i32,
  out: usize,
  outRow: usize,
  outLane: usize,
  a: usize,
  aRow: usize,
  aLane: usize,
): void {
  for (let r: i32 = 0; r < rows; r++) {
    let to = out;
    let x = a;
    for (let v: i32 = 0; v < vectors; v++) {
      v128.store(to, one(operation, v128.load(x)));
      to += outLane;
      x += aLane;
    }
    out += outRow;
    a += aRow;
  }
}

// @ts-ignore: decorator
@inline
function one(operation: i32, x: v128): v128 {
  if (operation == COPY) return x;
  if (operation == TO_FLOAT) return f32x4.convert_i32x4_s(x);
  if (operation == TO_INTEGER) return i32x4.trunc_sat_f32x4_s(x);
  if (operation == NOT) return v128.not(x);
  if (operation == NEGATIVE) return f32x4.neg(x);
  if (operation == ABS) return f32x4.abs(x);
  if (operation == SIGN) return sign(x);
  if (operation == FLOOR) return f32x4.floor(x);
  if (operation == CEIL) return f32x4.ceil(x);
  if (operation == TRUNC) return f32x4.trunc(x);
  if (operation == ROUND) return round(x);
  if (operation == SQRT) return f32x4.sqrt(x);
  if (operation == EXP) return exp(x);
  if (operation == LOG) return log(x);
  if (operation == TANH) return tanh(x);
  if (operation == INTEGER_NEGATIVE) return i32x4.neg(x);
  if (operation == INTEGER_ABS) return i32x4.abs(x);
  if (operation == INTEGER_SIGN) return i32x4.sub(i32x4.lt_s(x, i32x4.splat(0)), i32x4.gt_s(x, i32x4.splat(0)));
  if (operation == COS) return angular(COS, x);
  if (operation == SIN) return angular(SIN, x);
  return x;
}

// @ts-ignore: decorator
@inline
function binary(
  operation: i32,
  rows: i32,
  vectors: i32,
  out: usize,
  outRow: usize,
  outLane: usize,
  a: usize,
  aRow: usize,
  aLane: usize,
  b: usize,
  bRow: usize,
  bLane: usize,
): void {
  for (let r: i32 = 0; r < rows; r++) {
    let to = out;
    let x = a;
    let y = b;
    for (let v: i32 = 0; v < vectors; v++) {
      v128.store(to, two(operation, v128.load(x), v128.load(y)));
      to += outLane;
      x += aLane;
      y += bLane;
    }
    out += outRow;
    a += aRow;
    b += bRow;
  }
}

// @ts-ignore: decorator
@inline
function two(operation: i32, x: v128, y: v128): v128 {
  if (operation == AND) return v128.and(x, y);
  if (operation == OR) return v128.or(x, y);
  if (operation == XOR) return v128.xor(x, y);
  if (operation == ADD) return f32x4.add(x, y);
  if (operation == SUBTRACT) return f32x4.sub(x, y);
  if (operation == MULTIPLY) return f32x4.mul(x, y);
  if (operation == DIVIDE) return f32x4.div(x, y);
  if (operation == MIN) return f32x4.min(x, y);
  if (operation == MAX) return f32x4.max(x, y);
  if (operation == LESS) return f32x4.lt(x, y);
  if (operation == LESS_OR_EQUAL) return f32x4.le(x, y);
  if (operation == EQUAL) return f32x4.eq(x, y);
  if (operation == INTEGER_ADD) return i32x4.add(x, y);
  if (operation == INTEGER_SUBTRACT) return i32x4.sub(x, y);
  if (operation == INTEGER_MULTIPLY) return i32x4.mul(x, y);
  if (operation == INTEGER_MIN) return i32x4.min_s(x, y);
  if (operation == INTEGER_MAX) return i32x4.max_s(x, y);
  if (operation == INTEGER_LESS) return i32x4.lt_s(x, y);
  if (operation == INTEGER_LESS_OR_EQUAL) return i32x4.le_s(x, y);
  if (operation == INTEGER_EQUAL) return i32x4.eq(x, y);
  if (operation == DIVIDE_FLOOR) return quotient(DIVIDE_FLOOR, x, y);
  if (operation == DIVIDE_CEIL) return quotient(DIVIDE_CEIL, x, y);
  if (operation == DIVIDE_TRUNC) return quotient(DIVIDE_TRUNC, x, y);
  if (operation == INTEGER_REMAINDER) return i32x4.sub(x, i32x4.mul(quotient(DIVIDE_TRUNC, x, y), y));
  if (operation == SHIFT_LEFT) return eachPair(SHIFT_LEFT, x, y);
  if (operation == SHIFT_RIGHT) return eachPair(SHIFT_RIGHT, x, y);
  if (operation == SHIFT_RIGHT_UNSIGNED) return eachPair(SHIFT_RIGHT_UNSIGNED, x, y);
  if (operation == REMAINDER) return eachPair(REMAINDER, x, y);
  if (operation == POWER) return eachPair(POWER, x, y);
  return x;
}

/** b where a holds, else c. */
// @ts-ignore: decorator
@inline
function select(
  rows: i32,
  vectors: i32,
  out: usize,
  outRow: usize,
  outLane: usize,
  a: usize,
  aRow: usize,
  aLane: usize,
  b: usize,
  bRow: usize,
  bLane: usize,
  c: usize,
  cRow: usize,
  cLane: usize,
): void {
  for (let r: i32 = 0; r < rows; r++) {
    let to = out;
    let x = a;
    let y = b;
    let z = c;
    for (let v: i32 = 0; v < vectors; v++) {
      v128.store(to, v128.bitselect(v128.load(y), v128.load(z), v128.load(x)));
      to += outLane;
      x += aLane;
      y += bLane;
      z += cLane;
    }
    out += outRow;
    a += aRow;
    b += bRow;
    c += cRow;
  }
}

/** Elements of a table of 32-bit numbers; NaN outside it. */
function read(
  table: usize,
  length: u32,
  rows: i32,
  vectors: i32,
  out: usize,
  outRow: usize,
  outLane: usize,
  a: usize,
  aRow: usize,
  aLane: usize,
): void {
  // Rows inside: the keys of one query lie side by side in most tables, those of 24 would push each other from the cache.
  for (let v: i32 = 0; v < vectors; v++) {
    let to = out;
    let x = a;
    for (let r: i32 = 0; r < rows; r++) {
      for (let lane: usize = 0; lane < 16; lane += 4) {
        const index = <u32>i32.load(x + lane);
        i32.store(to + lane, index < length ? i32.load(table + (<usize>index << 2)) : 0x7fc00000);
      }
      to += outRow;
      x += aRow;
    }
    out += outLane;
    a += aLane;
  }
}

// @ts-ignore: decorator
@inline
function sign(x: v128): v128 {
  const size = v128.or(f32x4.splat(1), v128.and(x, f32x4.splat(-0.0)));
  const zero = f32x4.splat(0);
  // Neither 0 nor NaN.
  return v128.bitselect(size, x, v128.or(f32x4.lt(x, zero), f32x4.gt(x, zero)));
}

/** To the nearest integer, halves up. */
// @ts-ignore: decorator
@inline
function round(x: v128): v128 {
  const low = f32x4.floor(x);
  const up = f32x4.ge(f32x4.sub(x, low), f32x4.splat(0.5));
  return f32x4.add(low, v128.and(up, f32x4.splat(1)));
}

/** Of int32, by way of float64, whose quotients are near enough to round exactly. */
function quotient(operation: i32, x: v128, y: v128): v128 {
  let low = f64x2.div(f64x2.convert_low_i32x4_s(x), f64x2.convert_low_i32x4_s(y));
  const upperX = v128.shuffle<i64>(x, x, 1, 1);
  const upperY = v128.shuffle<i64>(y, y, 1, 1);
  let high = f64x2.div(f64x2.convert_low_i32x4_s(upperX), f64x2.convert_low_i32x4_s(upperY));
  if (operation == DIVIDE_FLOOR) {
    low = f64x2.floor(low);
    high = f64x2.floor(high);
  } else if (operation == DIVIDE_CEIL) {
    low = f64x2.ceil(low);
    high = f64x2.ceil(high);
  }
  return v128.shuffle<i64>(i32x4.trunc_sat_f64x2_s_zero(low), i32x4.trunc_sat_f64x2_s_zero(high), 0, 2);
}

/** Operations without vectors. */
function eachPair(operation: i32, x: v128, y: v128): v128 {
  let result = i32x4.splat(pair(operation, i32x4.extract_lane(x, 0), i32x4.extract_lane(y, 0)));
  result = i32x4.replace_lane(result, 1, pair(operation, i32x4.extract_lane(x, 1), i32x4.extract_lane(y, 1)));
  result = i32x4.replace_lane(result, 2, pair(operation, i32x4.extract_lane(x, 2), i32x4.extract_lane(y, 2)));
  return i32x4.replace_lane(result, 3, pair(operation, i32x4.extract_lane(x, 3), i32x4.extract_lane(y, 3)));
}

/** Of int32, or of the bits of float32. */
function pair(operation: i32, x: i32, y: i32): i32 {
  // Shifts take the low five bits, as JavaScript's do.
  if (operation == SHIFT_LEFT) return x << y;
  if (operation == SHIFT_RIGHT) return x >> y;
  if (operation == SHIFT_RIGHT_UNSIGNED) return <i32>(<u32>x >> <u32>y);
  const a = <f64>reinterpret<f32>(x);
  const b = <f64>reinterpret<f32>(y);
  return reinterpret<i32>(<f32>(operation == REMAINDER ? a % b : power(a, b)));
}

function angular(operation: i32, x: v128): v128 {
  const a = f32x4.splat(angle(operation, f32x4.extract_lane(x, 0)));
  const b = f32x4.replace_lane(a, 1, angle(operation, f32x4.extract_lane(x, 1)));
  const c = f32x4.replace_lane(b, 2, angle(operation, f32x4.extract_lane(x, 2)));
  return f32x4.replace_lane(c, 3, angle(operation, f32x4.extract_lane(x, 3)));
}

function angle(operation: i32, x: f32): f32 {
  return <f32>(operation == COS ? cos(<f64>x) : sin(<f64>x));
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
