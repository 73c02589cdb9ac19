import { runRanks } from '../../src/cluster';

/** The largest error of each of so many ranks, which are workers of this page. */
export const onRanks = (count: number): Promise<number[]> =>
  runRanks(count, () => new Worker(new URL('./rank.ts', import.meta.url), { type: 'module' }), {
    data: { tokens: 61 },
  });
