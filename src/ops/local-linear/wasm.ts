/** Plans of local linear attention's calls, for the kernels of forward.as.ts and backward.as.ts. */
import { CHUNK_PANELS, PANEL, SLICE, TILE } from '../../runtime/wasm/params';
import {
  contiguous,
  FLOPS_PER_MICROSECOND,
  type Machine,
  NO_OPERAND,
  operand,
  type Plan,
  withMemory,
} from '../../runtime/wasm/plan';
import type { Tensor } from '../../tensor/tensor';
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
  const { b, h, g, n, m, e, keys, bytes, problemAt, flops } = problemOf(call, slotsFor(threads), 2);
  return withMemory({ ...bytes, valueColumnPanels: keys * inPanels(e) * 4 }, (at) => {
    new Int32Array(memory.buffer, at.locks, slotsFor(threads)).fill(0);
    return [
      {
        phases: [
          { kernel: 'packKeysValues', tasks: b * g * chunksOf(m) },
          { kernel: 'localLinear', tasks: b * h * Math.ceil(n / TILE), main: true },
        ],
        params: ForwardParams({
          problem: { ...problemAt(at), valuePanels: 0, valueColumnPanels: at.valueColumnPanels },
          ...{ out: contiguous(out), lse, solution, residual, iterations },
        }),
        microseconds: (flops + 4 * b * h * n * m * e) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

export function planLocalLinearBackward(call: LocalLinearBackwardCall, { memory, threads }: Machine): Plan {
  const { gradOut, solution, stopGradRidge, gradQ, gradK, gradV, gradRidgeRows, residual } = call;
  const { b, h, g, n, m, d, e, keys, bytes, problemAt, flops } = problemOf(call, slotsFor(threads), 3);
  const rows = b * h * inPanels(n) * 4;
  const tolerance = call.tolerance * SECOND_TOLERANCE;
  const [ofD, ofE] = [rows * d, rows * e];
  const [columnPanelsOfD, columnPanelsOfE] = [rows * inPanels(d), rows * inPanels(e)];
  const scratch = {
    ...{ ...bytes, valuePanels: keys * e * 4, second: b * n * h * d * 4, rows: b * n * h * ROW_LENGTH * 4 },
    ...{ queryPanels: ofD, firstPanels: ofD, secondPanels: ofD, gradientPanels: ofE },
    ...{
      queryColumnPanels: columnPanelsOfD,
      firstColumnPanels: columnPanelsOfD,
      secondColumnPanels: columnPanelsOfD,
      gradientColumnPanels: columnPanelsOfE,
    },
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
          problem: { ...problemAt(at), tolerance, valuePanels: at.valuePanels, valueColumnPanels: 0 },
          ...{ gradOut: operand(gradOut), solution: operand(solution), stopGradRidge, residual },
          ...{ gradQ: contiguous(gradQ), gradK: contiguous(gradK), gradV: contiguous(gradV) },
          gradRidge: gradRidgeRows ? contiguous(gradRidgeRows) : { address: 0, dtype: 0 },
          second: { address: at.second, dtype: 0, batch: n * h * d, row: h * d, head: d, element: 1 },
        }),
        microseconds: (flops + b * h * n * m * (20 * d + 6 * e)) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

/** Of either pass, whose tiles hold `numbers` numbers of each pair: extents, working memory and params. */
function problemOf(call: LocalLinearProblem, slots: number, numbers: number) {
  const { q, k, v, ridge, ridgeRows, causal, scale, solver, tolerance, maxIterations } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const direct = solver === 'direct';
  const keys = b * g * inPanels(m);
  const slices = Math.ceil(d / SLICE);
  const slotBytes = (numbers * inPanels(m) * TILE + (direct ? inPanels(d) * slices * SLICE : 0)) * 4;
  const bytes = {
    ...{
      keyPanels: keys * d * 4,
      keyColumnPanels: keys * inPanels(d) * 4,
      keySlices: direct ? keys * slices * SLICE * 4 : 0,
    },
    ...{ extremes: b * g * chunksOf(m) * 8, locks: slots * 4, work: slots * slotBytes },
  };
  return {
    ...{ b, h, g, n, m, d, e, keys, bytes },
    flops: b * h * n * m * (direct ? d * d : 4 * USUAL_ITERATIONS * d),
    problemAt: ({
      keyPanels,
      keyColumnPanels,
      keySlices,
      extremes,
      locks,
      work,
    }: Readonly<Record<keyof typeof bytes, number>>) => ({
      ...{ n, m, h, g, d, e, causal, scale, ridge, direct, tolerance, maxIterations },
      ...{ ridgeRows: ridgeRows ? rowsOf(ridgeRows) : NO_OPERAND, q: operand(q), k: operand(k), v: operand(v) },
      ...{ keyPanels, keyColumnPanels, keySlices: direct ? keySlices : 0, extremes, locks, slots, work, slotBytes },
    }),
  };
}

/** [b, n, h] as rows of one element. */
function rowsOf(x: Tensor) {
  const [batch, row, head] = x.strides as [number, number, number];
  return { ...contiguous(x), batch, row, head, element: 1 };
}
