/** Plans of products of few rows, for the kernels of few-rows.as.ts. */

import { PANEL, SLICE } from '../../runtime/cpu/params';
import {
  address,
  BYTES_PER_MICROSECOND,
  codeOf,
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  type Plan,
  withMemory,
} from '../../runtime/cpu/plan';
import { bytesPerElement } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import type { MatmulCall } from './call';
import { BLOCK_COLUMNS, FewRowsParams, FINISHED, LONGEST_STRIP, MOST_ROWS } from './params.generated';

/** One matrix times few rows, whose columns or whose terms lie side by side. */
export function isFewRows({ a, b, axes }: MatmulCall): boolean {
  const isOne = axes.every(({ extent }) => extent === 1);
  return isOne && (a.shape.at(-2) as number) <= MOST_ROWS && b.strides.slice(-2).includes(1);
}

/** From so many rows on the micro-kernel is faster than rows one by one, where columns lie side by side. */
const PANELED_ROWS = 4;
/** Terms of a split: sums of columns stay in the first cache, and every thread reads on. */
const TERMS = 64;
/** Bytes of b that a task reads at least, where its columns are taken whole. */
const TASK_BYTES = 2 ** 18;

export function planFewRows({ a, b, bias, epilogue, out }: MatmulCall): Plan {
  const [rows, depth] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1) as number;
  const size = bytesPerElement(b.dtype);
  const isAcross = b.strides.at(-1) === 1 && (columns > 1 || b.strides.at(-2) !== 1);
  const isPaneled = isAcross && rows >= PANELED_ROWS;
  // A matter of the shapes alone: sums must not depend on the threads.
  const terms = isAcross && !isPaneled ? TERMS : depth;
  const splits = Math.ceil(depth / terms);
  const strip = isPaneled
    ? BLOCK_COLUMNS
    : Math.min(columns, isAcross ? LONGEST_STRIP : Math.max(1, Math.ceil(TASK_BYTES / (depth * size))));
  const tasks = splits * Math.ceil(columns / strip);
  const isPlain =
    !isPaneled && a.dtype === 'f32' && a.strides.at(-1) === 1 && (rows === 1 || a.strides.at(-2) === depth);
  const padded = isPaneled ? Math.ceil(rows / PANEL) * PANEL : rows;
  const pitch = isPaneled ? Math.ceil(columns / SLICE) * SLICE : columns;
  const { program, work } = epilogue?.compiled ?? { work: 0 };
  const bytes = { left: isPlain ? 4 : 4 * padded * depth, parts: 4 * splits * padded * pitch };
  const kernel = isPaneled ? 'fewRowsByPanels' : isAcross ? 'fewRowsAcross' : 'fewRowsAlong';
  const plan = withMemory(bytes, ({ left, parts }, addressOf) => [
    {
      phases: [
        ...(isPlain ? [] : [{ kernel: 'fewRowsOfA', tasks: padded }]),
        { kernel, tasks, main: true },
        { kernel: 'fewRowsFinish', tasks: rows * Math.ceil(columns / FINISHED) },
      ],
      params: [
        ...FewRowsParams({
          depth,
          a: factor(a, rows, -2, -1),
          b: factor(b, columns, -1, -2),
          out,
          bias,
          biasStride: bias?.strides[0] ?? 0,
          program: program ? addressOf(program) : 0,
          left: isPlain ? address(a) : left,
          isPaneled,
          parts,
          splits,
          pitch,
          terms,
          strip,
        }),
        ...(epilogue?.numbers ?? []),
      ],
      microseconds:
        Math.max((columns * depth * size) / BYTES_PER_MICROSECOND, (2 * out.size * depth) / FLOPS_PER_MICROSECOND) +
        (out.size * work) / ELEMENTS_PER_MICROSECOND,
    },
  ]);
  return program ? { ...plan, tables: [program] } : plan;
}

/** One side of a product, whose lanes and terms are these axes. */
export const factor = (x: Elements, lanes: number, lane: number, term: number) => ({
  address: address(x),
  dtype: codeOf(x.dtype),
  lanes,
  lane: x.strides.at(lane) as number,
  term: x.strides.at(term) as number,
});
