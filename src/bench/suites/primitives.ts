import { availableParallelism } from 'node:os';
import type { Operation } from '../operation';
import {
  firstSums,
  lastSums,
  layerNormRows,
  mapped,
  product,
  productGradients,
  rowsCopy,
  softmaxRows,
} from '../primitive-operations';
import { MASKS } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type PlannedRow, timedSuite } from '../suite';

/** Of the bytes a second of a copy. */
const ofCopy = (share: number): Goal => ({ measure: 'ratio', atLeast: share });
const ofPeak = (share: number): Goal => ({ measure: 'peakShare', atLeast: share });

interface Row extends Pick<PlannedRow, 'name' | 'goal'> {
  readonly operation: Operation;
}

interface Group {
  readonly n: number;
  readonly d: number;
  readonly rows: readonly Row[];
}

const GROUPS: readonly Group[] = [
  {
    ...{ n: 10_000, d: 1000 },
    rows: [
      { name: 'copy-long', operation: rowsCopy },
      { name: 'map', operation: mapped, goal: ofCopy(0.5) },
    ],
  },
  {
    ...{ n: 4096, d: 1024 },
    rows: [
      { name: 'copy', operation: rowsCopy },
      { name: 'softmax', operation: softmaxRows, goal: ofCopy(0.6) },
      { name: 'layer-norm', operation: layerNormRows, goal: ofCopy(0.6) },
      { name: 'sum-last', operation: lastSums, goal: ofCopy(0.6) },
      { name: 'sum-first', operation: firstSums, goal: ofCopy(0.6) },
    ],
  },
  {
    ...{ n: 1024, d: 768 },
    rows: [
      { name: 'matmul', operation: product(false), goal: ofPeak(0.88) },
      { name: 'matmul-gelu', operation: product(true), goal: ofPeak(0.75) },
      { name: 'matmul-gradients', operation: productGradients, goal: ofPeak(0.7) },
    ],
  },
];

/** Each group beside its first row. */
export const primitivesSuite = timedSuite({
  name: 'primitives',
  summary: 'maps, norms, softmax and sums beside a copy; products of matrices beside the multiply-add peak',
  defaults: { threads: availableParallelism(), simd: undefined, repeats: 15, only: [] },
  ratio: 'bytes read and written a millisecond over those of the first row of the group, a copy of as many rows',
  ratioOf: 'bytes',
  names: () => GROUPS.flatMap(({ rows }) => rows.map(({ name }) => name)),
  groups({ runtimes }, { threads, simd }) {
    const contender = saccade(runtimes, runtimeOptions({ threads, simd }));
    return GROUPS.map(({ n, d, rows }) =>
      rows.map(({ name, operation, goal }) => {
        const problem = { n, h: 1, d, mask: MASKS.full, operation };
        return { name, label: operation.name, goal, problem, simd, contender };
      }),
    );
  },
});
