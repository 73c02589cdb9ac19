import { overElements, type Plan } from '../../runtime/cpu/plan';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { axisOf, defineOp, f32, type OptionsOf } from '../define';
import type { ResultOptions } from '../float32';
import { COLUMNS, kernels, SoftmaxParams } from './params.generated';
import type { Extents } from './reference';

/** Elements of a task, about: those of columns go through the cache several times. */
const RUN = { rows: 16384, columns: 65536 };

function along({ shape }: Tensor, axis: number): Extents {
  let [outer, inner] = [1, 1];
  for (let at = 0; at < axis; at++) outer *= shape[at] as number;
  for (let at = axis + 1; at < shape.length; at++) inner *= shape[at] as number;
  return { outer, n: shape[axis] as number, inner };
}

/** With machine code for rows. */
export function planSoftmax(kernel: string, call: Extents & { readonly out: Tensor }, code?: number): Plan {
  const { out, outer, n, inner } = call;
  if (inner === 1) {
    const together = Math.ceil(RUN.rows / n);
    const params = SoftmaxParams({ ...NOT_GIVEN, ...call, rows: outer, together, blocks: 1 });
    return overElements(kernel, Math.ceil(outer / together), params, 2 * out.size, code);
  }
  // Whole cache lines, and enough of them that rows are not fetched in pieces.
  const together = Math.max(64, Math.min(COLUMNS, 16 * Math.ceil(RUN.columns / n / 16)));
  const blocks = Math.ceil(inner / together);
  const params = SoftmaxParams({ ...NOT_GIVEN, ...call, rows: outer, together, blocks });
  return overElements(`${kernel}OfColumns`, outer * blocks, params, 2 * out.size);
}

const NOT_GIVEN = { x: undefined, gradOut: undefined, gradX: undefined };

/** @internal */
export const gradientOp = defineOp({
  name: 'gradient of softmax',
  inputs: { out: f32('... c'), gradOut: f32('... c'), axis: axisOf('out') },
  results: { gradX: f32('... c') },
  operations: '4 ... c',
  more: ({ out, axis }) => along(out, axis),
  reference: async () => (await import('./reference')).softmaxGradient,
  kernels,
  cpu: (call) => planSoftmax('softmaxGradient', call),
  native: 'softmaxGradient',
  webgpu: async () => (await import('./webgpu')).planSoftmaxGradient,
});

export const softmaxOp = defineOp({
  name: 'softmax',
  inputs: { x: f32('... c') },
  options: {
    /** Along which the results sum to 1; negative ones count from the end. Default: the last. */
    axis: axisOf('x', -1),
  },
  results: { out: f32('... c') },
  operations: '5 ... c',
  more: ({ x, axis }) => along(x, axis),
  reference: async () => (await import('./reference')).softmax,
  kernels,
  cpu: (call) => planSoftmax('softmax', call),
  native: 'softmax',
  webgpu: async () => (await import('./webgpu')).planSoftmax,
  derivative: ({ axis }): Derivative => ({
    saves: ['out'],
    gradients: ({ out }, { out: gradOut }, _, control) => ({
      x: gradientOp({ out: out as Tensor, gradOut: gradOut as Tensor, axis }, control).gradX,
    }),
  }),
});

export interface SoftmaxOptions extends OptionsOf<typeof softmaxOp>, ResultOptions {}

/**
 * e^x over its sum along an axis: x [...] -> [...], f32, contiguous. Where all along the axis are -Infinity, one is Infinity
 * or NaN, the results are NaN.
 *
 * @throws {ShapeError} an x that is strided, empty or without axes
 * @throws {DTypeError} an x that is not f32
 * @throws {ParameterError} an axis that x does not have
 */
export const softmax = (x: Tensor, options: SoftmaxOptions = {}): Tensor<'f32'> => softmaxOp({ x }, options).out;
