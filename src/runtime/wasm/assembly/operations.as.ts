/**
 * Helpers of the operations of expressions, and the one that reads tables. Interpreters apply the operations of
 * operations.generated.as.ts to blocks of rows of vectors: float32, int32, or masks. Addresses come with the bytes from one row
 * to the next and from one vector to the next, 0 if there is only one.
 */
import { cos, sin } from './functions.as';
import { cos as cosOf, power, sin as sinOf } from './scalar.as';
import {
  COS, DIVIDE_CEIL, DIVIDE_FLOOR, REMAINDER, SHIFT_LEFT, SHIFT_RIGHT, SHIFT_RIGHT_UNSIGNED,
} from '../../../expressions/params.generated.as';

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
  // Rows in the inner loop: in most tables the keys of one query are adjacent, and those of 24 would evict each other.
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

@inline
export function sign(x: v128): v128 {
  const size = v128.or(f32x4.splat(1), v128.and(x, f32x4.splat(-0.0)));
  const zero = f32x4.splat(0);
  // Neither 0 nor NaN.
  return v128.bitselect(size, x, v128.or(f32x4.lt(x, zero), f32x4.gt(x, zero)));
}

/** To the nearest integer, halves upwards. */
@inline
export function round(x: v128): v128 {
  const low = f32x4.floor(x);
  const up = f32x4.ge(f32x4.sub(x, low), f32x4.splat(0.5));
  return f32x4.add(low, v128.and(up, f32x4.splat(1)));
}

/** The quotient of int32, by float64, which is accurate enough to round exactly. */
export function quotient(operation: i32, x: v128, y: v128): v128 {
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

/** Operations that have no vector instruction. */
export function eachPair(operation: i32, x: v128, y: v128): v128 {
  let result = i32x4.splat(pair(operation, i32x4.extract_lane(x, 0), i32x4.extract_lane(y, 0)));
  result = i32x4.replace_lane(result, 1, pair(operation, i32x4.extract_lane(x, 1), i32x4.extract_lane(y, 1)));
  result = i32x4.replace_lane(result, 2, pair(operation, i32x4.extract_lane(x, 2), i32x4.extract_lane(y, 2)));
  return i32x4.replace_lane(result, 3, pair(operation, i32x4.extract_lane(x, 3), i32x4.extract_lane(y, 3)));
}

/** Operands are int32, or the bits of float32. */
function pair(operation: i32, x: i32, y: i32): i32 {
  // Shift counts are taken modulo 32, as in JavaScript.
  if (operation == SHIFT_LEFT) return x << y;
  if (operation == SHIFT_RIGHT) return x >> y;
  if (operation == SHIFT_RIGHT_UNSIGNED) return <i32>(<u32>x >> <u32>y);
  const a = <f64>reinterpret<f32>(x);
  const b = <f64>reinterpret<f32>(y);
  return reinterpret<i32>(<f32>(operation == REMAINDER ? a % b : power(a, b)));
}

/** In float64 where an angle is too large for float32. */
export function angular(operation: i32, x: v128): v128 {
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
