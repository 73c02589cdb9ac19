/** The first elements of rows in order, and orders of whole rows. */
import { apply } from '../../expressions/expression';
import type { Control } from '../../runtime/backend';
import { ELEMENTS_PER_MICROSECOND } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import { type Shape, sizeOf } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { boolean, defineOp, f32, i32, type OptionsOf, whole } from '../define';
import type { ResultOptions } from '../float32';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import { addRows } from '../scatter-add/core';
import { kernels, PICKED, TopKParams } from './params.generated';
import type { TopKCall } from './reference';

/** Beside the k that are kept, so many entries are collected before they are sorted. */
const LEAST_ROOM = 1024;

/** Each has working memory of its own, where rows are sorted. */
const TASKS_OF_THREAD = 8;

const topKKernels: Omit<Op<TopKCall>, 'name'> = {
  reference: async () => (await import('./reference')).topK,
  kernels,
  cpu({ x, k, descending, indices, values }, { threads }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const rowsOfTask = Math.ceil(rows / (TASKS_OF_THREAD * threads));
    const tasks = Math.ceil(rows / rowsOfTask);
    const isSorted = k > PICKED;
    const room = Math.min(columns, k + Math.max(k, LEAST_ROOM));
    return {
      bytes: isSorted ? { entries: 16 * tasks * room } : {},
      jobs: ({ entries = 0 }) => [
        {
          phases: [{ kernel: 'topK', tasks }],
          params: TopKParams({ rows, columns, k, descending, rowsOfTask, x, indices, values, room, entries }),
          microseconds: (x.size + (isSorted ? 10 * rows * room : 0)) / ELEMENTS_PER_MICROSECOND,
        },
      ],
    };
  },
  webgpu: async () => (await import('./webgpu')).planTopK,
};

export const topKOp = defineOp({
  ...topKKernels,
  name: 'topK',
  inputs: { x: f32('... c'), k: whole({ least: 1, most: 'c' }) },
  options: {
    /** Whether the largest come first, as they do by default, or the smallest. */
    largest: boolean(true),
  },
  results: { values: f32('... k', { fresh: true }), indices: i32('... k', { fresh: true }) },
  more: ({ largest }) => ({ descending: largest }),
  derivative: ({ x: { shape } }): Derivative => ({
    saves: ['indices'],
    gradients: ({ indices }, { values }) => ({ x: toPlaces(values as Tensor, indices as Tensor, shape) }),
  }),
});

/** What takes the places as `out`. */
const intoOut =
  <Rest extends unknown[], Result>(run: (call: TopKCall, ...rest: Rest) => Result) =>
  ({ out, ...call }: Omit<TopKCall, 'indices'> & { readonly out: Tensor }, ...rest: Rest): Result =>
    run({ ...call, indices: out }, ...rest);

export const argsortOp = defineOp({
  name: 'argsort',
  reference: async () => intoOut((await import('./reference')).topK),
  kernels,
  cpu: intoOut(topKKernels.cpu),
  webgpu: async () => intoOut((await import('./webgpu')).planTopK),
  inputs: { x: f32('... c') },
  options: {
    /** Whether the largest come first; default: the smallest. */
    descending: boolean(false),
  },
  results: { out: i32('... c') },
  more: ({ x }) => ({ k: x.shape.at(-1) as number }),
});

export interface TopKOptions extends OptionsOf<typeof topKOp>, Control {}
export interface ArgsortOptions extends OptionsOf<typeof argsortOp>, ResultOptions<'i32'> {}

/**
 * The k largest (or smallest) elements of each row, in order, and their places in it: x [..., c] f32 -> values [..., k]
 * f32, indices [..., k] i32; contiguous. Equal elements, as 0 and -0 are, come by place; NaN comes last. A row is read once,
 * and not sorted where k is small beside it.
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
  return topKOp({ x, k }, options);
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
  return argsortOp({ x }, options).out;
}
