import { ParameterError } from '../../../errors';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { bindShapes } from '../../../tensor/shape';
import { rowOf, tensor, type Wide } from '../../reference';

interface Params {
  readonly groups: number;
  readonly size: number;
  readonly start: number;
}

/** Farthest points one by one, and all points of the cloud in the order of their distance from each. */
export function reference(
  { points }: { readonly points: HostTensor },
  { groups, size, start }: Params,
): Record<string, Wide> {
  const { b, n } = bindShapes({ points: 'b n 3' }, { points: points.shape }) as { b: number; n: number };
  for (const [name, value, most] of [
    ['groups', groups, n],
    ['size', size, n],
    ['start', start, n - 1],
  ] as const)
    if (value > most) throw new ParameterError(`${name} must be at most ${most}, got ${value}`);
  const all = toFloat64(points);
  const centers = new Float64Array(b * groups);
  const neighbors = new Float64Array(b * groups * size);
  for (let cloud = 0; cloud < b; cloud++) {
    const square = (i: number, j: number) => {
      const [a, c] = [rowOf(all, cloud * n + i, 3), rowOf(all, cloud * n + j, 3)] as [Float64Array, Float64Array];
      return a.reduce((sum, each, axis) => sum + (each - (c[axis] as number)) ** 2, 0);
    };
    const left = new Float64Array(n).fill(Infinity);
    let center = start;
    for (let group = cloud * groups; group < (cloud + 1) * groups; group++) {
      centers[group] = center;
      const distances = left.map((_, i) => square(i, center));
      const order = [...distances.keys()].sort((i, j) => (distances[i] as number) - (distances[j] as number) || i - j);
      neighbors.set(order.slice(0, size), group * size);
      for (const [i, distance] of distances.entries()) left[i] = Math.min(left[i] as number, distance);
      center = left.indexOf(Math.max(...left));
    }
  }
  return { centers: tensor(centers, [b, groups]), neighbors: tensor(neighbors, [b, groups, size]) };
}
