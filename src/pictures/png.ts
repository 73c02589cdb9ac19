/**
 * PNG files. They are checked before fast-png decodes them, trusting nothing that they declare: fast-png inflates everything
 * before it compares sizes, reads chunks that pixels do not need, and accepts rows that are missing.
 */
import { convertIndexedToRgb, type DecodedPng, decode, hasPngSignature } from 'fast-png';
import { Unzlib } from 'fflate';
import { ParseError } from '../errors';
import { crc32 } from '../io/zip';
import { printable } from '../text/printable';
import { orientationIn, upright } from './exif';
import { checkExtent, type Picture, type Pixels, pictureOf } from './picture';

const SIGNATURE_BYTES = 8;
/** Bytes of a chunk's length and name, and of its checksum. */
const [CHUNK_HEAD, CHUNK_TAIL] = [8, 4];
/** The chunks that determine the pixels: others may hold anything, also compressed. */
const OF_PIXELS = ['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND'];
/** Channels by colour type. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** The passes of an interlaced picture: first column and row, and the steps between them. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;
/** Compressed bytes inflated at a time: what gives more than it should is found out within 4 MiB. */
const PIECE_BYTES = 2 ** 12;

interface Chunk {
  readonly name: string;
  /** The whole chunk, and what it holds. */
  readonly bytes: Uint8Array;
  readonly data: Uint8Array;
}

export const isPng = (bytes: Uint8Array): boolean => hasPngSignature(bytes);

export function decodePng(bytes: Uint8Array): Picture {
  const { file, exif } = checkedPng(bytes);
  return upright(pictureOf(withWholeBytes(decode(file))), orientationIn(exif));
}

/** Looks up colours of palettes, and greys of less than a byte. */
function withWholeBytes(image: DecodedPng): Pixels {
  const { palette, depth } = image;
  if (!palette && depth >= 8) return image;
  const levels = 2 ** depth - 1;
  const greys = Array.from({ length: levels + 1 }, (_, level) => new Array(3).fill(Math.round((255 * level) / levels)));
  const colours = palette ?? (greys as NonNullable<DecodedPng['palette']>);
  const data = convertIndexedToRgb({ ...image, palette: colours });
  return { ...image, data, depth: 8, channels: colours[0]?.length ?? 3 };
}

/**
 * The chunks of a PNG that determine its pixels, and EXIF's, if all checksums are right and the pixels inflate to as many bytes
 * as rows, columns and channels need; throws a ParseError otherwise.
 */
function checkedPng(bytes: Uint8Array): { readonly file: Uint8Array; readonly exif: Uint8Array | undefined } {
  const all = chunksOf(bytes);
  const chunks = all.filter(({ name }) => OF_PIXELS.includes(name));
  const [header] = chunks;
  if (header?.name !== 'IHDR' || header.data.length !== 13) throw new ParseError('it does not begin with a header');
  const pixels = chunks.filter(({ name }) => name === 'IDAT').map(({ data }) => data);
  checkInflated(pixels, inflatedBytes(header.data));
  return {
    file: concatenated([bytes.subarray(0, SIGNATURE_BYTES), ...chunks.map((chunk) => chunk.bytes)]),
    exif: all.find(({ name }) => name === 'eXIf')?.data,
  };
}

function chunksOf(bytes: Uint8Array): Chunk[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks: Chunk[] = [];
  let at = SIGNATURE_BYTES;
  do {
    const data = at + CHUNK_HEAD;
    const end = data <= bytes.length ? data + view.getUint32(at) : Number.POSITIVE_INFINITY;
    if (end + CHUNK_TAIL > bytes.length) throw new ParseError(`it is cut short, after ${bytes.length} bytes`);
    const name = String.fromCharCode(...bytes.subarray(at + 4, data));
    const [sum, expected] = [crc32(bytes.subarray(at + 4, end)), view.getUint32(end)];
    if (sum !== expected)
      throw new ParseError(`its chunk '${printable(name)}' is damaged: checksum ${sum}, expected ${expected}`);
    chunks.push({ name, bytes: bytes.subarray(at, end + CHUNK_TAIL), data: bytes.subarray(data, end) });
    at = end + CHUNK_TAIL;
  } while (chunks.at(-1)?.name !== 'IEND');
  return chunks;
}

/** Bytes of all rows, each with one for its filter. */
function inflatedBytes(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height, depth, interlace] = [view.getUint32(0), view.getUint32(4), view.getUint8(8), view.getUint8(12)];
  checkExtent(width, height);
  if (![1, 2, 4, 8, 16].includes(depth))
    throw new ParseError(`it has ${depth} bits for a colour, not 1, 2, 4, 8 or 16`);
  const channels = CHANNELS[view.getUint8(9)];
  if (channels === undefined) throw new ParseError(`it has an unknown colour type, ${view.getUint8(9)}`);
  const rowBytes = (columns: number) => 1 + Math.ceil((columns * channels * depth) / 8);
  if (interlace === 0) return height * rowBytes(width);
  return ADAM7.reduce((sum, [left, top, across, down]) => {
    const [columns, rows] = [Math.ceil((width - left) / across), Math.ceil((height - top) / down)];
    return columns > 0 && rows > 0 ? sum + rows * rowBytes(columns) : sum;
  }, 0);
}

/** Throws unless the stream that the `parts` make inflates to `size` bytes; stops as soon as there are more. */
function checkInflated(parts: readonly Uint8Array[], size: number): void {
  let inflated = 0;
  const stream = new Unzlib((piece) => {
    inflated += piece.length;
  });
  for (const part of parts) {
    for (let at = 0; at < part.length; at += PIECE_BYTES) {
      stream.push(part.subarray(at, at + PIECE_BYTES));
      if (inflated > size) throw new ParseError(`its pixels take ${size} bytes, but more were compressed`);
    }
  }
  if (inflated < size) throw new ParseError(`its pixels take ${size} bytes, but only ${inflated} were compressed`);
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
