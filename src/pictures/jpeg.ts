/** JPEG files: their markers are checked before jpeg-js decodes them, since it takes whatever comes behind a file that ends early. */
import { decode } from 'jpeg-js';
import { ParseError } from '../errors';
import { orientationIn, upright } from './exif';
import { checkExtent, MOST_MEGAPIXELS, type Picture } from './picture';

/** Frames by their markers, and what ends the header of a picture and the picture. */
const FRAMES = [0xc0, 0xc1, 0xc2];
const OTHER_FRAMES = [0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];
const [START_OF_SCAN, END, EXIF, ADOBE] = [0xda, 0xd9, 0xe1, 0xee];
/** What jpeg-js may hold for a picture of the most pixels. */
const MOST_MEMORY_IN_MB = 4096;

export const isJpeg = (bytes: Uint8Array): boolean => bytes[0] === 0xff && bytes[1] === 0xd8;

export function decodeJpeg(bytes: Uint8Array): Picture {
  const { exif, isRgb } = headerOf(bytes);
  const { width, height, data } = decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    maxResolutionInMP: MOST_MEGAPIXELS,
    maxMemoryUsageInMB: MOST_MEMORY_IN_MB,
    ...(isRgb && { colorTransform: false }),
  });
  const rgb = new Float32Array(data.length);
  for (let at = 0; at < data.length; at++) rgb[at] = (data[at] as number) / 255;
  return upright({ width, height, rgb }, orientationIn(exif));
}

/** What the segments before the pixels say. */
function headerOf(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let exif: Uint8Array | undefined;
  let isRgb = false;
  let hasFrame = false;
  for (let at = 2; ; ) {
    while (bytes[at] === 0xff && bytes[at + 1] === 0xff) at++;
    const end = at + 2 + (at + 4 <= bytes.length ? view.getUint16(at + 2) : Number.POSITIVE_INFINITY);
    if (end > bytes.length) throw new ParseError(`it is cut short, after ${bytes.length} bytes`);
    const marker = bytes[at + 1] as number;
    if (bytes[at] !== 0xff) throw new ParseError(`it has no marker at byte ${at}`);
    const data = bytes.subarray(at + 4, end);
    if (OTHER_FRAMES.includes(marker))
      throw new ParseError(
        'it is compressed in a way that only few programs read: lossless, hierarchical or arithmetic',
      );
    if (FRAMES.includes(marker)) {
      checkFrame(data);
      hasFrame = true;
    }
    if (marker === EXIF && String.fromCharCode(...data.subarray(0, 6)) === 'Exif\0\0') exif ??= data.subarray(6);
    if (marker === ADOBE && String.fromCharCode(...data.subarray(0, 5)) === 'Adobe') isRgb = data[11] === 0;
    at = end;
    if (marker === START_OF_SCAN) break;
  }
  if (!hasFrame) throw new ParseError('it has no header of a frame');
  if (!hasEnd(bytes)) throw new ParseError(`it is cut short, after ${bytes.length} bytes`);
  return { exif, isRgb };
}

/** Bits of a colour, rows, columns and channels. */
function checkFrame(data: Uint8Array): void {
  if (data.length < 6) throw new ParseError('its header is cut short');
  const view = new DataView(data.buffer, data.byteOffset);
  if (data[0] !== 8) throw new ParseError(`it has ${data[0]} bits for a colour, not 8`);
  checkExtent(view.getUint16(3), view.getUint16(1));
}

function hasEnd(bytes: Uint8Array): boolean {
  for (let at = bytes.lastIndexOf(END); at > 0; at = bytes.lastIndexOf(END, at - 1))
    if (bytes[at - 1] === 0xff) return true;
  return false;
}
