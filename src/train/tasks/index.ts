/** Tasks with known answers, to train models with different methods and compare them. */
export { type AssociativeRecallOptions, associativeRecall } from './associative-recall';
export { type CopyOptions, copy } from './copy';
export { type NeedleOptions, needle } from './needle';
export { inContextRegression, type RegressionOptions } from './regression';
export { type StateTrackingOptions, stateTracking } from './state-tracking';
export { type Examples, IGNORED, type Task } from './task';
