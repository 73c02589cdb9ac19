/** How a picture is turned, by what a camera noted of it (EXIF). */
import type { Picture } from './picture';

const ORIENTATION = 0x0112;
const ENTRY_BYTES = 12;

/** The orientation in EXIF's block of tags, from 1 (as it is) to 8; 1 if it says none or is damaged. */
export function orientationIn(block: Uint8Array | undefined): number {
  if (!block || block.length < 8) return 1;
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const isLittle = view.getUint16(0) === 0x4949;
  const start = view.getUint32(4, isLittle);
  if (start + 2 > block.length) return 1;
  const count = view.getUint16(start, isLittle);
  for (let at = start + 2, left = count; left > 0 && at + ENTRY_BYTES <= block.length; at += ENTRY_BYTES, left--) {
    if (view.getUint16(at, isLittle) !== ORIENTATION) continue;
    const value = view.getUint16(at + 8, isLittle);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** The picture as it is to be seen: orientations from 5 on exchange rows and columns, and each may mirror either axis. */
export function upright(picture: Picture, orientation: number): Picture {
  if (orientation === 1) return picture;
  const isTransposed = orientation >= 5;
  const [width, height] = isTransposed ? [picture.height, picture.width] : [picture.width, picture.height];
  const mirrorsColumns = [2, 3, 7, 8].includes(orientation);
  const mirrorsRows = [3, 4, 6, 7].includes(orientation);
  const rgb = new Float32Array(picture.rgb.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [down, across] = isTransposed ? [x, y] : [y, x];
      const row = mirrorsRows ? picture.height - 1 - down : down;
      const column = mirrorsColumns ? picture.width - 1 - across : across;
      const from = 3 * (row * picture.width + column);
      const to = 3 * (y * width + x);
      for (let c = 0; c < 3; c++) rgb[to + c] = picture.rgb[from + c] as number;
    }
  }
  return { width, height, rgb };
}
