import type { Model } from '../../models/define';
import { bevanet } from '../../models/vision/bevanet';
import { biformer } from '../../models/vision/biformer';
import { deit } from '../../models/vision/deit';
import { unireplknet } from '../../models/vision/unireplknet';
import { van } from '../../models/vision/van';
import { type NetworkWork, networkOperation, productsBeside } from '../network-operations';
import { peer } from '../peers';
import { MASKS, type Operation } from '../problem';
import { pytorch } from '../pytorch';
import { REGIONS, routedOperation, TOP_REGIONS } from '../routed-operations';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

interface Row extends Omit<NetworkWork, 'results'> {
  readonly label: string;
  /** The share of a product's rate that it should reach. */
  readonly share?: number;
  readonly hasPeers?: true;
}

const at224 = { size: [224, 224] } as const;

const ROWS: readonly Row[] = [
  {
    name: 'van-b0',
    label: 'VAN-B0',
    model: van as unknown as Model,
    params: { variant: 'b0' },
    ...at224,
    multiplications: 847,
    share: 0.5,
    hasPeers: true,
  },
  {
    name: 'unireplknet-a',
    label: 'UniRepLKNet-A, merged',
    model: unireplknet as unknown as Model,
    params: { variant: 'a', merged: true },
    ...at224,
    multiplications: 614,
    share: 0.5,
  },
  {
    name: 'biformer-t',
    label: 'BiFormer-T',
    model: biformer as unknown as Model,
    params: { variant: 't' },
    ...at224,
    multiplications: 2202,
    share: 0.5,
  },
  {
    name: 'deit-ti',
    label: 'DeiT-Ti',
    model: deit as unknown as Model,
    params: { variant: 'ti' },
    ...at224,
    multiplications: 1254,
    share: 0.75,
    hasPeers: true,
  },
];

const DEIT_S: Row = {
  name: 'deit-s',
  label: 'DeiT-S',
  model: deit as unknown as Model,
  params: { variant: 's' },
  ...at224,
  multiplications: 4599,
};
/** With the weights and the picture here, its thresholds leave 125, 105 and then 38 of 197 tokens. */
const PRUNED: Row = {
  ...DEIT_S,
  name: 'deit-s-pruned',
  label: 'DeiT-S pruned to 0.65 of its multiplications',
  params: { variant: 's', prune: { layers: [4, 7, 10], thresholds: [0.0039772, 0.0055313, 0.01004] } },
  multiplications: 2990,
};

const BEVANET: Row = {
  name: 'bevanet-s',
  label: 'BEVANet-S at 1024 × 2048; tokens are frames',
  model: bevanet as unknown as Model,
  params: { variant: 's' },
  size: [1024, 2048],
  multiplications: 60_268,
};
/** Logits of a place every 8 pixels along both axes, of the classes of Cityscapes. */
const SEGMENTED = 19 * 128 * 256;

const PEERS = {
  'onnxruntime-web-vision': { label: 'onnxruntime-web', how: 'WebAssembly: a graph of the same weights', atLeast: 1.5 },
  'onnxruntime-node-vision': {
    label: 'onnxruntime-node',
    how: 'native code: a graph of the same weights',
    atLeast: undefined,
  },
} as const;

const problemOf = (operation: Operation, n = 1) => ({ n, h: 1, d: 1, mask: MASKS.full, operation });
const problemBy = (row: Row, results = 1000) =>
  problemOf(networkOperation({ ...row, results }), row.size[0] * row.size[1]);

/** A product of 768 x 768 matrices, which multiplies as fast as any, by as many multiplications as the network. */
const productRow = ({ name, multiplications, share }: Row): PlannedRow => ({
  name,
  label: 'matrix products of as many multiplications',
  problem: problemOf(productsBeside(`${name}-products`, multiplications)),
  goal: share === undefined ? undefined : { measure: 'ratio', atLeast: share },
});

export const visionSuite = timedSuite({
  name: 'vision',
  summary: 'networks on pictures beside products of as many multiplications and the same networks elsewhere',
  defaults: { ...TIMING, backend: 'wasm', peers: false },
  measures: ['time', 'spread', 'rounds', 'rate', 'tokens', 'memory', 'ratio', 'error'],
  ratio:
    "time over that of the group's first row: above 1 the first is faster; of products it is the share of their rate",
  ratioOf: 'time',
  groups: ({ threads, backend }, { peers }) => [
    ...ROWS.map((row) => networkGroup(row, backend === 'wasm' ? peers : undefined, threads)),
    routedGroup(),
    prunedGroup(),
    [{ ...networkRow(BEVANET, SEGMENTED), goal: { measure: 'memory', atMost: 2 ** 30 } }, productRow(BEVANET)],
  ],
});

const networkRow = (row: Row, results?: number): PlannedRow => ({
  name: row.name,
  label: row.label,
  problem: problemBy(row, results),
});

function networkGroup(row: Row, folder: string | undefined, threads: number): PlannedRow[] {
  const { name, hasPeers } = row;
  const own = networkRow(row);
  if (folder === undefined || !hasPeers) return [own, productRow(row)];
  const pytorchVision = pytorch('pytorch', folder, { backend: 'wasm', threads, script: 'pytorch_vision.py' });
  const besides = Object.entries(PEERS).map(
    ([module, { label, how, atLeast }]): PlannedRow => ({
      ...own,
      label,
      how,
      goal: atLeast && name === 'van-b0' ? { measure: 'ratio', atLeast } : undefined,
      contender: peer(module, folder, threads),
    }),
  );
  const last = { ...own, label: 'PyTorch', how: 'native code: the same weights', contender: pytorchVision };
  return [own, productRow(row), ...besides, last];
}

/** Routed attention of a picture, and dense attention, whose time it should share as it shares the pairs, or nearly. */
const routedGroup = (): PlannedRow[] => [
  {
    name: 'routing',
    label: `regions see ${TOP_REGIONS} of ${REGIONS ** 2}, 56 × 56`,
    problem: { ...ROUTED, operation: routedOperation },
  },
  {
    name: 'routing',
    label: 'attention to all',
    problem: ROUTED,
    goal: { measure: 'ratio', atLeast: REGIONS ** 2 / TOP_REGIONS / 1.3 },
  },
];
const ROUTED = { n: 56 * 56, h: 2, d: 32, mask: MASKS.full };

const prunedGroup = (): PlannedRow[] => [
  networkRow(PRUNED),
  { ...networkRow(DEIT_S), name: PRUNED.name, goal: { measure: 'ratio', atLeast: 1 / 0.7 } },
];
