/** What the file formats share: elements in bytes, names in messages, checks of what is read and written. */
import { ParameterError, ParseError } from '../errors';
import { bytesPerElement, type HostDType, type TypedArrayOf, typedArray } from '../tensor/dtype';
import { checkHost, type HostTensor } from '../tensor/host';
import { checkShape, type Shape } from '../tensor/shape';

/** The file a caller hands in, as a plain Uint8Array: `slice()` of Node's Buffer would not copy. */
export function fileBytes(file: Uint8Array): Uint8Array {
  if (!(file instanceof Uint8Array))
    throw new ParameterError(`file must be a Uint8Array, got ${file === null ? 'null' : typeof file}`);
  return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
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
  if (tensors === null || typeof tensors !== 'object')
    throw new ParameterError(`tensors must be an object of host tensors by name, got ${tensors}`);
  const entries = Object.entries(tensors);
  for (const [name, tensor] of entries) {
    if (name === '' || !isUnicode(name))
      throw new ParameterError(`a tensor's name must be Unicode and not empty, got ${quote(name)}`);
    checkHost(`tensor ${quote(name)}`, tensor);
  }
  return entries;
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
