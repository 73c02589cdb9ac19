/** Drawn garments: silhouettes in the manner of Fashion-MNIST, made by a seed, that need no data. */
import { uniformGenerator } from '../../tensor/random';
import type { LabelledPictures } from '../../train/pictures';

type Random = () => number;
type Point = readonly [x: number, y: number];
/** Polygons of a garment in a square from 0 to 1, x to the right and y downwards. */
type Outline = readonly (readonly Point[])[];

/** Pixels of a garment's side. */
const GARMENT = 28;
/** Samples of a pixel along each axis. */
const SAMPLES = 2;
/** How far a corner moves, at most. */
const WOBBLE = 0.025;

/** Points on the left of a garment that is the same on its right. */
const mirrored = (...left: Point[]): readonly Point[] => [
  ...left,
  ...[...left].reverse().map(([x, y]): Point => [1 - x, y]),
];

const OUTLINES: Readonly<Record<string, Outline>> = {
  shirt: [mirrored([0.5, 0.2], [0.4, 0.1], [0.25, 0.14], [0.02, 0.42], [0.14, 0.52], [0.28, 0.36], [0.28, 0.92])],
  trousers: [mirrored([0.5, 0.34], [0.44, 0.96], [0.22, 0.96], [0.28, 0.04])],
  dress: [mirrored([0.5, 0.16], [0.44, 0.04], [0.36, 0.04], [0.4, 0.4], [0.14, 0.96])],
  shoe: [
    [
      ...([
        [0.04, 0.42],
        [0.2, 0.38],
        [0.3, 0.48],
        [0.42, 0.38],
      ] as const),
      ...([
        [0.62, 0.56],
        [0.9, 0.62],
        [0.97, 0.78],
        [0.04, 0.78],
      ] as const),
    ],
  ],
  bag: [mirrored([0.1, 0.42], [0.05, 0.92]), mirrored([0.24, 0.42], [0.3, 0.12])],
  hat: [mirrored([0.28, 0.68], [0.34, 0.26], [0.44, 0.22]), mirrored([0.03, 0.68], [0.05, 0.8])],
};

/** What there is to wear, by class. */
export const GARMENTS: readonly string[] = Object.keys(OUTLINES);

/** Garments of `GARMENTS` in turn, [count, 28, 28, 1], of shades, sizes and folds of their own. */
export function drawnGarments(count: number, seed: number): LabelledPictures {
  const area = GARMENT ** 2;
  const pixels = new Uint8Array(count * area);
  const labels = Int32Array.from({ length: count }, (_, at) => at % GARMENTS.length);
  for (const [at, label] of labels.entries()) {
    const random = uniformGenerator(seed + 2 ** 33 * (at + 1));
    pixels.set(drawn(GARMENTS[label] as string, random), at * area);
  }
  return { shape: [count, GARMENT, GARMENT, 1], pixels, labels };
}

const between = (low: number, high: number, random: Random) => low + (high - low) * random();

function drawn(name: string, random: Random): Uint8Array {
  const [wide, high] = [between(0.82, 1, random), between(0.82, 1, random)];
  const isTurned = random() < 0.5;
  const wobble = () => between(-WOBBLE, WOBBLE, random);
  const placed = (OUTLINES[name] as Outline).map((polygon) =>
    polygon.map(([x, y]): Point => {
      const across = 0.5 + (x - 0.5) * wide + wobble();
      return [isTurned ? 1 - across : across, 0.5 + (y - 0.5) * high + wobble()];
    }),
  );
  const isInside =
    name === 'bag'
      ? (x: number, y: number) => within(placed[0]!, x, y) || isRim(placed[1]!, x, y)
      : (x: number, y: number) => placed.some((polygon) => within(polygon, x, y));
  const shade = between(0.5, 0.9, random);
  const [fold, folds, slope] = [between(0, 0.14, random), between(6, 16, random), between(-0.25, 0.25, random)];
  return Uint8Array.from({ length: GARMENT ** 2 }, (_, at) => {
    const [row, column] = [Math.floor(at / GARMENT), at % GARMENT];
    let covered = 0;
    for (let sample = 0; sample < SAMPLES ** 2; sample++) {
      const x = (column + ((sample % SAMPLES) + 0.5) / SAMPLES) / GARMENT;
      const y = (row + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES) / GARMENT;
      covered += Number(isInside(x, y)) / SAMPLES ** 2;
    }
    const [x, y] = [column / GARMENT, row / GARMENT];
    const light = shade + fold * Math.sin(folds * x + 3 * y) + slope * (y - 0.5);
    return Math.round(255 * covered * Math.min(1, Math.max(0.25, light)));
  });
}

/** Whether a place is in a polygon, by the edges to its right. */
function within(polygon: readonly Point[], x: number, y: number): boolean {
  let inside = false;
  for (const [at, [x1, y1]] of polygon.entries()) {
    const [x0, y0] = polygon.at(at - 1) as Point;
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) inside = !inside;
  }
  return inside;
}

/** Whether it is in a polygon, and outside of the same one that is smaller: a handle. */
function isRim(polygon: readonly Point[], x: number, y: number): boolean {
  return within(polygon, x, y) && !within(polygon, 0.5 + (x - 0.5) * 1.5, 0.42 + (y - 0.42) * 1.5);
}
