/** The page's worker: slow work is done here, so that the page never freezes. What a question needs comes with it. */
import { answers, type Task } from './answer';
import { checkSetting, loadMethod } from './tasks/setting';

const choose = () => import('./tasks/choose');
const cost = () => import('./tasks/cost');
const layers = () => import('./tasks/layers');
const mask = () => import('./tasks/mask');
const meaning = () => import('./tasks/meaning');
const model = () => import('./tasks/model');
const outputs = () => import('./tasks/outputs');
const reach = () => import('./tasks/reach');
const real = () => import('./tasks/real');
const run = () => import('./tasks/run');
const weights = () => import('./tasks/weights');

/** Where each task is. */
const rooms = {
  checkSetting: async () => ({ checkSetting }),
  maskInWords: mask,
  maskTile: mask,
  pairInWords: mask,
  keysRead: layers,
  partsOf: layers,
  reachThrough: reach,
  reachBeside: reach,
  costSeries: cost,
  chooseFrom: choose,
  runHere: run,
  outputsShown: outputs,
  checkModel: model,
  modelShown: model,
  runModel: model,
  rankByMeaning: meaning,
  weightsInWords: weights,
  weightsTile: weights,
  weightInWords: weights,
  weightsOfQuery: weights,
  weightsWithin: weights,
  wordsOf: real,
};
type Rooms = { readonly [Name in keyof typeof rooms]: Awaited<ReturnType<(typeof rooms)[Name]>> };
export type Tasks = { readonly [Name in keyof Rooms]: Rooms[Name][Name & keyof Rooms[Name]] };

answers(async (name, input, control) => {
  const [tasks] = await Promise.all([rooms[name as keyof Tasks](), loadMethod(input.setting?.method)]);
  return (tasks as unknown as Record<string, Task>)[name](input, control);
});
