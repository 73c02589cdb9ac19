/**
 * NumPy's array files: a magic number, a Python dict literal with dtype, order and shape, then the elements.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { DTypeError, ParameterError, ParseError } from '../errors';
import { bytesPerElement, type HostDType } from '../tensor/dtype';
import { checkHost, type HostTensor, toRowMajor } from '../tensor/host';
import { formatShape, rowMajorStrides, type Shape, sizeOf } from '../tensor/shape';
import { bytesOf, checkFileShape, elementsAt, type FileBytes, fileBytes, quote } from './bytes';
import { Scanner } from './scanner';

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** Far above any shape in use; keeps a hostile header from becoming a large list. */
const MAX_HEADER_BYTES = 2 ** 20;
const ALIGNMENT = 64;
/** What comes before the header's text, of versions 2.0 and 3.0. */
const LONGEST_START = 12;

const DESCR: Partial<Record<HostDType, string>> = {
  f32: '<f4',
  f16: '<f2',
  f64: '<f8',
  i32: '<i4',
  i64: '<i8',
  u8: '|u1',
  i8: '|i1',
};
const DTYPE_OF_CODE = new Map(Object.entries(DESCR).map(([dtype, descr]) => [descr.slice(1), dtype as HostDType]));

interface Header {
  readonly dtype: HostDType;
  readonly bigEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: Shape;
}

/**
 * The array of an `.npy` file (versions 1.0, 2.0 and 3.0), in row-major order and native byte order. Its elements
 * share the memory of `file` where they can. Throws a ParseError that says what is wrong with the file.
 */
export function readNpy(file: FileBytes): HostTensor {
  return parseNpy(fileBytes(file, 'npy'), 'npy');
}

/** `readNpy` whose messages begin with `label`. */
export function parseNpy(bytes: Uint8Array, label: string): HostTensor {
  const { dtype, bigEndian, fortranOrder, shape, end } = readHeader(bytes, bytes.length, label);
  const size = sizeOf(shape);
  const stored = bigEndian
    ? elementsAt(swapped(bytes.subarray(end), bytesPerElement(dtype)), 0, dtype, size)
    : elementsAt(bytes, end, dtype, size);
  const data = fortranOrder ? toRowMajor(stored, dtype, shape, columnMajorStrides(shape)) : stored;
  return { dtype, shape, data };
}

/**
 * Throws unless a file of `length` bytes, which begins with `bytes`, is as long as its header says; false while `bytes` are
 * too few to tell.
 */
export function checkNpyLength(bytes: Uint8Array, length: number, label: string): boolean {
  if (bytes.length < Math.min(length, LONGEST_START)) return false;
  if (bytes.length < headerSpan(bytes, length, label).end) return false;
  readHeader(bytes, length, label);
  return true;
}

