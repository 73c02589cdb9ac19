/** Times of masks on grids, for several experiments. */
import type { Mask } from '../masks/mask';
import { sizeOf } from '../tensor/shape';
import type { MeasureContext } from './experiment';
import { timeMasks } from './mask-speed';
import type { Rounds } from './rounds';

export interface GridProblem {
  readonly grid: readonly number[];
  readonly h: number;
  readonly d: number;
  readonly masks: readonly Mask[];
}

const SECONDS = 10;

/** Times of the masks of each grid (`timeMasks`), by mask; all grids share their rounds. */
export async function timeOnGrids(problems: readonly GridProblem[], context: MeasureContext): Promise<Rounds[]> {
  const timed = problems.map(({ grid, h, d, masks }) => ({
    n: sizeOf(grid),
    h,
    d,
    masks: masks.map((mask) => ({ label: mask.name, mask })),
  }));
  const times = await timeMasks(timed, SECONDS, context);
  return times.map(({ rounds }) => rounds);
}
