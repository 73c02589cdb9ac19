/** Views of a picture: what the model is given of all of it, and of a box in it at a higher resolution. */
import type { Picture } from '../../pictures';
import { resized } from '../../pictures/resize';
import type { ViewerConfig } from './viewer';

/** Places of a view, [x0, y0, x1, y1], the ends not included. */
export type PlaceBox = readonly [x0: number, y0: number, x1: number, y1: number];

/** Pixels of the source, which need not be whole. */
export interface SourceBox {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What colours from 0 to 1 have taken away, and are divided by. */
const [MEAN, DEVIATION] = [0.15, 0.25];

/** With black at two sides, so that it is a square and stays in the middle. */
export function squared(picture: Picture): Picture {
  const { width, height, rgb } = picture;
  if (width === height) return picture;
  const { side, left, top } = paddingOf(picture);
  const out = new Float32Array(3 * side * side);
  for (let y = 0; y < height; y++)
    out.set(rgb.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * side + left));
  return { width: side, height: side, rgb: out };
}

function paddingOf({ width, height }: Pick<Picture, 'width' | 'height'>) {
  const side = Math.max(width, height);
  return { side, left: Math.floor((side - width) / 2), top: Math.floor((side - height) / 2) };
}

/** A box of places in the pixels of the picture, without what was padded; undefined where nothing else is in it. */
export function toSource(
  [x0, y0, x1, y1]: PlaceBox,
  picture: Pick<Picture, 'width' | 'height'>,
  places: number,
): SourceBox | undefined {
  const { side, left, top } = paddingOf(picture);
  const scale = side / places;
  const within = (place: number, pad: number, extent: number) => Math.min(extent, Math.max(0, place * scale - pad));
  const box = {
    left: within(x0, left, picture.width),
    top: within(y0, top, picture.height),
    right: within(x1, left, picture.width),
    bottom: within(y1, top, picture.height),
  };
  return box.right > box.left && box.bottom > box.top ? box : undefined;
}

/** The pixels that a box touches. */
export function cropped({ width, height, rgb }: Picture, box: SourceBox): Picture {
  const [left, top] = [Math.floor(box.left), Math.floor(box.top)];
  const [right, bottom] = [Math.min(width, Math.ceil(box.right)), Math.min(height, Math.ceil(box.bottom))];
  const out = new Float32Array(3 * (right - left) * (bottom - top));
  for (let y = top; y < bottom; y++)
    out.set(rgb.subarray(3 * (y * width + left), 3 * (y * width + right)), 3 * (y - top) * (right - left));
  return { width: right - left, height: bottom - top, rgb: out };
}

/** The whole of a picture as the model takes it, [2 side, 2 side, 3]. */
export function viewOf(picture: Picture, { side }: ViewerConfig): Float32Array {
  return resized(picture, 2 * side, 2 * side, 'bilinear').rgb.map((value) => (value - MEAN) / DEVIATION);
}

/**
 * The places of a view of a box that lie on marked ones of the first view: its part of the map resized by bilinear interpolation to
 * `side` x `side`, where that is above a half.
 */
export function keptPlaces(isMarked: (x: number, y: number) => boolean, [x0, y0, x1, y1]: PlaceBox, side: number) {
  const at = (place: number, from: number, to: number) => {
    const source = Math.min(to - from - 1, Math.max(0, ((place + 0.5) * (to - from)) / side - 0.5));
    const first = Math.floor(source);
    return { first: from + first, next: Math.min(to - 1, from + first + 1), share: source - first };
  };
  const kept: number[] = [];
  for (let place = 0; place < side ** 2; place++) {
    const [x, y] = [at(place % side, x0, x1), at(Math.floor(place / side), y0, y1)];
    const row = (row: number) =>
      (1 - x.share) * Number(isMarked(x.first, row)) + x.share * Number(isMarked(x.next, row));
    if ((1 - y.share) * row(y.first) + y.share * row(y.next) > 0.5) kept.push(place);
  }
  return kept;
}
