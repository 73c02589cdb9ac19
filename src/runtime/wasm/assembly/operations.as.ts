/**
 * The operations of expressions, as interpreters of their programs apply them to blocks of rows of vectors: float32, int32, or
 * masks. Addresses come with the bytes from one row to the next and from one vector to the next, 0 where there is but one.
 */
import {
  areSmall, cos, erf, EXP_REACH, exp, expMinusOne, log, logOnePlus, normalShare, sigmoid, sigmoidSlope, sin, softplus,
  TANH_REACH, tanh,
} from './functions.as';
import { cos as cosOf, power, sin as sinOf } from './scalar.as';
import {
  ABS, ADD, AND, CEIL, COPY, COS, DIVIDE, DIVIDE_CEIL, DIVIDE_FLOOR, DIVIDE_TRUNC, EQUAL, ERF, EXP, EXPM1, FLOOR,
  INTEGER_ABS, INTEGER_ADD, INTEGER_EQUAL, INTEGER_LESS, INTEGER_LESS_OR_EQUAL, INTEGER_MAX, INTEGER_MIN,
  INTEGER_MULTIPLY, INTEGER_NEGATIVE, INTEGER_REMAINDER, INTEGER_SIGN, INTEGER_SUBTRACT, LESS, LESS_OR_EQUAL, LOG,
  LOG1P, MAX, MIN, MULTIPLY, NEGATIVE, NORMAL_SHARE, NOT, OR, POWER, REMAINDER, ROUND, RSQRT, SELECT, SHIFT_LEFT,
  SHIFT_RIGHT, SHIFT_RIGHT_UNSIGNED, SIGMOID, SIGMOID_SLOPE, SIGN, SIN, SOFTPLUS, SQRT, SUBTRACT, TANH, TO_FLOAT,
  TO_INTEGER, TRUNC, XOR,
} from '../../../expressions/params.generated.as';

