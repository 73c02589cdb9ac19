/** Pictures in files: checked before they are decoded, and what they hold as red, green and blue. */
import { ParseError } from '../errors';

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue from 0 to 1, [height, width, 3]. */
  readonly rgb: Float32Array;
}

/** Pictures have fewer. */
export const MOST_MEGAPIXELS = 100;

/** @throws {ParseError} for no pixels, and for as many as are not decoded */
export function checkExtent(width: number, height: number): void {
  const megapixels = (width * height) / 1e6;
  if (megapixels === 0) throw new ParseError('it has no pixels');
  if (megapixels >= MOST_MEGAPIXELS)
    throw new ParseError(`it has ${megapixels} megapixels, and pictures must have fewer than ${MOST_MEGAPIXELS}`);
}

/** Numbers of 8 or 16 bits, [height, width, channels]: greys or colours, with their opacity if channels are even. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: ArrayLike<number>;
  readonly depth: number;
  readonly channels: number;
}

/** Pixels as they are seen on white. */
export function pictureOf({ width, height, data, depth, channels }: Pixels): Picture {
  const brightest = 2 ** depth - 1;
  const alphaAt = channels % 2 === 0 ? channels - 1 : undefined;
  const rgb = new Float32Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const value = (channel: number) => (data[pixel * channels + channel] as number) / brightest;
    const alpha = alphaAt === undefined ? 1 : value(alphaAt);
    for (let c = 0; c < 3; c++) rgb[3 * pixel + c] = alpha * value(channels < 3 ? 0 : c) + 1 - alpha;
  }
  return { width, height, rgb };
}

/** The largest central part of the shape of `width` by `height`, as means over areas. */
export function cropTo(picture: Picture, width: number, height: number): Picture {
  const scale = Math.min(picture.width / width, picture.height / height);
  const rows = shares(picture.height, height, scale);
  const columns = shares(picture.width, width, scale);
  const rgb = new Float32Array(width * height * 3);
  rows.forEach((row, y) => {
    columns.forEach((column, x) => {
      const at = 3 * (y * width + x);
      for (const { from: fromY, share: shareY } of row) {
        for (const { from: fromX, share: shareX } of column) {
          const source = 3 * (fromY * picture.width + fromX);
          for (let c = 0; c < 3; c++) {
            rgb[at + c] = (rgb[at + c] as number) + shareY * shareX * (picture.rgb[source + c] as number);
          }
        }
      }
    });
  });
  return { width, height, rgb };
}

/** For each of `count` pixels of size `scale`, centred on `length` pixels, which of these it covers with what share. */
function shares(length: number, count: number, scale: number): { from: number; share: number }[][] {
  const margin = (length - count * scale) / 2;
  return Array.from({ length: count }, (_, at) => {
    const [start, end] = [margin + at * scale, margin + (at + 1) * scale];
    const covered: { from: number; share: number }[] = [];
    for (let from = Math.max(0, Math.floor(start)); from < Math.min(length, end); from++) {
      covered.push({ from, share: (Math.min(end, from + 1) - Math.max(start, from)) / scale });
    }
    return covered;
  });
}
