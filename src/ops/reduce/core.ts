/** Reductions over any axes. Sums go by parts in a fixed order, so that errors grow with the logarithm of the count. */
import { CODE_SHARE, ELEMENTS_PER_MICROSECOND, overElements, type Plan, withMemory } from '../../runtime/cpu/plan';
import { controlOf } from '../../runtime/guard';
import type { Op } from '../../runtime/op';
import type { Shape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { contiguous } from '../copy';
import type { ResultOptions } from '../float32';
import type { ReduceCall, Reduction } from './call';
import { REDUCTIONS } from './params';
import { COLUMNS, kernels, ReduceParams, ROWS, RUN } from './params.generated';

const op: Op<ReduceCall> = {
  name: 'reduce',
  reference: async () => (await import('./reference')).reduce,
  kernels,
  cpu: (call) => planReduce(call),
  native: 'reduce',
  webgpu: async () => (await import('./webgpu')).planReduce,
};

/** With machine code in the place of the first phase. */
export function planReduce({ operation, x, out, outer, n, inner }: ReduceCall, code?: number): Plan {
  const rows = Math.max(ROWS, Math.floor(RUN / inner));
  const [parts, blocks] = [Math.ceil(n / rows), Math.ceil(inner / COLUMNS)];
  const units = outer * parts * blocks;
  // Beside machine code, fetching a task costs more.
  const together = Math.ceil(((code ? 16 : 1) * RUN) / (Math.min(n, rows) * Math.min(inner, COLUMNS)));
  const [tasks, outputs] = [Math.ceil(units / together), outer * inner];
  const operationCode = REDUCTIONS.indexOf(operation);
  const given = { operation: operationCode, n, inner, rows, parts, blocks, units, together, outputs, x, out };
  if (parts === 1)
    return overElements('reduce', tasks, ReduceParams({ ...given, values: 0, besides: 0 }), x.size, code);
  const bytes = 4 * outputs * parts;
  return withMemory({ values: bytes, besides: bytes }, (states) => [
    {
      phases: [
        { kernel: 'reduce', tasks, code, main: true },
        { kernel: 'joinParts', tasks: Math.ceil(outputs / COLUMNS) },
      ],
      params: ReduceParams({ ...given, ...states }),
      microseconds: ((code ? CODE_SHARE : 1) * x.size) / ELEMENTS_PER_MICROSECOND,
    },
  ]);
}

/** The derivative of a reduction over these axes with respect to the input of that name; undefined where results are places. */
export type DerivativeOf = (
  operation: Reduction,
  input: 'x' | 'rows',
  shape: Shape,
  gone: readonly number[],
) => Derivative | undefined;

/** Over axes in ascending order; with a derivative or, in backward passes, without. */
export function reduce<D extends 'f32' | 'i32'>(
  operation: Reduction,
  x: Tensor,
  { axes: gone, keepDims = false }: { readonly axes: readonly number[]; readonly keepDims?: boolean },
  options: ResultOptions<D>,
  derivativeOf?: DerivativeOf,
): Tensor<D> {
  const derived = x.variable ? derivativeOf : undefined;
  const shape: number[] = [];
  /** Elements of the axes that go, and of those that stay before, among and behind them. */
  let [n, outer, among, inner] = [1, 1, 1, 1];
  for (let axis = 0; axis < x.rank; axis++) {
    const extent = x.shape[axis] as number;
    const stays = !gone.includes(axis);
    if (stays || keepDims) shape.push(stays ? extent : 1);
    if (stays) inner *= extent;
    else if (extent > 1) {
      if (n === 1) outer = inner;
      else among *= inner;
      n *= extent;
      inner = 1;
    }
  }
  const spec = { shape, dtype: (operation === 'argmax' ? 'i32' : 'f32') as D, given: options.out };
  if (among === 1) {
    const make = ({ out }: { out: Tensor }) => ({ operation, x, out, outer, n, inner });
    const derivative = derived?.(operation, 'x', x.shape, gone);
    return compute(op, { x }, { out: spec }, make, options, { derivative }).out;
  }
  // Axes with others among them come together behind those that stay.
  const left = [...x.shape.keys()].filter((axis) => !gone.includes(axis));
  using permuted = x.permute([...left, ...gone]);
  using rows = contiguous(permuted, controlOf(options, 0, 2));
  const make = ({ out }: { out: Tensor }) => ({ operation, x: rows, out, outer: x.size / n, n, inner: 1 });
  const derivative = derived?.(operation, 'rows', rows.shape, [...rows.shape.keys()].slice(left.length));
  return compute(op, { x, rows }, { out: spec }, make, controlOf(options, 1, 2), { derivative }).out;
}