/** `operation` of a, b and c, as many as it takes, to out. */
// @ts-ignore: decorator
@inline
export function operate(
  operation: i32,
  rows: i32,
  vectors: i32,
  out: usize,
  or: usize,
  ol: usize,
  a: usize,
  ar: usize,
  al: usize,
  b: usize,
  br: usize,
  bl: usize,
  c: usize,
  cr: usize,
  cl: usize,
): void {
  // Rows that follow each other are one.
  const n = <usize>vectors;
  if (or == n * ol && ar == n * al && br == n * bl && cr == n * cl) {
    vectors *= rows;
    rows = 1;
  }
  switch (operation) {
    case SELECT:
      select(rows, vectors, out, or, ol, a, ar, al, b, br, bl, c, cr, cl);
      break;
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
      exponential<Exp>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case LOG:
      unary(LOG, rows, vectors, out, or, ol, a, ar, al);
      break;
    case TANH:
      exponential<Tanh>(rows, vectors, out, or, ol, a, ar, al);
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
    case EXPM1:
      exponential<ExpMinusOne>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case LOG1P:
      unary(LOG1P, rows, vectors, out, or, ol, a, ar, al);
      break;
    case SIGMOID:
      exponential<Sigmoid>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case SIGMOID_SLOPE:
      exponential<SigmoidSlope>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case SOFTPLUS:
      exponential<Softplus>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case ERF:
      exponential<Erf>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case NORMAL_SHARE:
      exponential<NormalShare>(rows, vectors, out, or, ol, a, ar, al);
      break;
    case RSQRT:
      unary(RSQRT, rows, vectors, out, or, ol, a, ar, al);
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
      arithmetic(ADD, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case SUBTRACT:
      arithmetic(SUBTRACT, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case MULTIPLY:
      arithmetic(MULTIPLY, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case DIVIDE:
      arithmetic(DIVIDE, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case MIN:
      arithmetic(MIN, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
      break;
    case MAX:
      arithmetic(MAX, rows, vectors, out, or, ol, a, ar, al, b, br, bl);
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
  if (operation == LOG) return log(x);
  if (operation == LOG1P) return logOnePlus(x);
  if (operation == RSQRT) return f32x4.div(f32x4.splat(1), f32x4.sqrt(x));
  if (operation == INTEGER_NEGATIVE) return i32x4.neg(x);
  if (operation == INTEGER_ABS) return i32x4.abs(x);
  if (operation == INTEGER_SIGN) return i32x4.sub(i32x4.lt_s(x, i32x4.splat(0)), i32x4.gt_s(x, i32x4.splat(0)));
  if (operation == COS) return angular(COS, x);
  if (operation == SIN) return angular(SIN, x);
  return x;
}

/** Functions with an exponential, by their types, so that the loop over each is a function of its own. */
@unmanaged
class Exp {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return exp(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return EXP_REACH;
  }
}

@unmanaged
class ExpMinusOne {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return expMinusOne(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return EXP_REACH;
  }
}

@unmanaged
class Sigmoid {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return sigmoid(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return EXP_REACH;
  }
}

@unmanaged
class SigmoidSlope {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return sigmoidSlope(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return EXP_REACH;
  }
}

@unmanaged
class Softplus {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return softplus(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return EXP_REACH;
  }
}

@unmanaged
class Tanh {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return tanh(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return TANH_REACH;
  }
}

@unmanaged
class Erf {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return erf(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return TANH_REACH;
  }
}

@unmanaged
class NormalShare {
  // @ts-ignore: decorator
  @inline
  of(x: v128, small: bool): v128 {
    return normalShare(x, small);
  }

  // @ts-ignore: decorator
  @inline
  reach(): usize {
    return TANH_REACH;
  }
}

function exponential<F>(
  rows: i32,
  vectors: i32,
  out: usize,
  outRow: usize,
  outLane: usize,
  a: usize,
  aRow: usize,
  aLane: usize,
): void {
  const f = changetype<F>(0);
  for (let r: i32 = 0; r < rows; r++) {
    let to = out;
    let x = a;
    let left = vectors;
    while (left > 0) {
      let first = v128.load(x);
      if (left > 1) {
        // Two at a time share the constants.
        let second = v128.load(x + aLane);
        if (areSmall(first, second, f.reach())) {
          first = f.of(first, true);
          second = f.of(second, true);
          v128.store(to, first);
          v128.store(to + outLane, second);
          to += 2 * outLane;
          x += 2 * aLane;
          left -= 2;
          continue;
        }
      }
      v128.store(to, f.of(first, false));
      to += outLane;
      x += aLane;
      left--;
    }
    out += outRow;
    a += aRow;
  }
}

/** What most programs consist of, four vectors at a time, in a loop for each way in which an operand repeats. */
// @ts-ignore: decorator
@inline
function arithmetic(
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
    let left = vectors;
    if (aLane && bLane) {
      for (; left >= 4; left -= 4, to += 64, x += 64, y += 64) {
        const first = ofFloats(operation, v128.load(x), v128.load(y));
        const second = ofFloats(operation, v128.load(x, 16), v128.load(y, 16));
        const third = ofFloats(operation, v128.load(x, 32), v128.load(y, 32));
        storeFour(to, first, second, third, ofFloats(operation, v128.load(x, 48), v128.load(y, 48)));
      }
    } else if (aLane) {
      const repeated = v128.load(y);
      for (; left >= 4; left -= 4, to += 64, x += 64) {
        const first = ofFloats(operation, v128.load(x), repeated);
        const second = ofFloats(operation, v128.load(x, 16), repeated);
        const third = ofFloats(operation, v128.load(x, 32), repeated);
        storeFour(to, first, second, third, ofFloats(operation, v128.load(x, 48), repeated));
      }
    } else if (bLane) {
      const repeated = v128.load(x);
      for (; left >= 4; left -= 4, to += 64, y += 64) {
        const first = ofFloats(operation, repeated, v128.load(y));
        const second = ofFloats(operation, repeated, v128.load(y, 16));
        const third = ofFloats(operation, repeated, v128.load(y, 32));
        storeFour(to, first, second, third, ofFloats(operation, repeated, v128.load(y, 48)));
      }
    }
    for (; left > 0; left--) {
      v128.store(to, ofFloats(operation, v128.load(x), v128.load(y)));
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
function storeFour(to: usize, first: v128, second: v128, third: v128, fourth: v128): void {
  v128.store(to, first);
  v128.store(to, second, 16);
  v128.store(to, third, 32);
  v128.store(to, fourth, 48);
}

// @ts-ignore: decorator
@inline
function ofFloats(operation: i32, x: v128, y: v128): v128 {
  if (operation == ADD) return f32x4.add(x, y);
  if (operation == SUBTRACT) return f32x4.sub(x, y);
  if (operation == MULTIPLY) return f32x4.mul(x, y);
  if (operation == DIVIDE) return f32x4.div(x, y);
  if (operation == MIN) return f32x4.min(x, y);
  return f32x4.max(x, y);
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
export function read(
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

/** In float64 where an angle is too large for vectors. */
function angular(operation: i32, x: v128): v128 {
  const large = f32x4.gt(f32x4.abs(x), f32x4.splat(1e9));
  const y = operation == COS ? cos(x) : sin(x);
  if (!v128.any_true(large)) return y;
  const a = f32x4.splat(angle(operation, f32x4.extract_lane(x, 0)));
  const b = f32x4.replace_lane(a, 1, angle(operation, f32x4.extract_lane(x, 1)));
  const c = f32x4.replace_lane(b, 2, angle(operation, f32x4.extract_lane(x, 2)));
  return v128.bitselect(f32x4.replace_lane(c, 3, angle(operation, f32x4.extract_lane(x, 3))), y, large);
}

function angle(operation: i32, x: f32): f32 {
  return <f32>(operation == COS ? cosOf(<f64>x) : sinOf(<f64>x));
}
