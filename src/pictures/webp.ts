/** WebP files, by libwebp in WebAssembly (the package @jsquash/webp), which is loaded for the first one. */
import { ParseError } from '../errors';
import { resolvePackage } from '../packages';
import { orientationIn, upright } from './exif';
import { checkExtent, type Picture, pictureOf } from './picture';

const KERNEL = '@jsquash/webp/codec/dec/webp_dec.wasm';

const textAt = (bytes: Uint8Array, at: number) => String.fromCharCode(...bytes.subarray(at, at + 4));

export const isWebp = (bytes: Uint8Array): boolean => textAt(bytes, 0) === 'RIFF' && textAt(bytes, 8) === 'WEBP';

export async function decodeWebp(bytes: Uint8Array): Promise<Picture> {
  const exif = checkedChunks(bytes);
  const { default: decode } = await loaded();
  const { width, height, data } = await decode(bytes.slice().buffer);
  return upright(pictureOf({ width, height, data, depth: 8, channels: 4 }), orientationIn(exif));
}

let library: Promise<typeof import('@jsquash/webp/decode.js')> | undefined;

function loaded() {
  library ??= load().catch((error) => {
    library = undefined;
    throw error;
  });
  return library;
}

/** Its kernel is fetched by pages, and read in Node. */
async function load() {
  const decoder = await import('@jsquash/webp/decode.js');
  if (globalThis.process?.versions?.node !== undefined) {
    const { readFileSync } = process.getBuiltinModule('node:fs');
    await decoder.init({ wasmBinary: readFileSync(resolvePackage(KERNEL) as string) as never });
  }
  return decoder;
}

/** Checks what the chunks say of the picture, and gives EXIF's. */
function checkedChunks(bytes: Uint8Array): Uint8Array | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cutShort = () => new ParseError(`it is cut short, after ${bytes.length} bytes`);
  if (bytes.length < 20) throw cutShort();
  const length = 8 + view.getUint32(4, true);
  if (length > bytes.length) throw cutShort();
  let exif: Uint8Array | undefined;
  let isSized = false;
  for (let at = 12; at + 8 <= length; ) {
    const [name, size] = [textAt(bytes, at), view.getUint32(at + 4, true)];
    const data = bytes.subarray(at + 8, at + 8 + size);
    if (data.length < size) throw cutShort();
    if (name === 'ANIM') throw new ParseError('it moves, and only pictures that stand still are read');
    const extent = extentIn(name, data);
    if (extent) checkExtent(...extent);
    isSized ||= extent !== undefined;
    if (name === 'EXIF') exif = data;
    at += 8 + size + (size % 2);
  }
  if (!isSized) throw new ParseError('it has no chunk of pixels');
  return exif;
}

/** Columns and rows, of the chunks that say them. */
function extentIn(name: string, data: Uint8Array): readonly [width: number, height: number] | undefined {
  if (data.length < 10) return undefined;
  const view = new DataView(data.buffer, data.byteOffset);
  if (name === 'VP8X') return [1 + (view.getUint32(3, true) >>> 8), 1 + (view.getUint32(6, true) >>> 8)];
  if (name === 'VP8 ') return [view.getUint16(6, true) & 0x3fff, view.getUint16(8, true) & 0x3fff];
  if (name !== 'VP8L') return undefined;
  const bits = view.getUint32(1, true);
  return [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)];
}
