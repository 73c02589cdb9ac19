/** The first elements of rows in order, and orders of whole rows. */
import { checkBoolean, checkWhole } from '../../check';
import { ShapeError } from '../../errors';
import { apply } from '../../expressions/expression';
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import { ELEMENTS_PER_MICROSECOND } from '../../runtime/wasm/plan';
import { type Shape, sizeOf } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions } from '../check';
import { compute } from '../compute';
import { checkContiguous, checkFloat32 } from '../float32';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import { addRows } from '../scatter-add/core';
import type { TopKCall } from './call';
import { kernels, PICKED, TopKParams } from './params.generated';

export interface TopKOptions extends Control {
  /** Whether the largest come first, as they do by default, or the smallest. */
  readonly largest?: boolean | undefined;
}

export interface ArgsortOptions extends Control {
  /** Whether the largest come first; default: the smallest. */
  readonly descending?: boolean | undefined;
  /** Where to write: a contiguous tensor of the result's shape that x shares no memory with. */
  readonly out?: Tensor<'i32'> | undefined;
}

/** Each has working memory of its own, where rows are sorted. */
const TASKS_OF_THREAD = 8;

const op: Op<TopKCall> = {
  name: 'topK',
  reference: async () => (await import('./reference')).topK,
  kernels,
  wasm({ x, k, descending, indices, values }, { threads }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const rowsOfTask = Math.ceil(rows / (TASKS_OF_THREAD * threads));
    const tasks = Math.ceil(rows / rowsOfTask);
    const isSorted = k > PICKED;
    return {
      bytes: isSorted ? { entries: 16 * tasks * columns } : {},
      jobs: ({ entries = 0 }) => [
        {
          phases: [{ kernel: 'topK', tasks }],
          params: TopKParams({ rows, columns, k, descending, rowsOfTask, x, indices, values, entries }),
          microseconds: ((isSorted ? 10 : 1) * x.size) / ELEMENTS_PER_MICROSECOND,
        },
      ],
    };
  },
  webgpu: async () => (await import('./webgpu')).planTopK,
};

/**
 * The k largest (or smallest) elements of each row, in order, and their places in it: x [..., c] f32 -> values [..., k]
 * f32, indices [..., k] i32; contiguous. Equal elements, as 0 and -0 are, come by place; NaN comes last.
 *
 * The gradient with respect to x is that with respect to the values at the places that they come from and 0 elsewhere:
 * scatterAdd(gradValues, places, x.size) of gradValues [n, 1] for places [n] in the whole of x, r c + indices in row r.
 *
 * @throws {ParameterError} a k that is not an integer from 1 to c
 * @throws {ShapeError} a strided view, an x that is empty or has no axes
 * @throws {DTypeError} an x that is not f32
 */
export function topK(
  x: Tensor,
  k: number,
  options: TopKOptions = {},
): { readonly values: Tensor<'f32'>; readonly indices: Tensor<'i32'> } {
  checkRows('topK', x, options, ['largest']);
  checkWhole('k', k, 1, x.shape.at(-1) as number);
  const { largest: descending = true } = options;
  checkBoolean('largest', descending);
  const shape = [...x.shape.slice(0, -1), k];
  const results = { values: { shape, dtype: 'f32' }, indices: { shape, dtype: 'i32' } } as const;
  const derivative: Derivative = {
    saves: ['indices'],
    gradients: (saved, gradients) => ({ x: toPlaces(gradients.values as Tensor, saved.indices as Tensor, x.shape) }),
  };
  return compute(op, { x }, results, (made) => ({ x, k, descending, ...made }), options, { derivative });
}

/** Values at the places that they come from in a tensor of zeros. */
function toPlaces(values: Tensor, indices: Tensor, shape: Shape): Tensor {
  const [columns, k] = [shape.at(-1) as number, indices.shape.at(-1) as number];
  const starts = Int32Array.from({ length: indices.size / k }, (_, row) => row * columns);
  const firsts = indices.runtime.tensor(starts, [starts.length, 1]);
  const places = mapOne(plus(), { indices: indices.reshape([-1, k]), firsts });
  return addRows(values.reshape([-1, 1]), places.reshape([-1]), sizeOf(shape)).reshape(shape);
}

const plus = once(() => new ElementwiseFunction('topK', 2, [apply('add', element(0), element(1))]));

/**
 * The places of the elements of each row in their order: x [..., c] f32 -> [..., c] i32; contiguous. Equal elements, as 0
 * and -0 are, come by place; NaN comes last either way.
 *
 * @throws {ShapeError} a strided view, an x that is empty or has no axes
 * @throws {DTypeError} an x that is not f32
 */
export function argsort(x: Tensor, options: ArgsortOptions = {}): Tensor<'i32'> {
  checkRows('argsort', x, options, ['descending', 'out']);
  const { descending = false, out: given } = options;
  checkBoolean('descending', descending);
  const k = x.shape.at(-1) as number;
  const results = { out: { shape: x.shape, dtype: 'i32', given } } as const;
  return compute(op, { x }, results, ({ out }) => ({ x, k, descending, indices: out }), options).out;
}

function checkRows(op: string, x: Tensor, options: Control, known: readonly string[]): void {
  checkFloat32(op, { x }, {});
  checkOptions(op, options, [...known, 'signal', 'onProgress']);
  checkControl(options);
  checkContiguous({ x });
  if (x.rank < 1) throw new ShapeError('x must have shape [..., c], got []');
}