/** An `.npy` file of `tensor`: version 1.0, or 2.0 where the header is too long for that. */
export function writeNpy(tensor: HostTensor): Uint8Array {
  checkHost('tensor', tensor);
  const descr = DESCR[tensor.dtype];
  if (!descr) throw new DTypeError(`npy has no ${tensor.dtype}: convert the tensor to f32 or write safetensors`);
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${pythonTuple(tensor.shape)}, }`;
  const version = padding(10, dict) + dict.length + 1 > 0xffff ? 2 : 1;
  const start = version === 1 ? 10 : 12;
  const header = `${dict}${' '.repeat(padding(start, dict))}\n`;
  if (header.length > MAX_HEADER_BYTES)
    throw new ParameterError(`npy cannot hold a tensor of rank ${tensor.shape.length}`);
  const bytes = new Uint8Array(start + header.length + tensor.data.byteLength);
  bytes.set([...MAGIC, version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, header.length, true);
  else view.setUint32(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), start);
  bytes.set(bytesOf(tensor), start + header.length);
  return bytes;
}

/** What the header says of a file of `length` bytes that begins with `bytes`, and where it ends. */
function readHeader(bytes: Uint8Array, length: number, label: string): Header & { readonly end: number } {
  const { start, end } = headerSpan(bytes, length, label);
  // Only ASCII can be right; whatever else the bytes say becomes a character that the scanner refuses.
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.slice(start, end));
  const header = parseHeader(text, label);
  const { dtype, shape } = header;
  const expected = sizeOf(shape) * bytesPerElement(dtype);
  if (expected !== length - end) {
    throw new ParseError(
      `${label}: ${dtype} of shape ${formatShape(shape)} takes ${expected} bytes, got ${length - end} after the header`,
    );
  }
  return { ...header, end };
}

/** Where the header's text begins and ends. */
function headerSpan(bytes: Uint8Array, length: number, label: string): { start: number; end: number } {
  if (MAGIC.some((byte, i) => bytes[i] !== byte))
    throw new ParseError(`${label}: not an npy file: its first bytes are not \\x93NUMPY`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = `${bytes[6]}.${bytes[7]}`;
  const start = version === '1.0' ? 10 : LONGEST_START;
  if (bytes.length < start) throw new ParseError(`${label}: the file is cut short, after ${bytes.length} bytes`);
  if (!['1.0', '2.0', '3.0'].includes(version))
    throw new ParseError(`${label}: expected npy version 1.0, 2.0 or 3.0, got ${version}`);
  const size = start === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (size > MAX_HEADER_BYTES)
    throw new ParseError(`${label}: the header takes ${size} bytes, at most ${MAX_HEADER_BYTES} are read`);
  if (size > length - start)
    throw new ParseError(`${label}: the header takes ${size} bytes, but only ${length - start} follow`);
  return { start, end: start + size };
}

function parseHeader(text: string, label: string): Header {
  const scanner = new Scanner(text, label, true);
  const fields: { descr?: string; fortran_order?: boolean; shape?: Shape } = {};
  scanner.list('{', '}', () => {
    const key = scanner.string(`'"`);
    if (Object.hasOwn(fields, key)) throw new ParseError(`${label}: the header has ${quote(key)} twice`);
    scanner.expect(':');
    if (key === 'descr') fields.descr = parseDescr(scanner, label);
    else if (key === 'fortran_order') fields.fortran_order = parseBoolean(scanner);
    else if (key === 'shape') fields.shape = scanner.integers('(', ')');
    else throw new ParseError(`${label}: the header has an unknown field ${quote(key)}`);
  });
  scanner.end();
  const { descr, fortran_order: fortranOrder, shape } = fields;
  if (descr === undefined || fortranOrder === undefined || shape === undefined) {
    const missing = ['descr', 'fortran_order', 'shape'].filter((key) => !Object.hasOwn(fields, key));
    throw new ParseError(`${label}: the header lacks ${missing.join(' and ')}`);
  }
  checkFileShape(label, shape);
  return { ...parseDType(descr, label), fortranOrder, shape };
}

function parseDescr(scanner: Scanner, label: string): string {
  if (scanner.take('[')) throw new ParseError(`${label}: structured dtypes are not read: save each field by itself`);
  return scanner.string(`'"`);
}

function parseBoolean(scanner: Scanner): boolean {
  if (scanner.take('True')) return true;
  if (scanner.take('False')) return false;
  return scanner.fail('True or False');
}

function parseDType(descr: string, label: string): Pick<Header, 'dtype' | 'bigEndian'> {
  const order = descr.slice(0, 1);
  const dtype = DTYPE_OF_CODE.get(descr.slice(1));
  if (dtype === undefined || !(order === '<' || order === '>' || (order === '|' && bytesPerElement(dtype) === 1))) {
    const remedy = descr.includes('O')
      ? 'objects are pickled Python code, which is never run'
      : 'convert it with astype';
    const known = [...DTYPE_OF_CODE.keys()].join(', ');
    throw new ParseError(`${label}: dtype ${quote(descr)} is not read, only ${known}: ${remedy}`);
  }
  return { dtype, bigEndian: order === '>' };
}

/** A copy with the bytes of every element reversed. */
function swapped(bytes: Uint8Array, elementBytes: number): Uint8Array {
  const result = new Uint8Array(bytes.length);
  for (let start = 0; start < bytes.length; start += elementBytes) {
    for (let i = 0; i < elementBytes; i++) result[start + i] = bytes[start + elementBytes - 1 - i] as number;
  }
  return result;
}

function columnMajorStrides(shape: Shape): number[] {
  return rowMajorStrides([...shape].reverse()).reverse();
}

function pythonTuple(shape: Shape): string {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
}

/** Spaces that let the elements begin at a multiple of 64 bytes, as the format asks. */
function padding(start: number, dict: string): number {
  return (ALIGNMENT - ((start + dict.length + 1) % ALIGNMENT)) % ALIGNMENT;
}
