/** Host tensors of any dtype and shape, as the tests of files draw them. */
import fc from 'fast-check';
import { type HostDType, type HostTensor, hostTensor } from '../src/index';

export const HOST_DTYPES = ['f32', 'f16', 'bf16', 'f64', 'i32', 'i64', 'u8', 'i8'] as const;

const CLASSES = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  f64: Float64Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  i8: Int8Array,
};

/** Elements of any bits, NaN payloads included; ranks 0 to 4 with empty extents among them. */
export function anyHostTensor(dtypes: readonly HostDType[] = HOST_DTYPES): fc.Arbitrary<HostTensor> {
  return fc
    .tuple(fc.constantFrom(...dtypes), fc.array(fc.nat({ max: 5 }), { maxLength: 4 }))
    .chain(([dtype, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const bytes = size * CLASSES[dtype].BYTES_PER_ELEMENT;
      return fc
        .uint8Array({ minLength: bytes, maxLength: bytes })
        .map(({ buffer }) => hostTensor(new CLASSES[dtype](buffer as ArrayBuffer), shape, dtype));
    });
}

/** A tensor in terms that compare bit by bit. */
export function bitsOf({ dtype, shape, data }: HostTensor): { dtype: string; shape: readonly number[]; hex: string } {
  return { dtype, shape, hex: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex') };
}
