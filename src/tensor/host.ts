/** Arrays in ordinary memory: contents of files, inputs of callers, operands of the float64 references. */
import { isRecord, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { DTYPES, type HostDType, type TypedArray, type TypedArrayOf, typedArray } from './dtype';
import { fromBfloat16, fromBfloat16s, fromFloat16, fromFloat16s, toBfloat16, toFloat16 } from './float16';
import { checkShape, formatShape, type Shape, sizeOf } from './shape';

/** A dense row-major array in host memory. */
export interface HostTensor<D extends HostDType = HostDType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly data: TypedArrayOf<D>;
}

/** Numbers of callers. A `Uint16Array` may be f16 or bf16, so it needs a dtype. */
export type Numbers = readonly number[] | TypedArray | Float16ArrayLike;

/** The platform's Float16Array, if it has one; typed structurally for older TypeScript libraries. */
interface Float16ArrayLike {
  readonly [Symbol.toStringTag]: 'Float16Array';
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly length: number;
}

export const HOST_DTYPES: readonly HostDType[] = [...DTYPES, 'i64'];

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
 * A host tensor of `data`, not copied if it already has `dtype`. Default `dtype`: that of the typed array, f32 for plain
 * numbers.
 */
export function hostTensor<D extends HostDType = HostDType>(data: Numbers, shape: Shape, dtype?: D): HostTensor<D> {
  checkShape('shape', shape);
  const kind = kindOf(data);
  checkLength('data: ', data.length, shape);
  const own = kind === 'Array' ? 'f32' : INFERRED[kind];
  const wanted = dtype === undefined ? (own as D | undefined) : dtype;
  if (wanted === undefined) {
    const choice = kind === 'Uint16Array' ? "say dtype 'f16' or 'bf16'" : 'pass a supported typed array or numbers';
    throw new DTypeError(`the dtype of a ${kind} is not known: ${choice}`);
  }
  checkDType('dtype', wanted);
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

/** Throws unless `host` is a host tensor whose data fits its dtype and shape. */
export function checkHost(name: string, host: HostTensor): void {
  if (!isRecord(host) || !Object.hasOwn(host, 'data'))
    throw new ParameterError(`${name} must be a host tensor, got ${show(host)}`);
  const { dtype, shape, data } = host;
  checkDType(`the dtype of ${name}`, dtype);
  checkShape(`the shape of ${name}`, shape);
  const wanted = typedArray(dtype, 0)[Symbol.toStringTag];
  const found = kindOf(data);
  if (found !== wanted) throw new DTypeError(`the data of ${name} must be ${wanted} for ${dtype}, got ${found}`);
  checkLength(`${name}: `, data.length, shape);
}

/**
 * Converts elements to `dtype`: to floats by rounding to nearest even, to integers only if they are integers in range.
 * @throws {DTypeError} naming the first element that is not
 */
export function convert<D extends HostDType>(host: HostTensor, dtype: D): HostTensor<D> {
  checkHost('host', host);
  checkDType('dtype', dtype);
  if ((host.dtype as string) === dtype) return host as unknown as HostTensor<D>;
  if (dtype === 'f32' && (host.dtype === 'f16' || host.dtype === 'bf16'))
    return { dtype, shape: [...host.shape], data: toFloats(host) as TypedArrayOf<D> };
  return fromNumbers(toFloat64(host), host.shape, dtype);
}

/** The elements as float64, exact for every dtype except i64 beyond 2^53. */
export function toFloat64(host: HostTensor): Float64Array {
  const { data, dtype } = host;
  if (dtype === 'f64') return data as Float64Array;
  if (dtype === 'f16') return mapped(new Float64Array(data.length), data as Uint16Array, fromFloat16);
  if (dtype === 'bf16') return mapped(new Float64Array(data.length), data as Uint16Array, fromBfloat16);
  if (dtype === 'i64') return mapped(new Float64Array(data.length), data as BigInt64Array, Number);
  return new Float64Array(data as Float32Array);
}

/** Some rows along the second axis: x [b, n, ...] -> [b, rows, ...], as float64. */
export function pickRows(x: HostTensor, rows: readonly number[]): HostTensor<'f64'> {
  const [b, n, ...rest] = x.shape as [number, number, ...number[]];
  const row = sizeOf(rest);
  const source = toFloat64(x);
  const data = new Float64Array(b * rows.length * row);
  for (let at = 0; at < b * rows.length; at++) {
    const from = (Math.floor(at / rows.length) * n + (rows[at % rows.length] as number)) * row;
    data.set(source.subarray(from, from + row), at * row);
  }
  return { dtype: 'f64', shape: [b, rows.length, ...rest], data };
}

/** The elements as float32 if that is exact, else float64; the data itself for f32 and f64. */
export function toFloats(host: HostTensor): Float32Array | Float64Array {
  const { data, dtype } = host;
  if (dtype === 'f32') return data as Float32Array;
  if (dtype === 'f16') return fromFloat16s(data as Uint16Array);
  if (dtype === 'bf16') return fromBfloat16s(data as Uint16Array);
  return toFloat64(host);
}

/** The elements of a strided array, in row-major order. */
export function toRowMajor<D extends HostDType>(
  source: TypedArrayOf<D>,
  dtype: D,
  shape: Shape,
  strides: readonly number[],
): TypedArrayOf<D> {
  const result = typedArray(dtype, sizeOf(shape));
  // Elements are only moved, so their type does not matter.
  const [from, to] = [source as Float64Array, result as Float64Array];
  const axes = shape
    .map((extent, axis) => ({ extent, stride: strides[axis] as number, index: 0 }))
    .filter(({ extent }) => extent !== 1)
    .reverse();
  const row = axes.shift() ?? { extent: 1, stride: 1 };
  let start = 0;
  for (let next = 0; next < to.length; ) {
    for (let i = 0; i < row.extent; i++) to[next++] = from[start + i * row.stride] as number;
    for (const axis of axes) {
      start += axis.stride;
      if (++axis.index < axis.extent) break;
      start -= axis.index * axis.stride;
      axis.index = 0;
    }
  }
  return result;
}

/** Ranges of the integer dtypes; the last double below 2^63 is 2^63 - 1024. */
const RANGES: Partial<Record<HostDType, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u8: [0, 255],
  i8: [-128, 127],
  i64: [-(2 ** 63), 2 ** 63 - 1024],
};

