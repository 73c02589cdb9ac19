/** Rows of tensors of any dtype and strides, as contiguous f32, and back. */

import { F16, F32 } from '../../cpu/params.generated.as';

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
    for (; i + 4 <= count; i += 4, source += 8) {
      const bits = v128.load16x4_u(source);
      v128.store(buffer + (<usize>i << 2), dtype == F16 ? widenF16(bits) : i32x4.shl(bits, 16));
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
  for (; i + 4 <= count; i += 4, source += 16, to += 8) v128.store64_lane(to, narrow(v128.load(source), dtype), 0);
  for (; i < count; i++, source += 4, to += 2) v128.store16_lane(to, narrow(v128.load32_zero(source), dtype), 0);
}

/** Four floats rounded to 16 bits each, to nearest even. */
@inline
function narrow(x: v128, dtype: i32): v128 {
  const bits = dtype == F16 ? narrowF16(x) : narrowBF16(x);
  return i16x8.narrow_i32x4_u(bits, bits);
}

// Moves the fields, then multiplies by 2^112, which corrects exponents and subnormals alike.
@inline
function widenF16(bits: v128): v128 {
  const magnitude = v128.and(bits, i32x4.splat(0x7fff));
  const sign = i32x4.shl(v128.xor(bits, magnitude), 16);
  const fields = i32x4.shl(magnitude, 13);
  const finite = f32x4.mul(fields, i32x4.splat(0x77800000));
  const special = v128.or(fields, i32x4.splat(0x7f800000));
  const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x7bff));
  return v128.or(sign, v128.bitselect(special, finite, isSpecial));
}

@inline
function narrowF16(bits: v128): v128 {
  const magnitude = v128.and(bits, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(bits, 16), i32x4.splat(0x8000));
  const normal = roundShift(i32x4.sub(magnitude, i32x4.splat(0x38000000)), 13);
  // 0.5 is 2^23 times the smallest subnormal, so adding it rounds to a multiple of that.
  const subnormal = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const finite = v128.bitselect(normal, subnormal, i32x4.gt_s(magnitude, i32x4.splat(0x387fffff)));
  const special = v128.bitselect(i32x4.splat(0x7e00), i32x4.splat(0x7c00), i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)));
  return v128.or(sign, v128.bitselect(special, finite, i32x4.gt_s(magnitude, i32x4.splat(0x477fffff))));
}

@inline
function narrowBF16(bits: v128): v128 {
  const isNaN = i32x4.gt_s(v128.and(bits, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  const quiet = v128.or(i32x4.shr_u(bits, 16), i32x4.splat(0x40));
  return v128.bitselect(quiet, roundShift(bits, 16), isNaN);
}

/** bits / 2^shift, to nearest even. */
@inline
function roundShift(bits: v128, shift: i32): v128 {
  const odd = v128.and(i32x4.shr_u(bits, shift), i32x4.splat(1));
  return i32x4.shr_u(i32x4.add(bits, i32x4.add(odd, i32x4.splat((1 << (shift - 1)) - 1))), shift);
}
