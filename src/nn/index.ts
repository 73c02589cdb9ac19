/** Modules of networks: functions of their input and of parameters, whose gradients follow by the tape. */
export type { LayerParameter } from '../methods/define';
export {
  type ActivationTransform,
  type ActivationWaves,
  type ActivationWavesOptions,
  activationWaves,
  type SnnkLayerInputs,
  snnkLayer,
} from '../methods/kernel/snnk/activation-waves';
export { type FusionPadding, fullConvFusion } from '../methods/large-kernels/asymmetric-conv-fusion/fuse';
export type { LargeKernel } from '../methods/large-kernels/dilated-reparam-conv/branches';
export { type MergedConv, mergeDilatedReparam } from '../methods/large-kernels/dilated-reparam-conv/merge';
export { lska, type StripWeights, slak } from '../methods/large-kernels/sdlska/strips';
export { type DynamicProjectionInputs, dynamicProjection } from '../methods/linear/dydila/dynamic-projection';
export {
  type LocalConcentrationOptions,
  type LocalConcentrationResult,
  type LocalConcentrationWeights,
  localConcentration,
} from '../methods/linear/l2vit/local-concentration';
export {
  type LayerPlace,
  lightningDecays,
  type Schedule as LightningSchedule,
} from '../methods/linear/lightning-attention/schedules';
export { seaPositions } from '../methods/linear/performer/sea';
export type { Activation } from './activation';
export { type AttentionConfig, attention, type ProjectionLayout } from './attention';
export { type GatedLinearAttentionConfig, gatedLinearAttention } from './gated-linear-attention';
export { type LinearAllOptions, type LinearOptions, linear, linearAll } from './linear';
export { type LinearCrossEntropyOptions, linearCrossEntropy } from './linear-cross-entropy';
export { type LrpeFactors, lrpe, lrpeAngles, lrpeFactors } from './lrpe';
export { type GluConfig, glu, type MlpConfig, mlp, type SimpleGluConfig, simpleGlu } from './mlp';
export {
  countParameters,
  defineModule,
  initial,
  type Module,
  type ModuleControl,
  type ModuleParameter,
  type Parameters,
  partOf,
  prefixed,
  splitBuffers,
  type TrainableParameters,
} from './module';
export { type NormConfig, norm } from './norm';
export { type Bundle, type BundleOptions, bundleLayers, type SnnkAdapterConfig, snnkAdapter } from './snnk';
export { TrainingPass } from './training';
export { type TransnormerConfig, transnormerBlock } from './transnormer-block';
