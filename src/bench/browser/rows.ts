/** The rows of attention in a browser: Saccade and its peers, on WebAssembly and on WebGPU. */
import { BENCH_BACKENDS, type BenchBackend, type BenchOptions, optionsOf } from '../options';
import type { PeerInfo } from '../peers';
import type { MaskName, Problem } from '../problem';
import type { Goal } from '../report';
import type { PlannedRow } from '../suite';
import { inPage } from './contender';
import type { BrowserHost } from './host';

const LABELS = { wasm: 'WebAssembly', webgpu: 'WebGPU' } as const satisfies Record<BenchBackend, string>;

interface PagePeer extends PeerInfo {
  /** Its rows' names, before the backend's. */
  readonly name: string;
  /** Default: all. */
  readonly backends?: readonly BenchBackend[];
}

/** By the module of `peers/` that runs in pages. */
const PAGE_PEERS: Readonly<Record<string, PagePeer>> = {
  'onnxruntime-web-page': { name: 'onnxruntime-web', label: 'onnxruntime-web', how: 'MultiHeadAttention' },
  'onnxruntime-web-gqa-page': {
    name: 'onnxruntime-web-gqa',
    label: 'onnxruntime-web GQA',
    how: 'GroupQueryAttention, which is always causal',
    masks: ['causal', 'window'],
  },
  'onnxruntime-web-native-page': {
    name: 'onnxruntime-web-native',
    label: 'onnxruntime-web native',
    how: 'MultiHeadAttention of onnxruntime-web/webgpu, whose kernels are those of its native code',
    backends: ['webgpu'],
  },
  'onnxruntime-web-no-subgroups-page': {
    name: 'onnxruntime-web-no-subgroups',
    label: 'onnxruntime-web, no subgroups',
    how: 'MultiHeadAttention of onnxruntime-web/webgpu on a device that does not offer subgroups',
    backends: ['webgpu'],
  },
  'jax-js': { name: 'jax-js', label: 'jax-js', how: 'nn.dotProductAttention' },
  'tfjs-page': { name: 'tfjs', label: 'TensorFlow.js', how: 'matmul, softmax, matmul' },
};

/** Names of the peers' rows. */
export const PAGE_PEER_NAMES = BENCH_BACKENDS.flatMap((backend) =>
  peersOn(backend).map(([, { name }]) => `${name}-${backend}`),
);
export const PAGE_ROW_NAMES = [...BENCH_BACKENDS.map((backend) => `saccade-${backend}`), ...PAGE_PEER_NAMES];

const FASTER: Goal = { measure: 'ratio', atLeast: 1.5 };
/** That there is a correct result at all: others hold every score at once. */
const WORKS: Goal = { measure: 'error', atMost: 1e-5 };

/** By row, n and mask, at d = 64. */
const GOALS: Readonly<Record<string, Goal>> = {
  'onnxruntime-web-webgpu 1024 full': FASTER,
  'onnxruntime-web-webgpu 2048 full': FASTER,
  'onnxruntime-web-no-subgroups-webgpu 1024 full': FASTER,
  'onnxruntime-web-no-subgroups-webgpu 2048 full': FASTER,
  'jax-js-webgpu 1024 full': FASTER,
  'jax-js-webgpu 2048 full': FASTER,
  'saccade-webgpu 16384 full': WORKS,
};

/** For each backend: Saccade, the baseline, and if wanted the peers that can compute the problem. */
export function pageGroups(
  host: BrowserHost,
  problem: Problem,
  { threads, simd, peers }: Pick<BenchOptions, 'threads' | 'simd' | 'peers'>,
): PlannedRow[][] {
  const { n, d, mask } = problem;
  return BENCH_BACKENDS.map((backend) => {
    const row = (name: string, label: string, peer?: string): PlannedRow => ({
      name: `${name}-${backend}`,
      label: `${label}, ${LABELS[backend]}`,
      contender: inPage(host, `${name}-${backend}`, { peer, backend, threads, simd }),
      problem,
      hasPeak: false,
      goal: d === 64 ? GOALS[`${name}-${backend} ${n} ${mask.name}`] : undefined,
      narrow: optionsOf(problem),
    });
    return [
      row('saccade', 'Saccade'),
      ...(peers ? peersOn(backend, mask.name as MaskName) : []).map(([module, { name, label, how }]) => ({
        ...row(name, label, module),
        how,
      })),
    ];
  });
}

/** The peers' modules that support a backend and, if one is given, a mask. */
function peersOn(backend: BenchBackend, mask?: MaskName): [string, PagePeer][] {
  return Object.entries(PAGE_PEERS).filter(
    ([, { backends, masks }]) =>
      (backends?.includes(backend) ?? true) && (mask === undefined || (masks?.includes(mask) ?? true)),
  );
}
