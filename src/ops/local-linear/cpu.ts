/** Plans of local linear attention's calls, for the kernels of forward.as.ts and backward.as.ts. */
import { CHUNK_PANELS, PANEL, SLICE, TILE } from '../../runtime/cpu/params';
import {
  allContiguous,
  contiguous,
  FLOPS_PER_MICROSECOND,
  type Machine,
  NO_OPERAND,
  numbersOfRows,
  operands,
  type Plan,
  withMemory,
} from '../../runtime/cpu/plan';
import { type LocalLinearBackwardCall, type LocalLinearCall, type LocalLinearProblem, SECOND_TOLERANCE } from './call';
import { BackwardParams, ForwardParams, ROW_LENGTH } from './params.generated';

/** What a solver may take, for the time of a call: iterations of conjugate gradients. */
const USUAL_ITERATIONS = 8;

/** Tiles at work at once, and one more: a worker that is ended keeps its own, and whoever takes its place waits for none. */
const slotsFor = (threads: number) => threads + 1;

const inPanels = (columns: number) => Math.ceil(columns / PANEL) * PANEL;
const chunksOf = (rows: number) => Math.ceil(Math.ceil(rows / PANEL) / CHUNK_PANELS);

export function planLocalLinear(call: LocalLinearCall, { memory, threads }: Machine): Plan {
  const { out, lse, solution, residual, iterations } = call;
  const { extents, keys, bytes, problemAt, flops } = problemOf(call, slotsFor(threads), 2);
  const { b, h, g, n, m, e } = extents;
  return withMemory({ ...bytes, valueColumnPanels: keys * inPanels(e) }, (at) => {
    new Int32Array(memory.buffer, at.locks, slotsFor(threads)).fill(0);
    return [
      {
        phases: [
          { kernel: 'packKeysValues', tasks: b * g * chunksOf(m) },
          { kernel: 'localLinear', tasks: b * h * Math.ceil(n / TILE), main: true },
        ],
        params: ForwardParams({
          problem: { ...problemAt(at), valuePanels: 0, valueColumnPanels: at.valueColumnPanels },
          out: contiguous(out),
          lse,
          solution,
          residual,
          iterations,
        }),
        microseconds: (flops + 4 * b * h * n * m * e) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

export function planLocalLinearBackward(call: LocalLinearBackwardCall, { memory, threads }: Machine): Plan {
  const { gradOut, solution, stopGradRidge, gradQ, gradK, gradV, gradRidgeRows, residual } = call;
  const { extents, keys, bytes, problemAt, flops } = problemOf(call, slotsFor(threads), 3);
  const { b, h, g, n, m, d, e } = extents;
  const rows = b * h * inPanels(n) * 4;
  const scratch = {
    ...bytes,
    valuePanels: keys * e,
    second: b * n * h * d * 4,
    rows: b * n * h * ROW_LENGTH * 4,
    ...bothPanels('query', rows, d),
    ...bothPanels('first', rows, d),
    ...bothPanels('second', rows, d),
    ...bothPanels('gradient', rows, e),
  };
  return withMemory(scratch, (at) => {
    new Int32Array(memory.buffer, at.locks, slotsFor(threads)).fill(0);
    return [
      {
        phases: [
          { kernel: 'packKeysValues', tasks: b * g * chunksOf(m) },
          { kernel: 'localLinearRows', tasks: b * h * Math.ceil(n / TILE), main: true },
          { kernel: 'packRows', tasks: b * h * chunksOf(n) },
          { kernel: 'localLinearKeys', tasks: b * g * Math.ceil(m / TILE) },
        ],
        params: BackwardParams({
          ...at,
          problem: {
            ...problemAt(at),
            tolerance: call.tolerance * SECOND_TOLERANCE,
            valuePanels: at.valuePanels,
            valueColumnPanels: 0,
          },
          ...operands({ gradOut, solution }),
          stopGradRidge,
          residual,
          ...allContiguous({ gradQ, gradK, gradV }),
          gradRidge: gradRidgeRows ? contiguous(gradRidgeRows) : { address: 0, dtype: 0 },
          second: { address: at.second, dtype: 0, batch: n * h * d, row: h * d, head: d, element: 1 },
        }),
        microseconds: (flops + b * h * n * m * (20 * d + 6 * e)) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

/** Bytes of rows, of so many each column, in panels and in column panels. */
const bothPanels = <Name extends string>(name: Name, bytes: number, columns: number) =>
  ({ [`${name}Panels`]: bytes * columns, [`${name}ColumnPanels`]: bytes * inPanels(columns) }) as Readonly<
    Record<`${Name}Panels` | `${Name}ColumnPanels`, number>
  >;

/** What both passes begin with, whose tiles hold `numbers` numbers of each pair: extents, working memory and params. */
function problemOf(call: LocalLinearProblem, slots: number, numbers: number) {
  const { q, k, v, ridge, ridgeRows, causal, scale, solver, tolerance, maxIterations } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const direct = solver === 'direct';
  const keys = b * g * inPanels(m) * 4;
  const width = Math.ceil(d / SLICE) * SLICE;
  const slotBytes = (numbers * inPanels(m) * TILE + (direct ? inPanels(d) * width : 0)) * 4;
  const bytes = {
    ...bothPanels('key', keys, d),
    keySlices: direct ? keys * width : 0,
    extremes: b * g * chunksOf(m) * 8,
    locks: slots * 4,
    work: slots * slotBytes,
  };
  const extents = { b, n, m, h, g, d, e };
  const settings = { causal, scale, ridge, direct, tolerance, maxIterations, slots, slotBytes };
  return {
    extents,
    keys,
    bytes,
    flops: b * h * n * m * (direct ? d * d : 4 * USUAL_ITERATIONS * d),
    problemAt: (at: Readonly<Record<keyof typeof bytes, number>>) => ({
      ...at,
      ...extents,
      ...settings,
      ...operands({ q, k, v }),
      ridgeRows: ridgeRows ? numbersOfRows(ridgeRows) : NO_OPERAND,
      keySlices: direct ? at.keySlices : 0,
    }),
  };
}
