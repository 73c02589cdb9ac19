/** Pictures resized as PIL does it, which networks were trained on: filters as wide as the scale, first across, then down. */
import type { Picture } from './picture';

export const INTERPOLATIONS = ['bilinear', 'bicubic'] as const;
export type Interpolation = (typeof INTERPOLATIONS)[number];

/** Filters by the distance, and how far they reach. */
const FILTERS: Readonly<Record<Interpolation, { readonly reach: number; at(distance: number): number }>> = {
  bilinear: { reach: 1, at: (t) => Math.max(0, 1 - t) },
  // Keys' cubic with a = -1/2.
  bicubic: {
    reach: 2,
    at: (t) => (t < 1 ? (1.5 * t - 2.5) * t * t + 1 : t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0),
  },
};

/** Colours are rounded to 256 levels after each direction, as pictures of bytes are. */
export function resized(picture: Picture, width: number, height: number, interpolation: Interpolation): Picture {
  const across = turned(filtered(picture, width, interpolation));
  return turned(filtered(across, height, interpolation));
}

/** Rows and columns exchanged. */
function turned({ width, height, rgb }: Picture): Picture {
  const out = new Float32Array(rgb.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) out[3 * (x * height + y) + c] = rgb[3 * (y * width + x) + c] as number;
  return { width: height, height: width, rgb: out };
}

/** Each row with as many pixels as are asked for. */
function filtered(picture: Picture, width: number, interpolation: Interpolation): Picture {
  if (width === picture.width) return picture;
  const taps = tapsOf(picture.width, width, interpolation);
  const rgb = new Float32Array(3 * width * picture.height);
  for (let y = 0; y < picture.height; y++) {
    const row = 3 * y * picture.width;
    for (const [x, { from, weights }] of taps.entries()) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (const [at, weight] of weights.entries())
          sum += weight * (picture.rgb[row + 3 * (from + at) + c] as number);
        rgb[3 * (y * width + x) + c] = Math.min(255, Math.max(0, Math.round(255 * sum))) / 255;
      }
    }
  }
  return { width, height: picture.height, rgb };
}

/** For each pixel of the result, those of the source and their weights, which add up to 1. */
function tapsOf(extent: number, count: number, interpolation: Interpolation) {
  const { reach, at } = FILTERS[interpolation];
  const scale = extent / count;
  const stretch = Math.max(1, scale);
  return Array.from({ length: count }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const from = Math.max(0, Math.trunc(centre - reach * stretch + 0.5));
    const to = Math.min(extent, Math.trunc(centre + reach * stretch + 0.5));
    const raw = Float64Array.from({ length: to - from }, (_, j) => at(Math.abs(from + j + 0.5 - centre) / stretch));
    const sum = raw.reduce((total, each) => total + each, 0);
    return { from, weights: raw.map((each) => each / sum) };
  });
}
