import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { Op } from '../../runtime/op';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { SoftmaxCall, SoftmaxGradientCall } from './call';
import { COLUMNS, kernels, SoftmaxParams } from './params.generated';

/** Elements of a task, about: those of columns go through the cache several times. */
const RUN = { rows: 16384, columns: 65536 };

const op: Op<SoftmaxCall> = {
  name: 'softmax',
  reference: async () => (await import('./reference')).softmax,
  kernels,
  wasm: (call) => planOf('softmax', { ...call, gradOut: undefined, gradX: undefined }),
  webgpu: async () => (await import('./webgpu')).planSoftmax,
};

const gradientOp: Op<SoftmaxGradientCall> = {
  name: 'gradient of softmax',
  reference: async () => (await import('./reference')).softmaxGradient,
  kernels,
  wasm: (call) => planOf('softmaxGradient', { ...call, x: undefined }),
  webgpu: async () => (await import('./webgpu')).planSoftmaxGradient,
};

type Extents = Pick<SoftmaxCall, 'out' | 'outer' | 'n' | 'inner'>;

function planOf(kernel: string, call: Extents & Record<'x' | 'gradOut' | 'gradX', Tensor | undefined>) {
  const { out, outer, n, inner } = call;
  if (inner === 1) {
    const together = Math.ceil(RUN.rows / n);
    const params = SoftmaxParams({ ...call, rows: outer, together, blocks: 1 });
    return overElements(kernel, Math.ceil(outer / together), params, 4 * out.size);
  }
  // Whole cache lines, and enough of them that rows are not fetched in pieces.
  const together = Math.max(64, Math.min(COLUMNS, 16 * Math.ceil(RUN.columns / n / 16)));
  const blocks = Math.ceil(inner / together);
  const params = SoftmaxParams({ ...call, rows: outer, together, blocks });
  return overElements(`${kernel}OfColumns`, outer * blocks, params, 4 * out.size);
}

export interface SoftmaxOptions extends ResultOptions {
  /** Along which the results sum to 1; negative ones count from the end. Default: the last. */
  readonly axis?: number | undefined;
}

/**
 * e^x over its sum along an axis: x [...] -> [...], f32, contiguous. Where all along the axis are -Infinity, one is Infinity
 * or NaN, the results are NaN.
 *
 * @throws {ShapeError} an x that is strided, empty or without axes
 * @throws {DTypeError} an x that is not f32
 * @throws {ParameterError} an axis that x does not have
 */
export function softmax(x: Tensor, options: SoftmaxOptions = {}): Tensor<'f32'> {
  checkFloat32('softmax', { x }, options, ['axis']);
  checkContiguous({ x });
  const { rank, shape } = x;
  if (rank < 1) throw new ShapeError(`x must have at least one axis, got ${formatShape(shape)}`);
  const { axis: given = -1 } = options;
  if (!(Number.isInteger(given) && given >= -rank && given < rank))
    throw new ParameterError(`axis must be one of the ${rank} axes of x ${formatShape(shape)}, got ${show(given)}`);
  const axis = (given + rank) % rank;
  const [outer, n, inner] = [sizeOf(shape.slice(0, axis)), shape[axis] as number, sizeOf(shape.slice(axis + 1))];
  const extents = { outer, n, inner };
  const spec = { shape, dtype: 'f32', given: options.out } as const;
  return compute(op, { x }, { out: spec }, ({ out }) => ({ x, out, ...extents }), options, {
    derivative: {
      saves: ['out'],
      gradients(saved, gradients, _, control) {
        const inputs = { out: saved.out as Tensor, gradOut: gradients.out as Tensor };
        const call = ({ gradX }: { gradX: Tensor }) => ({ ...inputs, gradX, ...extents });
        return { x: compute(gradientOp, inputs, { gradX: { shape, dtype: 'f32' } }, call, control).gradX };
      },
    },
  }).out;
}
