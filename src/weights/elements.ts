/** The elements of stored tensors, read from their files. */
import { checkWhole, labelled } from '../check';
import { ParameterError, ParseError } from '../errors';
import { elementsAt, quote } from '../io/bytes';
import { bytesPerElement, type HostDType } from '../tensor/dtype';
import { HOST_DTYPES, type HostTensor, toRowMajor } from '../tensor/host';
import { formatShape, type Shape, sizeOf } from '../tensor/shape';
import { formatBytes } from '../text/format';
import { BLOCKS, decodeBlocks } from './blocks';
import type { ReadOptions } from './source';
import type { BlockType, ReadableTensor, StoredTensor, StoredType } from './stored';

/** What one heap of WebAssembly holds. */
const HEAP_BYTES = 2 ** 32;

/** Throws unless what has so many elements of a type fits the heap; the message says which type would. */
export function checkFits(what: string, elements: number, type: HostDType, smaller: readonly HostDType[] = []): void {
  const bytes = (each: HostDType) => elements * bytesPerElement(each);
  if (bytes(type) <= HEAP_BYTES) return;
  const fitting = smaller.find((each) => bytes(each) <= HEAP_BYTES);
  const remedy =
    fitting === undefined ? 'read some of its rows at a time' : `as ${fitting} it takes ${formatBytes(bytes(fitting))}`;
  throw new ParameterError(
    `${what} takes ${formatBytes(bytes(type))} as ${type}, and the heap holds ${formatBytes(HEAP_BYTES)}: ${remedy}`,
  );
}

export interface ElementOptions extends ReadOptions {
  /** The first row of the outermost axis, and the one behind the last; default: all. */
  readonly rows?: readonly [start: number, end: number] | undefined;
}

/** Quantised numbers as their file has them. */
export interface Blocks {
  readonly type: BlockType;
  readonly shape: Shape;
  /** Blocks one after the other, rows after rows. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether they are of the transpose of the tensor, whose extents `shape` then has in the other order. */
  readonly isTransposed?: true | undefined;
}

export const STORED_TYPES: readonly StoredType[] = [...HOST_DTYPES, ...(Object.keys(BLOCKS) as BlockType[])];

/** The tensor, if its elements can be read. */
export function readable(tensor: StoredTensor): ReadableTensor {
  const { name, type, source } = tensor;
  if (STORED_TYPES.includes(type as StoredType)) return tensor as ReadableTensor;
  throw new ParseError(
    `${source.name}: tensor ${quote(name)} has elements of type ${type}: ${STORED_TYPES.join(', ')} are read`,
  );
}

export const isBlockType = (type: string): type is BlockType => Object.hasOwn(BLOCKS, type);

/**
 * The extents of a quantised tensor's bytes: those of its numbers, with the bytes of a row last. A row is the last axis or, where
 * that does not divide into blocks, as in kernels of convolutions, all but the first.
 *
 * @throws {ParseError} rows that do not divide into blocks
 */
export function blockShape(label: string, type: BlockType, shape: Shape): Shape {
  const { numbers, bytes } = BLOCKS[type];
  for (const axis of [shape.length - 1, 1]) {
    const row = sizeOf(shape.slice(axis));
    if (axis >= 0 && shape.length > axis && row % numbers === 0)
      return [...shape.slice(0, axis), (row / numbers) * bytes];
  }
  throw new ParseError(
    `${label}: rows of ${type} must divide into blocks of ${numbers}, got shape ${formatShape(shape)}`,
  );
}

/** Bytes of a tensor of such a type. */
export function storedBytes(type: StoredType, shape: Shape): number {
  return isBlockType(type) ? sizeOf(blockShape(type, type, shape)) : sizeOf(shape) * bytesPerElement(type);
}

