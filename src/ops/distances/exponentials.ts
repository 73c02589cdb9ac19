/** Exponentials of distances and of products, in the pass that computes these. */
import { PANEL, SLICE } from '../../runtime/cpu/params';
import { FLOPS_PER_MICROSECOND, withMemory } from '../../runtime/cpu/plan';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { defineOp, f32 } from '../define';
import { multiply } from '../map';
import { matmul } from '../matmul';
import { gradientOfMagnitudes } from '.';
import { DistancesParams, kernels, PANELS, ROWS } from './params.generated';

const inputs = { x: f32('n p'), y: f32('m p') };
const results = { out: f32('n m') };

const extentsOf = (x: Tensor, y: Tensor) => ({
  rows: x.shape[0] as number,
  columns: y.shape[0] as number,
  terms: x.shape[1] as number,
});

/** Bytes of points side by side, with as many as fill the last group. */
const groupBytes = (points: number, group: number, terms: number) => Math.ceil(points / group) * group * terms * 4;

const laplaciansOp = defineOp({
  name: 'laplacians',
  inputs,
  results,
  reference: async () => (await import('./reference')).laplacians,
  kernels,
  cpu({ x, y, out }) {
    const { rows, columns, terms } = extentsOf(x, y);
    const weights = undefined;
    return withMemory({ packed: groupBytes(columns, SLICE, terms) }, ({ packed }) => [
      {
        phases: [
          { kernel: 'packPoints', tasks: Math.ceil(columns / SLICE) },
          { kernel: 'laplacians', tasks: Math.ceil(rows / ROWS) },
        ],
        params: DistancesParams({ rows, columns, terms, norm: 0, x, y, weights, out, packed, panels: 0 }),
        microseconds: (3 * out.size * terms) / FLOPS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planLaplacians,
  derivative: (): Derivative => ({
    saves: ['x', 'y', 'out'],
    gradients({ x, y, out }, { out: gradOut }, wanted) {
      const weights = multiply(multiply(gradOut as Tensor, out as Tensor), (out as Tensor).runtime.tensor([-1], []));
      return {
        x: wanted.has('x') ? gradientOfMagnitudes(x as Tensor, y as Tensor, weights) : undefined,
        y: wanted.has('y')
          ? gradientOfMagnitudes(y as Tensor, x as Tensor, contiguous(weights.permute([1, 0])))
          : undefined,
      };
    },
  }),
});

const exponentialsOp = defineOp({
  name: 'exponentials',
  inputs,
  results,
  reference: async () => (await import('./reference')).exponentials,
  kernels,
  cpu({ x, y, out }) {
    const { rows, columns, terms } = extentsOf(x, y);
    const weights = undefined;
    const bytes = { packed: groupBytes(columns, SLICE, terms), panels: groupBytes(rows, PANEL, terms) };
    return withMemory(bytes, ({ packed, panels }) => [
      {
        phases: [
          { kernel: 'packPoints', tasks: Math.ceil(columns / SLICE) },
          { kernel: 'packPanels', tasks: Math.ceil(rows / PANEL) },
          { kernel: 'exponentials', tasks: Math.ceil(rows / (PANEL * PANELS)) },
        ],
        params: DistancesParams({ rows, columns, terms, norm: 0, x, y, weights, out, packed, panels }),
        microseconds: (2 * out.size * (terms + 16)) / FLOPS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planExponentials,
  derivative: (): Derivative => ({
    saves: ['x', 'y', 'out'],
    gradients({ x, y, out }, { out: gradOut }, wanted) {
      const weights = multiply(gradOut as Tensor, out as Tensor);
      return {
        x: wanted.has('x') ? matmul(weights, y as Tensor) : undefined,
        y: wanted.has('y') ? matmul(weights, x as Tensor, { transposeA: true }) : undefined,
      };
    },
  }),
});

/** exp(-d), d the sum of the magnitudes of differences of coordinates, of points x [n, p] and y [m, p] -> [n, m]. */
export const laplacians = (x: Tensor, y: Tensor): Tensor<'f32'> => laplaciansOp({ x, y }).out;

/** exp(min(x . y, 0)) of x [n, p] and y [m, p] -> [n, m], whose gradient takes no notice of the limit; 0 below 2^-100. */
export const exponentials = (x: Tensor, y: Tensor): Tensor<'f32'> => exponentialsOp({ x, y }).out;
