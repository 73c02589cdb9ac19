/**
 * Reads the zip archives that npz files are, trusting nothing they declare. fflate inflates; its own reader of archives checks
 * neither checksums nor overlaps, and allocates what an entry declares.
 */
import { Inflate } from 'fflate';
import { ParseError } from '../errors';
import { quote } from './bytes';

const STORED = 0;
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
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
const LOCAL = { signature: 0x04034b50, bytes: 30 };

interface Entry {
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
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { entries, directory } = readDirectory(bytes, view);
  const declared = entries.reduce((sum, { size }) => sum + size, 0);
  if (declared > maxBytes)
    throw new ParseError(`npz: ${declared} bytes when decompressed, maxBytes allows ${maxBytes}`);
  const contents = new Map<string, Uint8Array>();
  let end = 0;
  for (const entry of entries.sort((a, b) => a.offset - b.offset)) {
    if (entry.offset < end) throw new ParseError(`${labelOf(entry)} overlaps the entry before it`);
    const start = dataStart(view, entry, directory);
    end = start + entry.compressedSize;
    if (end > directory)
      throw new ParseError(`${labelOf(entry)} ends at byte ${end}, within the archive's directory at ${directory}`);
    contents.set(entry.name, decompress(bytes.subarray(start, end), entry, checkLength));
  }
  return contents;
}

/** A zip entry as messages name it. */
export function labelOf({ name }: { readonly name: string }): string {
  return `npz entry ${quote(name)}`;
}

function readDirectory(bytes: Uint8Array, view: DataView): { entries: Entry[]; directory: number } {
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  const directory = view.getUint32(end + 16, true);
  if (directory + view.getUint32(end + 12, true) > end)
    throw new ParseError(`npz: the directory at byte ${directory} does not fit before its end record at ${end}`);
  const entries: Entry[] = [];
  const names = new Set<string>();
  let at = directory;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL.bytes > end || view.getUint32(at, true) !== CENTRAL.signature)
      throw new ParseError(`npz: expected ${count} entries in the directory, found ${i}`);
    const nameLength = view.getUint16(at + 28, true);
    const next = at + CENTRAL.bytes + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (next > end) throw new ParseError(`npz: entry ${i} of the directory is cut short`);
    const entry = {
      name: decodeName(bytes.slice(at + CENTRAL.bytes, at + CENTRAL.bytes + nameLength), i),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      compressedSize: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    };
    checkEntry(entry, view.getUint16(at + 8, true));
    if (names.has(entry.name)) throw new ParseError(`npz: two entries are named ${quote(entry.name)}`);
    names.add(entry.name);
    entries.push(entry);
    at = next;
  }
  return { entries, directory };
}

/** Where the record that ends every archive begins: it may have a comment behind it. */
function findEnd(view: DataView): number {
  const last = view.byteLength - END.bytes;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END.signature && view.getUint16(at + 20, true) === last - at) return at;
  }
  throw new ParseError('npz: not a zip archive, or cut short: its end record is missing');
}

function decodeName(name: Uint8Array, index: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(name);
  } catch {
    throw new ParseError(`npz: the name of entry ${index} is not UTF-8`);
  }
}

function checkEntry(entry: Entry, flags: number): void {
  const { method, size, compressedSize, offset } = entry;
  const label = labelOf(entry);
  if (flags & 1) throw new ParseError(`${label} is encrypted`);
  if (method !== STORED && method !== DEFLATED)
    throw new ParseError(`${label} has compression method ${method}, only stored (0) and deflate (8) are read`);
  if (size === 0xffffffff || compressedSize === 0xffffffff || offset === 0xffffffff)
    throw new ParseError(
      `${label} is too large for a zip without 64-bit extension, which is not read: use safetensors`,
    );
  if (method === STORED && size !== compressedSize)
    throw new ParseError(`${label} is stored as it is, but declares ${compressedSize} bytes for ${size}`);
  if (size > MAX_RATIO * compressedSize)
    throw new ParseError(`${label} declares ${size} bytes, more than ${compressedSize} can expand to`);
}

/** Where the entry's bytes begin, behind its local header. */
function dataStart(view: DataView, entry: Entry, directory: number): number {
  const { offset } = entry;
  if (offset + LOCAL.bytes > directory || view.getUint32(offset, true) !== LOCAL.signature)
    throw new ParseError(`${labelOf(entry)} has no local header at byte ${offset}`);
  return offset + LOCAL.bytes + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
}

function decompress(bytes: Uint8Array, entry: Entry, checkLength: CheckLength): Uint8Array {
  const content = entry.method === STORED ? bytes : inflate(bytes, entry, checkLength);
  const crc = crc32(content);
  if (crc !== entry.crc) throw new ParseError(`${labelOf(entry)} is damaged: checksum ${crc}, expected ${entry.crc}`);
  return content;
}

/** Inflates until the declared size is reached; a stream that gives more or less is a ParseError. */
function inflate(bytes: Uint8Array, entry: Entry, checkLength: CheckLength): Uint8Array {
  const content = new Uint8Array(entry.size);
  let filled = 0;
  let heard = 0;
  let isChecked = false;
  const stream = new Inflate((part) => {
    if (filled + part.length > entry.size)
      throw new ParseError(`${labelOf(entry)} gives more than the ${entry.size} bytes it declares`);
    content.set(part, filled);
    filled += part.length;
  });
  for (let at = 0, end = FIRST_CHUNK_BYTES; at < bytes.length && filled < entry.size; at = end, end += CHUNK_BYTES) {
    const before = filled;
    try {
      stream.push(bytes.subarray(at, end));
    } catch (error) {
      if (error instanceof ParseError) throw error;
      throw new ParseError(`${labelOf(entry)} is damaged: ${(error as Error).message}`);
    }
    if (!isChecked) isChecked = checkLength(content.subarray(0, filled), entry.size, labelOf(entry));
    if (filled > before) heard = at;
    else if (at - heard > MAX_SILENT_BYTES) break;
  }
  if (filled < entry.size)
    throw new ParseError(`${labelOf(entry)} gives ${filled} of the ${entry.size} bytes it declares`);
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
