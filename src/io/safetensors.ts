/**
 * Hugging Face's tensor files: the header's length (8 bytes), a JSON header with dtype, shape and place of every
 * tensor, then the elements. Format: https://github.com/huggingface/safetensors
 */
import { checkOptions, checkRecord, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { bytesPerElement, type HostDType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { formatShape, type Shape, sizeOf } from '../tensor/shape';
import {
  bytesOf,
  checkFileShape,
  checkTensors,
  elementsAt,
  type FileBytes,
  fileBytes,
  isUnicode,
  quote,
} from './bytes';
import { Scanner } from './scanner';

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;
const FORMAT = 'safetensors';
const METADATA = '__metadata__';
const ALIGNMENT = 8;

const NAMES: Record<HostDType, string> = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  f64: 'F64',
  i32: 'I32',
  i64: 'I64',
  u8: 'U8',
  i8: 'I8',
};
const DTYPES = new Map(Object.entries(NAMES).map(([dtype, name]) => [name, dtype as HostDType]));
/** Other types of the format, of which only places are known, with their bits. */
const UNREAD = {
  ...{ BOOL: 8, I16: 16, U16: 16, U32: 32, U64: 64, C64: 64 },
  ...{ F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F6_E2M3: 6, F6_E3M2: 6, F4: 4 },
};
type Unread = keyof typeof UNREAD;
const isUnread = (type: string): type is Unread => Object.hasOwn(UNREAD, type);

/** Where a tensor lies: bytes `begin` to `end` (exclusive) after the header. */
export interface SafetensorsEntry<T extends HostDType | Unread = HostDType | Unread> {
  readonly name: string;
  readonly dtype: T;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/**
 * The tensors of a `.safetensors` file by name, in the header's order; its `__metadata__` is what `readSafetensorsMetadata` gives.
 * Elements share the memory of `file` where they can. Throws a ParseError that says what is wrong with the file.
 */
export function readSafetensors(file: FileBytes): Record<string, HostTensor> {
  const bytes = fileBytes(file, FORMAT);
  const { entries, end } = headerOf(bytes);
  return Object.fromEntries(
    entries.map(({ name, dtype, shape, begin }) => {
      if (isUnread(dtype)) throw unknownType(`safetensors: tensor ${quote(name)}`, dtype);
      return [name, { dtype, shape, data: elementsAt(bytes, end + begin, dtype, sizeOf(shape)) }];
    }),
  );
}

/** What a `.safetensors` file says of itself, its `__metadata__`: texts by name. Throws as `readSafetensors`. */
export function readSafetensorsMetadata(file: FileBytes): Record<string, string> {
  return headerOf(fileBytes(file, FORMAT)).metadata;
}

/** What the header of a file says. */
export interface SafetensorsHeader {
  /** In the header's order. */
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: Record<string, string>;
}

function headerOf(bytes: Uint8Array): SafetensorsHeader & { end: number } {
  const end = safetensorsHeaderEnd(bytes, bytes.length);
  return { ...parseSafetensorsHeader(bytes.slice(8, end), bytes.length - end), end };
}

export interface WriteSafetensorsOptions {
  /** Texts by name, in the place that the format has for them; default: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/**
 * A `.safetensors` file of `tensors`. They are ordered by element size, then by name: every tensor lies aligned, and
 * the same tensors give the same bytes.
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, HostTensor>>,
  options: WriteSafetensorsOptions = {},
): Uint8Array {
  checkOptions('writeSafetensors', options, ['metadata']);
  const { metadata = {} } = options;
  checkMetadata(metadata);
  const entries = checkTensors(tensors).sort(
    ([a, { dtype: first }], [b, { dtype: second }]) =>
      bytesPerElement(second) - bytesPerElement(first) || (a < b ? -1 : 1),
  );
  const begin = safetensorsBeginning(
    entries.map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, byteLength: data.byteLength })),
    metadata,
  );
  const bytes = new Uint8Array(entries.reduce((sum, [, { data }]) => sum + data.byteLength, begin.length));
  bytes.set(begin);
  let at = begin.length;
  for (const [, tensor] of entries) {
    bytes.set(bytesOf(tensor), at);
    at += tensor.data.byteLength;
  }
  return bytes;
}

/** Throws a ParameterError unless a file can hold this metadata. */
export function checkMetadata(metadata: Readonly<Record<string, string>>): void {
  checkRecord('metadata', metadata);
  for (const [name, value] of Object.entries(metadata))
    if (typeof value !== 'string' || !isUnicode(name + value))
      throw new ParameterError(`metadata must be Unicode by name, got ${show(value)} of ${show(name)}`);
}

/** What a file of these tensors begins with, its header and what is before that; their elements follow, in this order. */
export function safetensorsBeginning(
  tensors: readonly (Pick<SafetensorsEntry<HostDType>, 'name' | 'dtype' | 'shape'> & { readonly byteLength: number })[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  let offset = 0;
  const fields = tensors.map(({ name, dtype, shape, byteLength }) => {
    if (name === METADATA) throw new ParameterError(`a tensor cannot be named ${METADATA}: safetensors reserves it`);
    const place = { dtype: NAMES[dtype], shape, data_offsets: [offset, offset + byteLength] };
    offset += byteLength;
    return `${JSON.stringify(name)}:${JSON.stringify(place)}`;
  });
  if (Object.keys(metadata).length > 0) fields.unshift(`"${METADATA}":${JSON.stringify(metadata)}`);
  const header = new TextEncoder().encode(`{${fields.join(',')}}`);
  const start = Math.ceil((8 + header.length) / ALIGNMENT) * ALIGNMENT;
  if (start - 8 > MAX_HEADER_BYTES)
    throw new ParameterError(
      `safetensors holds a header of ${MAX_HEADER_BYTES} bytes, these tensors need ${start - 8}`,
    );
  const bytes = new Uint8Array(start);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.fill(0x20, 8);
  bytes.set(header, 8);
  return bytes;
}

/** Where the header of a file of `size` bytes ends, which begins with `bytes`, 8 of them or more. */
export function safetensorsHeaderEnd(bytes: Uint8Array, size: number): number {
  if (size < 8) throw new ParseError(`safetensors: expected at least 8 bytes, got ${size}`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES)
    throw new ParseError(`safetensors: the header takes ${length} bytes, the format allows ${MAX_HEADER_BYTES}`);
  if (length > size - 8)
    throw new ParseError(`safetensors: the header takes ${length} bytes, but only ${size - 8} follow`);
  return 8 + Number(length);
}

/** What a header, from byte 8 on, says of the `length` bytes behind it. */
export function parseSafetensorsHeader(header: Uint8Array, length: number): SafetensorsHeader {
  const scanner = new Scanner(headerText(header), FORMAT, false);
  const entries: SafetensorsEntry[] = [];
  const metadata: [string, string][] = [];
  members(scanner, 'the header', (name) => {
    if (name === METADATA) members(scanner, METADATA, (key) => metadata.push([key, parseString(scanner)]));
    else entries.push(parseEntry(scanner, name));
  });
  scanner.end();
  checkLayout(entries, length);
  return { entries, metadata: Object.fromEntries(metadata) };
}

function headerText(header: Uint8Array): string {
  if (header[0] !== 0x7b) throw new ParseError('safetensors: the header must begin with {');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    throw new ParseError('safetensors: the header is not UTF-8');
  }
}

function parseEntry(scanner: Scanner, name: string): SafetensorsEntry {
  const label = `safetensors: tensor ${quote(name)}`;
  let dtype: SafetensorsEntry['dtype'] | undefined;
  let shape: Shape | undefined;
  let offsets: Shape | undefined;
  members(scanner, `tensor ${quote(name)}`, (field) => {
    scanner.label = `safetensors: ${quote(field)} of tensor ${quote(name)}`;
    if (field === 'dtype') dtype = parseDType(scanner, label);
    else if (field === 'shape') shape = scanner.integers('[', ']');
    else if (field === 'data_offsets') offsets = scanner.integers('[', ']');
    else throw new ParseError(`${label} has an unknown field ${quote(field)}`);
    scanner.label = label;
  });
  scanner.label = FORMAT;
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    const missing = Object.entries({ dtype, shape, data_offsets: offsets }).filter(([, value]) => value === undefined);
    throw new ParseError(`${label} lacks ${missing.map(([field]) => field).join(' and ')}`);
  }
  checkFileShape(label, shape);
  const [begin, end, ...more] = offsets;
  if (begin === undefined || end === undefined || more.length > 0)
    throw new ParseError(`${label} must have data_offsets [begin, end], got ${offsets.length} of them`);
  const [type, bits] = isUnread(dtype) ? [dtype, UNREAD[dtype]] : [NAMES[dtype], 8 * bytesPerElement(dtype)];
  const expected = (sizeOf(shape) * bits) / 8;
  if (end - begin !== expected) {
    const what = `${type} of shape ${formatShape(shape)}`;
    throw new ParseError(`${label}: ${what} takes ${expected} bytes, got data_offsets ${formatShape(offsets)}`);
  }
  return { name, dtype, shape, begin, end };
}

function parseDType(scanner: Scanner, label: string): SafetensorsEntry['dtype'] {
  const name = parseString(scanner);
  const dtype = DTYPES.get(name) ?? (isUnread(name) ? name : undefined);
  if (dtype === undefined) throw unknownType(label, name);
  return dtype;
}

const unknownType = (label: string, name: string) =>
  new ParseError(`${label}: expected dtype ${[...DTYPES.keys()].join(', ')}, got ${quote(name)}`);

/** Takes a JSON object, calling `member` with every key for its value; a key that comes twice is an error. */
function members(scanner: Scanner, owner: string, member: (key: string) => void): void {
  const seen = new Set<string>();
  scanner.list('{', '}', () => {
    const key = parseString(scanner);
    if (seen.has(key)) throw new ParseError(`safetensors: ${owner} has ${quote(key)} twice`);
    seen.add(key);
    scanner.expect(':');
    member(key);
  });
}

function parseString(scanner: Scanner): string {
  const raw = scanner.string('"');
  let text: string | undefined;
  try {
    text = JSON.parse(`"${raw}"`) as string;
  } catch {
    // A control character or an unknown escape: reported below.
  }
  if (text === undefined || !isUnicode(text))
    throw new ParseError(`safetensors: the header holds an invalid string ${quote(raw)}`);
  return text;
}

/** Throws unless the tensors fill the `length` bytes after the header without overlap or hole. */
function checkLayout(entries: readonly SafetensorsEntry[], length: number): void {
  const sorted = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let filled = 0;
  for (const { name, begin, end } of sorted) {
    const where = `safetensors: tensor ${quote(name)} lies at bytes ${begin} to ${end}`;
    if (end > length) throw new ParseError(`${where}, but only ${length} follow the header`);
    if (begin < filled) throw new ParseError(`${where}, which overlaps the tensor that ends at ${filled}`);
    if (begin > filled) throw new ParseError(`${where}, which leaves a hole from ${filled}`);
    filled = end;
  }
  if (filled < length)
    throw new ParseError(`safetensors: ${length} bytes follow the header, but the tensors end at ${filled}`);
}