/** The elements of a tensor or of some of its rows: of its own type, or f32 where it is quantised. */
export async function readElements(tensor: ReadableTensor, options: ElementOptions = {}): Promise<HostTensor> {
  const { type, strides } = tensor;
  if (strides) return readStrided(tensor, strides, options);
  if (isBlockType(type)) {
    const { bytes, shape } = await readBlocks(tensor, options);
    return { dtype: 'f32', shape, data: decoded(tensor, type, bytes) };
  }
  const { bytes, shape } = await readRows(tensor, options);
  return { dtype: type, shape, data: elementsAt(bytes, 0, type, sizeOf(shape)) };
}

/** The type in which a tensor can be written as it is: f32 where it is transposed, so that its blocks lie along columns. */
export const ownType = ({ type, strides }: Pick<ReadableTensor, 'type' | 'strides'>): StoredType =>
  strides && isBlockType(type) ? 'f32' : type;

/** The blocks of a quantised tensor or of some of its rows. */
export async function readBlocks(tensor: ReadableTensor, options: ElementOptions = {}): Promise<Blocks> {
  const { name, type, source } = tensor;
  if (!isBlockType(type))
    throw new ParameterError(`${source.name}: ${quote(name)} is ${type}, not quantised in blocks`);
  if (!tensor.strides) return { type, ...(await readRows(tensor, options)) };
  if (options.rows)
    throw new ParameterError(
      `rows must be undefined: ${quote(name)} of ${source.name} is transposed, its blocks lie along columns`,
    );
  const bytes = await source.read(tensor.start, tensor.start + tensor.byteLength, options);
  return { type, shape: [...tensor.shape].reverse(), bytes, isTransposed: true };
}

function decoded({ name, source }: StoredTensor, type: BlockType, bytes: Uint8Array): Float32Array {
  try {
    return decodeBlocks(type, bytes);
  } catch (error) {
    throw labelled(`${source.name}: tensor ${quote(name)}`, error);
  }
}

/** The bytes of contiguous rows, in the order of the tensor. */
async function readRows({ source, start, byteLength, shape, rows: order }: StoredTensor, options: ElementOptions) {
  const [count, from, to] = rowsOf(shape, options);
  const rowBytes = byteLength / (count || 1);
  const file = order?.subarray(from, to);
  const [low, high] = file ? [file.reduce(least, count), file.reduce(most, -1) + 1] : [from, to];
  const bytes = await source.read(start + low * rowBytes, start + Math.max(low, high) * rowBytes, options);
  const part = shape.length === 0 ? shape : [to - from, ...shape.slice(1)];
  if (!file) return { bytes, shape: part };
  const ordered = new Uint8Array(file.length * rowBytes);
  file.forEach((row, at) => {
    ordered.set(bytes.subarray((row - low) * rowBytes, (row - low + 1) * rowBytes), at * rowBytes);
  });
  return { bytes: ordered, shape: part };
}

const least = (a: number, b: number) => Math.min(a, b);
const most = (a: number, b: number) => Math.max(a, b);

/** How many rows a tensor has, and which of them are wanted; a scalar has one. */
function rowsOf(shape: Shape, { rows }: ElementOptions): [count: number, from: number, to: number] {
  const [count = 1] = shape;
  if (rows === undefined) return [count, 0, count];
  const [from, to] = rows;
  if (shape.length < 2)
    throw new ParameterError(`rows are of tensors with two axes or more, got ${formatShape(shape)}`);
  checkWhole('rows[0]', from, 0, count);
  checkWhole('rows[1]', to, from, count);
  return [count, from, to];
}

async function readStrided(
  tensor: ReadableTensor,
  strides: readonly number[],
  options: ElementOptions,
): Promise<HostTensor> {
  const { type, source, start, byteLength, shape } = tensor;
  const [, from, to] = rowsOf(shape, options);
  const bytes = await source.read(start, start + byteLength, options);
  const dtype = isBlockType(type) ? 'f32' : type;
  const elements = isBlockType(type)
    ? decoded(tensor, type, bytes)
    : elementsAt(bytes, 0, type, byteLength / bytesPerElement(type));
  const part = shape.length === 0 ? shape : [to - from, ...shape.slice(1)];
  const data = toRowMajor(elements.subarray(from * (strides[0] ?? 0)) as typeof elements, dtype, part, strides);
  return { dtype, shape: part, data };
}
