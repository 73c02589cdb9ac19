/** What the experiments on grids share: the times of masks. */
import type { Mask } from '../../../masks/mask';
import { sizeOf } from '../../../tensor/shape';
import type { ExperimentContext } from '../../experiment';
import { timeMasks } from '../../mask-speed';
import type { Rounds } from '../../rounds';

export interface GridProblem {
  readonly grid: readonly number[];
  readonly h: number;
  readonly d: number;
  readonly masks: readonly Mask[];
}

/** How far a phase of the experiment has come. */
export type Report = (share: number) => void;

/** Times of the masks of each grid (`timeMasks`), by mask; all grids share their rounds. */
export async function timeOnGrids(
  problems: readonly GridProblem[],
  context: ExperimentContext,
  report: Report,
): Promise<Rounds[]> {
  const timed = problems.map(({ grid, h, d, masks }) => ({
    ...{ n: sizeOf(grid), h, d },
    masks: masks.map((mask) => ({ label: mask.name, mask })),
  }));
  const times = await timeMasks(timed, SECONDS, { ...context, onProgress: report });
  return times.map(({ rounds }) => rounds);
}

const SECONDS = 10;

/** Progress of one of `count` phases. */
export function phase({ onProgress }: ExperimentContext, at: number, count: number, what: string): Report {
  return (share) => onProgress?.((at + share) / count, what);
}
