import { type ConvShape, convOperation } from '../conv-operations';
import { peer } from '../peers';
import { MASKS } from '../problem';
import { pytorch } from '../pytorch';
import type { Goal } from '../report';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

interface Row extends Partial<ConvShape> {
  readonly name: string;
  readonly rows: number;
  readonly channels: number;
  readonly kernel: number;
  /** Share of the multiply-add peak that the forward pass should reach, and with gradients. */
  readonly shares?: readonly [forward: number, gradients: number] | undefined;
}

const byChannel = (rows: number, channels: number, kernel: number, shares?: Row['shares']): Row => ({
  ...{ name: `dw-${kernel}-${rows}`, rows, channels, kernel, shares },
  groups: channels,
});
const dense = (name: string, rows: number, channels: number, kernel: number, more: Partial<ConvShape> = {}): Row => ({
  ...{ name, rows, channels, kernel, shares: [0.8, 0.65] },
  ...more,
});

/** By channel by kernel, as in the table of Scaling Up Your Kernels, then dense. */
const ROWS: readonly Row[] = [
  ...[3, 7, 13, 31].map((kernel) => byChannel(56, 96, kernel, kernel > 3 ? [0.5, 0.35] : undefined)),
  ...[7, 13].map((kernel) => byChannel(14, 384, kernel, [0.5, 0.35])),
  ...[3, 5, 7, 9, 13, 17, 21, 27, 31].map((kernel) => byChannel(16, 192, kernel)),
  ...[3, 7, 13, 21, 31].map((kernel) => byChannel(32, 192, kernel)),
  dense('3x3-56', 56, 64, 3),
  dense('3x3-14', 14, 256, 3),
  dense('1x1-56', 56, 64, 1),
  dense('stem', 224, 3, 7, { outputs: 64, stride: 4 }),
  dense('patches', 224, 3, 3, { outputs: 64, stride: 2 }),
  dense('bevanet', 128, 128, 3, { columns: 256 }),
];

/** By the names of the modules in `peers/`, and how they compute it. */
const PEERS = {
  'onnxruntime-web-conv': ['onnxruntime-web', 'WebAssembly: a graph of one Conv'],
  'onnxruntime-node-conv': ['onnxruntime-node', 'native code: a graph of one Conv'],
  'tfjs-conv': ['TensorFlow.js', 'WebAssembly, one thread: conv2d or depthwiseConv2d, channels last'],
  'jax-js-conv': ['jax-js', 'WebAssembly, one thread: lax.convGeneralDilated, compiled'],
} as const;

export const convSuite = timedSuite({
  name: 'conv',
  summary: 'convolutions by kernel and width, forward and with gradients, beside other libraries',
  defaults: { ...TIMING, peers: false },
  ratio: 'time over that of Saccade: above 1 Saccade is faster',
  ratioOf: 'time',
  groups: ({ threads }, { peers }) => ROWS.flatMap((row) => groupsOf(row, peers, threads)),
});

function groupsOf({ name, shares, ...given }: Row, folder: string | undefined, threads: number): PlannedRow[][] {
  const { rows, channels, columns = rows, outputs = channels, stride = 1, groups = 1, kernel } = given;
  const shape = { rows, columns, channels, outputs, kernel, stride, groups };
  const problemOf = (hasGradients: boolean) => {
    const operation = convOperation(`${name}${hasGradients ? '-gradients' : ''}`, shape, hasGradients);
    return { n: rows * columns, h: 1, d: channels, mask: MASKS.full, operation };
  };
  const goalOf = (share?: number): Goal | undefined =>
    share === undefined ? undefined : { measure: 'peakShare', atLeast: share };
  const problem = problemOf(false);
  const label = `${kernel} × ${kernel}, ${rows} × ${columns}, ${channels} → ${outputs}${groups > 1 ? ', by channel' : ''}`;
  const beside: PlannedRow[] =
    folder === undefined
      ? []
      : [
          ...Object.entries(PEERS).map(([module, [label, how]]) => ({
            name,
            label,
            how,
            problem,
            contender: peer(module, folder, threads),
          })),
          {
            ...{ name, problem, label: 'PyTorch', how: 'native code: conv2d' },
            contender: pytorch('pytorch', folder, { backend: 'wasm', threads, script: 'pytorch_conv.py' }),
          },
        ];
  // The reference takes long for gradients of large ones.
  const isSmall = (rows * columns * outputs * channels * kernel ** 2) / groups < 2e8;
  return [
    [{ name, label, goal: goalOf(shares?.[0]), problem }, ...beside],
    ...(isSmall
      ? [
          [
            {
              name: `${name}-gradients`,
              label: `${label}, with gradients`,
              goal: goalOf(shares?.[1]),
              problem: problemOf(true),
            },
          ],
        ]
      : []),
  ];
}
