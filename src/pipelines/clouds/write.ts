/** Clouds as files and as pictures, coloured by a number for each point. */
import { middleOf, spread } from './defects';

/** Colours from the lowest number to the highest, red, green and blue from 0 to 255, evenly apart. */
const COLOURS = [
  [38, 70, 140],
  [60, 150, 170],
  [230, 220, 150],
  [240, 130, 60],
  [190, 20, 40],
] as const;

/** The colour of a number from 0 to 1, at the ends of the colours beyond. */
export function colourOf(share: number): [number, number, number] {
  const place = Math.min(Math.max(share, 0), 1) * (COLOURS.length - 1);
  const below = Math.min(Math.floor(place), COLOURS.length - 2);
  const mix = (channel: number) => {
    const [a, b] = [COLOURS[below]?.[channel] as number, COLOURS[below + 1]?.[channel] as number];
    return Math.round(a + (place - below) * (b - a));
  };
  return [mix(0), mix(1), mix(2)];
}

export interface Coloured {
  /** [n, 3]. */
  readonly points: Float32Array;
  /** [n]; undefined for none. */
  readonly scores?: Float32Array | undefined;
  readonly labels?: Uint8Array | undefined;
}

/** A number's place between the lowest and the highest colour. */
export type Range = readonly [low: number, high: number];

/** A binary .ply file: x, y, z, with scores also their colours within `range` and `score`, with labels `label`. */
export function writePly({ points, scores, labels }: Coloured, [low, high]: Range = [0, 1]): Uint8Array {
  const count = points.length / 3;
  const properties = ['float x', 'float y', 'float z'];
  if (scores) properties.push('uchar red', 'uchar green', 'uchar blue', 'float score');
  if (labels) properties.push('uchar label');
  const lines = [
    'ply',
    'format binary_little_endian 1.0',
    `element vertex ${count}`,
    ...properties.map((each) => `property ${each}`),
  ];
  const header = new TextEncoder().encode(`${[...lines, 'end_header'].join('\n')}\n`);
  const stride = 12 + (scores ? 7 : 0) + (labels ? 1 : 0);
  const file = new Uint8Array(header.length + stride * count);
  file.set(header);
  const view = new DataView(file.buffer);
  for (let at = 0; at < count; at++) {
    const place = header.length + stride * at;
    for (let axis = 0; axis < 3; axis++) view.setFloat32(place + 4 * axis, points[3 * at + axis] as number, true);
    if (scores) {
      const score = scores[at] as number;
      file.set(colourOf((score - low) / (high - low)), place + 12);
      view.setFloat32(place + 15, score, true);
    }
    if (labels) file[place + stride - 1] = labels[at] as number;
  }
  return file;
}

export interface CloudPicture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue of each pixel, row by row. */
  readonly data: Uint8Array;
}

/** Half the extent of a view, over the root mean square distance of points from their middle. */
const EXTENT = 2;
const BACKGROUND = 255;
/** Points far behind are lighter by this share. */
const HAZE = 0.45;

/** A cloud from before, above and to the right, and from the other side, each `size` pixels square, side by side. */
export function drawCloud({ points, scores }: Coloured, [low, high]: Range, size = 320): CloudPicture {
  const [width, height] = [2 * size, size];
  const data = new Uint8Array(3 * width * height).fill(BACKGROUND);
  const depths = new Float32Array(width * height).fill(Number.POSITIVE_INFINITY);
  const middle = middleOf(points);
  const scale = spread(points) || 1;
  const radius = Math.max(1, Math.round(size / Math.sqrt(points.length / 3) / 1.6));
  for (let at = 0; at < points.length / 3; at++) {
    const point = middle.map((value, axis) => ((points[3 * at + axis] as number) - value) / scale);
    const colour = colourOf(scores ? ((scores[at] as number) - low) / (high - low) : 0);
    for (const [side, angle] of [0.6, 0.6 + Math.PI].entries()) {
      const [across, up, depth] = seen(point as [number, number, number], angle);
      const [column, row] = [across, -up].map((each) => Math.round((size / 2) * (1 + each / EXTENT))) as [
        number,
        number,
      ];
      const light = HAZE * Math.min(Math.max((depth / EXTENT + 0.6) / 1.6, 0), 1);
      for (let y = row - radius; y <= row + radius; y++)
        for (let x = column - radius; x <= column + radius; x++) {
          const isInside =
            x >= 0 && x < size && y >= 0 && y < size && (x - column) ** 2 + (y - row) ** 2 <= radius * radius;
          const place = y * width + side * size + x;
          if (!isInside || depth >= (depths[place] as number)) continue;
          depths[place] = depth;
          for (let c = 0; c < 3; c++)
            data[3 * place + c] = Math.round((colour[c] as number) + light * (BACKGROUND - (colour[c] as number)));
        }
    }
  }
  return { width, height, data };
}

/** How far across, up and behind a point is seen, from an angle around the upright axis and 25 degrees above. */
function seen([x, y, z]: readonly [number, number, number], angle: number): [number, number, number] {
  const [across, ahead] = [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle)];
  const [sine, cosine] = [Math.sin(0.44), Math.cos(0.44)];
  return [across, z * cosine + ahead * sine, ahead * cosine - z * sine];
}
