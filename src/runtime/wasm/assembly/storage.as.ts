/** Rows as kernels want them, contiguous f32, whatever the tensor's dtype and strides; and back. */

import { F16, F32 } from '../params.generated.as';

// @ts-ignore: decorator
@inline
export function bytesOf(dtype: i32): usize {
  return dtype == F32 ? 4 : 2;
}

/** Address of `count` floats of the row at `source` (elements `stride` apart): in place if it can be, else in `buffer`. */
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

// @ts-ignore: decorator
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
  for (let i: i32 = 0; i < count; i++, source += 4, to += 2) {
    const bits = load<u32>(source);
    store<u16>(to, <u16>(dtype == F16 ? narrowF16(bits) : narrowBF16(bits)));
  }
}

// Half to single: move the fields, then multiply by 2^112, which mends the exponent and the subnormals alike.
// @ts-ignore: decorator
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

function narrowF16(bits: u32): u32 {
  const sign = (bits >> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | roundShift(magnitude - 0x38000000, 13);
  if (magnitude < 0x33000000) return sign;
  return sign | roundShift((magnitude & 0x7fffff) | 0x800000, 126 - (magnitude >> 23));
}

function narrowBF16(bits: u32): u32 {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >> 16) | 0x40;
  return roundShift(bits, 16);
}

/** bits / 2^shift, to nearest even. */
// @ts-ignore: decorator
@inline
function roundShift(bits: u32, shift: u32): u32 {
  const odd = (bits >> shift) & 1;
  const half = (<u64>1 << (shift - 1)) - 1;
  return <u32>((<u64>bits + half + odd) >> shift);
}
