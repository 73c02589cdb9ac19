import { type ConvPart, type ConvShape, convOperation, productBeside } from '../conv-operations';
import { peer } from '../peers';
import { MASKS, type Operation } from '../problem';
import { pytorch } from '../pytorch';
import type { Goal } from '../report';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

interface Row extends ConvShape {
  readonly name: string;
  /** The share that each part should reach: by channel of the multiply-add peak, dense of the rate of a matrix product. */
  readonly shares: Partial<Readonly<Record<ConvPart, number>>>;
}

const byChannel = (rows: number, channels: number, kernel: number, shares: Row['shares'] = {}): Row => ({
  name: `dw-${kernel}-${rows}`,
  ...square(rows, channels, kernel),
  groups: channels,
  shares,
});
const dense = (name: string, rows: number, channels: number, kernel: number, more: Partial<Row> = {}): Row => ({
  name,
  ...square(rows, channels, kernel),
  shares: { out: kernel === 1 ? 0.9 : 0.8, x: 0.7, weight: 0.7 },
  ...more,
});
const square = (rows: number, channels: number, kernel: number): ConvShape => ({
  rows,
  columns: rows,
  channels,
  outputs: channels,
  kernel,
  stride: 1,
  groups: 1,
});

const BY_CHANNEL = { out: 0.5, x: 0.4, weight: 0.3 };

/** The kernels of the table of Scaling Up Your Kernels: one of its 24 layers, of one picture instead of 64, of half the channels. */
const TABLE = [3, 5, 7, 9, 13, 17, 21, 27, 29, 31];

/** By channel by kernel, then dense. */
const ROWS: readonly Row[] = [
  ...[3, 7, 13, 31].map((kernel) => byChannel(56, 96, kernel, kernel > 3 ? BY_CHANNEL : {})),
  ...[7, 13].map((kernel) => byChannel(14, 384, kernel, BY_CHANNEL)),
  ...[16, 32].flatMap((rows) => TABLE.map((kernel) => byChannel(rows, 192, kernel))),
  dense('3x3-56', 56, 64, 3),
  dense('3x3-14', 14, 256, 3),
  dense('1x1-56', 56, 64, 1),
  dense('stem', 224, 3, 7, { outputs: 64, stride: 4 }),
  dense('patches', 224, 3, 3, { outputs: 64, stride: 2 }),
  dense('bevanet', 128, 128, 3, { columns: 256 }),
];

const PARTS = {
  out: { suffix: '', label: '' },
  x: { suffix: '-x', label: ', gradient with respect to x' },
  weight: { suffix: '-weight', label: ', gradient with respect to weight' },
} as const;

interface Peer {
  readonly label: string;
  readonly how: string;
  /** What it computes; of groups only what is told. */
  readonly parts: readonly ConvPart[];
  readonly byChannel?: readonly ConvPart[];
  /** Saccade's time over its own should be at least this. */
  readonly atLeast?: number;
}

/** By the names of the modules in `peers/`, and how they compute it. */
const PEERS: Readonly<Record<string, Peer>> = {
  'onnxruntime-web-conv': {
    label: 'onnxruntime-web',
    how: 'WebAssembly: a graph of one Conv or ConvTranspose',
    parts: ['out', 'x'],
    atLeast: 2,
  },
  'onnxruntime-node-conv': {
    label: 'onnxruntime-node',
    how: 'native code: a graph of one Conv or ConvTranspose',
    parts: ['out', 'x'],
  },
  'tfjs-conv': {
    label: 'TensorFlow.js',
    how: 'WebAssembly, one thread: conv2d, conv2dTranspose or depthwiseConv2d, channels last',
    parts: ['out', 'x'],
    byChannel: ['out'],
    atLeast: 4,
  },
  'jax-js-conv': {
    label: 'jax-js',
    how: 'WebAssembly, one thread: lax.convGeneralDilated or its gradient, compiled',
    parts: ['out', 'x', 'weight'],
    atLeast: 4,
  },
};

export const convSuite = timedSuite({
  name: 'conv',
  summary: 'convolutions by kernel and width, and their gradients, beside products and other libraries',
  defaults: { ...TIMING, peers: false },
  ratio: 'time over that of Saccade: above 1 Saccade is faster',
  ratioOf: 'time',
  groups: ({ threads }, { peers }) =>
    ROWS.flatMap((row) => (Object.keys(PARTS) as ConvPart[]).map((part) => groupOf(row, part, peers, threads))),
});

function groupOf(row: Row, part: ConvPart, folder: string | undefined, threads: number): PlannedRow[] {
  const { name: shapeName, shares, ...shape } = row;
  const { rows, columns, channels, outputs, kernel, groups } = shape;
  const { suffix, label: what } = PARTS[part];
  const name = `${shapeName}${suffix}`;
  const problemOf = (operation: Operation) => ({ n: rows * columns, h: 1, d: channels, mask: MASKS.full, operation });
  const problem = problemOf(convOperation(name, part, shape));
  const share = shares[part];
  const isByChannel = groups > 1;
  const label = `${kernel} × ${kernel}, ${rows} × ${columns}, ${channels} → ${outputs}${isByChannel ? ', by channel' : ''}${what}`;
  const goal: Goal | undefined = isByChannel && share ? { measure: 'peakShare', atLeast: share } : undefined;
  const compared: PlannedRow[] = [];
  if (!isByChannel && share)
    compared.push({
      name,
      label: 'a matrix product of as many multiplications',
      goal: { measure: 'ratio', atLeast: share },
      problem: problemOf(productBeside(name, shape)),
    });
  if (name === 'dw-31-56')
    compared.push({
      name,
      label: '7 × 7',
      goal: { measure: 'ratio', atLeast: 1 / 6 },
      problem: problemOf(convOperation(name, part, { ...shape, kernel: 7 })),
    });
  return [{ name, label, goal, problem }, ...compared, ...peersOf(row, part, { name, problem }, folder, threads)];
}

function peersOf(
  { groups }: Row,
  part: ConvPart,
  row: Pick<PlannedRow, 'name' | 'problem'>,
  folder: string | undefined,
  threads: number,
): PlannedRow[] {
  if (folder === undefined) return [];
  const found = Object.entries(PEERS).filter(([, { parts, byChannel = parts }]) =>
    (groups > 1 ? byChannel : parts).includes(part),
  );
  const contender = pytorch('pytorch', folder, { backend: 'wasm', threads, script: 'pytorch_conv.py' });
  return [
    ...found.map(
      ([module, { label, how, atLeast }]): PlannedRow => ({
        ...row,
        label,
        how,
        goal: atLeast === undefined ? undefined : { measure: 'ratio', atLeast },
        contender: peer(module, folder, threads),
      }),
    ),
    { ...row, label: 'PyTorch', how: 'native code: conv2d, or its gradient alone', contender },
  ];
}
