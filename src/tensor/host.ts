/** Arrays in ordinary memory: what files hold, what callers hand in, what the float64 references compute on. */
import { DTypeError, ShapeError } from '../errors';
import { type HostDType, type TypedArray, type TypedArrayOf, typedArray } from './dtype';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './float16';
import { checkShape, formatShape, type Shape, sizeOf } from './shape';

/** A dense row-major array in host memory. */
export interface HostTensor<D extends HostDType = HostDType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly data: TypedArrayOf<D>;
}

/** Numbers as callers have them. A `Uint16Array` may be f16 or bf16, so its dtype must be said. */
export type Numbers = readonly number[] | TypedArray | Float16ArrayLike;

/** The platform's Float16Array where it exists; typed by structure so that older TypeScript libs accept it. */
export interface Float16ArrayLike {
  readonly [Symbol.toStringTag]: 'Float16Array';
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly length: number;
}

const INFERRED: Record<string, HostDType> = {
  Float32Array: 'f32',
  Float64Array: 'f64',
  Float16Array: 'f16',
  Int32Array: 'i32',
  Uint8Array: 'u8',
  Int8Array: 'i8',
  BigInt64Array: 'i64',
};

/**
 * A host tensor over `data` (not copied when it already has `dtype`).
 * Without `dtype`: that of the typed array, f32 for plain numbers.
 */
export function hostTensor<D extends HostDType = HostDType>(data: Numbers, shape: Shape, dtype?: D): HostTensor<D> {
  checkShape('shape', shape);
  if (data.length !== sizeOf(shape)) {
    throw new ShapeError(`shape ${formatShape(shape)} needs ${sizeOf(shape)} elements, got ${data.length}`);
  }
  const kind: string = Array.isArray(data) ? 'Array' : (data as TypedArray)[Symbol.toStringTag];
  const own = kind === 'Array' ? 'f32' : INFERRED[kind];
  const wanted = dtype ?? (own as D | undefined);
  if (wanted === undefined) {
    const choice = kind === 'Uint16Array' ? "say dtype 'f16' or 'bf16'" : 'pass a supported typed array or numbers';
    throw new DTypeError(`the dtype of a ${kind} is not known: ${choice}`);
  }
  if (kind === 'Uint16Array') {
    if (wanted !== 'f16' && wanted !== 'bf16') {
      throw new DTypeError(`a Uint16Array holds the bits of f16 or bf16, got dtype '${wanted}'`);
    }
    return { dtype: wanted, shape: [...shape], data: data as TypedArrayOf<D> };
  }
  if (kind === 'Float16Array') {
    const half = data as Float16ArrayLike;
    if (wanted !== 'f16') throw new DTypeError(`a Float16Array is f16, got dtype '${wanted}': convert it first`);
    return { dtype: wanted, shape: [...shape], data: typedArray(wanted, half.length, half.buffer, half.byteOffset) };
  }
  if (own === wanted && kind !== 'Array') return { dtype: wanted, shape: [...shape], data: data as TypedArrayOf<D> };
  if (kind !== 'Array' && own !== 'f64') {
    throw new DTypeError(`data is ${own} but dtype is '${wanted}': convert it first, nothing is converted silently`);
  }
  return fromNumbers(data as ArrayLike<number>, shape, wanted);
}

/** `host` with its elements converted to `dtype`, rounding to nearest even. */
export function convert<D extends HostDType>(host: HostTensor, dtype: D): HostTensor<D> {
  if ((host.dtype as string) === dtype) return host as unknown as HostTensor<D>;
  return fromNumbers(toFloat64(host), host.shape, dtype);
}

/** The elements as float64 numbers: exact for every dtype but i64 beyond 2^53. */
export function toFloat64(host: HostTensor): Float64Array {
  const { data, dtype } = host;
  if (dtype === 'f64') return data as Float64Array;
  const widened = new Float64Array(data.length);
  if (dtype === 'f16')
    widened.forEach((_, i) => {
      widened[i] = fromFloat16(data[i] as number);
    });
  else if (dtype === 'bf16')
    widened.forEach((_, i) => {
      widened[i] = fromBfloat16(data[i] as number);
    });
  else if (dtype === 'i64')
    widened.forEach((_, i) => {
      widened[i] = Number(data[i]);
    });
  else widened.set(data as Float32Array);
  return widened;
}

function fromNumbers<D extends HostDType>(numbers: ArrayLike<number>, shape: Shape, dtype: D): HostTensor<D> {
  const data = typedArray<HostDType>(dtype, numbers.length);
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i] as number;
    if (dtype === 'f16') data[i] = toFloat16(value);
    else if (dtype === 'bf16') data[i] = toBfloat16(value);
    else if (dtype === 'i64') data[i] = BigInt(Math.trunc(value));
    else data[i] = value;
  }
  return { dtype, shape: [...shape], data: data as TypedArrayOf<D> };
}
