/** Photographs: decoded, cropped to a shape and scaled down. */
import { convertIndexedToRgb, type DecodedPng, decode as decodePng, hasPngSignature } from 'fast-png';
import { decode as decodeJpeg } from 'jpeg-js';
import { ParseError } from '../errors';
import { checkedPng } from './png';

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue from 0 to 1, [height, width, 3]. */
  readonly rgb: Float32Array;
}

const MOST_MEGAPIXELS = 100;

/** The pixels of a PNG or JPEG file; transparent ones are blended with white. */
export function decodePicture(name: string, bytes: Uint8Array): Picture {
  const decode = hasPngSignature(bytes) ? fromPng : bytes[0] === 0xff && bytes[1] === 0xd8 ? fromJpeg : undefined;
  if (!decode) throw new ParseError(`${name} is neither a PNG nor a JPEG file`);
  try {
    return decode(bytes);
  } catch (error) {
    throw new ParseError(`${name} cannot be decoded: ${(error as Error).message}`);
  }
}

function fromJpeg(bytes: Uint8Array): Picture {
  const { width, height, data } = decodeJpeg(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    maxResolutionInMP: MOST_MEGAPIXELS,
  });
  return { width, height, rgb: Float32Array.from(data, (value) => value / 255) };
}

function fromPng(bytes: Uint8Array): Picture {
  const { width, height, data, depth, channels } = withWholeBytes(decodePng(checkedPng(bytes, MOST_MEGAPIXELS)));
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

/** Looks up colours of palettes, and greys of less than a byte. */
function withWholeBytes(image: DecodedPng): Pick<DecodedPng, 'width' | 'height' | 'data' | 'depth' | 'channels'> {
  const { palette, depth } = image;
  if (!palette && depth >= 8) return image;
  const levels = 2 ** depth - 1;
  const greys = Array.from({ length: levels + 1 }, (_, level) => new Array(3).fill(Math.round((255 * level) / levels)));
  const colours = palette ?? (greys as NonNullable<DecodedPng['palette']>);
  const data = convertIndexedToRgb({ ...image, palette: colours });
  return { ...image, data, depth: 8, channels: colours[0]?.length ?? 3 };
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
