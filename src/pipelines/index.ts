/** Whole programs of papers: from data to an answer. */
export {
  type Anomaly,
  type AnomalyControl,
  type AnomalyProgress,
  type AnomalySettings,
  type AnomalyStore,
  ARMS,
  type ArmName,
  anomaly,
  type ClassFigures,
  type CloudClass,
  type CloudSample,
  type CloudScore,
  type DetectorFile,
  type LoadedDetector,
  type LoadedEncoder,
  loadDetector,
  loadPointMae,
  type SavedDetector,
} from './anomaly';
export { type Geometry, readGeometry, type Surface, sampleMesh } from './clouds';
export {
  type Continual,
  type ContinualControl,
  type ContinualSettings,
  continual,
  type EqualMemory,
  type Generator,
  LEARNERS,
  type LearnerName,
  type LearnerSummary,
  loadGenerator,
  type Parts,
  type Progress,
  type Saved,
  SERIES,
  type SeriesOptions,
  type Store,
} from './continual';
export { cosineSchedule, linearSchedule, type NoiseSchedule, spacedSteps } from './diffusion';
export { type FeatureRows, frechetDistance } from './frechet';
export {
  compareTransformers,
  type TransformerRow,
  type Transformers,
  type TransformersControl,
  type TransformersSettings,
} from './lit/compare';
export { ATTENTIONS, type AttentionKind } from './lit/network';
export {
  type AccuracyMatrix,
  accuracy,
  auroc,
  averageAccuracy,
  averagePrecision,
  confusionMatrix,
  forgetting,
} from './metrics';
export { PIPELINES, type Pipeline, type PipelineShown } from './names';
export { type PaintControl, type Painting, type PaintSettings, paint } from './paint/paint';
export { openStudio, type Studio } from './paint/studio';
export {
  type Answer,
  type LoadViewerOptions,
  loadViewer,
  lookTwice,
  type PlaceBox,
  type RegionsLook,
  type RegionsOptions,
  type SecondLook,
  type SourceBox,
  type Viewer,
  type ViewerConfig,
} from './regions';
