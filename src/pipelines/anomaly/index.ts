/** Defects in clouds of points whose classes arrive task by task: C3D-AD and what it is measured beside. */
export { ARMS, type ArmName } from './arms';
export { type CloudClass, type CloudSample, madeClass, type ShapeDataOptions, tasksOfClasses } from './data';
export { checkClouds } from './groups';
export { POINT_MAE } from './point-mae';
export { pretrain } from './pretrain';
export {
  type Anomaly,
  type AnomalyControl,
  type AnomalyProgress,
  type AnomalyStore,
  anomaly,
  aurocOf,
  type ClassFigures,
  type DetectorFile,
  type LoadedDetector,
  loadDetector,
  type SavedDetector,
} from './run';
export type { CloudScore } from './score';
export type { AnomalySettings } from './settings';
export { type LoadedEncoder, loadPointMae } from './trained';
