/** Points of a mesh's surface, by area, and some of a cloud's. */
import { checkKnown, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { checkSeed, uniformGenerator } from '../../tensor/random';
import { checkGeometry, type Geometry, MOST_POINTS } from './geometry';

export interface Surface {
  /** [n, 3]. */
  readonly points: Float32Array;
  /** Unit vectors away from the triangles, as their corners turn: [n, 3]. */
  readonly normals: Float32Array;
}

/**
 * Points of a mesh's surface, each place as likely as another; the same for a seed.
 *
 * @throws {ParameterError} a mesh without faces, or whose triangles have no area; a count of more than ten million
 * @throws {ParseError} points that are not finite, indices of no point
 */
export function sampleMesh(mesh: Geometry, count: number, seed: number): Surface {
  checkKnown('mesh', mesh, ['points', 'faces', 'labels'], (name) => `mesh has no '${name}'`);
  const { points, faces = new Uint32Array(), labels } = mesh;
  if (!(points instanceof Float32Array && faces instanceof Uint32Array))
    throw new ParameterError(
      `a mesh must have points in a Float32Array and faces in a Uint32Array, got ${show(points)} and ${show(faces)}`,
    );
  if (labels !== undefined && !(labels instanceof Uint8Array && labels.length === points.length / 3))
    throw new ParameterError(`labels of a mesh must be a Uint8Array with one for each point, got ${show(labels)}`);
  checkGeometry('the mesh', mesh);
  checkWhole('count', count, 1, MOST_POINTS);
  checkSeed(seed);
  const ends = new Float64Array(faces.length / 3);
  let area = 0;
  for (let face = 0; face < ends.length; face++) {
    area += length(crossed(points, faces, face)) / 2;
    ends[face] = area;
  }
  if (!(area > 0 && area < Number.POSITIVE_INFINITY)) throw new ParameterError('faces of a mesh must have an area');
  const random = uniformGenerator(seed);
  const found = { points: new Float32Array(3 * count), normals: new Float32Array(3 * count) };
  for (let at = 0; at < count; at++) {
    const face = firstAbove(ends, area * random());
    const cross = crossed(points, faces, face);
    const size = length(cross);
    const root = Math.sqrt(random());
    const share = random();
    const weights = [1 - root, root * (1 - share), root * share];
    for (let axis = 0; axis < 3; axis++) {
      let value = 0;
      for (let corner = 0; corner < 3; corner++)
        value += (weights[corner] as number) * (points[3 * (faces[3 * face + corner] as number) + axis] as number);
      found.points[3 * at + axis] = value;
      found.normals[3 * at + axis] = (cross[axis] as number) / size;
    }
  }
  return found;
}

/** So many different points at random, or all if there are no more: their indices. */
export function someOf(count: number, wanted: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, at) => at);
  if (wanted >= count) return order;
  const random = uniformGenerator(seed);
  for (let at = 0; at < wanted; at++) {
    const other = at + Math.floor((count - at) * random());
    [order[at], order[other]] = [order[other] as number, order[at] as number];
  }
  return order.slice(0, wanted);
}

/** The points of these indices. */
export function pointsAt(points: Float32Array, chosen: ArrayLike<number>): Float32Array {
  const found = new Float32Array(3 * chosen.length);
  for (let at = 0; at < chosen.length; at++)
    for (let axis = 0; axis < 3; axis++) found[3 * at + axis] = points[3 * (chosen[at] as number) + axis] as number;
  return found;
}

type Vector = readonly [number, number, number];

/** The cross product of two sides of a triangle. */
function crossed(points: Float32Array, faces: Uint32Array, face: number): Vector {
  const corner = (at: number, axis: number) => points[3 * (faces[3 * face + at] as number) + axis] as number;
  const side = (to: number, axis: number) => corner(to, axis) - corner(0, axis);
  const product = (a: number, b: number) => side(1, a) * side(2, b) - side(1, b) * side(2, a);
  return [product(1, 2), product(2, 0), product(0, 1)];
}

const length = ([x, y, z]: Vector) => Math.sqrt(x * x + y * y + z * z);

/** The first of ascending numbers that is above a value. */
function firstAbove(ends: Float64Array, value: number): number {
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ends[middle] as number) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
