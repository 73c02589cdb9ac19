import { ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { PANEL, SLICE } from '../../runtime/wasm/params';
import { FLOPS_PER_MICROSECOND, withMemory } from '../../runtime/wasm/plan';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import type { MatmulCall } from './call';
import { MatmulParams, TILE_PANELS, TILE_SLICES } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./matmul.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./matmul.baseline.wasm', import.meta.url),
};

const op: Op<MatmulCall> = {
  name: 'matmul',
  reference: async () => (await import('./reference')).matmul,
  kernels,
  wasm({ a, b, out }) {
    const [rows, depth] = a.shape as [number, number];
    const columns = b.shape[1] as number;
    const panels = Math.ceil(rows / PANEL);
    const slices = Math.ceil(columns / SLICE);
    const bytes = { packedA: panels * PANEL * depth * 4, packedB: slices * SLICE * depth * 4 };
    return withMemory(bytes, ({ packedA, packedB }) => [
      {
        phases: [
          { kernel: 'packPanels', tasks: panels },
          { kernel: 'packSlices', tasks: slices },
          { kernel: 'matmul', tasks: Math.ceil(panels / TILE_PANELS) * Math.ceil(slices / TILE_SLICES) },
        ],
        params: MatmulParams({
          ...{ rows, depth, columns, a: matrix(a), b: matrix(b) },
          ...{ out, packedA, packedB },
        }),
        microseconds: (2 * rows * depth * columns) / FLOPS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planMatmul,
};

/**
 * The matrix product a b: a [..., r, k], b [k, c] -> [..., r, c], f32.
 *
 * Strided views are taken as they are; the leading axes of an `a` of rank 3 or more must lie in memory as one.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {DTypeError} an input that is not f32
 */
export function matmul(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  checkFloat32('matmul', { a, b }, options);
  if (a.rank < 2) throw new ShapeError(`a must have shape [..., r, k], got ${formatShape(a.shape)}`);
  const inner = a.shape.at(-1) as number;
  if (b.rank !== 2 || b.shape[0] !== inner) {
    throw new ShapeError(
      `b must have shape [k, c] with k = ${inner} as in a ${formatShape(a.shape)}, got ${formatShape(b.shape)}`,
    );
  }
  using rows = flattenRows(a, inner);
  const columns = b.shape[1] as number;
  const spec = { shape: [...a.shape.slice(0, -1), columns], dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ a: rows, b, out: rowsOf(out, columns) });
  const { out } = compute(op, { a, b }, { out: spec }, call, options, {
    derivative: {
      saves: ['a', 'b'],
      gradients(saved, gradients, wanted, control) {
        const [left, right, gradOut] = [saved.a, saved.b, gradients.out] as [Tensor, Tensor, Tensor];
        const found: Record<string, Tensor> = {};
        if (wanted.has('a')) found.a = matmul(gradOut, right.permute([1, 0]), control);
        if (wanted.has('b'))
          found.b = matmul(flattenRows(left, inner).permute([1, 0]), gradOut.reshape([-1, columns]), control);
        return found;
      },
    },
  });
  return out;
}

/** A contiguous tensor as a view [rows, columns], which outlives no call. */
function rowsOf(x: Tensor, columns: number): Tensor {
  using rows = x.reshape([-1, columns]);
  return rows;
}

function matrix(x: Tensor) {
  const [row, column] = x.strides as [number, number];
  return { address: x, row, column };
}

/** a [..., r, k] as a view [rows, k]. */
function flattenRows(a: Tensor, inner: number): Tensor {
  try {
    return a.reshape([-1, inner]);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new ShapeError(
      `the leading axes of a ${formatShape(a.shape)} must lie in memory as one, got strides ${formatShape(a.strides)}`,
    );
  }
}
