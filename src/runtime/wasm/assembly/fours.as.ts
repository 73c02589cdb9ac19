/** Four elements of a row in float32. T stands for how they are stored: f32, i16 for f16, u16 for bf16, or i8. */
import { FIELDS_F16, SCALE } from './storage.as';

/** Whether T stands for f16. */
@inline
export function isHalf<T>(): bool {
  return !isFloat<T>() && sizeof<T>() == 2 && isSigned<T>();
}

/** A constant that `four` takes, to be loaded before a loop. */
@inline
export function fieldsOf<T>(): v128 {
  return isHalf<T>() ? v128.load(FIELDS_F16) : f32x4.splat(0);
}

/** What halves have still to be multiplied by: 2^112. */
@inline
export function scaleOf<T>(): v128 {
  return isHalf<T>() ? v128.load(SCALE) : f32x4.splat(0);
}

/** The elements at `at`; of halves, which must be numbers, with their fields moved but not scaled. */
@inline
export function four<T>(at: usize, fields: v128): v128 {
  if (isFloat<T>()) return v128.load(at);
  if (isHalf<T>()) return v128.and(i32x4.shl(v128.load16x4_s(at), 13), fields);
  if (sizeof<T>() == 2) return i32x4.shl(v128.load16x4_u(at), 16);
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at))));
}

/** Them, or a factor of theirs, with the scale that halves lack. */
@inline
export function scaled<T>(x: v128, scale: v128): v128 {
  return isHalf<T>() ? f32x4.mul(x, scale) : x;
}

/** Whether there is an infinity or NaN among `count` halves, which `four` would make ordinary numbers of. */
export function hasSpecials(at: usize, count: i32): bool {
  // Doubled, without their signs.
  let largest = i16x8.splat(0);
  let second = largest;
  let c: i32 = 0;
  for (; c + 16 <= count; c += 16, at += 32) {
    const x = v128.load(at);
    const y = v128.load(at, 16);
    largest = i16x8.max_u(largest, i16x8.add(x, x));
    second = i16x8.max_u(second, i16x8.add(y, y));
  }
  largest = i16x8.max_u(largest, second);
  for (; c + 4 <= count; c += 4, at += 8) {
    const x = v128.load64_zero(at);
    largest = i16x8.max_u(largest, i16x8.add(x, x));
  }
  for (; c < count; c++, at += 2) {
    const x = v128.load16_splat(at);
    largest = i16x8.max_u(largest, i16x8.add(x, x));
  }
  return v128.any_true(i16x8.gt_u(largest, i16x8.splat(<i16>0xf7ff)));
}
