import { availableParallelism } from 'node:os';
import { chain, OPS } from '../chain-operations';
import { appending, decoding, fewRows, prefill, readOfKeys, readOfWeights } from '../decode-operations';
import type { Operation } from '../operation';
import { MASKS } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type PlannedRow, timedSuite } from '../suite';

/** Over the first row's time. */
const times = (most: number): Goal => ({ measure: 'ratio', atMost: most });
/** Of the bytes a second of the first row, a read. */
const ofRead = (share: number): Goal => times(1 / share);
const within = (milliseconds: number): Goal => ({ measure: 'time', atMost: milliseconds });

interface Row extends Pick<PlannedRow, 'name' | 'goal'> {
  readonly operation: Operation;
  /** Default: the group's. */
  readonly n?: number;
}

interface Group {
  readonly n: number;
  readonly h: number;
  readonly d: number;
  readonly rows: readonly Row[];
}

const plain = (name: string, more: Partial<Parameters<typeof decoding>[0]> = {}) =>
  decoding({ name, dtype: 'f32', ...more });

const besideRead = (n: number): Group => ({
  ...{ n, h: 8, d: 128 },
  rows: [
    { name: `read-${n}`, operation: readOfKeys },
    { name: `tensors-${n}`, operation: decoding({ name: 'one query, plain tensors' }), goal: ofRead(0.7) },
    { name: `cache-${n}`, operation: plain('one query, cache in f32'), goal: ofRead(0.7) },
  ],
});

const besideWeights = (n: number, goal: Goal): Group => ({
  ...{ n, h: 1, d: 1024 },
  rows: [
    { name: `weights-${n}`, operation: readOfWeights },
    { name: `product-${n}`, operation: fewRows('f32'), goal },
  ],
});

const GROUPS: readonly Group[] = [
  besideRead(8192),
  besideRead(65536),
  {
    ...{ n: 8192, h: 8, d: 128 },
    rows: [
      { name: 'f32', operation: plain('cache in f32') },
      { name: 'bf16', operation: plain('cache in bf16', { dtype: 'bf16' }), goal: times(0.65) },
      { name: 'f16', operation: plain('cache in f16', { dtype: 'f16' }), goal: times(0.75) },
      { name: 'i8', operation: plain('cache in 8 bits', { dtype: 'i8' }), goal: times(0.6) },
      { name: 'alibi', operation: plain('ALiBi as a function', { isSloped: true }), goal: times(1.3) },
      { name: 'queries-16', operation: plain('16 queries', { queries: 16 }), goal: times(2) },
    ],
  },
  {
    ...{ n: 8192, h: 8, d: 128 },
    rows: [
      { name: 'keys-256', n: 256, operation: plain('256 keys in all') },
      { name: 'window', operation: plain('a window of 256', { window: 256 }), goal: times(1.3) },
    ],
  },
  besideWeights(1, ofRead(0.85)),
  {
    ...{ n: 1, h: 1, d: 1024 },
    rows: [
      { name: 'product-f32', operation: fewRows('f32') },
      { name: 'product-bf16', operation: fewRows('bf16'), goal: times(0.6) },
    ],
  },
  besideWeights(4, ofRead(0.85)),
  besideWeights(16, { measure: 'peakShare', atLeast: 0.75 }),
  {
    ...{ n: 8192, h: 2, d: 128 },
    rows: [
      { name: 'prefill', operation: prefill(undefined) },
      { name: 'prefill-chunks', operation: prefill(512), goal: times(1.1) },
    ],
  },
  { ...{ n: 1, h: 8, d: 128 }, rows: [{ name: 'append', operation: appending, goal: within(0.1) }] },
  // What a step of a decoder has beside its products: less than 5 microseconds an op.
  { ...{ n: 1, h: 1, d: 1024 }, rows: [{ name: 'small-ops', operation: chain(false), goal: within(OPS * 0.005) }] },
];

/** Each group beside its first row. */
export const decodeSuite = timedSuite({
  name: 'decode',
  summary:
    'a token of a decoder: attention to a cache and products of few rows beside a read of memory, and what is around them',
  defaults: { threads: availableParallelism(), simd: undefined, repeats: 15, only: [] },
  ratio: 'time over that of the first row of the group: mostly a read, by as many threads, of what must be read',
  ratioOf: 'time',
  names: () => GROUPS.flatMap(({ rows }) => rows.map(({ name }) => name)),
  groups({ runtimes }, { threads, simd }) {
    const contender = saccade(runtimes, runtimeOptions({ threads, simd }));
    return GROUPS.map(({ n, h, d, rows }) =>
      rows.map(({ name, operation, goal, n: own = n }) => {
        const problem = { n: own, h, d, mask: MASKS.causal, operation };
        return { name, label: operation.name, goal, problem, simd, contender };
      }),
    );
  },
});
