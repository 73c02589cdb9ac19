/**
 * Attention, its gradients and the runtime alone, as `saccade` exports them too: a page without a bundler, or with one that
 * keeps all that parts loaded later may share, fetches less by this.
 */
export * from '../errors';
export {
  type AttentionBackwardOptions,
  type AttentionBackwardResult,
  type AttentionGradients,
  type AttentionOptions,
  type AttentionResult,
  type AttentionSettings,
  attention,
  attentionBackward,
  type CachedAttentionOptions,
} from '../ops/attention';
export { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
export type { Runtime } from '../runtime/runtime';
export { Tensor } from '../tensor/tensor';
