/** Clouds brought to one size, and their groups of points, which become tokens. */
import { ParameterError } from '../../errors';
import { farthestPoints, nearestPoints } from '../../ops/points';
import type { Runtime } from '../../runtime/runtime';
import { uniformGenerator } from '../../tensor/random';
import { middleOf, spread } from '../clouds/defects';
import { pointsAt, someOf } from '../clouds/sample';
import type { CloudClass } from './data';

export interface GroupSettings {
  /** Points that are taken of each cloud. */
  readonly points: number;
  readonly groups: number;
  /** Points of a group. */
  readonly size: number;
}

/** The groups of a cloud. */
export interface Groups {
  /** Some points that are far from each other, [groups, 3]. */
  readonly centers: Float32Array;
  /** The nearest points of each, less it: [groups, size, 3]. */
  readonly around: Float32Array;
}

/** Some points of a cloud, [points, 3], of unit spread around their middle; and where and how large the cloud was. */
export interface Normalised {
  readonly points: Float32Array;
  readonly middle: readonly [number, number, number];
  readonly size: number;
}

/** @throws {ParameterError} a cloud with fewer points than the groups need, or with all at one place */
export function checkClouds(classes: readonly CloudClass[], settings: GroupSettings): void {
  for (const { name, learned, unseen } of classes)
    for (const cloud of [...learned, ...unseen])
      checkCloud(`cloud ${cloud.name} of class ${name}`, cloud.points, settings);
}

function checkCloud(name: string, points: Float32Array, { groups, size }: GroupSettings): void {
  const count = points.length / 3;
  const least = Math.max(groups, size);
  if (count < least)
    throw new ParameterError(
      `${name} must have at least ${least} points, for ${groups} groups of ${size}, got ${count}`,
    );
  if (points.every((value, at) => value === points[at % 3])) throw atOnePlace(name);
}

const atOnePlace = (name: string) => new ParameterError(`the points of ${name} must not all be at one place`);

/** @throws {ParameterError} fewer points than the groups need, or all at one place */
export function normalised(name: string, points: Float32Array, settings: GroupSettings, seed: number): Normalised {
  checkCloud(name, points, settings);
  const chosen = pointsAt(points, someOf(points.length / 3, settings.points, seed));
  const [middle, size] = [middleOf(chosen), spread(chosen)];
  if (!(size > 0)) throw atOnePlace(name);
  return { points: chosen.map((value, at) => (value - (middle[at % 3] as number)) / size), middle, size };
}

/** The groups of a cloud's points, whose first center the seed draws. */
export async function groupsOf(
  runtime: Runtime,
  points: Float32Array,
  { groups, size }: GroupSettings,
  seed: number,
): Promise<Groups> {
  const count = points.length / 3;
  const start = Math.floor(count * uniformGenerator(seed)());
  const [centers, around] = runtime.scope(() => {
    const cloud = runtime.tensor(points, [1, count, 3]);
    const centers = farthestPoints(cloud, groups, { start });
    return [centers, nearestPoints(cloud, centers, size)] as const;
  });
  try {
    const [chosen, near] = [pointsAt(points, await centers.read()), pointsAt(points, await around.read())];
    return {
      centers: chosen,
      around: near.map((value, at) => value - (chosen[3 * Math.floor(at / (3 * size)) + (at % 3)] as number)),
    };
  } finally {
    centers.dispose();
    around.dispose();
  }
}
