/** Rows of tensors of any dtype and strides, as contiguous f32, and back. */

import { F16, F32 } from '../../cpu/params.generated.as';

/** The address of the constants, after those of constants.generated.as.ts and before the params; see vector.as.ts for why. */
const CONSTANTS: usize = 2560;
const MAGNITUDE: usize = CONSTANTS;
const INFINITE: usize = CONSTANTS + 16;
const ONE: usize = CONSTANTS + 32;
const SIGN_F16: usize = CONSTANTS + 48;
const MAGNITUDE_F16: usize = CONSTANTS + 64;
const INFINITE_F16: usize = CONSTANTS + 80;
const NAN_F16: usize = CONSTANTS + 96;
const LARGEST_F16: usize = CONSTANTS + 112;
const NORMAL_F16: usize = CONSTANTS + 128;
const HALF: usize = CONSTANTS + 144;
const REBIAS: usize = CONSTANTS + 160;
/** 2^112: what is left to do to a half whose fields have moved to where float32 has them. */
export const SCALE: usize = CONSTANTS + 176;
const QUIET_BF16: usize = CONSTANTS + 192;
const HALF_BF16: usize = CONSTANTS + 208;
/** The bits that the fields of a half have then moved to. */
export const FIELDS_F16: usize = CONSTANTS + 224;

v128.store(MAGNITUDE, i32x4.splat(0x7fffffff));
v128.store(INFINITE, i32x4.splat(0x7f800000));
v128.store(ONE, i32x4.splat(1));
v128.store(SIGN_F16, i32x4.splat(0x8000));
v128.store(MAGNITUDE_F16, i32x4.splat(0x7fff));
v128.store(INFINITE_F16, i32x4.splat(0x7c00));
v128.store(NAN_F16, i32x4.splat(0x7e00));
v128.store(LARGEST_F16, i32x4.splat(0x7bff));
// The largest float below the smallest normal f16, 2^-14.
v128.store(NORMAL_F16, i32x4.splat(0x387fffff));
v128.store(HALF, f32x4.splat(0.5));
// The difference of the exponents' biases, and what rounds up from just above a half.
v128.store(REBIAS, i32x4.splat(0xfff - 0x38000000));
v128.store(SCALE, i32x4.splat(0x77800000));
v128.store(QUIET_BF16, i32x4.splat(0x40));
v128.store(HALF_BF16, i32x4.splat(0x7fff));
v128.store(FIELDS_F16, i32x4.splat(0x8fffe000));

@inline
export function bytesOf(dtype: i32): usize {
  return dtype == F32 ? 4 : 2;
}

/** The address of the `count` floats of a row, `stride` elements apart: in place if possible, else copied to `buffer`. */
export function loadRow(source: usize, stride: usize, dtype: i32, count: i32, buffer: usize): usize {
  if (dtype == F32 && stride == 1) return source;
  const step = stride * bytesOf(dtype);
  let i: i32 = 0;
  if (stride == 1) {
    if (dtype == F16) {
      for (; i + 4 <= count; i += 4, source += 8) v128.store(buffer + (<usize>i << 2), widenF16(v128.load16x4_u(source)));
    } else {
      for (; i + 4 <= count; i += 4, source += 8)
        v128.store(buffer + (<usize>i << 2), i32x4.shl(v128.load16x4_u(source), 16));
    }
  }
  for (; i < count; i++, source += step) f32.store(buffer + (<usize>i << 2), loadElement(source, dtype));
  return buffer;
}

@inline
export function loadElement(source: usize, dtype: i32): f32 {
  if (dtype == F32) return f32.load(source);
  const bits = i32x4.splat(<i32>load<u16>(source));
  return f32x4.extract_lane(dtype == F16 ? widenF16(bits) : i32x4.shl(bits, 16), 0);
}

/** Writes `count` floats from `source` as a contiguous row. */
export function storeRow(source: usize, to: usize, dtype: i32, count: i32): void {
  if (dtype == F32) {
    memory.copy(to, source, <usize>count << 2);
    return;
  }
  let i: i32 = 0;
  if (dtype == F16) {
    for (; i + 8 <= count; i += 8, source += 32, to += 16)
      v128.store(to, i16x8.narrow_i32x4_u(narrowF16(v128.load(source)), narrowF16(v128.load(source, 16))));
    for (; i < count; i++, source += 4, to += 2) v128.store16_lane(to, narrowF16(v128.load32_zero(source)), 0);
  } else {
    for (; i + 8 <= count; i += 8, source += 32, to += 16)
      v128.store(to, i16x8.narrow_i32x4_u(narrowBF16(v128.load(source)), narrowBF16(v128.load(source, 16))));
    for (; i < count; i++, source += 4, to += 2) v128.store16_lane(to, narrowBF16(v128.load32_zero(source)), 0);
  }
}

// Moves the fields, then multiplies by 2^112, which corrects exponents and subnormals alike.
@inline
function widenF16(bits: v128): v128 {
  const magnitude = v128.and(bits, v128.load(MAGNITUDE_F16));
  const sign = i32x4.shl(v128.xor(bits, magnitude), 16);
  const fields = i32x4.shl(magnitude, 13);
  const finite = f32x4.mul(fields, v128.load(SCALE));
  const special = v128.or(fields, v128.load(INFINITE));
  const isSpecial = i32x4.gt_s(magnitude, v128.load(LARGEST_F16));
  return v128.or(sign, v128.bitselect(special, finite, isSpecial));
}

/** Rounded to nearest even, in the low 16 bits of each lane. */
@inline
function narrowF16(bits: v128): v128 {
  const magnitude = v128.and(bits, v128.load(MAGNITUDE));
  const sign = v128.and(i32x4.shr_u(bits, 16), v128.load(SIGN_F16));
  const odd = v128.and(i32x4.shr_u(magnitude, 13), v128.load(ONE));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, v128.load(REBIAS)), odd), 13);
  // 0.5 is 2^23 times the smallest subnormal, so adding it rounds to a multiple of that.
  const subnormal = i32x4.sub(f32x4.add(magnitude, v128.load(HALF)), v128.load(HALF));
  const finite = v128.bitselect(normal, subnormal, i32x4.gt_s(magnitude, v128.load(NORMAL_F16)));
  const isNaN = i32x4.gt_s(magnitude, v128.load(INFINITE));
  const rounded = v128.bitselect(v128.load(NAN_F16), i32x4.min_s(finite, v128.load(INFINITE_F16)), isNaN);
  return v128.or(sign, rounded);
}

@inline
function narrowBF16(bits: v128): v128 {
  const isNaN = i32x4.gt_s(v128.and(bits, v128.load(MAGNITUDE)), v128.load(INFINITE));
  const high = i32x4.shr_u(bits, 16);
  const rounded = i32x4.shr_u(i32x4.add(bits, i32x4.add(v128.and(high, v128.load(ONE)), v128.load(HALF_BF16))), 16);
  return v128.bitselect(v128.or(high, v128.load(QUIET_BF16)), rounded, isNaN);
}
