/** Random numbers, made four blocks of Philox at a time; tasks are runs of them. */
import { cos, log, sin } from '../../runtime/wasm/assembly/functions.as';
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { NORMAL, RandomParams, RUN } from './params.generated.as';

/** Numbers that are made together. */
const TOGETHER: usize = 16;

export const SCRATCH_BYTES: usize = TOGETHER << 2;

export function random(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RandomParams>(params);
  const end = min(<usize>(task + 1) * <usize>RUN, p.size);
  const low = <u32>p.low;
  const high = <u32>p.high;
  const isNormal = p.distribution == NORMAL;
  for (let at = <usize>task * <usize>RUN; at < end; at += TOGETHER) {
    const place = p.out + (at << 2);
    if (at + TOGETHER <= end) {
      numbers(at >> 2, low, high, isNormal, place);
    } else {
      numbers(at >> 2, low, high, isNormal, scratch);
      memory.copy(place, scratch, (end - at) << 2);
    }
  }
}

function numbers(block: usize, low: u32, high: u32, isNormal: bool, to: usize): void {
  let a = i32x4.add(i32x4.splat(<i32>block), i32x4(0, 1, 2, 3));
  let b = i32x4.splat(0);
  let c = i32x4.splat(0);
  let d = i32x4.splat(0);
  for (let round = 0; round < 10; round++) {
    const first = i32x4.splat(0xd2511f53);
    const second = i32x4.splat(0xcd9e8d57);
    const upper0 = upperProduct(a, first);
    const lower0 = i32x4.mul(a, first);
    const upper1 = upperProduct(c, second);
    const lower1 = i32x4.mul(c, second);
    a = v128.xor(v128.xor(upper1, b), i32x4.splat(low));
    b = lower1;
    c = v128.xor(v128.xor(upper0, d), i32x4.splat(high));
    d = lower0;
    low += 0x9e3779b9;
    high += 0xbb67ae85;
  }
  if (isNormal) {
    const inner = radius(a);
    const angle = angleOf(b);
    const outer = radius(c);
    const other = angleOf(d);
    a = f32x4.mul(inner, cos(angle));
    b = f32x4.mul(inner, sin(angle));
    c = f32x4.mul(outer, cos(other));
    d = f32x4.mul(outer, sin(other));
  } else {
    a = uniform(a);
    b = uniform(b);
    c = uniform(c);
    d = uniform(d);
  }
  storeTransposed(a, b, c, d, to, 16);
}

/** The upper halves of products of unsigned words. */
@inline
function upperProduct(x: v128, y: v128): v128 {
  return v128.shuffle<i32>(i64x2.extmul_low_i32x4_u(x, y), i64x2.extmul_high_i32x4_u(x, y), 1, 3, 5, 7);
}

@inline
function uniform(words: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(words, 8)), f32x4.splat(5.960464477539063e-8));
}

/** An angle up to a turn. */
@inline
function angleOf(words: v128): v128 {
  return f32x4.mul(uniform(words), f32x4.splat(6.283185307179586));
}

/** The root of -2 log of a share. Of small words all 32 bits count, as the logarithm sees them. */
@inline
function radius(words: v128): v128 {
  const small = f32x4.convert_i32x4_s(i32x4.max_u(words, i32x4.splat(1)));
  const isSmall = i32x4.lt_u(words, i32x4.splat(1 << 24));
  const share = v128.bitselect(f32x4.mul(small, f32x4.splat(2.3283064365386963e-10)), uniform(words), isSmall);
  return f32x4.sqrt(f32x4.mul(log(share), f32x4.splat(-2)));
}
