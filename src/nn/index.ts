/** Layers of networks, with their parameters, forward and backward passes. */
export {
  GatedLinearAttention,
  type GatedLinearAttentionExtents,
  type GatedLinearAttentionSettings,
} from './gated-linear-attention';
export { type LrpeFactors, lrpe, lrpeAngles, lrpeBackward, lrpeFactors } from './lrpe';
export {
  countParameters,
  type Module,
  type ModuleControl,
  type ModuleGradients,
  type ParameterShapes,
  type Parameters,
} from './module';
export { SimpleGlu } from './simple-glu';
export { TransnormerBlock, type TransnormerExtents } from './transnormer-block';
