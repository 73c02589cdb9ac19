/** Reductions over any axes. Sums go by parts in a fixed order, so that errors grow with the logarithm of the count. */
import { checkBoolean, show } from '../../check';
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { ELEMENTS_PER_MICROSECOND, overElements, withMemory } from '../../runtime/cpu/plan';
import { controlOf } from '../../runtime/guard';
import type { Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { contiguous } from '../copy';
import { checkContiguous, checkFloat32 } from '../float32';
import { REDUCTIONS, type ReduceCall, type Reduction } from './call';
import { COLUMNS, kernels, ReduceParams, ROWS, RUN } from './params.generated';

const op: Op<ReduceCall> = {
  name: 'reduce',
  reference: async () => (await import('./reference')).reduce,
  kernels,
  cpu({ operation, x, out, outer, n, inner }) {
    const rows = Math.max(ROWS, Math.floor(RUN / inner));
    const [parts, blocks] = [Math.ceil(n / rows), Math.ceil(inner / COLUMNS)];
    const units = outer * parts * blocks;
    const together = Math.ceil(RUN / (Math.min(n, rows) * Math.min(inner, COLUMNS)));
    const [tasks, outputs] = [Math.ceil(units / together), outer * inner];
    const code = REDUCTIONS.indexOf(operation);
    const given = { operation: code, n, inner, rows, parts, blocks, units, together, outputs, x, out };
    if (parts === 1) return overElements('reduce', tasks, ReduceParams({ ...given, values: 0, besides: 0 }), x.size);
    const bytes = 4 * outputs * parts;
    return withMemory({ values: bytes, besides: bytes }, (states) => [
      {
        phases: [
          { kernel: 'reduce', tasks, main: true },
          { kernel: 'joinParts', tasks: Math.ceil(outputs / COLUMNS) },
        ],
        params: ReduceParams({ ...given, ...states }),
        microseconds: x.size / ELEMENTS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planReduce,
};

export interface ReduceOptions<D extends DType = 'f32'> extends Control {
  /** Which axes go, in any order; negative ones count from the end, and of none each element stays. Default all. */
  readonly axes?: readonly number[] | undefined;
  /** Whether they stay, with extent 1; default false. */
  readonly keepDims?: boolean | undefined;
  /** Where to write: a contiguous tensor of the result's shape that x shares no memory with. */
  readonly out?: Tensor<D> | undefined;
}

/** The derivative of a reduction over these axes with respect to the input of that name; undefined where results are places. */
export type DerivativeOf = (
  operation: Reduction,
  input: 'x' | 'rows',
  shape: Shape,
  gone: readonly number[],
) => Derivative | undefined;

/** With a derivative or, in backward passes, without. */
export function reduce<D extends 'f32' | 'i32'>(
  operation: Reduction,
  x: Tensor,
  options: ReduceOptions<D>,
  derivativeOf?: DerivativeOf,
): Tensor<D> {
  checkFloat32(operation, { x }, options, ['axes', 'keepDims']);
  checkContiguous({ x });
  const { axes, keepDims = false, out: given } = options;
  checkBoolean('keepDims', keepDims);
  const gone = goneAxes(x, axes);
  const left = [...x.shape.keys()].filter((axis) => !gone.includes(axis));
  const extentsOf = (axes: readonly number[]) => axes.map((axis) => x.shape[axis] as number);
  const shape = keepDims ? x.shape.map((extent, axis) => (gone.includes(axis) ? 1 : extent)) : extentsOf(left);
  const spec = { shape, dtype: (operation === 'argmax' ? 'i32' : 'f32') as D, given };

  const n = sizeOf(extentsOf(gone));
  const wide = gone.filter((axis) => x.shape[axis] !== 1);
  const [first, last] = [wide[0] ?? x.rank, wide.at(-1) ?? x.rank];
  const [outer, inner] = [sizeOf(x.shape.slice(0, first)), sizeOf(x.shape.slice(last + 1))];
  if (outer * n * inner === x.size) {
    const make = ({ out }: { out: Tensor }) => ({ operation, x, out, outer, n, inner });
    const derivative = derivativeOf?.(operation, 'x', x.shape, gone);
    return compute(op, { x }, { out: spec }, make, options, { derivative }).out;
  }
  // Axes with others between them come together behind those that stay.
  using turned = x.permute([...left, ...gone]);
  using rows = contiguous(turned, controlOf(options, 0, 2));
  const make = ({ out }: { out: Tensor }) => ({ operation, x: rows, out, outer: x.size / n, n, inner: 1 });
  const derivative = derivativeOf?.(operation, 'rows', rows.shape, [...rows.shape.keys()].slice(left.length));
  return compute(op, { x, rows }, { out: spec }, make, controlOf(options, 1, 2), { derivative }).out;
}

/** Axes of x in ascending order; throws unless they are its own, each once. */
function goneAxes({ rank, shape }: Tensor, axes: ReduceOptions['axes']): number[] {
  if (axes === undefined) return [...shape.keys()];
  const isAxis = (axis: unknown) => Number.isInteger(axis) && (axis as number) >= -rank && (axis as number) < rank;
  const own = Array.isArray(axes) && Array.from(axes).every(isAxis) && axes.map((axis) => (axis + rank) % rank);
  if (!own || new Set(own).size < own.length)
    throw new ParameterError(`axes must be an array of different axes of x ${formatShape(shape)}, got ${show(axes)}`);
  return own.sort((a, b) => a - b);
}
