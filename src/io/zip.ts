/**
 * Reads the zip archives that npz files and PyTorch's checkpoints are, trusting nothing they declare. fflate inflates; its own
 * reader of archives checks neither checksums nor overlaps, and allocates what an entry declares.
 */
import { Inflate } from 'fflate';
import { ParseError } from '../errors';
import { quote } from './bytes';

/** The method of entries that are not compressed. */
export const STORED = 0;
const DEFLATED = 8;
/** No deflate stream expands further. */
const MAX_RATIO = 1032;
/** Compressed bytes inflated at a time: a stream that lies about its size is found out within 16 MiB. */
const CHUNK_BYTES = 2 ** 14;
/** The same at first, until the content's own header says its size. */
const FIRST_CHUNK_BYTES = 2 ** 8;
/** An unfinished stream gives output at least this often: its longest block without any has 64 KiB. */
const MAX_SILENT_BYTES = 2 ** 17;

const END = { signature: 0x06054b50, bytes: 22 };
const LOCATOR_64 = { signature: 0x07064b50, bytes: 20 };
const END_64 = { signature: 0x06064b50, bytes: 56 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
/** The header before the content of an entry; behind it are the entry's name and more. */
export const LOCAL = { signature: 0x04034b50, bytes: 30 };
/** An archive's end, with the longest comment. */
export const LONGEST_END = END.bytes + LOCATOR_64.bytes + END_64.bytes + 0xffff;
/** In the place of 32 bits, where the number has 64 elsewhere. */
const IS_64 = 0xffffffff;

export interface ZipEntry {
  /** The archive and the entry, for messages. */
  readonly label: string;
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly compressedSize: number;
  readonly size: number;
  /** Where its local header begins. */
  readonly offset: number;
}

/**
 * Throws unless content of `length` bytes, which begins with `bytes`, is as long as it says itself; false while `bytes` are
 * too few to tell. Messages begin with `label`.
 */
type CheckLength = (bytes: Uint8Array, length: number, label: string) => boolean;

/** The entries of an archive, decompressed, by name; more than `maxBytes` declared in all is a ParseError. */
export function unzip(bytes: Uint8Array, maxBytes: number, checkLength: CheckLength): Map<string, Uint8Array> {
  const view = viewOf(bytes);
  const end = bytes.subarray(-LONGEST_END);
  const { start: directory, ...place } = findDirectory('npz', end, bytes.length - end.length);
  const entries = parseDirectory('npz', bytes.subarray(directory, directory + place.bytes), place.count);
  const declared = entries.reduce((sum, { size }) => sum + size, 0);
  if (declared > maxBytes)
    throw new ParseError(`npz: ${declared} bytes when decompressed, maxBytes allows ${maxBytes}`);
  const contents = new Map<string, Uint8Array>();
  let filled = 0;
  for (const entry of entries.sort((a, b) => a.offset - b.offset)) {
    if (entry.offset < filled) throw new ParseError(`${entry.label} overlaps the entry before it`);
    const start = entry.offset + headerBytes(entry, view, entry.offset, directory);
    filled = start + entry.compressedSize;
    if (filled > directory)
      throw new ParseError(`${entry.label} ends at byte ${filled}, within the archive's directory at ${directory}`);
    contents.set(entry.name, decompress(bytes.subarray(start, filled), entry, checkLength));
  }
  return contents;
}

/** Where an archive's directory is, and how many entries it has. */
interface Directory {
  readonly start: number;
  readonly bytes: number;
  readonly count: number;
}

/** From an archive's last bytes, which begin at `offset` in it, its last `LONGEST_END` or all; messages begin with `label`. */
export function findDirectory(label: string, last: Uint8Array, offset: number): Directory {
  const view = viewOf(last);
  const end = findEnd(label, view);
  const count = view.getUint16(end + 10, true);
  const [bytes, start] = [view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  const is64 = count === 0xffff || bytes === IS_64 || start === IS_64;
  const directory = (is64 && findDirectory64(view, end - LOCATOR_64.bytes, offset)) || { start, bytes, count };
  if (directory.start + directory.bytes > offset + end)
    throw new ParseError(
      `${label}: the directory at byte ${directory.start} does not fit before its end record at ${offset + end}`,
    );
  return directory;
}

/** The same with 64 bits, if the archive has them. */
function findDirectory64(view: DataView, locator: number, offset: number): Directory | undefined {
  if (locator < 0 || view.getUint32(locator, true) !== LOCATOR_64.signature) return undefined;
  const at = number64(view, locator + 8) - offset;
  if (!(at >= 0 && at + END_64.bytes <= locator && view.getUint32(at, true) === END_64.signature)) return undefined;
  return { count: number64(view, at + 32), bytes: number64(view, at + 40), start: number64(view, at + 48) };
}

/** The entries that a directory lists, in its order. */
export function parseDirectory(label: string, bytes: Uint8Array, count: number): ZipEntry[] {
  const view = viewOf(bytes);
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL.bytes > bytes.length || view.getUint32(at, true) !== CENTRAL.signature)
      throw new ParseError(`${label}: expected ${count} entries in the directory, found ${i}`);
    const nameEnd = at + CENTRAL.bytes + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > bytes.length) throw new ParseError(`${label}: entry ${i} of the directory is cut short`);
    const name = decodeName(label, bytes.slice(at + CENTRAL.bytes, nameEnd), i);
    const entry = {
      label: `${label} entry ${quote(name)}`,
      name,
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      ...sizesOf(view, at, nameEnd, extraEnd),
    };
    checkEntry(entry, view.getUint16(at + 8, true));
    if (names.has(name)) throw new ParseError(`${label}: two entries are named ${quote(name)}`);
    names.add(name);
    entries.push(entry);
    at = next;
  }
  return entries;
}

