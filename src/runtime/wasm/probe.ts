/** What this platform's WebAssembly supports, by validating modules of one function each. */

// (func (result v128) (i8x16.splat (i32.const 0)))
const SIMD = '0a080106004100fd0f0b';
// (func (result v128) (f32x4.relaxed_madd (i8x16.splat (i32.const 0)) (...) (...)))
const RELAXED_SIMD = '0a130111004100fd0f4100fd0f4100fd0ffd85020b';
// Magic and version, one type () -> v128, one function of it; the code section follows.
const HEADER = '0061736d010000000105016000017b03020100';

export const hasSimd = (): boolean => validates(SIMD);
export const hasRelaxedSimd = (): boolean => validates(RELAXED_SIMD);

function validates(code: string): boolean {
  const bytes = (HEADER + code).match(/../g) as string[];
  return WebAssembly.validate(Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)));
}
