import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** Clouds [b,n,3] -> `groups` indices of each, from `start` on: i32 out [b,groups]. */
export interface FarthestCall {
  readonly points: Tensor;
  readonly groups: number;
  readonly start: number;
  readonly out: Tensor;
}

/** Clouds [b,n,3], indices of centres [b,g] -> indices of the `size` nearest points of each, i32 out [b,g,size]. */
export interface NearestCall {
  readonly points: Tensor;
  readonly centers: Tensor;
  readonly size: number;
  readonly out: Tensor;
}

export function farthestPoints({ points, groups, start, out }: FarthestCall, { numbers, store }: Host): void {
  const taken = cloudsOf(points, numbers).flatMap((cloud) => {
    const indices = [start];
    while (indices.length < groups) {
      const distances = cloud.map((point) => Math.min(...indices.map((at) => square(point, cloud[at]!))));
      indices.push(distances.indexOf(Math.max(...distances)));
    }
    return indices;
  });
  store(out, Float64Array.from(taken));
}

export function nearestPoints({ points, centers, size, out }: NearestCall, { numbers, store }: Host): void {
  const [indices, groups] = [numbers(centers), centers.shape[1] as number];
  const nearest = cloudsOf(points, numbers).flatMap((cloud, b) =>
    [...indices.subarray(b * groups, (b + 1) * groups)].flatMap((center) => {
      const distances = cloud.map((point) => square(point, cloud[center] ?? [0, 0, 0]));
      return [...distances.keys()].sort((i, j) => distances[i]! - distances[j]! || i - j).slice(0, size);
    }),
  );
  store(out, Float64Array.from(nearest));
}

function cloudsOf(points: Tensor, numbers: Host['numbers']): number[][][] {
  const [b, n] = points.shape as [number, number];
  const all = numbers(points);
  return Array.from({ length: b }, (_, cloud) =>
    Array.from({ length: n }, (_, i) => [...all.subarray(3 * (cloud * n + i), 3 * (cloud * n + i) + 3)]),
  );
}

/** The square of a distance; coordinates are added from the first on. */
const square = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, c) => sum + (value - b[c]!) ** 2, 0);
