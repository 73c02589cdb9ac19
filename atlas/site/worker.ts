/** The page's hands: what takes time is done here, so that the page never freezes. */
import { answers } from './answer';
import { costSeries } from './work/cost';
import { maskInWords, maskTile, pairInWords } from './work/mask';
import { reachThrough } from './work/reach';
import { runHere } from './work/run';

const tasks = { maskInWords, maskTile, pairInWords, reachThrough, costSeries, runHere };
export type Tasks = typeof tasks;

answers(tasks);
