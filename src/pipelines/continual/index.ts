/** Tasks one after the other, without forgetting: generative kernel continual learning and what it is measured beside. */
export { type GenerativeOptions, generativeLearner } from './generative';
export type { LearnControl, Learner, LearnerOptions } from './learner';
export { type NetworkOptions, networkLearner } from './network';
export {
  type Continual,
  type ContinualControl,
  type ContinualSettings,
  continual,
  LEARNERS,
  type LearnerName,
  type Progress,
  SAMPLES,
  type Saved,
  type Store,
} from './run';
export { type StoredOptions, storedLearner } from './stored';
export { type Parts, type Rows, SERIES, type SeriesOptions, type Task, tasksOf } from './tasks';
