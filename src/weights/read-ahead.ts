/** Headers whose length shows only while they are parsed: of a file's bytes more are read until they suffice. */
import { ParseError } from '../errors';
import type { ByteSource, ReadOptions } from './source';

const FIRST_BYTES = 2 ** 18;

/** More bytes are needed than were read so far. */
class TooShort extends Error {}

/** The bytes of a source from some place on, as far as they were read. */
export class Cursor {
  readonly #view: DataView;
  /** The next byte. */
  at = 0;

  constructor(
    readonly bytes: Uint8Array,
    /** Messages begin with it. */
    readonly label: string,
    /** How many there are in all, read or not. */
    readonly size = bytes.length,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Steps over so many bytes; returns where they begin. */
  skip(length: number, what: string): number {
    const end = this.at + length;
    if (!(end <= this.size))
      throw new ParseError(`${this.label}: ${what} takes ${length} bytes, ${this.size - this.at} are left`);
    if (end > this.bytes.length) throw new TooShort();
    const start = this.at;
    this.at = end;
    return start;
  }

  take(length: number, what: string): Uint8Array {
    const start = this.skip(length, what);
    return this.bytes.subarray(start, start + length);
  }

  /** A little-endian number of one of the types of DataView. */
  number(type: NumberType, what: string): number {
    return this.#view[`get${type}`](this.skip(SIZES[type], what), true);
  }

  /** 64 bits; above 2^53 rounded. */
  count(what: string): number {
    const at = this.skip(8, what);
    return this.#view.getUint32(at, true) + 2 ** 32 * this.#view.getUint32(at + 4, true);
  }

  integer(type: 'BigUint64' | 'BigInt64', what: string): bigint {
    return this.#view[`get${type}`](this.skip(8, what), true);
  }

  text(length: number, what: string): string {
    const bytes = this.take(length, what);
    try {
      return UTF8.decode(bytes);
    } catch {
      throw new ParseError(`${this.label}: ${what} is not UTF-8`);
    }
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const SIZES = { Uint8: 1, Int8: 1, Uint16: 2, Int16: 2, Uint32: 4, Int32: 4, Float32: 4, Float64: 8 };
export type NumberType = keyof typeof SIZES;

/**
 * What `parse` makes of the bytes from `start` on; it is called again, with more of them, when they did not suffice.
 *
 * @throws {ParseError} more than `most` bytes
 */
export async function readAhead<T>(
  source: ByteSource,
  start: number,
  most: number,
  parse: (cursor: Cursor) => T,
  options: ReadOptions = {},
): Promise<T> {
  const left = source.size - start;
  let bytes = new Uint8Array();
  for (let length = FIRST_BYTES; ; length *= 2) {
    const longer = new Uint8Array(Math.min(length, left));
    longer.set(bytes);
    longer.set(await source.read(start + bytes.length, start + longer.length, options), bytes.length);
    bytes = longer;
    try {
      return parse(new Cursor(bytes, source.name, left));
    } catch (error) {
      if (!(error instanceof TooShort)) throw error;
      if (length >= most) throw new ParseError(`${source.name}: the header takes more than ${most} bytes`);
    }
  }
}