/** The header id of sizes with 64 bits, among what is behind an entry's name. */
const EXTRA_64 = 1;

/** Those that do not fit 32 bits follow in this order. */
function sizesOf(view: DataView, at: number, extra: number, end: number) {
  const sizes = {
    size: view.getUint32(at + 24, true),
    compressedSize: view.getUint32(at + 20, true),
    offset: view.getUint32(at + 42, true),
  };
  let from = extra;
  while (from + 4 <= end && view.getUint16(from, true) !== EXTRA_64) from += 4 + view.getUint16(from + 2, true);
  from += 4;
  for (const name of ['size', 'compressedSize', 'offset'] as const) {
    if (sizes[name] !== IS_64 || from + 8 > end) continue;
    sizes[name] = number64(view, from);
    from += 8;
  }
  return sizes;
}

/** Where the record that ends every archive begins: it may have a comment behind it. */
function findEnd(label: string, view: DataView): number {
  const last = view.byteLength - END.bytes;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END.signature && view.getUint16(at + 20, true) === last - at) return at;
  }
  throw new ParseError(`${label}: not a zip archive, or cut short: its end record is missing`);
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const number64 = (view: DataView, at: number) => view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true);

function decodeName(label: string, name: Uint8Array, index: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(name);
  } catch {
    throw new ParseError(`${label}: the name of entry ${index} is not UTF-8`);
  }
}

function checkEntry(entry: ZipEntry, flags: number): void {
  const { label, method, size, compressedSize, offset } = entry;
  if (flags & 1) throw new ParseError(`${label} is encrypted`);
  if (method !== STORED && method !== DEFLATED)
    throw new ParseError(`${label} has compression method ${method}, only stored (0) and deflate (8) are read`);
  if (size === IS_64 || compressedSize === IS_64 || offset === IS_64)
    throw new ParseError(`${label} lacks its sizes with 64 bits`);
  if (method === STORED && size !== compressedSize)
    throw new ParseError(`${label} is stored as it is, but declares ${compressedSize} bytes for ${size}`);
  if (size > MAX_RATIO * compressedSize)
    throw new ParseError(`${label} declares ${size} bytes, more than ${compressedSize} can expand to`);
}

/** How long the header is that is before the entry's bytes: at `at` in a part of the archive that ends at `end`. */
export function headerBytes({ label, offset }: ZipEntry, view: DataView, at: number, end: number): number {
  if (at + LOCAL.bytes > end || view.getUint32(at, true) !== LOCAL.signature)
    throw new ParseError(`${label} has no local header at byte ${offset}`);
  return LOCAL.bytes + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
}

function decompress(bytes: Uint8Array, entry: ZipEntry, checkLength: CheckLength): Uint8Array {
  const content = entry.method === STORED ? bytes : inflate(bytes, entry, checkLength);
  const crc = crc32(content);
  if (crc !== entry.crc) throw new ParseError(`${entry.label} is damaged: checksum ${crc}, expected ${entry.crc}`);
  return content;
}

/** Inflates until the declared size is reached; a stream that gives more or less is a ParseError. */
function inflate(bytes: Uint8Array, entry: ZipEntry, checkLength: CheckLength): Uint8Array {
  const content = new Uint8Array(entry.size);
  let filled = 0;
  let heard = 0;
  let isChecked = false;
  const stream = new Inflate((part) => {
    if (filled + part.length > entry.size)
      throw new ParseError(`${entry.label} gives more than the ${entry.size} bytes it declares`);
    content.set(part, filled);
    filled += part.length;
  });
  for (let at = 0, end = FIRST_CHUNK_BYTES; at < bytes.length && filled < entry.size; at = end, end += CHUNK_BYTES) {
    const before = filled;
    try {
      stream.push(bytes.subarray(at, end));
    } catch (error) {
      if (error instanceof ParseError) throw error;
      throw new ParseError(`${entry.label} is damaged: ${(error as Error).message}`);
    }
    if (!isChecked) isChecked = checkLength(content.subarray(0, filled), entry.size, entry.label);
    if (filled > before) heard = at;
    else if (at - heard > MAX_SILENT_BYTES) break;
  }
  if (filled < entry.size)
    throw new ParseError(`${entry.label} gives ${filled} of the ${entry.size} bytes it declares`);
  return content;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** The checksum that zip and PNG have. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number);
  }
  return ~crc >>> 0;
}
