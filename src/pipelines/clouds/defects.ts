/** Defects of surfaces: what a seed places on points with normals, and which points are of it. */
import { uniformGenerator } from '../../tensor/random';
import { pointsAt, type Surface } from './sample';

/** A part bulges out or is pressed in, is cut off level, or is not there. */
export const DEFECTS = ['bump', 'dent', 'cut', 'missing'] as const;
export type Defect = (typeof DEFECTS)[number];

/** Reaches of defects, and heights of bumps, over the root mean square distance of the points from their middle. */
const [REACH, HEIGHT] = [
  [0.4, 0.6],
  [0.18, 0.3],
] as const;
/** How far a hole's rim counts as a part of it, and how far a cut goes, over its reach. */
const [RIM, CUT] = [1.35, 1.7];

export interface Marked {
  /** [n, 3]. */
  readonly points: Float32Array;
  /** [n]: 1 where the defect is. */
  readonly labels: Uint8Array;
}

/** A surface with one defect, at a place and of a size that the seed draws; with fewer points where some are missing. */
export function withDefect({ points, normals }: Surface, defect: Defect, seed: number): Marked {
  const count = points.length / 3;
  const random = uniformGenerator(seed);
  const between = ([low, high]: readonly [number, number]) => low + (high - low) * random();
  const size = spread(points);
  const center = Math.floor(count * random());
  const [reach, height] = [size * between(REACH), size * between(HEIGHT)];
  const middle = points.slice(3 * center, 3 * center + 3);
  const outward = normals.slice(3 * center, 3 * center + 3);
  const apart = (at: number) =>
    Math.hypot(...[0, 1, 2].map((axis) => (points[3 * at + axis] as number) - (middle[axis] as number)));
  const labels = new Uint8Array(count);
  const moved = points.slice();
  if (defect === 'missing') {
    const kept = [...labels.keys()].filter((at) => apart(at) >= reach);
    return {
      points: pointsAt(points, kept),
      labels: Uint8Array.from(kept, (at) => (apart(at) < RIM * reach ? 1 : 0)),
    };
  }
  for (let at = 0; at < count; at++) {
    const [direction, distance] =
      defect === 'cut'
        ? [outward, apart(at) < CUT * reach ? -Math.max(0, along(points, at, middle, outward) + height) : 0]
        : [normals.subarray(3 * at, 3 * at + 3), (defect === 'bump' ? height : -height) * bell(apart(at) / reach)];
    for (let axis = 0; axis < 3; axis++)
      moved[3 * at + axis] = (points[3 * at + axis] as number) + distance * (direction[axis] as number);
    labels[at] = Math.abs(distance) > 0.1 * height ? 1 : 0;
  }
  return { points: moved, labels };
}

/** From 1 at 0 to 0 at 1. */
const bell = (x: number) => (x < 1 ? (1 - x * x) ** 2 : 0);

/** How far a point lies from another in a direction. */
const along = (points: Float32Array, at: number, from: Float32Array, direction: Float32Array) =>
  [0, 1, 2].reduce(
    (sum, axis) => sum + ((points[3 * at + axis] as number) - (from[axis] as number)) * (direction[axis] as number),
    0,
  );

/** The mean of the points. */
export function middleOf(points: Float32Array): [number, number, number] {
  const sums: [number, number, number] = [0, 0, 0];
  for (let at = 0; at < points.length; at++) sums[at % 3] = (sums[at % 3] as number) + (points[at] as number);
  return sums.map((sum) => (3 * sum) / points.length) as [number, number, number];
}

/** The root mean square distance of points from their mean. */
export function spread(points: Float32Array): number {
  const middle = middleOf(points);
  let sum = 0;
  for (let at = 0; at < points.length; at++) sum += ((points[at] as number) - (middle[at % 3] as number)) ** 2;
  return Math.sqrt((3 * sum) / points.length);
}
