/** Conversions between float32 and the 16-bit floats, rounding to nearest even, for platforms without Float16Array too. */
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** IEEE half-precision bits of `value`; overflow gives infinity, NaN stays NaN. */
export function toFloat16(value: number): number {
  float[0] = value;
  const x = bits[0] as number;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | roundShift(magnitude - 0x38000000, 13);
  if (magnitude < 0x33000000) return sign;
  // Subnormal half: restore the hidden bit, then shift it into place.
  return sign | roundShift((magnitude & 0x7fffff) | 0x800000, 126 - (magnitude >>> 23));
}

/** The value of IEEE half-precision `half`. */
export function fromFloat16(half: number): number {
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** bfloat16 bits of `value`: the upper half of its float32, rounded to nearest even. */
export function toBfloat16(value: number): number {
  float[0] = value;
  const x = bits[0] as number;
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40;
  return roundShift(x, 16);
}

/** The value of bfloat16 `half`. */
export function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return float[0] as number;
}

function roundShift(x: number, shift: number): number {
  const half = 2 ** (shift - 1);
  const quotient = Math.floor(x / (2 * half));
  const rest = x - quotient * 2 * half;
  return rest > half || (rest === half && quotient & 1) ? quotient + 1 : quotient;
}
