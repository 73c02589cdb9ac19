/** Rows of weights, which may be in blocks of 32 integers of 8 or 4 bits, as floats. */
import { bytesOf, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { BLOCK, F16, Q4, Q8, Weight } from './params.generated.as';

/** The address of a constant, behind those of the assembly's files; see vector.as.ts. */
const NIBBLES: usize = 3008;
v128.store(NIBBLES, i8x16.splat(15));

/** From a row of codes to the next, in bytes. */
@inline
function rowBytes(w: Weight): usize {
  return <usize>(w.type == Q4 ? w.width >> 1 : w.width);
}

/** Where the integers of some terms of a row begin; terms begin and end with blocks. */
@inline
export function codesOf(w: Weight, row: i32, term: i32): usize {
  return w.values + <usize>row * rowBytes(w) + <usize>(w.type == Q4 ? term >> 1 : term);
}

/** The scales or minima of some terms of a row in f32, and where they are. */
@inline
function factorsOf(from: usize, w: Weight, row: i32, term: i32, terms: i32, to: usize): usize {
  const place = <usize>row * <usize>(w.width / BLOCK) + <usize>(term / BLOCK);
  return loadRow(from + (place << 1), 1, F16, terms / BLOCK, to);
}

/** The low or high halves of 16 bytes: terms 0 to 15 of a block, or 16 to 31. */
@inline
export function lowNibbles(bytes: v128): v128 {
  return v128.and(bytes, v128.load(NIBBLES));
}

@inline
export function highNibbles(bytes: v128): v128 {
  return v128.and(i16x8.shr_u(bytes, 4), v128.load(NIBBLES));
}

/** Terms of a row as floats, with room for their scales and minima behind one another in `room`. */
export function unpackRow(w: Weight, row: i32, term: i32, terms: i32, to: usize, room: usize): void {
  if (w.type < Q8) {
    const values = w.values + (<usize>row * w.width + term) * bytesOf(w.type);
    const loaded = loadRow(values, 1, w.type, terms, to);
    if (loaded != to) memory.copy(to, loaded, <usize>terms << 2);
    return;
  }
  let codes = codesOf(w, row, term);
  const blocks = terms / BLOCK;
  let scales = factorsOf(w.scales, w, row, term, terms, room);
  if (w.type == Q8) {
    for (let b: i32 = 0; b < blocks; b++, codes += 32, scales += 4, to += 128) {
      const scale = v128.load32_splat(scales);
      for (let i: usize = 0; i < 4; i++) storeEight(v128.load8x8_s(codes + 8 * i), scale, to + 32 * i);
    }
    return;
  }
  let minima = w.minima ? factorsOf(w.minima, w, row, term, terms, room + (<usize>blocks << 2)) : 0;
  for (let b: i32 = 0; b < blocks; b++, codes += 16, scales += 4, to += 128) {
    const scale = v128.load32_splat(scales);
    const minimum = minima ? v128.load32_splat(minima) : f32x4.mul(scale, f32x4.splat(-8));
    if (minima) minima += 4;
    const bytes = v128.load(codes);
    const low = lowNibbles(bytes);
    const high = highNibbles(bytes);
    storeEightAbove(i16x8.extend_low_i8x16_u(low), scale, minimum, to);
    storeEightAbove(i16x8.extend_high_i8x16_u(low), scale, minimum, to + 32);
    storeEightAbove(i16x8.extend_low_i8x16_u(high), scale, minimum, to + 64);
    storeEightAbove(i16x8.extend_high_i8x16_u(high), scale, minimum, to + 96);
  }
}

@inline
function storeEight(x: v128, scale: v128, to: usize): void {
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)), scale));
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x)), scale), 16);
}

@inline
function storeEightAbove(x: v128, scale: v128, minimum: v128, to: usize): void {
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)), scale), minimum));
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x)), scale), minimum), 16);
}
