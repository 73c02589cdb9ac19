/** Whole programs of papers: from data to an answer. */
export {
  type Continual,
  type ContinualControl,
  type ContinualSettings,
  continual,
  LEARNERS,
  type LearnerName,
  type Parts,
  type Progress,
  type Saved,
  SERIES,
  type SeriesOptions,
  type Store,
} from './continual';
export { type AccuracyMatrix, accuracy, auroc, averageAccuracy, confusionMatrix, forgetting } from './metrics';
export { PIPELINES, type Pipeline } from './names';
