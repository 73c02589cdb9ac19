/** Scores of a cloud and of its points, from how far the features of its places are from what they should be. */
import type { Places } from './encode';

export interface CloudScore {
  /** The score of the cloud as a whole: the higher, the more unlike those that were learned from. */
  readonly object: number;
  /** Those of its points: [n]. */
  readonly points: Float32Array;
}

/** The share of places whose errors a cloud's score is the mean of: those with the largest. */
const SHARE = 0.05;
/** Centers whose errors a point's score is made of. */
const NEAREST = 3;

/** The mean of the largest errors. */
export function objectScore(errors: Float32Array): number {
  const count = Math.max(1, Math.round(SHARE * errors.length));
  const largest = errors.slice().sort().subarray(-count);
  return largest.reduce((sum, each) => sum + each, 0) / count;
}

/** The errors of the nearest centers of each point, weighed by one over their squared distances. */
export function pointScores(
  points: Float32Array,
  { centers, middle, size }: Places,
  errors: Float32Array,
): Float32Array {
  const scores = new Float32Array(points.length / 3);
  const near = new Float64Array(NEAREST);
  const from = new Int32Array(NEAREST);
  for (let at = 0; at < scores.length; at++) {
    const [x, y, z] = [0, 1, 2].map(
      (axis) => ((points[3 * at + axis] as number) - (middle[axis] as number)) / size,
    ) as [number, number, number];
    near.fill(Number.POSITIVE_INFINITY);
    for (let center = 0; center < errors.length; center++) {
      const [dx, dy, dz] = [
        x - (centers[3 * center] as number),
        y - (centers[3 * center + 1] as number),
        z - (centers[3 * center + 2] as number),
      ];
      let square = dx * dx + dy * dy + dz * dz;
      let index = center;
      for (let place = 0; place < NEAREST; place++) {
        const other = near[place] as number;
        if (square >= other) continue;
        [near[place], square] = [square, other];
        [from[place], index] = [index, from[place] as number];
      }
    }
    let [sum, weights] = [0, 0];
    for (let place = 0; place < Math.min(NEAREST, errors.length); place++) {
      const weight = 1 / ((near[place] as number) + 1e-6);
      sum += weight * (errors[from[place] as number] as number);
      weights += weight;
    }
    scores[at] = sum / weights;
  }
  return scores;
}
