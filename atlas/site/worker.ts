/** The page's worker: slow work is done here, so that the page never freezes. */
import { answers } from './answer';
import { chooseFrom } from './tasks/choose';
import { costSeries } from './tasks/cost';
import { keysRead, partsOf } from './tasks/layers';
import { maskInWords, maskTile, pairInWords } from './tasks/mask';
import { rankByMeaning } from './tasks/meaning';
import { checkModel, modelShown, runModel } from './tasks/model';
import { outputsShown } from './tasks/outputs';
import { reachBeside, reachThrough } from './tasks/reach';
import { wordsOf } from './tasks/real';
import { runHere } from './tasks/run';
import { checkSetting } from './tasks/setting';
import { weightInWords, weightsInWords, weightsOfQuery, weightsTile, weightsWithin } from './tasks/weights';

const tasks = {
  checkSetting,
  maskInWords,
  maskTile,
  pairInWords,
  keysRead,
  partsOf,
  reachThrough,
  reachBeside,
  costSeries,
  chooseFrom,
  runHere,
  outputsShown,
  checkModel,
  modelShown,
  runModel,
  rankByMeaning,
  weightsInWords,
  weightsTile,
  weightInWords,
  weightsOfQuery,
  weightsWithin,
  wordsOf,
};
export type Tasks = typeof tasks;

answers(tasks);
