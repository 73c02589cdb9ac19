/** Saccade's rows of attention on a GPU, in f32 and f16, beside a copy. */
import { tokenCopy } from './copy';
import { optionsOf } from './options';
import type { Problem } from './problem';
import type { Goal } from './report';
import type { Place, PlannedRow } from './suite';

const SACCADE = 'saccade';
const SACCADE_F16 = 'saccade-f16';
const COPY = 'copy';
export const GPU_ROW_NAMES = [SACCADE, SACCADE_F16, COPY];

/** By row, n and mask, at d = 64 and with 8 heads, on a GPU that is not software. */
const GOALS: Readonly<Record<string, Goal>> = {
  'saccade 8192 full': { measure: 'peakShare', atLeast: 0.35 },
  'saccade-f16 8192 full': { measure: 'ratio', atMost: 1 / 1.5 },
};

export function gpuRows({ gpu }: Place, problem: Problem): PlannedRow[] {
  const { n, h, d, mask } = problem;
  const hasGoal = gpu?.isSoftware === false && h === 8 && d === 64;
  const row = (name: string, label: string, computed: Problem): PlannedRow => ({
    name,
    label,
    problem: computed,
    goal: hasGoal ? GOALS[`${name} ${n} ${mask.name}`] : undefined,
    narrow: optionsOf(problem),
  });
  return [
    row(SACCADE, 'Saccade f32', problem),
    row(SACCADE_F16, 'Saccade f16', { ...problem, dtype: 'f16' }),
    row(COPY, 'copy of as many bytes', { ...problem, operation: tokenCopy }),
  ];
}
