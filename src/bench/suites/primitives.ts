import { type SharedName, sharedOperation } from '../peer-operations';
import { peer } from '../peers';
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
import { pytorch } from '../pytorch';
import type { Goal } from '../report';
import { operationRows, type PlannedRow, TIMING, timedSuite } from '../suite';

/** A share of the bytes a second of a copy. */
const ofCopy = (share: number): Goal => ({ measure: 'ratio', atLeast: share });
const ofPeak = (share: number): Goal => ({ measure: 'peakShare', atLeast: share });

const ROWS = { h: 1, mask: MASKS.full };

/** Each group beside its first row. */
export const primitivesSuite = timedSuite({
  name: 'primitives',
  summary:
    'maps, norms, softmax and sums beside a copy, products beside the multiply-add peak; small and large ops beside peers',
  defaults: { ...TIMING, repeats: 15, peers: false },
  ratio:
    'bytes read and written a millisecond over those of the first row of the group, a copy of as many rows; of peers, how many times their time Saccade takes',
  ratioOf: 'bytes',
  groups: ({ threads }, { peers }) => [
    operationRows({ ...ROWS, n: 10_000, d: 1000 }, [
      ['copy-long', rowsCopy],
      ['map', mapped, ofCopy(0.5)],
    ]),
    operationRows({ ...ROWS, n: 4096, d: 1024 }, [
      ['copy', rowsCopy],
      ['softmax', softmaxRows, ofCopy(0.6)],
      ['layer-norm', layerNormRows, ofCopy(0.6)],
      ['sum-last', lastSums, ofCopy(0.6)],
      ['sum-first', firstSums, ofCopy(0.6)],
    ]),
    operationRows({ ...ROWS, n: 1024, d: 768 }, [
      ['matmul', product(false), ofPeak(0.88)],
      ['matmul-gelu', product(true), ofPeak(0.75)],
      ['matmul-gradients', productGradients, ofPeak(0.7)],
    ]),
    ...SHARED.map((row) => besidePeers(row, peers, threads)),
  ],
});

interface Shared {
  readonly op: SharedName;
  /** Default: the op's. */
  readonly name?: string;
  /** Default: 4096. */
  readonly n?: number;
  /** Default: 1024. */
  readonly d?: number;
  /** What Saccade's row should reach. */
  readonly goal?: Goal;
  /** Saccade's time over PyTorch's, at most. */
  readonly times?: number;
}

const withinMicroseconds = (most: number): Goal => ({ measure: 'time', atMost: most / 1000 });

const SHARED: readonly Shared[] = [
  { op: 'f32-f16', times: 2.5 },
  { op: 'f32-bf16', times: 2 },
  { op: 'f16-f32', times: 2 },
  { op: 'row-sums' },
  { op: 'row-maxima' },
  { op: 'sum-all' },
  { op: 'transpose', times: 1 },
  { op: 'add', times: 1.4 },
  { op: 'gelu', times: 1.5 },
  { op: 'softmax-rows', times: 1 },
  { op: 'layer-norm-rows', times: 1.3 },
  { op: 'add', name: 'small-add', n: 1, d: 64, goal: withinMicroseconds(3) },
  { op: 'product', name: 'small-product', n: 64, d: 64, goal: withinMicroseconds(25) },
];

/** Its arrays are of f32, and of f16 as results only. */
const NOT_IN_ONNXRUNTIME: ReadonlySet<SharedName> = new Set(['f32-bf16', 'f16-f32']);

/** An op here and, if `folder` has the peers, there. */
function besidePeers(
  { op, name = op, n = 4096, d = 1024, goal, times }: Shared,
  folder: string | undefined,
  threads: number,
): PlannedRow[] {
  const operation = sharedOperation(op);
  const problem = { ...ROWS, n, d, operation };
  const own = { name, label: operation.label, goal, problem };
  if (folder === undefined) return [own];
  return [
    own,
    {
      name,
      label: 'PyTorch',
      how: 'native code, into a tensor that is there',
      goal: times === undefined ? undefined : { measure: 'ratio', atMost: times },
      problem,
      contender: pytorch('pytorch', folder, { backend: 'wasm', threads, script: 'pytorch_ops.py' }),
    },
    ...(NOT_IN_ONNXRUNTIME.has(op)
      ? []
      : [
          {
            name,
            label: 'onnxruntime-node',
            how: 'native code: a graph of one operator',
            problem,
            contender: peer('onnxruntime-node-ops', folder, threads),
          },
        ]),
  ];
}
