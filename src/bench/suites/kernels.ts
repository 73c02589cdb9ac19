import type { Contender } from '../contender';
import { type KernelOperation, kernelOperation } from '../kernel-operations';
import { peer } from '../peers';
import { MASKS } from '../problem';
import { pytorch } from '../pytorch';
import type { Goal } from '../report';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

type PeerName = 'scipy' | 'sklearn' | 'ml-matrix' | 'jax-js' | 'tfjs';

const HOW: Readonly<Record<PeerName, readonly [label: string, how: string]>> = {
  scipy: ['NumPy and SciPy', 'native code'],
  sklearn: ['scikit-learn', 'native code: metrics.pairwise'],
  'ml-matrix': ['ml-matrix', 'JavaScript, one thread, float64'],
  'jax-js': ['jax-js', 'WebAssembly, one thread, compiled'],
  tfjs: ['TensorFlow.js', 'WebAssembly, one thread'],
};

interface Row {
  readonly op: KernelOperation;
  readonly goal?: Goal;
  readonly peers?: readonly PeerName[];
  /** Goals of peers, which are in relation to the first row. */
  readonly beside?: Partial<Record<PeerName, Goal>>;
}

const ofProduct = (share: number): Goal => ({ measure: 'ratio', atLeast: share });
const atMostTimes = (times: number): Goal => ({ measure: 'ratio', atMost: times });
const POINTS: readonly PeerName[] = ['scipy', 'sklearn', 'jax-js', 'tfjs'];
const SYSTEMS: readonly PeerName[] = ['scipy', 'ml-matrix', 'jax-js'];

/** Each group beside its first row; of the additions of a Laplace kernel as many count as multiply-adds of a product would. */
const GROUPS: readonly { readonly n: number; readonly rows: readonly Row[] }[] = [
  {
    n: 4096,
    rows: [
      { op: 'product' },
      { op: 'gaussian', goal: ofProduct(0.7), peers: POINTS },
      { op: 'gaussian-product', goal: ofProduct(0.7), peers: POINTS },
      // Half of the multiply-adds that there are in a second, so half of that is a quarter.
      { op: 'laplace', goal: { measure: 'peakShare', atLeast: 0.25 }, peers: ['scipy', 'sklearn'] },
      { op: 'laplace-product', goal: { measure: 'peakShare', atLeast: 0.25 }, peers: ['scipy', 'sklearn'] },
      { op: 'cholesky', goal: ofProduct(0.65), peers: SYSTEMS },
      { op: 'solve', goal: ofProduct(0.6), peers: SYSTEMS },
    ],
  },
  // The peak is that of f32, twice that of f64.
  { n: 2048, rows: [{ op: 'cholesky-f64', goal: { measure: 'peakShare', atLeast: 0.25 }, peers: ['scipy'] }] },
  {
    n: 2048,
    rows: [
      {
        op: 'eigh',
        peers: ['scipy', 'ml-matrix'],
        beside: { scipy: atMostTimes(3), 'ml-matrix': atMostTimes(1 / 30) },
      },
    ],
  },
];

const D = 64;

export const kernelsSuite = timedSuite({
  name: 'kernels',
  summary: 'kernel matrices and products, factors, systems and eigenvalues, beside products and other libraries',
  defaults: { ...TIMING, repeats: 5, peers: false },
  ratio: "arithmetic a second over that of the group's first row",
  ratioOf: 'rate',
  groups: ({ threads }, { peers }) =>
    GROUPS.map(({ n, rows }) => rows.flatMap((row) => besides(row, n, peers, threads))),
});

/** An op here and, if `folder` has the peers, there. */
function besides({ op, goal, peers = [], beside = {} }: Row, n: number, folder: string | undefined, threads: number) {
  const operation = kernelOperation(op);
  const problem = { n, h: 1, d: D, mask: MASKS.full, operation };
  const own: PlannedRow = { name: op, label: operation.label, goal, problem };
  if (folder === undefined) return [own];
  return [
    own,
    ...peers.map((name): PlannedRow => {
      const [label, how] = HOW[name];
      return { name: op, label, how, problem, goal: beside[name], contender: contenderOf(name, folder, threads) };
    }),
  ];
}

function contenderOf(name: PeerName, folder: string, threads: number): Contender {
  if (name === 'scipy' || name === 'sklearn')
    return pytorch('pytorch', folder, { backend: 'wasm', threads, script: `${name}_kernels.py` });
  return peer(`${name}-kernels`, folder, threads);
}
