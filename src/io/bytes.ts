/** What the file formats share: elements in bytes, names in messages, checks of what is read and written. */
import { isRecord, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { bytesPerElement, type HostDType, type TypedArrayOf, typedArray } from '../tensor/dtype';
import { checkHost, type HostTensor } from '../tensor/host';
import { checkShape, type Shape } from '../tensor/shape';

/** What a file may be handed in as: what `fetch` or `readFile` give. */
export type FileBytes = Uint8Array | ArrayBuffer;

/** How a web server's answer begins if it is not the requested file. */
const WEB_PAGE = /^\s*<(!doctype|html|head|\?xml)/i;
const JSON_TEXT = /^\s*[{[]\s*["{}\]]/;
const LONGEST_BEGINNING = 64;

/**
 * The file a caller hands in, as a plain Uint8Array: `slice()` of Node's Buffer would not copy. Throws a ParseError where
 * it is a web page or JSON, as servers answer for a file that is not there.
 */
export function fileBytes(file: FileBytes, format: string): Uint8Array {
  const isBytes = file instanceof Uint8Array || Object.prototype.toString.call(file) === '[object ArrayBuffer]';
  if (!isBytes) throw new ParameterError(`file must be a Uint8Array or an ArrayBuffer, got ${show(file)}`);
  const bytes =
    file instanceof Uint8Array ? new Uint8Array(file.buffer, file.byteOffset, file.byteLength) : new Uint8Array(file);
  const answer = serverAnswer(bytes);
  if (answer === undefined) return bytes;
  throw new ParseError(`${format}: the file is ${answer}`);
}

/** What a server answered instead of a file, if the bytes look so, and what to do. */
export function serverAnswer(
  bytes: Uint8Array,
  remedy = 'look at the status of the response and at its address',
): string | undefined {
  const beginning = new TextDecoder().decode(bytes.slice(0, LONGEST_BEGINNING));
  const what = WEB_PAGE.test(beginning) ? 'a web page' : isJson(bytes, beginning) ? 'JSON' : undefined;
  return what && `${what}, it begins ${quote(beginning.trimStart())}: ${remedy}`;
}

/** A safetensors file may begin with any byte, but has zeros within its first eight. */
function isJson(bytes: Uint8Array, beginning: string): boolean {
  return JSON_TEXT.test(beginning) && !bytes.slice(0, 8).includes(0);
}

/** The little-endian elements at `start`: a view of `bytes` where memory alignment allows it, else a copy. */
export function elementsAt<D extends HostDType>(
  bytes: Uint8Array,
  start: number,
  dtype: D,
  length: number,
): TypedArrayOf<D> {
  const byteOffset = bytes.byteOffset + start;
  const elementBytes = bytesPerElement(dtype);
  if (byteOffset % elementBytes === 0) return typedArray(dtype, length, bytes.buffer, byteOffset);
  return typedArray(dtype, length, bytes.slice(start, start + length * elementBytes).buffer);
}

/** The memory of a host tensor's elements. */
export function bytesOf({ data }: HostTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** checkShape for a shape that came from a file. */
export function checkFileShape(label: string, shape: Shape): void {
  try {
    checkShape('shape', shape);
  } catch (error) {
    throw new ParseError(`${label}: ${(error as Error).message}`);
  }
}

/** The tensors to write with their names; throws unless each can be written. */
export function checkTensors(tensors: Readonly<Record<string, HostTensor>>): [string, HostTensor][] {
  if (!isRecord(tensors))
    throw new ParameterError(`tensors must be an object of host tensors by name, got ${show(tensors)}`);
  const entries = Object.entries(tensors);
  for (const [name, tensor] of entries) {
    checkTensorName(name);
    checkHost(`tensor ${quote(name)}`, tensor);
  }
  return entries;
}

export function checkTensorName(name: string): void {
  if (name === '' || !isUnicode(name))
    throw new ParameterError(`a tensor's name must be Unicode and not empty, got ${quote(name)}`);
}

/** True unless `text` holds half of a surrogate pair, which no encoding can write. */
export function isUnicode(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** A name from a file as a message shows it: on one line and not longer than one. */
export function quote(name: string): string {
  const shown = name.length > 60 ? `${name.slice(0, 60)}...` : name;
  return `'${JSON.stringify(shown).slice(1, -1)}'`;
}
