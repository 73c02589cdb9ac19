/** Weights laid out for products, from arrays and from blocks of files. */
import { checkChoice, checkOptions, checkRecord, show } from '../check';
import { DTypeError, ParameterError, ParseError, ShapeError } from '../errors';
import { type PackedParts, type PackedType, PackedWeight } from '../ops/packed';
import { BLOCK, PACKED_TYPES } from '../ops/packed/params';
import { Runtime } from '../runtime/runtime';
import { type HostDType, isFloat, type TypedArray } from '../tensor/dtype';
import { fromFloat16, toFloat16 } from '../tensor/float16';
import { checkHost, convert, type HostTensor } from '../tensor/host';
import { checkShape, formatShape, type Shape, sizeOf } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import { BLOCKS, decodeBlocks, sixBits } from './blocks';
import type { Blocks } from './elements';
import { encodeBlocks } from './encode-blocks';
import type { BlockType } from './stored';

export interface PackOptions {
  /**
   * How it is stored; default: as it is, f64 as f32, blocks of 8 bits, of 5 and of 6 as `q8`, those of 4 as `q4`. Numbers that
   * become `q4` are rounded as in Q4_0.
   */
  readonly type?: PackedType | undefined;
}

/** Numbers that are converted at a time, about, and those that are read from a tensor at a time. */
const [CHUNK, READ] = [2 ** 18, 2 ** 22];

/** Blocks whose integers are kept, by what they become; all others are rounded again. */
const KEPT: Readonly<Partial<Record<BlockType, PackedType>>> = {
  q8_0: 'q8',
  q5_0: 'q8',
  q4_0: 'q4',
  q4_1: 'q4',
  q4_k: 'q4',
};

/** Whether packing changes no number of a type of blocks: Q4_K's scales have more bits than f16, the others that are not kept fit no type. */
export const packsExactly = (type: string): boolean => type !== 'q4_k' && Object.hasOwn(KEPT, type);

/**
 * A matrix [rows, width], such as the weight [out, in] of a layer, for products: `matmul`, `linear`, `embedding` and decoders take
 * it in the place of a tensor. It goes into the runtime's memory some rows at a time. Of blocks of 4 bits, scales and minima of
 * Q4_K are rounded to f16; Q5_1, Q5_K and Q6_K are rounded to 8 bits; Q8_0, Q5_0, Q4_0 and Q4_1 keep their numbers. Blocks of a transpose give one of the weight. A tensor, which may be one of another runtime, is read, so that the
 * result is a promise.
 *
 * @throws {ShapeError} another rank, an empty matrix; for `q8` and `q4` a width that is no multiple of 32
 * @throws {DTypeError} integers
 * @throws {ParameterError} numbers to be rounded to blocks that are not finite, bytes that are not as many as the shape needs
 * @throws {ParseError} a scale or minimum that is infinite or not a number
 */
export function packWeight(runtime: Runtime, source: HostTensor | Blocks, options?: PackOptions): PackedWeight;
export function packWeight(runtime: Runtime, source: Tensor, options?: PackOptions): Promise<PackedWeight>;
export function packWeight(
  runtime: Runtime,
  source: HostTensor | Blocks | Tensor,
  options: PackOptions = {},
): PackedWeight | Promise<PackedWeight> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkOptions('packWeight', options, ['type']);
  if (source instanceof Tensor) return packTensor(runtime, source, options);
  const reader = readerOf(source);
  const weight = emptyWeight(runtime, source.shape, reader, options);
  try {
    writeRows(weight, reader, 0);
  } catch (error) {
    weight.dispose();
    throw error;
  }
  if (!('isTransposed' in source && source.isTransposed)) return weight;
  using stored = weight;
  return stored.transpose();
}

async function packTensor(runtime: Runtime, source: Tensor, options: PackOptions): Promise<PackedWeight> {
  const { dtype, shape } = source;
  const [rows, width] = checkFloats(dtype, shape);
  // The caller may dispose the tensor meanwhile.
  using kept = source.slice(0, 0, rows);
  source.runtime.keepBeyondScopes(kept);
  const weight = emptyWeight(runtime, shape, { usual: usualOf(dtype), hasMinima: false }, options);
  try {
    const step = evenRows(READ, width);
    for (let row = 0; row < rows; row += step) {
      using part = kept.slice(0, row, Math.min(rows, row + step));
      source.runtime.keepBeyondScopes(part);
      writeRows(weight, hostReader(await part.toHost()), row);
    }
    return weight;
  } catch (error) {
    weight.dispose();
    throw error;
  }
}

/** An even number of rows, so that each run of them begins at a word. */
const evenRows = (numbers: number, width: number) => 2 * Math.max(1, Math.floor(numbers / width / 2));

