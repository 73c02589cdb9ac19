import { availableParallelism } from 'node:os';
import { PAGE_ROW_NAMES, pageGroups } from '../browser/rows';
import type { Contender } from '../contender';
import { PATIENCE } from '../measure';
import type { BenchOptions } from '../options';
import { PEER_NAMES, PEERS, type PeerName, peer, peersFor } from '../peers';
import { MASK_NAMES, optionsOf, type Problem, problemsOf } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type Context, type PlannedRow, timedSuite } from '../suite';

const SACCADE = 'saccade';
const ONE_THREAD = 'saccade-1-thread';

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
  summary: 'exact attention by length, head dimension and mask, with all threads and one, and beside other systems',
  defaults: {
    n: [256, 1024, 4096, 16384],
    d: [64, 128],
    masks: MASK_NAMES,
    heads: 8,
    threads: availableParallelism(),
    simd: undefined,
    repeats: 9,
    limit: PATIENCE.limit / 1000,
    peers: false,
    browser: false,
    only: [],
  },
  ratio:
    'time over that of Saccade with all threads, and in a browser over that of Saccade on the same backend: how many times faster Saccade is',
  ratioOf: 'time',
  names: ({ browser }) => (browser ? PAGE_ROW_NAMES : [SACCADE, ONE_THREAD, ...PEER_NAMES]),
  groups: (context, options) =>
    problemsOf(options).flatMap((problem) =>
      context.browser
        ? pageGroups(context.browser, problem, { ...options, peers: context.peers !== undefined })
        : [contenders(context, options, problem)],
    ),
});

function contenders({ runtimes, peers }: Context, { threads, simd }: BenchOptions, problem: Problem): PlannedRow[] {
  const { n, h, d, mask } = problem;
  const row = (name: string, label: string, contender: Contender): PlannedRow => ({
    name,
    label,
    contender,
    problem,
    simd,
    goal: h === 8 && d === 64 ? GOALS[`${name} ${n} ${mask.name}`] : undefined,
    narrow: optionsOf(problem),
  });
  const planPeer = (name: PeerName, folder: string): PlannedRow => {
    const { label, how } = PEERS[name];
    return { ...row(name, label, peer(name, folder, threads)), how };
  };
  const own = (count: number) => saccade(runtimes, runtimeOptions(count, simd));
  return [
    row(SACCADE, 'Saccade', own(threads)),
    ...(threads > 1 ? [row(ONE_THREAD, 'Saccade, 1 thread', own(1))] : []),
    ...(peers ? peersFor(problem).map((name) => planPeer(name, peers)) : []),
  ];
}
