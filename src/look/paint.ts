/** Pictures drawn over pictures. */
import { encode } from 'fast-png';
import type { Picture } from '../pictures';
import { resized } from '../pictures/resize';

export type Colour = readonly [red: number, green: number, blue: number];

/** A rectangle of pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export const toPng = ({ width, height, rgb }: Picture): Uint8Array =>
  encode({ width, height, channels: 3, depth: 8, data: Uint8Array.from(rgb, (value) => Math.round(255 * value)) });

/** The picture of which each pixel is as the function says, from 0 to 1, of what it was. */
export function repainted(picture: Picture, paint: (x: number, y: number, was: Colour) => Colour): Picture {
  const { width, height } = picture;
  const rgb = new Float32Array(picture.rgb.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = 3 * (y * width + x);
      rgb.set(paint(x, y, picture.rgb.subarray(at, at + 3) as unknown as Colour), at);
    }
  return { width, height, rgb };
}

/** Greys from 0 to 1, [side, side], as a picture. */
export const greySquare = (values: ArrayLike<number>, side: number): Picture => ({
  width: side,
  height: side,
  rgb: Float32Array.from({ length: 3 * side * side }, (_, at) => values[Math.floor(at / 3)] as number),
});

/** Each pixel as a square of `factor` x `factor`. */
export function enlarged({ width, height, rgb }: Picture, factor: number): Picture {
  const blank = { width: factor * width, height: factor * height, rgb: new Float32Array(factor ** 2 * rgb.length) };
  return repainted(blank, (x, y) => {
    const at = 3 * (Math.floor(y / factor) * width + Math.floor(x / factor));
    return rgb.subarray(at, at + 3) as unknown as Colour;
  });
}

/** Pixels of a side of a picture that is shown, at least about and at most. */
const [LEAST_SHOWN, MOST_SHOWN] = [448, 2048];

/** Large enough to be looked at. */
export const magnified = (picture: Picture): Picture =>
  enlarged(picture, Math.max(1, Math.round(LEAST_SHOWN / Math.max(picture.width, picture.height))));

/** Scaled down, so that no side is longer; by default as long as pictures are shown. */
export function atMost(picture: Picture, most = MOST_SHOWN): Picture {
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((extent) => Math.max(1, Math.round(scale * extent)));
  return scale === 1 ? picture : resized(picture, width as number, height as number, 'bilinear');
}

export const mixed = (a: Colour, b: Colour, share: number): Colour =>
  a.map((value, c) => (1 - share) * value + share * (b[c] as number)) as unknown as Colour;

/** As dark as what does not count. */
export const dimmed = (colour: Colour): Colour => {
  const grey = (colour[0] + colour[1] + colour[2]) / 3;
  return [0.25 * grey, 0.25 * grey, 0.25 * grey];
};

/** Colours of shares from 0 to 1: black, violet, red, yellow, white. */
const STOPS: readonly Colour[] = [
  [0, 0, 0.02],
  [0.32, 0.07, 0.48],
  [0.8, 0.25, 0.34],
  [0.99, 0.65, 0.25],
  [1, 1, 0.85],
];

export function heat(share: number): Colour {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const at = Math.min(STOPS.length - 2, Math.floor(place));
  return mixed(STOPS[at] as Colour, STOPS[at + 1] as Colour, place - at);
}

/** With a frame just within a box. */
export function framedBox(picture: Picture, { left, top, width, height }: Box, colour: Colour, line = 3): Picture {
  return repainted(picture, (x, y, was) => {
    const [right, bottom] = [left + width - 1 - x, top + height - 1 - y];
    const inner = Math.min(x - left, y - top, right, bottom);
    return inner >= 0 && inner < line ? colour : was;
  });
}

/** Pictures of one height side by side, with a gap of grey. */
export function besideEachOther(pictures: readonly Picture[], gap = 8): Picture {
  const height = Math.max(...pictures.map((each) => each.height));
  const width = pictures.reduce((sum, each) => sum + each.width + gap, -gap);
  const rgb = new Float32Array(3 * width * height).fill(0.5);
  let left = 0;
  for (const each of pictures) {
    for (let y = 0; y < each.height; y++)
      rgb.set(each.rgb.subarray(3 * y * each.width, 3 * (y + 1) * each.width), 3 * (y * width + left));
    left += each.width + gap;
  }
  return { width, height, rgb };
}
