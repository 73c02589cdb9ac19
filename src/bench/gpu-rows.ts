/** The rows of attention on this machine's GPU: Saccade in f32 and f16, a copy, and PyTorch on the same GPU. */
import type { Contender } from './contender';
import { tokenCopy } from './copy';
import type { BenchOptions } from './options';
import { optionsOf, type Problem } from './problem';
import { PYTORCH, PYTORCH_NAMES, type PyTorchName, pytorch } from './pytorch';
import type { Goal } from './report';
import { runtimeOptions } from './runtimes';
import { saccade } from './saccade';
import type { Context, PlannedRow } from './suite';

const SACCADE = 'saccade';
const SACCADE_F16 = 'saccade-f16';
const COPY = 'copy';
export const GPU_ROW_NAMES = [SACCADE, SACCADE_F16, COPY, ...PYTORCH_NAMES];

/** By row, n and mask, at d = 64 and with 8 heads, on a GPU that is not software. */
const GOALS: Readonly<Record<string, Goal>> = {
  'saccade 8192 full': { measure: 'peakShare', atLeast: 0.35 },
  'saccade-f16 8192 full': { measure: 'ratio', atMost: 1 / 1.5 },
};

export function gpuRows({ runtimes, gpu, peers }: Context, options: BenchOptions, problem: Problem): PlannedRow[] {
  const { n, h, d, mask } = problem;
  const half: Problem = { ...problem, dtype: 'f16' };
  const hasGoal = gpu?.isSoftware === false && h === 8 && d === 64;
  const row = (name: string, label: string, computed: Problem, contender: Contender): PlannedRow => ({
    name,
    label,
    contender,
    problem: computed,
    goal: hasGoal ? GOALS[`${name} ${n} ${mask.name}`] : undefined,
    narrow: optionsOf(problem),
  });
  const planPeer = (name: PyTorchName, folder: string): PlannedRow => {
    const { how, dtype } = PYTORCH[name];
    return { ...row(name, `PyTorch ${dtype}`, dtype === 'f16' ? half : problem, pytorch(name, folder, options)), how };
  };
  const own = saccade(runtimes, runtimeOptions(options));
  return [
    row(SACCADE, 'Saccade f32', problem, own),
    row(SACCADE_F16, 'Saccade f16', half, own),
    row(COPY, 'copy of as many bytes', { ...problem, operation: tokenCopy }, own),
    ...(peers === undefined ? [] : PYTORCH_NAMES.map((name) => planPeer(name, peers))),
  ];
}
