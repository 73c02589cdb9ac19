/** Conversions between float32 and the 16-bit floats, rounding to nearest even, for platforms without Float16Array too. */
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** IEEE half-precision bits of `value`; overflow gives infinity, NaN stays NaN. */
export function toFloat16(value: number): number {
  const x = float32Bits(value);
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
  const magnitude = half & 0x7fff;
  if (magnitude < 0x400) return (half & 0x8000 ? -magnitude : magnitude) * 2 ** -24;
  // Move the exponent to float32's bias; that of infinity and NaN stays all ones.
  bits[0] = ((half & 0x8000) << 16) | ((magnitude << 13) + (magnitude < 0x7c00 ? 0x38000000 : 0x70000000));
  return float[0] as number;
}

/** From so many elements on, all values of half precision are looked up in a table, which takes a millisecond to make. */
const MANY = 2 ** 14;
let values: Float32Array | undefined;

/** The values of IEEE half-precision numbers, exactly. */
export function fromFloat16s(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(halves.length);
  if (halves.length < MANY) {
    for (let i = 0; i < out.length; i++) out[i] = fromFloat16(halves[i] as number);
    return out;
  }
  values ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => fromFloat16(half));
  for (let i = 0; i < out.length; i++) out[i] = values[halves[i] as number] as number;
  return out;
}

/** bfloat16 bits of `value`: the upper half of its float32, rounded to nearest even. */
export function toBfloat16(value: number): number {
  const x = float32Bits(value);
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40;
  return roundShift(x, 16);
}

/** The value of bfloat16 `half`. */
export function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return float[0] as number;
}

/** The values of bfloat16 numbers, exactly. */
export function fromBfloat16s(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Uint32Array(halves.length);
  for (let i = 0; i < out.length; i++) out[i] = (halves[i] as number) << 16;
  return new Float32Array(out.buffer);
}

/** Bits of `value` as float32, rounded to odd, so that rounding them again is like rounding once. */
function float32Bits(value: number): number {
  float[0] = value;
  const x = bits[0] as number;
  const rounded = float[0];
  if (rounded === value || x & 1 || Number.isNaN(value)) return x;
  return Math.abs(rounded) > Math.abs(value) ? x - 1 : x + 1;
}

/** x / 2^shift rounded to nearest even. */
function roundShift(x: number, shift: number): number {
  return (x + (1 << (shift - 1)) - 1 + ((x >>> shift) & 1)) >>> shift;
}
