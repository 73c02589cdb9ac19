/** What a file is, by how it begins: names of files lie, and servers answer with pages. */
import { ParseError } from '../errors';
import { quote, serverAnswer } from '../io/bytes';
import type { WeightFile } from './stored';

/** How much of a file tells what it is: the mark of tar is the furthest. */
export const TELLING = 512;

const GIT_LFS =
  'a Git LFS pointer, the address of the weights and not the weights: run git lfs pull, or download the file itself';
const archive = (kind: string) => `an archive (${kind}): unpack it first`;

/** What other files begin with, in the characters of Latin-1, and what they are. */
const OTHERS: readonly (readonly [mark: string, what: string, at?: number])[] = [
  ['version https://git-lfs', GIT_LFS],
  ['\x1f\x8b', archive('gzip')],
  ['7z\xbc\xaf\x27\x1c', archive('7z')],
  ['\xfd7zXZ\0', archive('xz')],
  ['BZh', archive('bzip2')],
  ['\x28\xb5\x2f\xfd', archive('zstd')],
  ['Rar!\x1a\x07', archive('rar')],
  ['ustar', archive('tar'), 257],
  ['\x93NUMPY', 'a .npy file: saccade/io reads it'],
  ['\x89HDF\r\n\x1a\n', 'HDF5, which is not read: save the weights as safetensors'],
];

/** The names of what servers gave, not of files. */
const ADDRESS = /^(https?|blob|data):/i;
const WEIGHTS = 'expected weights in safetensors, GGUF or a checkpoint of PyTorch';

/** What weights begin with. Pickles begin with the number of their protocol, zip archives may be PyTorch's. */
const MARKS: readonly (readonly [mark: string, format: WeightFile['format']])[] = [
  ['GGUF', 'gguf'],
  ['PK\x03\x04', 'pytorch'],
  ['PK\x05\x06', 'pytorch'],
  ...['\x02', '\x03', '\x04', '\x05'].map((protocol) => [`\x80${protocol}`, 'pytorch'] as const),
];

/**
 * The format of a file of `size` bytes that begins with `bytes`.
 *
 * @throws {ParseError} what it is instead
 */
export function recognise(name: string, bytes: Uint8Array, size: number): WeightFile['format'] {
  const refuse = (what: string) => new ParseError(`${name} is ${what}`);
  if (size === 0) throw refuse('empty');
  const text = String.fromCharCode(...bytes.subarray(0, TELLING));
  const format = MARKS.find(([mark]) => text.startsWith(mark))?.[1];
  if (format !== undefined) return format;
  const other =
    OTHERS.find(([mark, , at = 0]) => text.startsWith(mark, at))?.[1] ??
    serverAnswer(bytes, ADDRESS.test(name) ? undefined : WEIGHTS);
  if (other !== undefined) throw refuse(other);
  // The length of the header, below 2^32, before its opening brace.
  if (text.startsWith('{', 8) && text.startsWith('\0\0\0\0', 4)) return 'safetensors';
  throw refuse(
    `neither safetensors nor GGUF nor a checkpoint of PyTorch: it has ${size} bytes and begins ${quote(text.slice(0, 16))}`,
  );
}
