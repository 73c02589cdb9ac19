/** Plans of products and of rows of weights, for the kernels of packed.as.ts. */
import { PANEL, SLICE } from '../../runtime/cpu/params';
import {
  address,
  BYTES_PER_MICROSECOND,
  contiguous,
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  overElements,
  type Plan,
  withMemory,
} from '../../runtime/cpu/plan';
import { bytesPerElement } from '../../tensor/dtype';
import { sizeOf } from '../../tensor/shape';
import type { PickCall, ProductsCall } from './call';
import { PACKED_TYPES } from './params';
import {
  BLOCK,
  FEW_ROUNDED_ROWS,
  FEW_ROWS,
  FINISHED,
  PICKED,
  PickParams,
  Product,
  ProductsParams,
  ROUNDED_PANEL,
  TILE_ROWS,
  TILE_SLICES,
} from './params.generated';
import { type PackedWeight, partsOf } from './weight';

/** Bytes of weights that a task of few rows reads, about. */
const TASK_BYTES = 2 ** 17;

const weightOf = ({ dtype, shape: [, width], parts }: PackedWeight) => ({
  values: address(parts.values),
  scales: address(parts.scales),
  minima: address(parts.minima),
  type: PACKED_TYPES.indexOf(dtype),
  width: width as number,
});

const bytesOf = (weight: PackedWeight) =>
  partsOf(weight).reduce((sum, { size, dtype }) => sum + size * bytesPerElement(dtype), 0);

export function planProducts({ x, rows, depth, isRounded, isAcross, products, epilogue }: ProductsCall): Plan {
  const isPaneled = isAcross || rows > (isRounded ? FEW_ROUNDED_ROWS : FEW_ROWS);
  const panel = isRounded ? ROUNDED_PANEL : PANEL;
  const padded = isPaneled ? Math.ceil(rows / panel) * panel : rows;
  const isPlain = !isPaneled && !isRounded && x.dtype === 'f32';
  const strips = products.map(({ weight, columns }) => {
    const strip = isPaneled ? TILE_SLICES : Math.max(1, Math.ceil((TASK_BYTES * columns) / bytesOf(weight)));
    const across = Math.ceil(columns / (isPaneled ? strip * SLICE : strip));
    return { strip, tasks: isPaneled ? across * Math.ceil(rows / TILE_ROWS) : across };
  });
  const isFinished = epilogue !== undefined || products.some(({ bias }) => bias !== undefined);
  const finishing = products.reduce((sum, { columns }) => sum + rows * Math.ceil(columns / FINISHED), 0);
  const { program, work } = epilogue?.compiled ?? { work: 0 };
  const numbers = padded * depth;
  const blocks = isRounded ? (4 * numbers) / BLOCK : 0;
  const bytes = { left: isPlain ? 0 : (isRounded ? 2 : 4) * numbers, scales: blocks, sums: blocks };
  const plan = withMemory(bytes, ({ left, scales, sums }, addressOf) => [
    {
      phases: [
        ...(isPlain ? [] : [{ kernel: 'prepareRow', tasks: padded }]),
        {
          kernel: isPaneled ? 'manyRows' : 'fewRows',
          tasks: strips.reduce((sum, { tasks }) => sum + tasks, 0),
          main: true,
        },
        ...(isFinished ? [{ kernel: 'finish', tasks: finishing }] : []),
      ],
      params: [
        ...ProductsParams({
          rows,
          depth,
          x: contiguous(x),
          isRounded,
          isPaneled,
          isAcross,
          left: isPlain ? address(x) : left,
          scales,
          sums,
          products: products.length,
          program: program ? addressOf(program) : 0,
        }),
        ...products.flatMap(({ weight, columns, bias, out }, at) =>
          Product({
            ...(strips[at] as (typeof strips)[number]),
            weight: weightOf(weight),
            columns,
            out,
            bias,
            biasStride: bias?.strides[0] ?? 0,
          }),
        ),
        ...(epilogue?.numbers ?? []),
      ],
      microseconds: products.reduce(
        (sum, { weight, out }) =>
          sum +
          Math.max(bytesOf(weight) / BYTES_PER_MICROSECOND, (2 * out.size * depth) / FLOPS_PER_MICROSECOND) +
          (out.size * work) / ELEMENTS_PER_MICROSECOND,
        0,
      ),
    },
  ]);
  return program ? { ...plan, tables: [program], interprets: true } : plan;
}

export function planPick({ table, indices, out }: PickCall): Plan {
  const [count] = table.shape as [number, number];
  const rows = sizeOf(indices.shape);
  const params = PickParams({ rows, count, table: weightOf(table), indices, out });
  return overElements('pick', Math.ceil(rows / PICKED), params, out.size);
}