const isQuantised = (type: PackedType): type is 'q8' | 'q4' => type === 'q8' || type === 'q4';

/** A weight to be written. */
function emptyWeight(
  runtime: Runtime,
  shape: Shape,
  { usual, hasMinima }: Pick<Reader, 'usual' | 'hasMinima'>,
  { type = usual }: PackOptions,
): PackedWeight {
  checkChoice('type', type, PACKED_TYPES);
  const [rows, width] = shape as [number, number];
  if (isQuantised(type) && width % BLOCK !== 0)
    throw new ShapeError(
      `source must have rows of a multiple of ${BLOCK} numbers for ${type}, got ${formatShape(shape)}`,
    );
  return new PackedWeight(type, [rows, width], allocated(runtime, type, [rows, width], hasMinima));
}

/** Writes all rows that a reader has, from row `first` of the weight on. */
function writeRows(
  { dtype: type, shape, parts }: PackedWeight,
  { rows: count, floats, blocks }: Reader,
  first: number,
): void {
  const [rows, width] = shape as [number, number];
  const chunk = (from: number, to: number): Chunk => {
    if (isQuantised(type)) return blocks?.(type, from, to) ?? split(ENCODED[type], encoded(type, floats(from, to)));
    return { values: convert(floats(from, to), type).data };
  };
  const step = evenRows(CHUNK, width);
  for (let row = 0; row < count; row += step) {
    const found = chunk(row, Math.min(count, row + step));
    for (const name of ['values', 'scales', 'minima'] as const) write(parts[name], (first + row) / rows, found[name]);
  }
}

/** Some rows, as the parts of a weight hold them. */
interface Chunk {
  readonly values: TypedArray;
  readonly scales?: Uint16Array | undefined;
  readonly minima?: Uint16Array | undefined;
}

interface Reader {
  readonly rows: number;
  readonly usual: PackedType;
  /** Whether blocks that are kept have minima. */
  readonly hasMinima: boolean;
  floats(from: number, to: number): HostTensor;
  /** Rows whose integers are kept; undefined where they become others. */
  blocks?(type: PackedType, from: number, to: number): Chunk | undefined;
}

/** What gives rows of a source, which is checked. */
function readerOf(source: HostTensor | Blocks): Reader {
  checkRecord('source', source);
  if (!('bytes' in source)) {
    checkHost('source', source);
    checkFloats(source.dtype, source.shape);
    return hostReader(source);
  }
  const { type, shape, bytes } = source;
  checkChoice('type of source', type, Object.keys(BLOCKS));
  const [rows, width] = checkMatrix(shape);
  const { numbers, bytes: size } = BLOCKS[type];
  const rowBytes = (width / numbers) * size;
  if (!Number.isInteger(width / numbers))
    throw new ShapeError(
      `source must have rows of a multiple of ${numbers} numbers for ${type}, got ${formatShape(shape)}`,
    );
  if (!(bytes instanceof Uint8Array) || bytes.length !== rows * rowBytes)
    throw new ParameterError(
      `bytes of source must be ${rows * rowBytes} for ${formatShape(shape)} of ${type}, got ${show(bytes)}`,
    );
  const bytesOf = (from: number, to: number) => bytes.subarray(from * rowBytes, to * rowBytes);
  return {
    rows,
    usual: KEPT[type] ?? 'q8',
    hasMinima: type === 'q4_1' || type === 'q4_k',
    floats: (from, to) => ({ dtype: 'f32', shape: [to - from, width], data: decodeBlocks(type, bytesOf(from, to)) }),
    blocks: (as, from, to) => (KEPT[type] === as ? split(type as Splitting, bytesOf(from, to)) : undefined),
  };
}

function hostReader({ dtype, data, shape }: HostTensor): Reader {
  const [rows, width] = shape as [number, number];
  return {
    rows,
    usual: usualOf(dtype),
    hasMinima: false,
    floats: (from, to) => ({
      dtype,
      shape: [to - from, width],
      data: data.subarray(from * width, to * width) as never,
    }),
  };
}

const usualOf = (dtype: HostDType) => (dtype === 'f64' ? 'f32' : dtype) as PackedType;

function checkFloats(dtype: HostDType, shape: Shape): readonly [rows: number, width: number] {
  const found = checkMatrix(shape);
  if (!isFloat(dtype)) throw new DTypeError(`source must hold floats, got ${dtype}`);
  return found;
}

function checkMatrix(shape: Shape): readonly [number, number] {
  checkShape('shape of source', shape);
  if (shape.length !== 2 || sizeOf(shape) === 0)
    throw new ShapeError(`source must be a matrix [rows, width] that is not empty, got ${formatShape(shape)}`);
  return shape as [number, number];
}

