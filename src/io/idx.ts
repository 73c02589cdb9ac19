/** IDX, the format of MNIST: numbers in an array, after their type and its extents. Source: Y. LeCun's page of MNIST. */
import { ParseError } from '../errors';
import { formatShape, sizeOf } from '../tensor/shape';

/** An array of bytes. */
export interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** The code of unsigned bytes, which pictures and classes are. */
const BYTES = 0x08;

/** @throws {ParseError} anything but a whole array of unsigned bytes; the message names the file */
export function readIdx(name: string, file: Uint8Array): IdxArray {
  const refuse = (why: string) => new ParseError(`${name} is no IDX file of unsigned bytes: ${why}`);
  if (file.length < 4) throw refuse(`expected at least 4 bytes, got ${file.length}`);
  const [first, second, type, axes] = file as unknown as [number, number, number, number];
  if (first !== 0 || second !== 0 || type !== BYTES)
    throw refuse(`expected it to begin with 0, 0, ${BYTES}, got ${first}, ${second}, ${type}`);
  const start = 4 + 4 * axes;
  if (file.length < start) throw refuse(`expected the extents of ${axes} axes, got ${file.length} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const shape = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const data = file.subarray(start);
  if (data.length !== sizeOf(shape))
    throw refuse(`shape ${formatShape(shape)} takes ${sizeOf(shape)} bytes, got ${data.length}`);
  return { shape, data };
}
