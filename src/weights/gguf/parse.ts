/**
 * What a GGUF file says before its elements: key-value pairs with types, and the name, type, extents and place of each tensor.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { checkFileShape, quote } from '../../io/bytes';
import { bytesPerElement, type HostDType } from '../../tensor/dtype';
import { formatShape, sizeOf } from '../../tensor/shape';
import { BLOCKS } from '../blocks';
import { Cursor, type NumberType, readAhead } from '../read-ahead';
import type { ByteSource, ReadOptions } from '../source';
import type { BlockType, StoredTensor, StoredType, UnreadType } from '../stored';

/** Key-value pairs; lists are decoded when they are asked for: of numbers typed arrays, others arrays. */
export type Metadata = Readonly<Record<string, unknown>>;

export interface GgufPart {
  readonly metadata: Metadata;
  /** By the names of the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const MAGIC = 0x46554747;
const VERSIONS = [2, 3];
const ALIGNMENT = 32;
/** Far beyond any model; memory follows them. */
const [MOST_PAIRS, MOST_TENSORS, MOST_BYTES, MOST_AXES, MOST_NESTED] = [2 ** 16, 2 ** 16, 2 ** 28, 4, 8];

/** Types of tensors by their codes; those that are not read by their names in the format. */
const TYPES: Readonly<Record<number, StoredType>> = {
  ...{ 0: 'f32', 1: 'f16', 30: 'bf16', 28: 'f64', 24: 'i8', 26: 'i32', 27: 'i64' },
  ...{ 2: 'q4_0', 3: 'q4_1', 6: 'q5_0', 7: 'q5_1', 8: 'q8_0', 12: 'q4_k', 13: 'q5_k', 14: 'q6_k' },
};
/** Those that are told, but not read: how many numbers a block has, and in how many bytes. */
const UNREAD: Readonly<Record<number, readonly [type: UnreadType, numbers: number, bytes: number]>> = {
  ...{ 9: ['Q8_1', 32, 36], 10: ['Q2_K', 256, 84], 11: ['Q3_K', 256, 110], 15: ['Q8_K', 256, 292] },
  ...{ 16: ['IQ2_XXS', 256, 66], 17: ['IQ2_XS', 256, 74], 22: ['IQ2_S', 256, 82], 18: ['IQ3_XXS', 256, 98] },
  ...{ 21: ['IQ3_S', 256, 110], 19: ['IQ1_S', 256, 50], 29: ['IQ1_M', 256, 56], 20: ['IQ4_NL', 32, 18] },
  ...{ 23: ['IQ4_XS', 256, 136], 25: ['I16', 1, 2], 34: ['TQ1_0', 256, 54], 35: ['TQ2_0', 256, 66] },
  ...{ 39: ['MXFP4', 32, 17] },
};

/** The file's pairs and tensors. */
export async function readPart(source: ByteSource, options: ReadOptions): Promise<GgufPart> {
  const { metadata, infos, end } = await readAhead(source, 0, MOST_BYTES, parseHeader, options);
  const alignment = metadata['general.alignment'] ?? ALIGNMENT;
  if (!(typeof alignment === 'number' && alignment > 0 && alignment % 8 === 0))
    throw new ParseError(`${source.name}: general.alignment must be a multiple of 8, got ${show(alignment)}`);
  const base = Math.ceil(end / alignment) * alignment;
  const tensors = new Map<string, StoredTensor>();
  for (const { name, type, shape, offset, byteLength } of infos) {
    if (tensors.has(name)) throw new ParseError(`${source.name}: two tensors are named ${quote(name)}`);
    if (offset % alignment !== 0)
      throw new ParseError(
        `${source.name}: tensor ${quote(name)} must lie at a multiple of ${alignment} bytes, got ${offset}`,
      );
    tensors.set(name, { name, type, shape, source, start: base + offset, byteLength });
  }
  checkPlaces(source, [...tensors.values()]);
  return { metadata, tensors };
}

/** A type by its code, with the numbers and bytes of a block. */
function typeOf(code: number): readonly [type: StoredType | UnreadType, numbers: number, bytes: number] | undefined {
  const type = TYPES[code];
  if (type === undefined) return UNREAD[code];
  const { numbers, bytes } = BLOCKS[type as BlockType] ?? { numbers: 1, bytes: bytesPerElement(type as HostDType) };
  return [type, numbers, bytes];
}

/** Throws unless tensors lie within the file, none over another. */
function checkPlaces(source: ByteSource, tensors: StoredTensor[]): void {
  tensors.sort((a, b) => a.start - b.start || a.byteLength - b.byteLength);
  let before: StoredTensor | undefined;
  for (const tensor of tensors) {
    const { name, start, byteLength } = tensor;
    const where = `${source.name}: tensor ${quote(name)} lies at bytes ${start} to ${start + byteLength}`;
    if (start + byteLength > source.size) throw new ParseError(`${where}, the file has ${source.size}`);
    if (before && start < before.start + before.byteLength)
      throw new ParseError(`${where}, over ${quote(before.name)}`);
    before = tensor;
  }
}

interface TensorInfo extends Pick<StoredTensor, 'name' | 'type' | 'shape' | 'byteLength'> {
  readonly offset: number;
}

function parseHeader(cursor: Cursor): { metadata: Metadata; infos: TensorInfo[]; end: number } {
  const magic = cursor.number('Uint32', 'the header');
  if (magic !== MAGIC) throw new ParseError(`${cursor.label}: a GGUF file begins with GGUF`);
  const version = cursor.number('Uint32', 'the header');
  if (!VERSIONS.includes(version))
    throw new ParseError(
      version > 0 && version % 0x10000 === 0
        ? `${cursor.label}: big-endian GGUF is not read: convert it to little-endian`
        : `${cursor.label}: expected version ${VERSIONS.join(' or ')} of GGUF, got ${version}`,
    );
  const tensors = countUpTo(cursor, MOST_TENSORS, 'tensors');
  const pairs = countUpTo(cursor, MOST_PAIRS, 'key-value pairs');
  const metadata = {};
  for (let at = 0; at < pairs; at++) parsePair(cursor, metadata, at);
  const infos = Array.from({ length: tensors }, (_, at) => parseInfo(cursor, at));
  return { metadata, infos, end: cursor.at };
}

function countUpTo(cursor: Cursor, most: number, what: string): number {
  const count = cursor.count('the header');
  if (count <= most) return count;
  throw new ParseError(`${cursor.label}: expected at most ${most} ${what}, got ${count}`);
}

function parseInfo(cursor: Cursor, at: number): TensorInfo {
  const name = textOf(cursor, `the name of tensor ${at}`);
  const what = `tensor ${quote(name)}`;
  const label = `${cursor.label}: ${what}`;
  const rank = cursor.number('Uint32', what);
  if (rank > MOST_AXES) throw new ParseError(`${label} must have at most ${MOST_AXES} axes, got ${rank}`);
  // Innermost first in the file.
  const shape = Array.from({ length: rank }, () => cursor.count(what)).reverse();
  checkFileShape(label, shape);
  const code = cursor.number('Uint32', what);
  const found = typeOf(code);
  if (found === undefined) {
    const known = `${Object.values(TYPES).join(', ')} are read`;
    throw new ParseError(`${label} has elements of type ${code}: ${known}`);
  }
  const [type, numbers, bytes] = found;
  if ((shape.at(-1) ?? 1) % numbers !== 0)
    throw new ParseError(`${label} ${formatShape(shape)} does not divide into the blocks of ${numbers} of ${type}`);
  return { name, type, shape, offset: cursor.count(what), byteLength: (sizeOf(shape) / numbers) * bytes };
}

const [BOOL, STRING, ARRAY] = [7, 8, 9];
/** How values are read: as numbers of these types, by their codes. */
const NUMBERS: Readonly<Record<number, NumberType>> = {
  ...{ 0: 'Uint8', 1: 'Int8', 2: 'Uint16', 3: 'Int16', 4: 'Uint32', 5: 'Int32', 6: 'Float32', 12: 'Float64' },
};
const INTEGERS: Readonly<Record<number, 'BigUint64' | 'BigInt64'>> = { 10: 'BigUint64', 11: 'BigInt64' };
/** What lists of numbers become. */
const ARRAYS: Readonly<Record<number, NumbersConstructor>> = {
  ...{ 0: Uint8Array, 1: Int8Array, 2: Uint16Array, 3: Int16Array, 4: Uint32Array, 5: Int32Array },
  ...{ 6: Float32Array, 10: BigUint64Array, 11: BigInt64Array, 12: Float64Array },
};

interface NumbersConstructor {
  new (buffer: ArrayBuffer): ArrayBufferView;
  readonly BYTES_PER_ELEMENT: number;
}

/** Tokens are not always UTF-8. */
const LENIENT = new TextDecoder('utf-8', { ignoreBOM: true });

function parsePair(cursor: Cursor, metadata: Metadata, at: number): void {
  const key = textOf(cursor, `key ${at}`);
  const what = quote(key);
  if (Object.hasOwn(metadata, key)) throw new ParseError(`${cursor.label}: two values of ${what}`);
  const type = cursor.number('Uint32', what);
  if (type !== ARRAY) {
    Object.defineProperty(metadata, key, { enumerable: true, value: parseValue(cursor, type, what) });
    return;
  }
  const start = cursor.at;
  skipValue(cursor, type, what, 0);
  const { bytes, label } = cursor;
  let list: unknown;
  const get = () => {
    list ??= parseValue(Object.assign(new Cursor(bytes, label), { at: start }), type, what);
    return list;
  };
  Object.defineProperty(metadata, key, { enumerable: true, get });
}

function parseValue(cursor: Cursor, type: number, what: string): unknown {
  const number = NUMBERS[type];
  if (number === 'Float32') return shortest(cursor.number(number, what));
  if (number) return cursor.number(number, what);
  const integer = INTEGERS[type];
  if (integer) {
    const value = cursor.integer(integer, what);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  if (type === BOOL) return cursor.number('Uint8', what) !== 0;
  if (type === STRING) return LENIENT.decode(cursor.take(cursor.count(what), what));
  if (type !== ARRAY) throw unknownType(cursor, type, what);
  const element = cursor.number('Uint32', what);
  const count = cursor.count(what);
  const Numbers = ARRAYS[element];
  if (Numbers) return new Numbers(cursor.take(count * Numbers.BYTES_PER_ELEMENT, what).slice().buffer as ArrayBuffer);
  return Array.from({ length: count }, () => parseValue(cursor, element, what));
}

/** Steps over a value, so that a list that does not fit the file is found before it is decoded. */
function skipValue(cursor: Cursor, type: number, what: string, depth: number): void {
  const bytes = ARRAYS[type]?.BYTES_PER_ELEMENT ?? (type === BOOL ? 1 : undefined);
  if (bytes !== undefined) cursor.skip(bytes, what);
  else if (type === STRING) cursor.skip(cursor.count(what), what);
  else if (type !== ARRAY) throw unknownType(cursor, type, what);
  else if (depth === MOST_NESTED) throw new ParseError(`${cursor.label}: ${what} has lists in lists beyond ${depth}`);
  else skipList(cursor, what, depth);
}

function skipList(cursor: Cursor, what: string, depth: number): void {
  const element = cursor.number('Uint32', what);
  const count = cursor.count(what);
  const bytes = ARRAYS[element]?.BYTES_PER_ELEMENT;
  if (bytes) cursor.skip(count * bytes, what);
  else for (let at = 0; at < count; at++) skipValue(cursor, element, what, depth + 1);
}

function unknownType(cursor: Cursor, type: number, what: string): ParseError {
  return new ParseError(`${cursor.label}: the value of ${what} has type ${type}, which GGUF does not have`);
}

function textOf(cursor: Cursor, what: string): string {
  return cursor.text(cursor.count(what), what);
}

/** The shortest decimal number that rounds to this f32: 1e-5 as it was written, not 0.00000999999974. */
function shortest(value: number): number {
  if (!Number.isFinite(value)) return value;
  for (let digits = 1; ; digits++) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === value) return decimal;
  }
}
