/** Clouds of points: some that are far from each other, and neighbours. */
import { checkWhole } from '../../check';
import { ParameterError } from '../../errors';
import { FLOPS_PER_MICROSECOND, withMemory } from '../../runtime/cpu/plan';
import type { Expectation } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';
import { indicesWithin } from '../check';
import { defineOp, f32, i32, type OptionsOf, whole } from '../define';
import type { ResultOptions } from '../float32';
import { FarthestParams, kernels, NearestParams } from './params.generated';

/** Each has working memory of its own, where neighbours are kept in order. */
const TASKS_OF_THREAD = 8;
const OPERATIONS = 8;
/** The largest float32. */
const MOST = 3.4028234663852886e38;

const even = (rows: number) => rows + (rows % 2);

const finite = (points: Tensor): Expectation => ({
  tensor: points,
  least: -MOST,
  most: MOST,
  error: (value, place) =>
    new ParameterError(`points must be finite, got ${value} at point ${Math.floor(place / 3)}: leave it out`),
});

export const farthestPointsOp = defineOp({
  name: 'farthestPoints',
  inputs: { points: f32('b n 3'), groups: whole({ least: 1, most: 'n' }) },
  options: {
    /** The index of the first. */
    start: whole({ least: 0 }, 0),
  },
  results: { out: i32('b groups') },
  more({ start }, { n }) {
    checkWhole('start', start, 0, (n as number) - 1);
    return {};
  },
  operations: '8 b n groups',
  reference: async () => (await import('./reference')).farthestPoints,
  kernels,
  cpu({ points, groups, start, out }) {
    const [clouds, rows] = points.shape as [number, number];
    return withMemory(
      { planes: 12 * clouds * even(rows), distances: 8 * clouds * even(rows) },
      ({ planes, distances }) => [
        {
          phases: [
            { kernel: 'farthestPlanes', tasks: clouds },
            { kernel: 'farthestPoints', tasks: clouds },
          ],
          params: FarthestParams({ rows, groups, start, points, out, planes, distances }),
          microseconds: (OPERATIONS * clouds * rows * groups) / FLOPS_PER_MICROSECOND,
        },
      ],
    );
  },
  webgpu: async () => (await import('./webgpu')).planFarthestPoints,
  faults: ({ points }) => [finite(points)],
});

export const nearestPointsOp = defineOp({
  name: 'nearestPoints',
  inputs: { points: f32('b n 3'), centers: i32('b g'), size: whole({ least: 1, most: 'n' }) },
  results: { out: i32('b g size') },
  operations: '8 b g n',
  reference: async () => (await import('./reference')).nearestPoints,
  kernels,
  cpu({ points, centers, size, out }, { threads }) {
    const [clouds, rows] = points.shape as [number, number];
    const centersOfAll = centers.size;
    const centersOfTask = Math.ceil(centersOfAll / (TASKS_OF_THREAD * threads));
    const tasks = Math.ceil(centersOfAll / centersOfTask);
    const groups = centersOfAll / clouds;
    return withMemory({ planes: 12 * clouds * even(rows), heaps: 16 * tasks * size }, ({ planes, heaps }) => [
      {
        phases: [
          { kernel: 'nearestPlanes', tasks: clouds },
          { kernel: 'nearestPoints', tasks },
        ],
        params: NearestParams({
          rows,
          groups,
          centersOfTask,
          centersOfAll,
          size,
          points,
          centers,
          out,
          planes,
          heaps,
        }),
        microseconds: (OPERATIONS * centersOfAll * rows) / FLOPS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planNearestPoints,
  faults: ({ points, centers }) => [finite(points), ...indicesWithin(centers, points.shape[1] as number)],
});

export interface FarthestPointsOptions extends OptionsOf<typeof farthestPointsOp>, ResultOptions<'i32'> {}

/**
 * Points that cover a cloud: from `start` on each is the farthest from all taken before it, the first of equal ones. points
 * [b, n, 3] f32 -> [b, groups] i32, contiguous; no gradient. Distances are in float64, on a GPU in float32.
 *
 * @throws {ParameterError} more groups than points, a start that is none; the result's read: a point that is not finite
 */
export const farthestPoints = (points: Tensor, groups: number, options: FarthestPointsOptions = {}): Tensor<'i32'> =>
  farthestPointsOp({ points, groups }, options).out;

/**
 * The nearest points of some points of a cloud, nearest first, which are the points themselves or such as lie at the same
 * place; equal ones by index. points [b, n, 3] f32, centers [b, g] i32, indices of points -> [b, g, size] i32, contiguous; no
 * gradient. Distances are in float64, on a GPU in float32.
 *
 * @throws {ParameterError} a size above n; the result's read: a point that is not finite
 * @throws {ShapeError} the result's read: an index of no point
 */
export const nearestPoints = (
  points: Tensor,
  centers: Tensor,
  size: number,
  options: ResultOptions<'i32'> = {},
): Tensor<'i32'> => nearestPointsOp({ points, centers, size }, options).out;
