/** Plans of products of few rows, for the kernels of few-rows.as.ts. */

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
import { FewRowsParams, FINISHED, MOST_ACROSS, MOST_ALONG } from './params.generated';

/** One matrix times few rows, whose columns or whose terms lie side by side. */
export function isFewRows({ a, b, axes }: MatmulCall): boolean {
  const isOne = axes.every(({ extent }) => extent === 1);
  const most = isAcross(b) ? MOST_ACROSS : MOST_ALONG;
  return isOne && (a.shape.at(-2) as number) <= most && b.strides.slice(-2).includes(1);
}

/** Whether columns of b lie side by side. */
export const isAcross = ({ shape, strides }: Elements) =>
  strides.at(-1) === 1 && ((shape.at(-1) as number) > 1 || strides.at(-2) !== 1);

/** Rows of a that go together where the terms of b lie side by side. */
const TOGETHER = 4;
/** Columns of a strip, at most, where they lie side by side: sums of a row stay in the first cache. */
const STRIP = 4096;
/** Terms of a split, at least, and how many tasks are enough. */
const TERMS = 64;
const TASKS = 16;
/** Bytes of b that a task reads at least, where its columns are taken whole. */
const TASK_BYTES = 2 ** 18;

/** Machine code for the sums of a row of a after the other, where b is f32. */
interface FewRowsCode {
  readonly address: number;
  /** Columns that it takes at once. */
  readonly columns: number;
}

export function planFewRows({ a, b, bias, epilogue, out }: MatmulCall, code?: FewRowsCode): Plan {
  const [rows, depth] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1) as number;
  const size = bytesPerElement(b.dtype);
  const across = isAcross(b);
  const { strip, terms } = across
    ? partsAcross(depth, columns)
    : { strip: stripOf(TASK_BYTES / (depth * size), code?.columns), terms: depth };
  const splits = Math.ceil(depth / terms);
  const together = across || rows === 1 || code ? 1 : TOGETHER;
  const isPlain =
    together === 1 && a.dtype === 'f32' && a.strides.at(-1) === 1 && (rows === 1 || a.strides.at(-2) === depth);
  const pitch = pitchOf(columns);
  const padded = Math.ceil(rows / together) * together;
  const sumRows = across && rows > 1 ? MOST_ACROSS : rows;
  const { program, work } = epilogue?.compiled ?? { work: 0 };
  const bytes = { left: isPlain ? 4 : 4 * padded * depth, parts: 4 * splits * sumRows * pitch };
  const plan = withMemory(bytes, ({ left, parts }, addressOf) => [
    {
      phases: [
        ...(isPlain ? [] : [{ kernel: 'fewRowsOfA', tasks: padded }]),
        {
          kernel: across ? 'fewRowsAcross' : 'fewRowsAlong',
          tasks: splits * Math.ceil(columns / strip),
          main: true,
          ...(code ? { code: code.address } : {}),
        },
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
          together,
          parts,
          splits,
          sumRows,
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
  return program ? { ...plan, tables: [program], interprets: true } : plan;
}

/** Columns of a task that takes them whole. */
const stripOf = (columns: number, together = 1): number => Math.ceil(Math.max(1, columns) / together) * together;

/** Columns and terms of a task, where columns lie side by side: a matter of shapes alone, since sums depend on it. */
function partsAcross(depth: number, columns: number) {
  const strips = Math.ceil(columns / STRIP);
  const splits = Math.min(Math.ceil(depth / TERMS), Math.ceil(TASKS / strips));
  return { strip: inEights(columns / strips), terms: inEights(depth / splits) };
}

/** Floats from row to row of the sums: 17 cache lines past whole pages, so that rows keep out of each other's way in a cache. */
const pitchOf = (columns: number) => 1024 * Math.ceil(columns / 1024) + 272;

const inEights = (count: number) => 8 * Math.ceil(count / 8);

/** One side of a product, whose lanes and terms are these axes. */
export const factor = (x: Elements, lanes: number, lane: number, term: number) => ({
  address: address(x),
  dtype: codeOf(x.dtype),
  lanes,
  lane: x.strides.at(lane) as number,
  term: x.strides.at(term) as number,
});
