/** Element types of tensors; f16 and bf16 are stored as 16 bits, f64 is for CPUs alone. */
export type DType = 'f32' | 'f16' | 'bf16' | 'i32' | 'u8' | 'i8' | 'f64';
/** Element types of arrays in host memory, such as those in files and operands of the float64 reference. */
export type HostDType = DType | 'i64';
export const DTYPES: readonly DType[] = ['f32', 'f16', 'bf16', 'i32', 'u8', 'i8', 'f64'];

interface ArrayOf {
  f32: Float32Array;
  f16: Uint16Array;
  bf16: Uint16Array;
  i32: Int32Array;
  u8: Uint8Array;
  i8: Int8Array;
  f64: Float64Array;
  i64: BigInt64Array;
}
export type TypedArrayOf<D extends HostDType> = ArrayOf[D];
export type TypedArray = ArrayOf[HostDType];

const CONSTRUCTORS = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u8: Uint8Array,
  i8: Int8Array,
  f64: Float64Array,
  i64: BigInt64Array,
} as const;

/** Whether elements are floating-point numbers, which have gradients. */
export function isFloat(dtype: HostDType): boolean {
  return dtype === 'f32' || dtype === 'f16' || dtype === 'bf16' || dtype === 'f64';
}

/** Bytes of one element. */
export function bytesPerElement(dtype: HostDType): number {
  return CONSTRUCTORS[dtype].BYTES_PER_ELEMENT;
}

/** A typed array of `length` elements over `buffer`, by default new memory. */
export function typedArray<D extends HostDType>(
  dtype: D,
  length: number,
  buffer: ArrayBufferLike = new ArrayBuffer(length * bytesPerElement(dtype)),
  byteOffset = 0,
): TypedArrayOf<D> {
  return new CONSTRUCTORS[dtype](buffer as ArrayBuffer, byteOffset, length) as TypedArrayOf<D>;
}
