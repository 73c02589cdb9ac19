import { closeSync, constants, createReadStream, openSync, readSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { NamedText } from '../compare/inputs';
import { DTypeError, ParameterError, ParseError } from '../errors';
import { readSafetensors } from '../io';
import { quote } from '../io/bytes';
import type { Method } from '../methods/define';
import { DTYPES, type DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { formatBytes } from '../text/format';
import { printable } from '../text/printable';
import { openWeights, type Weights } from '../weights';

/** What files may hold: all that a runtime can, but f64, which methods compute nothing in. */
const TAKEN = DTYPES.filter((dtype) => dtype !== 'f64');

/** The most that Node reads into one buffer. */
const LARGEST = 2 ** 31 - 1;

/**
 * The tensors of a safetensors file, which must be the inputs of a method (or of anything with inputs), optional ones
 * included, and those named in `more`, of element types that a runtime can hold.
 */
export async function readTensorsOf(
  method: Pick<Method, 'name' | 'inputs' | 'optional'>,
  path: string,
  more: { readonly required?: readonly string[]; readonly optional?: readonly string[] } = {},
): Promise<Record<string, HostTensor<DType>>> {
  const found = await readTensors(path);
  const expected = [...Object.keys(method.inputs), ...(more.required ?? [])];
  const optional = [...Object.keys(method.optional ?? {}), ...(more.optional ?? [])];
  const missing = expected.filter((key) => !Object.hasOwn(found, key));
  const unknown = Object.keys(found).filter((key) => ![...expected, ...optional].includes(key));
  if (missing.length > 0 || unknown.length > 0) {
    const fault = missing.length > 0 ? `has no tensor '${missing[0]}'` : `has a tensor '${unknown[0]}' too many`;
    const takes = [expected.join(', '), ...(optional.length > 0 ? [`optionally ${optional.join(', ')}`] : [])];
    throw new ParameterError(`${path} ${fault}: ${method.name} takes ${takes.join(' and ')}`);
  }
  for (const [key, { dtype }] of Object.entries(found)) {
    if (!TAKEN.some((known) => known === dtype)) {
      throw new DTypeError(`${key} in ${path} must be one of ${TAKEN.join(', ')}, got ${dtype}`);
    }
  }
  return found as Record<string, HostTensor<DType>>;
}

/** The tensors of a safetensors file. */
async function readTensors(path: string): Promise<Record<string, HostTensor>> {
  const bytes = await readBytes(path);
  try {
    return readSafetensors(bytes);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    // A length below 2^32, and then an opening brace.
    const isSafetensors = bytes.subarray(4, 8).every((byte) => byte === 0) && bytes[8] === 0x7b;
    if (isSafetensors) throw new ParseError(`${path}: ${error.message}`);
    const beginning = quote(String.fromCharCode(...bytes.subarray(0, 16)));
    throw new ParseError(`${path} must be a safetensors file: it has ${bytes.length} bytes and begins ${beginning}`);
  }
}

/** The weights at a path, or in a pipe that is being written to. */
export async function openFile(path: string): Promise<Weights> {
  const isPipe = (await stat(path).catch(() => undefined))?.isFIFO();
  return openWeights(isPipe ? new File([(await readBytes(path)) as Uint8Array<ArrayBuffer>], path) : path);
}

/**
 * The bytes of a file, or of a pipe that is being written to, at most `most` of them. Anything else, or more, is
 * refused by name.
 */
export async function readBytes(path: string, most = LARGEST): Promise<Uint8Array> {
  const stats = await stat(path).catch((error) => {
    throw Object.assign(error, { syscall: 'read' });
  });
  const refuse = (why: string) => new ParameterError(`cannot read '${path}': ${why}`);
  const tooMuch = (size: string) => refuse(`expected at most ${formatBytes(most)}, got ${size}`);
  if (stats.isDirectory()) throw refuse('it is a folder');
  if (!stats.isFile() && !stats.isFIFO()) throw refuse(`it is a ${stats.isSocket() ? 'socket' : 'device'}`);
  if (stats.size > most) throw tooMuch(formatBytes(stats.size));
  if (stats.size > 0) return readFile(path);

  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stats.isFIFO() ? readPipe(path) : createReadStream(path)) {
    parts.push(part);
    size += part.length;
    if (size > most) throw tooMuch('more');
  }
  if (size === 0 && stats.isFIFO()) throw refuse('it is a pipe that nobody writes to');
  return Buffer.concat(parts);
}

/** As `readBytes`; undefined for a file that is not there. */
export function readIfThere(path: string, most?: number): Promise<Uint8Array | undefined> {
  return readBytes(path, most).catch((error) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** Limit for a text or a picture. */
export const MOST_BYTES = 2 ** 28;

/** Limit for settings in JSON. */
export const MOST_SETTINGS = 2 ** 20;

/** A text in UTF-8. */
export async function readText(path: string): Promise<NamedText> {
  const bytes = await readBytes(path, MOST_BYTES);
  try {
    return { name: printable(path), text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    throw new ParseError(`${path} is not text in UTF-8`);
  }
}

/** What is written to a pipe until its writers close it; if there are none it ends at once instead of waiting. */
async function* readPipe(path: string): AsyncGenerator<Uint8Array> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const first = Buffer.alloc(2 ** 16);
  let length: number | undefined;
  try {
    length = readSync(fd, first);
  } catch (error) {
    // There is a writer, but nothing to read yet.
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  }
  if (length === 0) return closeSync(fd);
  if (length !== undefined) yield first.subarray(0, length);
  yield* new Socket({ fd, writable: false });
}