function allocated(
  runtime: Runtime,
  type: PackedType,
  [rows, width]: readonly [number, number],
  hasMinima: boolean,
): PackedParts {
  const kept = <T extends Tensor>(tensor: T): T => {
    runtime.keepBeyondScopes(tensor);
    return tensor;
  };
  if (!isQuantised(type)) return { values: kept(runtime.empty([rows, width], type)) };
  const blocks = [rows, width / BLOCK];
  return {
    values: kept(type === 'q8' ? runtime.empty([rows, width], 'i8') : runtime.empty([rows, width / 2], 'u8')),
    scales: kept(runtime.empty(blocks, 'f16')),
    minima: type === 'q4' && hasMinima ? kept(runtime.empty(blocks, 'f16')) : undefined,
  };
}

/** Writes elements into a tensor, from a share of it on. */
function write(to: Tensor | undefined, share: number, data: TypedArray | undefined): void {
  if (!to || !data) return;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  to.runtime.backend.write(to.storage.buffer, bytes, Math.round(share * to.size) * data.BYTES_PER_ELEMENT);
}

const ENCODED = { q8: 'q8_0', q4: 'q4_0' } as const;

const encoded = (type: keyof typeof ENCODED, numbers: HostTensor): Uint8Array =>
  encodeBlocks(ENCODED[type], convert(numbers, 'f32').data);

type Splitting = 'q8_0' | 'q5_0' | 'q4_0' | 'q4_1' | 'q4_k';

/** Integers, scales and minima of blocks, each by themselves. */
function split(type: Splitting, bytes: Uint8Array): Chunk {
  const { numbers, bytes: size } = BLOCKS[type];
  const count = bytes.length / size;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const blocks = (count * numbers) / BLOCK;
  const scales = new Uint16Array(blocks);
  const minima = type === 'q4_1' || type === 'q4_k' ? new Uint16Array(blocks) : undefined;
  const isWide = type === 'q8_0' || type === 'q5_0';
  const perBlock = isWide ? BLOCK : BLOCK / 2;
  const values = isWide ? new Int8Array(blocks * perBlock) : new Uint8Array(blocks * perBlock);
  if (type === 'q4_k')
    splitGroups(bytes, view, { values: values as Uint8Array, scales, minima: minima as Uint16Array });
  else {
    const head = size - perBlock;
    for (let block = 0, at = 0; block < blocks; block++, at += size) {
      scales[block] = view.getUint16(at, true);
      if (minima) minima[block] = view.getUint16(at + 2, true);
      for (let j = 0; j < perBlock; j++)
        values[block * perBlock + j] = type === 'q5_0' ? fiveBits(view, at + 2, j) - 16 : view.getUint8(at + head + j);
    }
  }
  for (const [name, halves] of Object.entries({ scale: scales, minimum: minima })) {
    const wrong = halves?.findIndex((half) => (half & 0x7c00) === 0x7c00) ?? -1;
    if (wrong >= 0)
      throw new ParseError(`block ${wrong} of ${type} has a ${name} that is ${fromFloat16(halves?.[wrong] as number)}`);
  }
  return { values, scales, minima };
}

/** Integer j of a block of Q5_0: its fifth bit is one of a word, before the nibbles of the others. */
const fiveBits = (view: DataView, at: number, j: number) =>
  ((view.getUint8(at + 4 + (j & 15)) >>> (j < 16 ? 0 : 4)) & 15) | (((view.getUint32(at, true) >>> j) & 1) << 4);

/** Groups of 32 numbers of blocks of 256, whose scales and minima are products. */
function splitGroups(
  bytes: Uint8Array,
  view: DataView,
  { values, scales, minima }: { readonly [Name in keyof Required<Chunk>]: Uint8Array | Uint16Array },
): void {
  const { bytes: size } = BLOCKS.q4_k;
  for (let group = 0; group < scales.length; group++) {
    const [at, inBlock] = [(group >> 3) * size, group & 7];
    const half = (offset: number) => fromFloat16(view.getUint16(at + offset, true));
    scales[group] = toFloat16(half(0) * sixBits(bytes, at + 4, inBlock));
    minima[group] = toFloat16(-half(2) * sixBits(bytes, at + 4, inBlock + 8));
    const codes = at + 16 + (inBlock >> 1) * 32;
    const shift = (inBlock & 1) * 4;
    const codeAt = (j: number) => (view.getUint8(codes + j) >>> shift) & 15;
    for (let j = 0; j < 16; j++) values[group * 16 + j] = codeAt(j) | (codeAt(j + 16) << 4);
  }
}