function fromNumbers<D extends HostDType>(numbers: ArrayLike<number>, shape: Shape, dtype: D): HostTensor<D> {
  const range = RANGES[dtype];
  if (range) checkIntegers(numbers, dtype, range);
  else if (Array.isArray(numbers)) checkAreNumbers(numbers);
  const data = typedArray<HostDType>(dtype, numbers.length);
  if (dtype === 'f16') mapped(data as Uint16Array, numbers, toFloat16);
  else if (dtype === 'bf16') mapped(data as Uint16Array, numbers, toBfloat16);
  else if (dtype === 'i64') mapped(data as BigInt64Array, numbers, BigInt);
  else (data as Float32Array).set(numbers);
  return { dtype, shape: [...shape], data: data as TypedArrayOf<D> };
}

/** Other values would silently become numbers, or NaN. */
function checkAreNumbers(numbers: readonly unknown[]): void {
  for (let i = 0; i < numbers.length; i++) {
    if (typeof numbers[i] !== 'number')
      throw new ParameterError(`data must be numbers, got ${show(numbers[i])} at index ${i}`);
  }
}

function checkIntegers(numbers: ArrayLike<number>, dtype: HostDType, [low, high]: readonly [number, number]): void {
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i] as number;
    if (!(Number.isInteger(value) && value >= low && value <= high))
      throw new DTypeError(
        `${dtype} holds integers from ${BigInt(low)} to ${BigInt(high)}, got ${show(value)} at index ${i}: round it first`,
      );
  }
}

/** `target` filled with `convert` of each element of `source`. */
function mapped<In, Out, Target extends { [index: number]: Out; readonly length: number }>(
  target: Target,
  source: ArrayLike<In>,
  convert: (element: In) => Out,
): Target {
  for (let i = 0; i < target.length; i++) target[i] = convert(source[i] as In);
  return target;
}

function checkDType(label: string, dtype: HostDType): void {
  if (!HOST_DTYPES.includes(dtype))
    throw new DTypeError(`${label} must be one of ${HOST_DTYPES.join(', ')}, got ${show(dtype)}`);
}

/** 'Array' or the name of the typed array's class. */
function kindOf(data: unknown): string {
  if (Array.isArray(data)) return 'Array';
  if (ArrayBuffer.isView(data)) return (data as TypedArray)[Symbol.toStringTag];
  throw new ParameterError(`data must be numbers or a typed array, got ${show(data)}`);
}

function checkLength(label: string, length: number, shape: Shape): void {
  if (length !== sizeOf(shape))
    throw new ShapeError(`${label}shape ${formatShape(shape)} needs ${sizeOf(shape)} elements, got ${length}`);
}
