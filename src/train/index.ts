/** Training: optimizers, learning rate schedules, checkpoints and the training loop. */
export { type AdamwOptions, adamw } from './adamw';
export { type Checkpoint, readCheckpoint, type TrainingHistory, type TrainingSettings } from './checkpoint';
export { type MuonOptions, muon } from './muon';
export { globalNorm, type Optimizer, type StepOptions } from './optimizer';
export {
  type Schedule,
  type WarmupCosineOptions,
  type WarmupStableDecayOptions,
  warmupCosine,
  warmupStableDecay,
} from './schedule';
export { type SgdOptions, sgd } from './sgd';
export {
  type AssociativeRecallOptions,
  associativeRecall,
  type CopyOptions,
  copy,
  type Examples,
  IGNORED,
  inContextRegression,
  type NeedleOptions,
  needle,
  type RegressionOptions,
  type StateTrackingOptions,
  stateTracking,
  type Task,
} from './tasks';
export { bytePairTokenizer, characterTokenizer, type Tokenizer, type TokenizerFile, tokenizerOf } from './tokenizer';
export { type CheckpointOptions, type TrainingStep, type TrainOptions, train, type ValidateOptions } from './train';
export { type Windows, type WindowsOptions, windows } from './windows';
