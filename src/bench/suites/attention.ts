import { availableParallelism } from 'node:os';
import { PAGE_ROW_NAMES, pageGroups } from '../browser/rows';
import { GPU_ROW_NAMES, gpuRows } from '../gpu-rows';
import { PATIENCE } from '../measure';
import { type BenchOptions, optionsOf, problemsOf } from '../options';
import { PEER_NAMES, PEERS, peer, peersFor } from '../peers';
import { isKnownToPeers, MASK_NAMES, type Problem } from '../problem';
import { PYTORCH, pytorch } from '../pytorch';
import type { Goal } from '../report';
import { type Place, type PlannedRow, timedSuite } from '../suite';

const SACCADE = 'saccade';
const ONE_THREAD = 'saccade-1-thread';
const PYTORCH_ROW = 'pytorch';

/** By contender, n and mask, at d = 64. */
const GOALS: Readonly<Record<string, Goal>> = {
  'saccade-1-thread 4096 full': { measure: 'peakShare', atLeast: 0.82 },
  'onnxruntime-web 1024 full': { measure: 'ratio', atLeast: 2 },
  'jax-js 4096 full': { measure: 'ratio', atLeast: 8 },
  'tfjs 4096 full': { measure: 'ratio', atLeast: 40 },
  'onnxruntime-node 4096 causal': { measure: 'ratio', atLeast: 1 },
  'onnxruntime-node-gqa 4096 causal': { measure: 'ratio', atLeast: 1 },
};

export const attentionSuite = timedSuite({
  name: 'attention',
  summary:
    'exact attention by length, head dimension and mask, with all threads and one or on the GPU, and beside other systems',
  defaults: {
    n: [256, 1024, 4096, 16384],
    d: [64, 128],
    masks: MASK_NAMES,
    heads: 8,
    backend: 'wasm',
    threads: availableParallelism(),
    simd: undefined,
    repeats: 9,
    limit: PATIENCE.limit / 1000,
    peers: false,
    browser: false,
    only: [],
  },
  ratio:
    'time over that of Saccade with all threads, on a GPU in f32, in a browser on the same backend: how many times faster Saccade is',
  ratioOf: 'time',
  names: ({ browser, backend }) => {
    if (browser) return PAGE_ROW_NAMES;
    return backend === 'webgpu' ? GPU_ROW_NAMES : [SACCADE, ONE_THREAD, ...PEER_NAMES, PYTORCH_ROW];
  },
  groups: (options, place) =>
    problemsOf(options).flatMap((problem) =>
      place.browser
        ? pageGroups(place.browser, problem, { ...options, peers: place.peers !== undefined })
        : [(options.backend === 'webgpu' ? gpuRows : contenders)(place, options, problem)],
    ),
});

function contenders({ peers }: Place, options: BenchOptions, problem: Problem): PlannedRow[] {
  const { threads } = options;
  const { n, h, d, mask } = problem;
  const row = (name: string, label: string, more: Partial<PlannedRow> = {}): PlannedRow => ({
    name,
    label,
    problem,
    goal: h === 8 && d === 64 ? GOALS[`${name} ${n} ${mask.name}`] : undefined,
    narrow: optionsOf(problem),
    ...more,
  });
  const fromPeers = (folder: string) => [
    ...peersFor(problem).map((name) => {
      const { label, how } = PEERS[name];
      return row(name, label, { contender: peer(name, folder, threads), how });
    }),
    row(PYTORCH_ROW, 'PyTorch', {
      contender: pytorch(PYTORCH_ROW, folder, options),
      how: PYTORCH[PYTORCH_ROW].how,
    }),
  ];
  return [
    row(SACCADE, 'Saccade'),
    ...(threads > 1 ? [row(ONE_THREAD, 'Saccade, 1 thread', { threads: 1 })] : []),
    ...(peers && isKnownToPeers(mask.name) ? fromPeers(peers) : []),
  ];
}
