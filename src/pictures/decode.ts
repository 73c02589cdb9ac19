/** The pixels of files, whatever their format. */
import { show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { type FileBytes, fileBytes } from '../io/bytes';
import { decodeJpeg, isJpeg } from './jpeg';
import type { Picture } from './picture';
import { decodePng, isPng } from './png';
import { decodeWebp, isWebp } from './webp';

const FORMATS: readonly (readonly [
  is: (bytes: Uint8Array) => boolean,
  decode: (bytes: Uint8Array) => Picture | Promise<Picture>,
])[] = [
  [isPng, decodePng],
  [isJpeg, decodeJpeg],
  [isWebp, decodeWebp],
];

/**
 * The pixels of a PNG, JPEG or WebP file, turned as EXIF says and blended with white where they are transparent.
 *
 * @param name what messages call it
 * @throws {ParseError} what is none of these, is damaged, cut short or has 100 megapixels, before it is decoded
 */
export async function decodePicture(name: string, file: FileBytes): Promise<Picture> {
  if (typeof name !== 'string') throw new ParameterError(`name must be a text, got ${show(name)}`);
  const bytes = fileBytes(file, name);
  const format = FORMATS.find(([is]) => is(bytes));
  if (!format) throw new ParseError(`${name} is neither a PNG, a JPEG nor a WebP file`);
  try {
    return await format[1](bytes);
  } catch (error) {
    // What a decoder trips over says nothing of the file.
    const why = error instanceof TypeError || error instanceof RangeError ? 'it is damaged' : (error as Error).message;
    throw new ParseError(`${name} cannot be decoded: ${why}`);
  }
}
