/** Saccade's own rows of exact attention, on WebAssembly or a GPU, which pages can measure too. */
import { coreCount } from '../../machine';
import { gpuRows } from '../gpu-rows';
import { PATIENCE } from '../measure';
import { optionsOf, problemsOf } from '../options';
import { MASK_NAMES, type Problem } from '../problem';
import type { Goal } from '../report';
import { type PlannedRow, timedSuite } from '../suite';

export const SACCADE = 'saccade';
export const ONE_THREAD = 'saccade-1-thread';

/** By contender, n and mask, at d = 64. */
const GOALS: Readonly<Record<string, Goal>> = {
  'saccade-1-thread 4096 full': { measure: 'peakShare', atLeast: 0.82 },
  'onnxruntime-web 1024 full': { measure: 'ratio', atLeast: 2 },
  'jax-js 4096 full': { measure: 'ratio', atLeast: 8 },
  'tfjs 4096 full': { measure: 'ratio', atLeast: 40 },
  'onnxruntime-node 4096 causal': { measure: 'ratio', atLeast: 1 },
  'onnxruntime-node-gqa 4096 causal': { measure: 'ratio', atLeast: 1 },
};

export const attentionAlone = timedSuite({
  name: 'attention',
  summary:
    'exact attention by length, head dimension and mask, with all threads and one or on the GPU, and beside other systems',
  defaults: {
    n: [256, 1024, 4096, 16384],
    d: [64, 128],
    masks: MASK_NAMES,
    heads: 8,
    backend: 'wasm',
    threads: coreCount(),
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
  groups: (options, place) =>
    problemsOf(options).map((problem) => {
      if (options.backend === 'webgpu') return gpuRows(place, problem);
      const { threads } = options;
      return [
        attentionRow(problem, SACCADE, 'Saccade'),
        ...(threads > 1 ? [attentionRow(problem, ONE_THREAD, 'Saccade, 1 thread', { threads: 1 })] : []),
      ];
    }),
});

/** A row of exact attention, with its goal. */
export function attentionRow(
  problem: Problem,
  name: string,
  label: string,
  more: Partial<PlannedRow> = {},
): PlannedRow {
  const { n, h, d, mask } = problem;
  const goal = h === 8 && d === 64 ? GOALS[`${name} ${n} ${mask.name}`] : undefined;
  return { name, label, problem, goal, narrow: optionsOf(problem), ...more };
}
