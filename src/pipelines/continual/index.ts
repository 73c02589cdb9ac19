/** Tasks one after the other, without forgetting: generative kernel continual learning and what it is measured beside. */
export { type GenerativeOptions, generativeLearner } from './generative';
export type { Learner } from './learner';
export type { EqualMemory, LearnerSummary } from './memory';
export { type Arm, armTitle, LEARNERS, type LearnerName, type Progress } from './progress';
export {
  type Continual,
  type ContinualControl,
  type ContinualSettings,
  continual,
  SAMPLES,
  type Saved,
  type Store,
} from './run';
export { storedLearner } from './stored';
export { classesOfTasks, type Parts, type Rows, SERIES, type SeriesOptions, type Task, tasksOf } from './tasks';
export { type Generator, loadGenerator } from './trained';
