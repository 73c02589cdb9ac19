import { SLICE } from '../../runtime/cpu/params';
import { FLOPS_PER_MICROSECOND, withMemory } from '../../runtime/cpu/plan';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { choice, defineOp, f32, type OptionsOf } from '../define';
import type { ResultOptions } from '../float32';
import { multiply, subtract } from '../map';
import { matmul } from '../matmul';
import { sum } from '../reduce';
import { DistancesParams, kernels, ROWS } from './params.generated';

const inputs = { x: f32('n p'), y: f32('m p') };
const NORMS = ['squared', 'absolute'] as const;

/** For each point of x and coordinate the sum over y of weights times the sign of x - y. */
const signSumsOp = defineOp({
  name: 'signSums',
  inputs: { ...inputs, weights: f32('n m') },
  results: { out: f32('n p') },
  reference: async () => (await import('./reference')).signSums,
  kernels,
  cpu({ x, y, weights, out }) {
    const [rows, terms] = x.shape as [number, number];
    const columns = y.shape[0] as number;
    const params = DistancesParams({ rows, columns, terms, norm: 0, x, y, weights, out, packed: 0, panels: 0 });
    const microseconds = (4 * weights.size * terms) / FLOPS_PER_MICROSECOND;
    return { jobs: () => [{ phases: [{ kernel: 'signSums', tasks: Math.ceil(rows / ROWS) }], params, microseconds }] };
  },
  webgpu: async () => (await import('./webgpu')).planSignSums,
});

/** @internal */
export const distancesOp = defineOp({
  name: 'distances',
  inputs,
  options: {
    /** Whether coordinates count by the squares of their differences, as they do by default, or by their magnitudes. */
    norm: choice('squared', ...NORMS),
  },
  results: { out: f32('n m') },
  operations: '3 n m p',
  reference: async () => (await import('./reference')).distances,
  kernels,
  cpu({ x, y, norm, out }) {
    const [rows, terms] = x.shape as [number, number];
    const columns = y.shape[0] as number;
    const slices = Math.ceil(columns / SLICE);
    return withMemory({ packed: slices * terms * SLICE * 4 }, ({ packed }) => [
      {
        phases: [
          { kernel: 'packPoints', tasks: slices },
          { kernel: 'distances', tasks: Math.ceil(rows / ROWS) },
        ],
        params: DistancesParams({
          rows,
          columns,
          terms,
          norm: NORMS.indexOf(norm),
          x,
          y,
          weights: undefined,
          out,
          packed,
          panels: 0,
        }),
        microseconds: (3 * out.size * terms) / FLOPS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planDistances,
  derivative: ({ norm }): Derivative => ({
    saves: ['x', 'y'],
    gradients({ x, y }, { out }, wanted) {
      const gradientOf = norm === 'squared' ? gradientOfSquares : gradientOfMagnitudes;
      const gradOut = out as Tensor;
      return {
        x: wanted.has('x') ? gradientOf(x as Tensor, y as Tensor, gradOut) : undefined,
        y: wanted.has('y') ? gradientOf(y as Tensor, x as Tensor, contiguous(gradOut.permute([1, 0]))) : undefined,
      };
    },
  }),
});

/** 2 sum over y of weights (x - y) */
function gradientOfSquares(x: Tensor, y: Tensor, weights: Tensor): Tensor {
  const own = multiply(x, sum(weights, { axes: [1], keepDims: true }));
  return multiply(subtract(own, matmul(weights, y)), x.runtime.tensor([2], []));
}

export const gradientOfMagnitudes = (x: Tensor, y: Tensor, weights: Tensor): Tensor =>
  signSumsOp({ x, y, weights }).out;

export interface DistancesOptions extends OptionsOf<typeof distancesOp>, ResultOptions {}

/**
 * Distances of all pairs of points, x [n, p] and y [m, p] -> [n, m]: sums over coordinates of the squares (or magnitudes) of
 * their differences, which are taken first, so that near points keep their digits; f32, contiguous. The magnitude of 0 has
 * gradient 0.
 *
 * @throws {ShapeError} points of different numbers of coordinates, strided views
 * @throws {DTypeError} an input that is not f32
 */
export const distances = (x: Tensor, y: Tensor, options: DistancesOptions = {}): Tensor<'f32'> =>
  distancesOp({ x, y }, options).out;
