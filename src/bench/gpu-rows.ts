/** The rows of attention on this machine's GPU: Saccade in f32 and f16, a copy, and PyTorch on the same GPU. */
import { tokenCopy } from './copy';
import { type BenchOptions, optionsOf } from './options';
import { isKnownToPeers, type Problem } from './problem';
import { PYTORCH, PYTORCH_NAMES, pytorch } from './pytorch';
import type { Goal } from './report';
import type { Place, PlannedRow } from './suite';

const SACCADE = 'saccade';
const SACCADE_F16 = 'saccade-f16';
const COPY = 'copy';
export const GPU_ROW_NAMES = [SACCADE, SACCADE_F16, COPY, ...PYTORCH_NAMES];

/** By row, n and mask, at d = 64 and with 8 heads, on a GPU that is not software. */
const GOALS: Readonly<Record<string, Goal>> = {
  'saccade 8192 full': { measure: 'peakShare', atLeast: 0.35 },
  'saccade-f16 8192 full': { measure: 'ratio', atMost: 1 / 1.5 },
};

export function gpuRows({ gpu, peers }: Place, options: BenchOptions, problem: Problem): PlannedRow[] {
  const { n, h, d, mask } = problem;
  const half: Problem = { ...problem, dtype: 'f16' };
  const hasGoal = gpu?.isSoftware === false && h === 8 && d === 64;
  const row = (name: string, label: string, computed: Problem, more: Partial<PlannedRow> = {}): PlannedRow => ({
    name,
    label,
    problem: computed,
    goal: hasGoal ? GOALS[`${name} ${n} ${mask.name}`] : undefined,
    narrow: optionsOf(problem),
    ...more,
  });
  const fromPyTorch = (folder: string) =>
    PYTORCH_NAMES.map((name) => {
      const { how, dtype } = PYTORCH[name];
      const contender = pytorch(name, folder, options);
      return row(name, `PyTorch ${dtype}`, dtype === 'f16' ? half : problem, { contender, how });
    });
  return [
    row(SACCADE, 'Saccade f32', problem),
    row(SACCADE_F16, 'Saccade f16', half),
    row(COPY, 'copy of as many bytes', { ...problem, operation: tokenCopy }),
    ...(peers && isKnownToPeers(mask.name) ? fromPyTorch(peers) : []),
  ];
}
